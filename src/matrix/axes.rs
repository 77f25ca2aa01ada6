//! The table of axes. A new axis is one entry here beside its field in the plan, its field in
//! [`Cell`] and its row of the settings.

use super::Cell;
use crate::plan::Matrix;
use crate::units::id::file_safe;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A coordinate of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum AxisValue {
    /// A number of something.
    Count(u64),
    /// A name.
    Text(String),
}

impl fmt::Display for AxisValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(out),
            Self::Text(text) => out.write_str(text),
        }
    }
}

/// What is written of an axis in a cell's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InId {
    /// Always, in the order of the table.
    Always,
    /// In front, and only where the axis has more than one value.
    WhenSeveral,
}

/// One axis of the matrix.
pub(crate) struct Axis {
    /// The plan's key in `[matrix]`.
    pub(crate) key: &'static str,
    /// The name in records, columns and rules.
    pub(crate) field: &'static str,
    /// The name for people.
    pub(crate) label: &'static str,
    /// The values a plan asks for, in its order.
    pub(crate) values: fn(&Matrix) -> Vec<AxisValue>,
    /// A cell's coordinate.
    pub(crate) get: fn(&Cell) -> AxisValue,
    /// Moves a cell to a coordinate that [`Axis::values`] gave.
    pub(crate) set: fn(&mut Cell, &AxisValue),
    /// When it takes part in a cell's id.
    pub(crate) in_id: InId,
    /// What is written of it in a cell's id, before other cells are looked at.
    pub(crate) id_part: fn(&AxisValue) -> String,
}

/// The order of the table is the order of the matrix: the last axis runs fastest.
pub(crate) const AXES: &[Axis] = &[
    Axis {
        key: "model_ids",
        field: "model_id",
        label: "model",
        values: |matrix| texts(&matrix.model_ids),
        get: |cell| AxisValue::Text(cell.model_id.clone()),
        set: |cell, value| cell.model_id = value.to_string(),
        in_id: InId::WhenSeveral,
        id_part: |value| short_model(&value.to_string()),
    },
    Axis {
        key: "region_prefixes",
        field: "region_prefix",
        label: "prefix",
        values: |matrix| texts(&matrix.region_prefixes),
        get: |cell| AxisValue::Text(cell.region_prefix.clone()),
        set: |cell, value| cell.region_prefix = value.to_string(),
        in_id: InId::Always,
        id_part: |value| file_safe(&value.to_string()),
    },
    Axis {
        key: "service_tiers",
        field: "service_tier",
        label: "tier",
        values: |matrix| texts(&matrix.service_tiers),
        get: |cell| AxisValue::Text(cell.service_tier.clone()),
        set: |cell, value| cell.service_tier = value.to_string(),
        in_id: InId::Always,
        id_part: |value| file_safe(&value.to_string()),
    },
    Axis {
        key: "prompt_sizes",
        field: "prompt_size",
        label: "prompt",
        values: |matrix| texts(&matrix.prompt_sizes),
        get: |cell| AxisValue::Text(cell.prompt_size.clone()),
        set: |cell, value| cell.prompt_size = value.to_string(),
        in_id: InId::Always,
        id_part: |value| file_safe(&value.to_string()),
    },
    Axis {
        key: "user_counts",
        field: "users",
        label: "users",
        values: |matrix| matrix.user_counts.iter().map(|count| AxisValue::Count(u64::from(*count))).collect(),
        get: |cell| AxisValue::Count(u64::from(cell.users)),
        set: |cell, value| {
            if let AxisValue::Count(count) = value {
                cell.users = *count as u32;
            }
        },
        in_id: InId::Always,
        id_part: |value| format!("u{value}"),
    },
];

/// The axis with a field's name.
pub(crate) fn axis(field: &str) -> Option<&'static Axis> {
    AXES.iter().find(|axis| axis.field == field)
}

fn texts(values: &[String]) -> Vec<AxisValue> {
    values.iter().cloned().map(AxisValue::Text).collect()
}

/// `amazon.nova-2-lite-v1:0` -> `nova-2-lite`; an ARN -> its last part.
fn short_model(model_id: &str) -> String {
    let last = model_id.rsplit('/').next().unwrap_or(model_id);
    let without_version = last.split(':').next().unwrap_or(last);
    let name = without_version.split_once('.').map_or(without_version, |(_, name)| name);
    let plain = name.rsplit_once("-v").filter(|(_, v)| !v.is_empty() && v.chars().all(|c| c.is_ascii_digit()));
    file_safe(plain.map_or(name, |(name, _)| name))
}
