//! The table of axes. A new axis is one entry here, a field in the plan, a field in [`Cell`] and a row in the settings.

use super::Cell;
use crate::plan::{Api, CacheMode, Plan};
use crate::units::Rate;
use crate::units::id::file_safe;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A coordinate of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum AxisValue {
    /// A number.
    Count(u64),
    /// A number per second.
    Rate(Rate),
    /// A name.
    Text(String),
    /// The cell has no coordinate on the axis: a mutually exclusive axis is used.
    Absent,
}

impl fmt::Display for AxisValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(out),
            Self::Rate(rate) => rate.fmt(out),
            Self::Absent => Ok(()),
            Self::Text(text) => out.write_str(text),
        }
    }
}

/// When an axis is part of a cell's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdUse {
    /// Always, in table order.
    Always,
    /// At the start, if the axis has more than one value.
    WhenSeveral,
}

/// One axis of the matrix.
pub(crate) struct Axis {
    /// Key in `[matrix]`.
    pub(crate) key: &'static str,
    /// Name in records, columns and rules.
    pub(crate) field: &'static str,
    /// Display name.
    pub(crate) label: &'static str,
    /// Returns the values in the plan, in order; none if a mutually exclusive axis is used.
    pub(crate) values: fn(&Plan) -> Vec<AxisValue>,
    /// Returns a cell's coordinate.
    pub(crate) get: fn(&Cell) -> AxisValue,
    /// Sets a cell's coordinate to a value returned by [`Axis::values`] for this plan.
    pub(crate) set: fn(&mut Cell, &AxisValue, &Plan),
    /// When the axis is part of a cell's id.
    pub(crate) id_use: IdUse,
    /// Returns the part of a cell's id for a value, before it is made unique.
    pub(crate) id_part: fn(&AxisValue) -> String,
}

/// All axes in matrix order: the last axis varies fastest.
pub(crate) const AXES: &[Axis] = &[
    Axis {
        key: "model_ids",
        field: "model_id",
        label: "model",
        values: |plan| text_values(&plan.matrix.model_ids),
        get: |cell| AxisValue::Text(cell.model_id.clone()),
        set: |cell, value, _| cell.model_id = value.to_string(),
        id_use: IdUse::WhenSeveral,
        id_part: |value| short_model(&value.to_string()),
    },
    Axis {
        key: "apis",
        field: "api",
        label: "api",
        values: |plan| {
            let axis: Vec<Api> = if plan.matrix.apis.is_empty() {
                plan.target.api.into_iter().collect()
            } else {
                plan.matrix.apis.clone()
            };
            axis.iter().map(|api| AxisValue::Text(api.to_string())).collect()
        },
        get: |cell| AxisValue::Text(cell.api.to_string()),
        set: |cell, value, _| {
            if let Some(api) = Api::ALL.into_iter().find(|api| api.to_string() == value.to_string()) {
                cell.api = api;
            }
        },
        id_use: IdUse::WhenSeveral,
        id_part: |value| file_safe(&value.to_string()),
    },
    Axis {
        key: "cache_modes",
        field: "cache_mode",
        label: "cache",
        values: |plan| plan.matrix.cache_modes.iter().map(|mode| AxisValue::Text(mode.to_string())).collect(),
        get: |cell| AxisValue::Text(cell.cache_mode.to_string()),
        set: |cell, value, _| {
            if let Some(mode) = CacheMode::ALL.into_iter().find(|mode| mode.to_string() == value.to_string()) {
                cell.cache_mode = mode;
            }
        },
        id_use: IdUse::WhenSeveral,
        id_part: |value| file_safe(&value.to_string()),
    },
    Axis {
        key: "regions",
        field: "region",
        label: "region",
        values: |plan| {
            if plan.matrix.regions.is_empty() {
                plan.target.region.iter().cloned().map(AxisValue::Text).collect()
            } else {
                text_values(&plan.matrix.regions)
            }
        },
        get: |cell| cell.region.clone().map_or(AxisValue::Absent, AxisValue::Text),
        set: |cell, value, _| cell.region = Some(value.to_string()),
        id_use: IdUse::WhenSeveral,
        id_part: |value| file_safe(&value.to_string()),
    },
    Axis {
        key: "region_prefixes",
        field: "region_prefix",
        label: "prefix",
        values: |plan| text_values(&plan.matrix.region_prefixes),
        get: |cell| AxisValue::Text(cell.region_prefix.clone()),
        set: |cell, value, _| cell.region_prefix = value.to_string(),
        id_use: IdUse::Always,
        id_part: |value| file_safe(&value.to_string()),
    },
    Axis {
        key: "service_tiers",
        field: "service_tier",
        label: "tier",
        values: |plan| text_values(&plan.matrix.service_tiers),
        get: |cell| AxisValue::Text(cell.service_tier.clone()),
        set: |cell, value, _| cell.service_tier = value.to_string(),
        id_use: IdUse::Always,
        id_part: |value| file_safe(&value.to_string()),
    },
    Axis {
        key: "prompt_sizes",
        field: "prompt_size",
        label: "prompt",
        values: |plan| text_values(&plan.matrix.prompt_sizes),
        get: |cell| AxisValue::Text(cell.prompt_size.clone()),
        set: |cell, value, _| cell.prompt_size = value.to_string(),
        id_use: IdUse::Always,
        id_part: |value| file_safe(&value.to_string()),
    },
    Axis {
        key: "max_tokens",
        field: "max_tokens",
        label: "max tokens",
        values: |plan| {
            let axis = &plan.matrix.max_tokens;
            let values = if axis.is_empty() { std::slice::from_ref(&plan.request.max_tokens) } else { axis };
            values.iter().map(|tokens| AxisValue::Count(u64::from(*tokens))).collect()
        },
        get: |cell| AxisValue::Count(u64::from(cell.request.max_tokens)),
        set: |cell, value, _| {
            if let AxisValue::Count(tokens) = value {
                cell.request.max_tokens = *tokens as u32;
            }
        },
        id_use: IdUse::WhenSeveral,
        id_part: |value| format!("max{value}"),
    },
    Axis {
        key: "user_counts",
        field: "users",
        label: "users",
        values: |plan| plan.matrix.user_counts.iter().map(|count| AxisValue::Count(u64::from(*count))).collect(),
        get: |cell| cell.users.map_or(AxisValue::Absent, |users| AxisValue::Count(u64::from(users))),
        set: |cell, value, _| {
            if let AxisValue::Count(count) = value {
                cell.users = Some(*count as u32);
            }
        },
        id_use: IdUse::Always,
        id_part: |value| format!("u{value}"),
    },
    Axis {
        key: "arrival_rates",
        field: "arrival_rate",
        label: "requests/s",
        values: |plan| plan.matrix.arrival_rates.iter().copied().map(AxisValue::Rate).collect(),
        get: |cell| cell.arrival_rate.map_or(AxisValue::Absent, AxisValue::Rate),
        set: |cell, value, _| {
            if let AxisValue::Rate(rate) = value {
                cell.arrival_rate = Some(*rate);
            }
        },
        id_use: IdUse::Always,
        id_part: |value| file_safe(&format!("r{value}")),
    },
    Axis {
        key: "profiles",
        field: "profile",
        label: "profile",
        values: |plan| text_values(&plan.matrix.profiles),
        get: |cell| cell.profile.as_ref().map_or(AxisValue::Absent, |profile| AxisValue::Text(profile.name.clone())),
        set: |cell, value, plan| {
            cell.profile = plan.profile.iter().find(|profile| profile.name == value.to_string()).cloned();
        },
        id_use: IdUse::Always,
        id_part: |value| file_safe(&value.to_string()),
    },
];

/// Returns the axis with this field name.
pub(crate) fn find_axis(field: &str) -> Option<&'static Axis> {
    AXES.iter().find(|axis| axis.field == field)
}

fn text_values(values: &[String]) -> Vec<AxisValue> {
    values.iter().cloned().map(AxisValue::Text).collect()
}

/// Shortens a model id: `amazon.nova-2-lite-v1:0` to `nova-2-lite`, an ARN to its last part.
fn short_model(model_id: &str) -> String {
    let last = model_id.rsplit('/').next().unwrap_or(model_id);
    let without_version = last.split(':').next().unwrap_or(last);
    let name = without_version.split_once('.').map_or(without_version, |(_, name)| name);
    let plain = name.rsplit_once("-v").filter(|(_, v)| !v.is_empty() && v.chars().all(|c| c.is_ascii_digit()));
    file_safe(plain.map_or(name, |(name, _)| name))
}
