//! A plan as a tree of values by dotted keys, and the check for unknown keys.

use super::file::PlanFile;
use super::keys::{free_table, is_table_list};
use super::problem::{Problem, nearest};
use serde_json::{Map, Value};

/// Reports and removes unknown keys, and values in place of tables.
pub(super) fn remove_unknown_keys(
    file: &PlanFile,
    tree: &mut Value,
    shape: &Value,
    path: &str,
    whole: &Value,
    problems: &mut Vec<Problem>,
) {
    let (Value::Object(map), Value::Object(known)) = (tree, shape) else { return };
    map.retain(|key, value| {
        let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let Some(inner) = known.get(key) else {
            let table = if path.is_empty() { "the top level".to_owned() } else { format!("[{path}]") };
            let at = if path.is_empty() { "at" } else { "in" };
            let hint = similar_table(key, value, known)
                .or_else(|| owning_table(key, value, whole).map(|place| format!("move it to {place}")))
                .or_else(|| {
                    nearest(key, known.keys().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
                })
                .unwrap_or_else(|| format!("{table} accepts {}", list_names(known.keys())));
            problems.push(Problem::new(file.key(&here), format!("unknown key `{key}` {at} {table}")).hint(Some(hint)));
            return false;
        };
        let is_free = free_table(&here).is_some();
        match (inner.is_object() || is_free, value.is_object()) {
            (true, true) if is_free => true,
            (true, false) => {
                problems.push(
                    Problem::new(file.value(&here), format!("`{key}` is a table"))
                        .hint(Some(format!("write [{here}]"))),
                );
                false
            }
            (false, true) => {
                let problem = if is_table_list(&here) {
                    let message = format!("`{key}` is a list of tables, not a table");
                    Problem::new(file.key(&here), message).hint(Some(format!("write [[{here}]]")))
                } else {
                    let hint = (here == "matrix.exclude").then_some("write a list of rules: exclude = [{ ... }]");
                    Problem::new(file.key(&here), format!("`{key}` is a value, not a table")).hint(hint)
                };
                problems.push(problem);
                false
            }
            _ => {
                remove_unknown_keys(file, value, inner, &here, whole, problems);
                true
            }
        }
    });
}

/// Returns a hint for a key whose value is a table or a list of tables: the table with a similar name.
fn similar_table(key: &str, value: &Value, known: &Map<String, Value>) -> Option<String> {
    let is_list = value.as_array().is_some_and(|items| items.iter().all(Value::is_object));
    let is_table = |(name, shape): &(&String, &Value)| {
        if is_list { is_table_list(name) } else { shape.is_object() }
    };
    let tables = known.iter().filter(is_table).map(|(name, _)| name.as_str());
    let near = (value.is_object() || is_list && value != &Value::Array(Vec::new())).then(|| nearest(key, tables))??;
    Some(if is_list { format!("did you mean [[{near}]]?") } else { format!("did you mean [{near}]?") })
}

/// Returns the table that accepts a misplaced key; of several, one whose default has the type of the value.
fn owning_table(key: &str, value: &Value, whole: &Value) -> Option<String> {
    let tables = whole.as_object()?;
    if tables.get(key).is_some() {
        return Some("the top of the plan, before the first [table]".into());
    }
    let fits = |default: &Value| match default {
        // Most keys without a default are lists.
        Value::Null => value.is_array(),
        default => std::mem::discriminant(default) == std::mem::discriminant(value),
    };
    let owners = || tables.iter().filter_map(|(table, inner)| inner.get(key).map(|default| (table, default)));
    let (table, _) = owners().find(|(_, default)| fits(default)).or_else(|| owners().next())?;
    Some(format!("[{table}]"))
}

fn list_names<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    keys.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

pub(super) fn get<'v>(tree: &'v Value, key: &str) -> Option<&'v Value> {
    key.split('.').try_fold(tree, |inner, part| inner.get(part))
}

pub(super) fn set(tree: &mut Value, key: &str, value: Value) {
    *entry_mut(tree, key) = value;
}

/// Removes a key from a value at the path `at`.
pub(super) fn remove(value: &mut Value, at: &str, key: &str) {
    if at == key {
        *value = Value::Null;
    } else if at.is_empty() {
        let (tables, last) = key.rsplit_once('.').unwrap_or(("", key));
        let table =
            tables.split('.').filter(|part| !part.is_empty()).try_fold(value, |inner, part| inner.get_mut(part));
        if let Some(Value::Object(map)) = table {
            map.remove(last);
        }
    }
}

/// Removes a key such as `slo[0].p95` from a table in a list. Returns whether it existed.
pub(super) fn remove_from_item(tree: &mut Value, path: &str) -> bool {
    let Some((list, rest)) = path.split_once('[') else { return false };
    let Some((index, inner)) = rest.split_once("].") else { return false };
    let item = get(tree, list)
        .is_some()
        .then(|| entry_mut(tree, list))
        .and_then(|list| list.get_mut(index.parse::<usize>().ok()?));
    let Some(Value::Object(table)) = item else { return false };
    // A key may contain a dot: "p99.9". Deeper values are removed with the enclosing optional key.
    let outer = inner.split(['.', '[']).next().unwrap_or_default();
    table.remove(inner).is_some() || ((outer == "when" || !inner.contains('[')) && table.remove(outer).is_some())
}

/// Returns a value for an item of a list that could not be parsed: of the type of the default's items, and unlike any
/// real value.
pub(super) fn placeholder(default: &Value, number: usize) -> Value {
    match default.get(0) {
        Some(Value::String(_)) => format!("item {number}").into(),
        _ => (u32::MAX as usize - number).into(),
    }
}

/// Returns the index that a path ends with.
pub(super) fn trailing_index(path: &str) -> Option<usize> {
    path.strip_suffix(']')?.rsplit_once('[')?.1.parse().ok()
}

pub(super) fn entry_mut<'v>(tree: &'v mut Value, key: &str) -> &'v mut Value {
    key.split('.').fold(tree, |inner, part| &mut inner[part])
}

/// Returns the dotted keys of everything that is not a table.
pub(super) fn leaves(tree: &Value) -> Vec<String> {
    fn walk(tree: &Value, path: &str, found: &mut Vec<String>) {
        match tree {
            // A key that contains dots has no dotted path: its table counts as one value.
            Value::Object(map) if map.keys().all(|key| !key.contains('.')) => {
                for (key, value) in map {
                    let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(value, &here, found);
                }
            }
            _ => found.push(path.to_owned()),
        }
    }
    let mut found = Vec::new();
    walk(tree, "", &mut found);
    found
}
