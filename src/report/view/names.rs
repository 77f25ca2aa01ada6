//! How coordinates of cells are called where several stand beside each other.

use crate::matrix::{AXES, AxisValue, InId, axis};
use crate::stats::Summary;

/// The axes that say how much is asked; a cell is on one of them.
pub(super) const LOADS: [&str; 3] = ["users", "arrival_rate", "profile"];

/// The axis that tiers are on.
pub(super) const TIER: &str = "service_tier";

/// The colour of what is no tier.
pub(super) const NEUTRAL: usize = 6;

/// The number of a tier's colour, the same in every chart.
pub(super) fn hue(tier: &str) -> usize {
    const KNOWN: [&str; 4] = ["default", "priority", "flex", "reserved"];
    KNOWN.iter().position(|known| *known == tier).unwrap_or(if tier == "none" { NEUTRAL } else { 4 })
}

/// The axes on which cells differ, without those in `but`, in matrix order.
pub(super) fn varying(summary: &Summary, but: &[&str]) -> Vec<&'static str> {
    let fields = AXES.iter().map(|axis| axis.field).filter(|field| !but.contains(field));
    fields.filter(|field| summary.values(field).len() > 1).collect()
}

/// Values one after the other.
pub(super) fn join(key: &[AxisValue]) -> String {
    key.iter().map(ToString::to_string).collect::<Vec<_>>().join(" / ")
}

/// `20 users`, `flex / us`: a number alone would not say what it counts.
pub(super) fn group(fields: &[&str], key: &[AxisValue]) -> String {
    fields.iter().zip(key).map(|(field, value)| counted(field, value)).collect::<Vec<_>>().join(" / ")
}

/// `20 users`; a name as it is.
pub(super) fn counted(field: &str, value: &AxisValue) -> String {
    match value {
        AxisValue::Count(1) if field == "users" => "1 user".into(),
        AxisValue::Count(_) | AxisValue::Rate(_) => format!("{value} {}", label(field)),
        AxisValue::Text(_) | AxisValue::Absent => value.to_string(),
    }
}

/// `nova-2-lite, prefix us, prompt small`: what stands in an id only where it varies stands here as
/// there, since model ids are long; in full where two would look the same.
pub(super) fn title(summary: &Summary, fields: &[&str], key: &[AxisValue]) -> String {
    let name = |(field, value): (&&str, &AxisValue)| match axis(field) {
        _ if *value == AxisValue::Absent => String::new(),
        Some(axis) if axis.in_id == InId::WhenSeveral => {
            let short = (axis.id_part)(value);
            let alike = summary.values(field).iter().filter(|value| (axis.id_part)(value) == short).count();
            if alike > 1 { value.to_string() } else { short }
        }
        _ => format!("{} {value}", label(field)),
    };
    fields.iter().zip(key).map(name).filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", ")
}

/// What people call an axis.
pub(super) fn label(field: &str) -> &str {
    axis(field).map_or(field, |axis| axis.label)
}
