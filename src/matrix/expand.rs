//! From a plan to its cells: the product of the axes, of which some go together (`zip`); without what
//! is excluded; with what is added; each with an id that is unique, and changed by the overrides that
//! mean it. Total: what cannot be read changes and adds nothing, and the check of a plan says so.

use super::axes::{AXES, Axis, InId};
use super::{AxisValue, Cell, rule};
use crate::plan::{Api, CacheMode, Keys, Matrix, Plan};
use crate::units::id::{LONGEST_ID, bounded};
use serde_json::Value;
use std::collections::HashMap;

/// The fields that say how much load a cell has: it has one of them.
pub(crate) const DEMANDS: [&str; 3] = ["users", "arrival_rate", "profile"];

/// A value of an axis that a plan names, and where.
pub(crate) struct Named {
    /// Which axis.
    pub(crate) axis: &'static Axis,
    /// The value.
    pub(crate) value: AxisValue,
    /// Dotted key: `matrix.users[1]`, `matrix.zip[0].users[1]`, `matrix.add[2].users`.
    pub(crate) at: String,
}

/// A cell with the overrides that mean it, as indices into `plan.overrides`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expanded {
    /// As it runs.
    pub(crate) cell: Cell,
    /// Which overrides changed it, in the order of the plan.
    pub(crate) overrides: Vec<usize>,
}

/// Returns the number of cells that [`product`] and `matrix.add` make, without making them. `exclude` is not applied:
/// the product takes its memory before any cell is excluded. Saturates.
pub(crate) fn size(plan: &Plan) -> u64 {
    let mut zipped: Vec<usize> = Vec::new();
    let mut cells: u64 = 1;
    for axis in AXES {
        let values = match plan.matrix.zip.iter().position(|zip| zip.get(axis.key).is_some()) {
            Some(index) if zipped.contains(&index) => continue,
            Some(index) => {
                zipped.push(index);
                rows(plan, &plan.matrix.zip[index]).len()
            }
            None => (axis.values)(plan).len(),
        };
        // An axis without values leaves the product as it is.
        cells = cells.saturating_mul(values.max(1) as u64);
    }
    cells.saturating_add(plan.matrix.add.len() as u64)
}

/// All cells of a plan in matrix order: the last axis runs fastest, added cells come last.
pub(crate) fn expand(plan: &Plan) -> Vec<Cell> {
    expand_all(plan).into_iter().map(|expanded| expanded.cell).collect()
}

/// As [`expand`], with what changed each cell.
pub(crate) fn expand_all(plan: &Plan) -> Vec<Expanded> {
    let mut cells = product(plan);
    cells.retain(|cell| !plan.matrix.exclude.iter().any(|rule| rule::matches(rule, cell)));
    for keys in &plan.matrix.add {
        cells.extend(added(plan, keys).ok());
    }
    let parts = parts(&named(plan));
    let name = |mut cell: Cell| {
        cell.id = id(&cell, &parts);
        changed(cell, plan)
    };
    cells.into_iter().map(name).collect()
}

/// The cells of the axes, before any is excluded, and without ids.
pub(crate) fn product(plan: &Plan) -> Vec<Cell> {
    let mut cells = vec![blank(plan)];
    let mut zipped: Vec<usize> = Vec::new();
    for axis in AXES {
        let Some(index) = plan.matrix.zip.iter().position(|zip| zip.get(axis.key).is_some()) else {
            let moves: Vec<_> = (axis.values)(plan).into_iter().map(|value| vec![(axis, value)]).collect();
            cells = moved(cells, &moves, plan);
            continue;
        };
        // Axes that go together move where the first of them stands.
        if !zipped.contains(&index) {
            zipped.push(index);
            cells = moved(cells, &rows(plan, &plan.matrix.zip[index]), plan);
        }
    }
    cells
}

/// Each cell moved to each of some coordinates; where there are none it stays.
fn moved(cells: Vec<Cell>, moves: &[Vec<(&'static Axis, AxisValue)>], plan: &Plan) -> Vec<Cell> {
    if moves.is_empty() {
        return cells;
    }
    let each = |cell: Cell| {
        moves.iter().map(move |coordinates| {
            let mut moved = cell.clone();
            for (axis, value) in coordinates {
                (axis.set)(&mut moved, value, plan);
            }
            moved
        })
    };
    cells.into_iter().flat_map(each).collect()
}

/// The rows of axes that go together, as far as all of them have a value.
pub(crate) fn rows(plan: &Plan, zip: &Keys) -> Vec<Vec<(&'static Axis, AxisValue)>> {
    let read = |axis: &'static Axis| zip.get(axis.key).map(|list| (axis, listed(plan, axis, list).unwrap_or_default()));
    let columns: Vec<(&Axis, Vec<AxisValue>)> = AXES.iter().filter_map(read).collect();
    let length = columns.iter().map(|(_, values)| values.len()).min().unwrap_or(0);
    (0..length).map(|row| columns.iter().map(|(axis, values)| (*axis, values[row].clone())).collect()).collect()
}

/// A list of values as `[matrix]` reads it.
///
/// # Errors
/// What `[matrix]` says of it.
pub(crate) fn listed(plan: &Plan, axis: &Axis, list: &Value) -> Result<Vec<AxisValue>, serde_json::Error> {
    let empty = list.as_array().is_some_and(Vec::is_empty);
    let mut tree = serde_json::Map::new();
    tree.insert(axis.key.into(), list.clone());
    let matrix: Matrix = serde_json::from_value(Value::Object(tree))?;
    // An empty list would be taken for one that is not said.
    Ok(if empty { Vec::new() } else { (axis.values)(&Plan { matrix, ..plan.clone() }) })
}

/// Why an added cell is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoCell {
    /// What is wrong is the value of this attribute.
    Wrong(String, String),
    /// An attribute that is not said, and the values that it could have.
    Missing(&'static str, Vec<String>),
}

/// The cell that an entry of `matrix.add` describes: what it does not say is the only value of its axis.
///
/// # Errors
/// What is missing or cannot be read.
pub(crate) fn added(plan: &Plan, keys: &Keys) -> Result<Cell, NoCell> {
    let mut cell = blank(plan);
    let demand_said = DEMANDS.iter().any(|field| keys.get(field).is_some());
    for axis in AXES {
        let value = if let Some(value) = keys.get(axis.field) {
            let wrong = |error: serde_json::Error| NoCell::Wrong(axis.field.into(), error.to_string());
            listed(plan, axis, &Value::Array(vec![value.clone()])).map_err(wrong)?.pop()
        } else if demand_said && DEMANDS.contains(&axis.field) {
            None
        } else {
            match &in_axes(plan, axis)[..] {
                [] => None,
                [only] => Some(only.clone()),
                several => {
                    return Err(NoCell::Missing(axis.field, several.iter().map(ToString::to_string).collect()));
                }
            }
        };
        if let Some(value) = value {
            (axis.set)(&mut cell, &value, plan);
        }
    }
    Ok(cell)
}

/// The values that an axis has in the product, each once.
fn in_axes(plan: &Plan, axis: &'static Axis) -> Vec<AxisValue> {
    let mut values: Vec<AxisValue> = Vec::new();
    let all = named(plan).into_iter().filter(|named| named.axis.key == axis.key && !named.at.starts_with("matrix.add"));
    for named in all {
        if !values.contains(&named.value) {
            values.push(named.value);
        }
    }
    values
}

/// Every value of every axis that a plan names, in the order of the table, then of the plan.
pub(crate) fn named(plan: &Plan) -> Vec<Named> {
    let mut all = Vec::new();
    for axis in AXES {
        let mut name = |value, at| all.push(Named { axis, value, at });
        let mut zipped = false;
        for (index, list) in plan.matrix.zip.iter().enumerate().filter_map(|(i, zip)| Some((i, zip.get(axis.key)?))) {
            zipped = true;
            for (item, value) in listed(plan, axis, list).unwrap_or_default().into_iter().enumerate() {
                name(value, format!("matrix.zip[{index}].{}[{item}]", axis.key));
            }
        }
        if !zipped {
            for (item, value) in (axis.values)(plan).into_iter().enumerate() {
                name(value, format!("matrix.{}[{item}]", axis.key));
            }
        }
        for (index, value) in plan.matrix.add.iter().enumerate().filter_map(|(i, add)| Some((i, add.get(axis.field)?)))
        {
            for value in listed(plan, axis, &Value::Array(vec![value.clone()])).unwrap_or_default() {
                name(value, format!("matrix.add[{index}].{}", axis.field));
            }
        }
    }
    all
}

/// A cell with the overrides that mean it; one that changes the coordinates changes nothing of whom the
/// others mean.
fn changed(cell: Cell, plan: &Plan) -> Expanded {
    let means = |index: &usize| rule::matches(&plan.overrides[*index].when, &cell);
    let overrides: Vec<usize> = (0..plan.overrides.len()).filter(means).collect();
    let mut cell = cell;
    for index in &overrides {
        let laid = &plan.overrides[*index];
        cell.load = laid.load(&cell.load).unwrap_or(cell.load);
        cell.request = laid.request(&cell.request).unwrap_or(cell.request);
    }
    Expanded { cell, overrides }
}

fn blank(plan: &Plan) -> Cell {
    Cell {
        id: String::new(),
        model_id: String::new(),
        api: Api::Converse,
        cache_mode: CacheMode::AsIs,
        region: None,
        region_prefix: String::new(),
        service_tier: String::new(),
        prompt_size: String::new(),
        users: None,
        arrival_rate: None,
        profile: None,
        load: plan.load.clone(),
        request: plan.request.clone(),
    }
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
    bounded(&front.chain(rest).collect::<Vec<_>>().join("_"), LONGEST_ID)
}

/// Text for each value of each axis.
fn parts(named: &[Named]) -> Vec<HashMap<AxisValue, String>> {
    let of =
        |key: &'static str| named.iter().filter(move |named| named.axis.key == key).map(|named| named.value.clone());
    AXES.iter().map(|axis| unique_parts(of(axis.key), axis.id_part)).collect()
}

/// Text for each value of an axis; values whose text falls together are numbered, in their order.
/// Compared without case, since some file systems do not tell `A` from `a`.
fn unique_parts(values: impl Iterator<Item = AxisValue>, text: fn(&AxisValue) -> String) -> HashMap<AxisValue, String> {
    let mut taken: Vec<String> = Vec::new();
    let mut parts = HashMap::new();
    for value in values {
        if parts.contains_key(&value) {
            continue;
        }
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
