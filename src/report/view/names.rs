//! Display names of coordinates, for places that show several cells together.

use crate::matrix::{AXES, Axis, AxisValue, IdUse, find_axis};
use crate::stats::Summary;
use std::collections::HashMap;

/// Axis of the service tier.
pub(super) const TIER: &str = "service_tier";

/// Hue of series that are not tiers.
pub(super) const NEUTRAL: usize = 6;

/// Returns the hue of a tier, which is the same in every chart.
pub(super) fn hue(tier: &str) -> usize {
    const KNOWN: [&str; 4] = ["default", "priority", "flex", "reserved"];
    KNOWN.iter().position(|known| *known == tier).unwrap_or(if tier == "none" { NEUTRAL } else { 4 })
}

/// Coordinates of all cells of a run with their display names. They are computed once for all titles.
pub(super) struct Coordinates(Vec<AxisNames>);

struct AxisNames {
    field: &'static str,
    /// Values in matrix order.
    values: Vec<AxisValue>,
    /// Display names of values whose name in a title depends on the other values.
    names: HashMap<AxisValue, String>,
}

impl Coordinates {
    pub(super) fn new(summary: &Summary) -> Self {
        let axis = |axis: &'static Axis| {
            let values = summary.values(axis.field);
            let short = |value: &AxisValue| (axis.id_part)(value);
            let mut alike: HashMap<String, usize> = HashMap::new();
            for value in &values {
                *alike.entry(short(value)).or_default() += 1;
            }
            // The full name is used if two short names are equal.
            let name = |value: &AxisValue| Some(short(value)).filter(|short| alike[short] == 1);
            let named = values.iter().filter(|_| axis.id_use == IdUse::WhenSeveral);
            let names = named.map(|value| (value.clone(), name(value).unwrap_or_else(|| value.to_string()))).collect();
            AxisNames { field: axis.field, values, names }
        };
        Self(AXES.iter().map(axis).collect())
    }

    fn axis(&self, field: &str) -> Option<&AxisNames> {
        self.0.iter().find(|axis| axis.field == field)
    }

    /// Returns the values of an axis over all cells, in matrix order.
    pub(super) fn values(&self, field: &str) -> &[AxisValue] {
        self.axis(field).map_or(&[], |axis| &axis.values)
    }

    /// Returns the axes on which cells differ, except those in `but`, in matrix order.
    pub(super) fn varying(&self, but: &[&str]) -> Vec<&'static str> {
        let varying = self.0.iter().filter(|axis| axis.values.len() > 1 && !but.contains(&axis.field));
        varying.map(|axis| axis.field).collect()
    }

    /// Returns a title such as `nova-2-lite, prefix us, prompt small`. Model ids are long, so a title uses the short
    /// form that cell ids use. It uses the full name if two short names are equal.
    pub(super) fn title(&self, fields: &[&str], key: &[AxisValue]) -> String {
        let name = |(field, value): (&&str, &AxisValue)| match self.axis(field) {
            _ if *value == AxisValue::Absent => String::new(),
            Some(axis) if axis.names.contains_key(value) => axis.names[value].clone(),
            _ => format!("{} {value}", label(field)),
        };
        fields.iter().zip(key).map(name).filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", ")
    }
}

/// Joins values with a separator.
pub(super) fn join(key: &[AxisValue]) -> String {
    key.iter().map(ToString::to_string).collect::<Vec<_>>().join(" / ")
}

/// Returns a group label such as `20 users` or `flex / us`. A number includes its unit.
pub(super) fn group(fields: &[&str], key: &[AxisValue]) -> String {
    fields.iter().zip(key).map(|(field, value)| counted(field, value)).collect::<Vec<_>>().join(" / ")
}

/// Returns a number with its unit, such as `20 users`, and a name unchanged.
pub(super) fn counted(field: &str, value: &AxisValue) -> String {
    match value {
        AxisValue::Count(1) if field == "users" => "1 user".into(),
        AxisValue::Count(_) | AxisValue::Rate(_) => format!("{value} {}", label(field)),
        AxisValue::Text(_) | AxisValue::Absent => value.to_string(),
    }
}

/// Returns the display name of an axis.
pub(super) fn label(field: &str) -> &str {
    find_axis(field).map_or(field, |axis| axis.label)
}
