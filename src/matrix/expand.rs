//! Expansion of a plan into cells: the product of the axes (some combined by `zip`), without excluded cells, with added
//! cells, each with a unique id and the matching overrides. Invalid parts of a plan are ignored here; the check of a plan
//! reports them.

use super::axes::{AXES, Axis, IdUse};
use super::{AxisValue, Cell, rule};
use crate::plan::{Api, CacheMode, Keys, Matrix, Plan};
use crate::units::id::{MAX_ID_BYTES, shortened};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// Fields that set the load of a cell; a cell has exactly one of them.
pub(crate) const LOAD_FIELDS: [&str; 3] = ["users", "arrival_rate", "profile"];

/// A value of an axis in the plan, with its key.
pub(crate) struct NamedValue {
    pub(crate) axis: &'static Axis,
    pub(crate) value: AxisValue,
    /// Dotted key: `matrix.users[1]`, `matrix.zip[0].users[1]`, `matrix.add[2].users`.
    pub(crate) at: String,
}

/// A cell with the overrides that apply to it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expanded {
    pub(crate) cell: Cell,
    /// Indices into `plan.overrides`, in the order of the plan.
    pub(crate) overrides: Vec<usize>,
}

/// Returns the number of cells that [`product`] and `matrix.add` would create. `exclude` is not applied: the product
/// needs memory before any cell is excluded. Saturates.
pub(crate) fn count_cells(plan: &Plan) -> u64 {
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

/// Returns all cells of a plan in matrix order: the last axis varies fastest, added cells follow.
pub(crate) fn expand(plan: &Plan) -> Vec<Cell> {
    expand_all(plan).into_iter().map(|expanded| expanded.cell).collect()
}

/// Expands like [`expand`], with the overrides of each cell.
pub(crate) fn expand_all(plan: &Plan) -> Vec<Expanded> {
    let mut cells = product(plan);
    cells.retain(|cell| !plan.matrix.exclude.iter().any(|rule| rule::matches(rule, cell)));
    for keys in &plan.matrix.add {
        cells.extend(added_cell(plan, keys).ok());
    }
    let parts = id_parts(&named_values(plan));
    let name = |mut cell: Cell| {
        cell.id = cell_id(&cell, &parts);
        apply_overrides(cell, plan)
    };
    cells.into_iter().map(name).collect()
}

/// Returns the product of the axes, before exclusion and without ids.
pub(crate) fn product(plan: &Plan) -> Vec<Cell> {
    let mut cells = vec![empty_cell(plan)];
    let mut zipped: Vec<usize> = Vec::new();
    for axis in AXES {
        let Some(index) = plan.matrix.zip.iter().position(|zip| zip.get(axis.key).is_some()) else {
            let coordinates: Vec<_> = (axis.values)(plan).into_iter().map(|value| vec![(axis, value)]).collect();
            cells = with_coordinates(cells, &coordinates, plan);
            continue;
        };
        // Zipped axes take the position of the first of them.
        if !zipped.contains(&index) {
            zipped.push(index);
            cells = with_coordinates(cells, &rows(plan, &plan.matrix.zip[index]), plan);
        }
    }
    cells
}

/// Returns each cell with each set of coordinates; if there are none, the cells unchanged.
fn with_coordinates(cells: Vec<Cell>, sets: &[Vec<(&'static Axis, AxisValue)>], plan: &Plan) -> Vec<Cell> {
    if sets.is_empty() {
        return cells;
    }
    let each = |cell: Cell| {
        sets.iter().map(move |coordinates| {
            let mut placed = cell.clone();
            for (axis, value) in coordinates {
                (axis.set)(&mut placed, value, plan);
            }
            placed
        })
    };
    cells.into_iter().flat_map(each).collect()
}

/// Returns the rows of zipped axes, up to the shortest list.
pub(crate) fn rows(plan: &Plan, zip: &Keys) -> Vec<Vec<(&'static Axis, AxisValue)>> {
    let read =
        |axis: &'static Axis| zip.get(axis.key).map(|list| (axis, parse_values(plan, axis, list).unwrap_or_default()));
    let columns: Vec<(&Axis, Vec<AxisValue>)> = AXES.iter().filter_map(read).collect();
    let length = columns.iter().map(|(_, values)| values.len()).min().unwrap_or(0);
    (0..length).map(|row| columns.iter().map(|(axis, values)| (*axis, values[row].clone())).collect()).collect()
}

/// Parses a list of values as `[matrix]` does.
///
/// # Errors
/// Fails if `[matrix]` does not accept a value.
pub(crate) fn parse_values(plan: &Plan, axis: &Axis, list: &Value) -> Result<Vec<AxisValue>, serde_json::Error> {
    let empty = list.as_array().is_some_and(Vec::is_empty);
    let mut tree = serde_json::Map::new();
    tree.insert(axis.key.into(), list.clone());
    let matrix: Matrix = serde_json::from_value(Value::Object(tree))?;
    // An empty list would count as not set.
    Ok(if empty { Vec::new() } else { (axis.values)(&Plan { matrix, ..plan.clone() }) })
}

/// Why an added cell is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddError {
    /// An attribute with an invalid value, and the message.
    Invalid(String, String),
    /// A missing attribute, and its possible values.
    Missing(&'static str, Vec<String>),
}

/// Returns the cell of an entry in `matrix.add`. An attribute that is not set takes the only value of its axis.
///
/// # Errors
/// Fails if an attribute is missing or invalid.
pub(crate) fn added_cell(plan: &Plan, keys: &Keys) -> Result<Cell, AddError> {
    let mut cell = empty_cell(plan);
    let has_load = LOAD_FIELDS.iter().any(|field| keys.get(field).is_some());
    for axis in AXES {
        let value = if let Some(value) = keys.get(axis.field) {
            let invalid = |error: serde_json::Error| AddError::Invalid(axis.field.into(), error.to_string());
            parse_values(plan, axis, &Value::Array(vec![value.clone()])).map_err(invalid)?.pop()
        } else if has_load && LOAD_FIELDS.contains(&axis.field) {
            None
        } else {
            match &product_values(plan, axis)[..] {
                [] => None,
                [only] => Some(only.clone()),
                several => {
                    return Err(AddError::Missing(axis.field, several.iter().map(ToString::to_string).collect()));
                }
            }
        };
        if let Some(value) = value {
            (axis.set)(&mut cell, &value, plan);
        }
    }
    Ok(cell)
}

/// Returns the distinct values of an axis in the product.
fn product_values(plan: &Plan, axis: &'static Axis) -> Vec<AxisValue> {
    let mut values: Vec<AxisValue> = Vec::new();
    let all = named_values(plan)
        .into_iter()
        .filter(|named| named.axis.key == axis.key && !named.at.starts_with("matrix.add"));
    for named in all {
        if !values.contains(&named.value) {
            values.push(named.value);
        }
    }
    values
}

/// Returns every value of every axis in the plan, in table order, then in plan order.
pub(crate) fn named_values(plan: &Plan) -> Vec<NamedValue> {
    let mut all = Vec::new();
    for axis in AXES {
        let mut name = |value, at| all.push(NamedValue { axis, value, at });
        let mut is_zipped = false;
        for (index, list) in plan.matrix.zip.iter().enumerate().filter_map(|(i, zip)| Some((i, zip.get(axis.key)?))) {
            is_zipped = true;
            for (item, value) in parse_values(plan, axis, list).unwrap_or_default().into_iter().enumerate() {
                name(value, format!("matrix.zip[{index}].{}[{item}]", axis.key));
            }
        }
        if !is_zipped {
            for (item, value) in (axis.values)(plan).into_iter().enumerate() {
                name(value, format!("matrix.{}[{item}]", axis.key));
            }
        }
        for (index, value) in plan.matrix.add.iter().enumerate().filter_map(|(i, add)| Some((i, add.get(axis.field)?)))
        {
            for value in parse_values(plan, axis, &Value::Array(vec![value.clone()])).unwrap_or_default() {
                name(value, format!("matrix.add[{index}].{}", axis.field));
            }
        }
    }
    all
}

/// Applies the matching overrides to a cell. Rules are matched against the cell before any override.
fn apply_overrides(cell: Cell, plan: &Plan) -> Expanded {
    let is_match = |index: &usize| rule::matches(&plan.overrides[*index].when, &cell);
    let overrides: Vec<usize> = (0..plan.overrides.len()).filter(is_match).collect();
    let mut cell = cell;
    for index in &overrides {
        let keys = &plan.overrides[*index];
        cell.load = keys.load(&cell.load).unwrap_or(cell.load);
        cell.request = keys.request(&cell.request).unwrap_or(cell.request);
    }
    Expanded { cell, overrides }
}

fn empty_cell(plan: &Plan) -> Cell {
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

fn cell_id(cell: &Cell, parts: &[HashMap<AxisValue, String>]) -> String {
    let part = |id_use: IdUse, index: usize| {
        let has_several = parts[index].len() > 1;
        let axis = &AXES[index];
        if axis.id_use != id_use || (id_use == IdUse::WhenSeveral && !has_several) {
            return None;
        }
        parts[index].get(&(axis.get)(cell)).cloned()
    };
    let front = (0..AXES.len()).filter_map(|index| part(IdUse::WhenSeveral, index));
    let rest = (0..AXES.len()).filter_map(|index| part(IdUse::Always, index));
    shortened(&front.chain(rest).collect::<Vec<_>>().join("_"), MAX_ID_BYTES)
}

/// Returns the id part of each value of each axis.
fn id_parts(named: &[NamedValue]) -> Vec<HashMap<AxisValue, String>> {
    let values =
        |key: &'static str| named.iter().filter(move |named| named.axis.key == key).map(|named| named.value.clone());
    AXES.iter().map(|axis| unique_parts(values(axis.key), axis.id_part)).collect()
}

/// Returns a unique id part for each value of an axis; equal parts are numbered in order. The comparison ignores case,
/// since some file systems do.
fn unique_parts(values: impl Iterator<Item = AxisValue>, text: fn(&AxisValue) -> String) -> HashMap<AxisValue, String> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut parts = HashMap::new();
    for value in values {
        if parts.contains_key(&value) {
            continue;
        }
        let base = text(&value);
        let mut unique = base.clone();
        let mut number = 2;
        while taken.contains(&unique.to_ascii_lowercase()) {
            unique = format!("{base}-{number}");
            number += 1;
        }
        taken.insert(unique.to_ascii_lowercase());
        parts.insert(value, unique);
    }
    parts
}
