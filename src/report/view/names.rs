//! How coordinates of cells are called where several stand beside each other.

use crate::matrix::{AXES, Axis, AxisValue, IdUse, find_axis};
use crate::stats::Summary;
use std::collections::HashMap;

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

/// The coordinates that the cells of a run have, and what each is called beside the others: computed once for all titles.
pub(super) struct Coordinates(Vec<AxisNames>);

struct AxisNames {
    field: &'static str,
    /// In matrix order.
    values: Vec<AxisValue>,
    /// Those whose name in a title depends on the others.
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
            // In full where two would look the same.
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

    /// The values that an axis takes over all cells, in matrix order.
    pub(super) fn values(&self, field: &str) -> &[AxisValue] {
        self.axis(field).map_or(&[], |axis| &axis.values)
    }

    /// The axes on which cells differ, without those in `but`, in matrix order.
    pub(super) fn varying(&self, but: &[&str]) -> Vec<&'static str> {
        let varying = self.0.iter().filter(|axis| axis.values.len() > 1 && !but.contains(&axis.field));
        varying.map(|axis| axis.field).collect()
    }

    /// `nova-2-lite, prefix us, prompt small`: what stands in an id only where it varies stands here as
    /// there, since model ids are long; in full where two would look the same.
    pub(super) fn title(&self, fields: &[&str], key: &[AxisValue]) -> String {
        let name = |(field, value): (&&str, &AxisValue)| match self.axis(field) {
            _ if *value == AxisValue::Absent => String::new(),
            Some(axis) if axis.names.contains_key(value) => axis.names[value].clone(),
            _ => format!("{} {value}", label(field)),
        };
        fields.iter().zip(key).map(name).filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", ")
    }
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

/// What people call an axis.
pub(super) fn label(field: &str) -> &str {
    find_axis(field).map_or(field, |axis| axis.label)
}
