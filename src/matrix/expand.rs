//! The Cartesian product of the axes, and ids that are unique.

use super::axes::{AXES, InId};
use super::{AxisValue, Cell};
use crate::plan::{Api, CacheMode, Plan};
use std::collections::HashMap;

/// All cells of a plan in matrix order: the last axis runs fastest.
pub(crate) fn expand(plan: &Plan) -> Vec<Cell> {
    let mut cells = vec![Cell {
        id: String::new(),
        model_id: String::new(),
        api: Api::Converse,
        cache_mode: CacheMode::AsIs,
        region_prefix: String::new(),
        service_tier: String::new(),
        prompt_size: String::new(),
        users: None,
        arrival_rate: None,
        profile: None,
        load: plan.load.clone(),
        request: plan.request.clone(),
    }];
    for axis in AXES {
        let values = (axis.values)(plan);
        if values.is_empty() {
            continue;
        }
        cells = cells
            .into_iter()
            .flat_map(|cell| {
                values.iter().map(move |value| {
                    let mut moved = cell.clone();
                    (axis.set)(&mut moved, value, plan);
                    moved
                })
            })
            .collect();
    }
    let parts: Vec<HashMap<AxisValue, String>> =
        AXES.iter().map(|axis| unique_parts((axis.values)(plan), axis.id_part)).collect();
    for cell in &mut cells {
        cell.id = id(cell, &parts);
    }
    cells
}

fn id(cell: &Cell, parts: &[HashMap<AxisValue, String>]) -> String {
    let part = |wanted: InId, index: usize| {
        let several = parts[index].len() > 1;
        let axis = &AXES[index];
        if axis.in_id != wanted || (wanted == InId::WhenSeveral && !several) {
            return None;
        }
        parts[index].get(&(axis.get)(cell)).cloned()
    };
    let front = (0..AXES.len()).filter_map(|index| part(InId::WhenSeveral, index));
    let rest = (0..AXES.len()).filter_map(|index| part(InId::Always, index));
    front.chain(rest).collect::<Vec<_>>().join("_")
}

/// Text for each value of an axis; values whose text falls together are numbered, in their order.
/// Compared without case, since some file systems do not tell `A` from `a`.
fn unique_parts(values: Vec<AxisValue>, text: fn(&AxisValue) -> String) -> HashMap<AxisValue, String> {
    let mut taken: Vec<String> = Vec::new();
    let mut parts = HashMap::new();
    for value in values {
        let wanted = text(&value);
        let mut unique = wanted.clone();
        let mut number = 2;
        while taken.contains(&unique.to_ascii_lowercase()) {
            unique = format!("{wanted}-{number}");
            number += 1;
        }
        taken.push(unique.to_ascii_lowercase());
        parts.insert(value, unique);
    }
    parts
}
