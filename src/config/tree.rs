//! A plan as a tree of values by dotted keys, and the keys that nobody knows in it.

use super::file::PlanFile;
use super::keys::{free_table, is_table_list};
use super::problem::{Problem, nearest};
use serde_json::{Map, Value};

/// Reports keys that nobody knows, and values where tables belong, and takes them out.
pub(super) fn unknown_keys(
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
            let table = if path.is_empty() { "the top of a plan".to_owned() } else { format!("[{path}]") };
            let at = if path.is_empty() { "at" } else { "in" };
            let hint = similar_table(key, value, known)
                .or_else(|| elsewhere(key, value, whole).map(|place| format!("it belongs to {place}")))
                .or_else(|| {
                    nearest(key, known.keys().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
                })
                .unwrap_or_else(|| format!("{table} has {}", names(known.keys())));
            problems.push(Problem::new(file.key(&here), format!("unknown key `{key}` {at} {table}")).hint(Some(hint)));
            return false;
        };
        let is_free = free_table(&here).is_some();
        match (inner.is_object() || is_free, value.is_object()) {
            (true, true) if is_free => true,
            (true, false) => {
                problems.push(Problem::new(file.value(&here), format!("`{key}` is a table: write [{here}]")));
                false
            }
            (false, true) => {
                let problem = if is_table_list(&here) {
                    let message = format!("`{key}` is a list of tables, not one");
                    Problem::new(file.key(&here), message).hint(Some(format!("write [[{here}]]")))
                } else {
                    let hint = (here == "matrix.exclude").then_some("write exclude = [{ ... }], a list of rules");
                    Problem::new(file.key(&here), format!("`{key}` is a value, not a table")).hint(hint)
                };
                problems.push(problem);
                false
            }
            _ => {
                unknown_keys(file, value, inner, &here, whole, problems);
                true
            }
        }
    });
}

/// For a key with a table as its value: the table with a similar name.
fn similar_table(key: &str, value: &Value, known: &Map<String, Value>) -> Option<String> {
    let is_list = value.as_array().is_some_and(|items| items.iter().all(Value::is_object));
    let is_table = |(name, shape): &(&String, &Value)| {
        if is_list { is_table_list(name) } else { shape.is_object() }
    };
    let tables = known.iter().filter(is_table).map(|(name, _)| name.as_str());
    let near = (value.is_object() || is_list && value != &Value::Array(Vec::new())).then(|| nearest(key, tables))??;
    Some(if is_list { format!("did you mean [[{near}]]?") } else { format!("did you mean [{near}]?") })
}

/// The table in which a misplaced key is known; of several, one whose default is of the value's type.
fn elsewhere(key: &str, value: &Value, whole: &Value) -> Option<String> {
    let tables = whole.as_object()?;
    if tables.get(key).is_some() {
        return Some("the top of the plan, before the first [table]".into());
    }
    let fits = |default: &Value| match default {
        // A key without a default: a list, in most cases.
        Value::Null => value.is_array(),
        default => std::mem::discriminant(default) == std::mem::discriminant(value),
    };
    let owners = || tables.iter().filter_map(|(table, inner)| inner.get(key).map(|default| (table, default)));
    let (table, _) = owners().find(|(_, default)| fits(default)).or_else(|| owners().next())?;
    Some(format!("[{table}]"))
}

pub(super) fn names<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    keys.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

pub(super) fn get<'v>(tree: &'v Value, key: &str) -> Option<&'v Value> {
    key.split('.').try_fold(tree, |inner, part| inner.get(part))
}

pub(super) fn set(tree: &mut Value, key: &str, value: Value) {
    *tree_item(tree, key) = value;
}

/// Takes a key out of a value that stands at `at`; what is not there stays so.
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

/// Takes a key out of a table that is an item of a list, at `slo[0].p95`; false where nothing is there.
pub(super) fn remove_from_item(tree: &mut Value, path: &str) -> bool {
    let Some((list, rest)) = path.split_once('[') else { return false };
    let Some((index, inner)) = rest.split_once("].") else { return false };
    let item = get(tree, list)
        .is_some()
        .then(|| tree_item(tree, list))
        .and_then(|list| list.get_mut(index.parse::<usize>().ok()?));
    let Some(Value::Object(table)) = item else { return false };
    // A key may have a dot of its own: "p99.9". What is deeper goes with all that is around it, where
    // that may be left out.
    let outer = inner.split(['.', '[']).next().unwrap_or_default();
    table.remove(inner).is_some() || ((outer == "when" || !inner.contains('[')) && table.remove(outer).is_some())
}

/// Stands for an item of a list that could not be read: of the type of the default's items, and
/// something that nobody asks for.
pub(super) fn stand_in(default: &Value, number: usize) -> Value {
    match default.get(0) {
        Some(Value::String(_)) => format!("item {number}").into(),
        _ => (u32::MAX as usize - number).into(),
    }
}

/// The index that a path ends with.
pub(super) fn item(path: &str) -> Option<usize> {
    path.strip_suffix(']')?.rsplit_once('[')?.1.parse().ok()
}

pub(super) fn tree_item<'v>(tree: &'v mut Value, key: &str) -> &'v mut Value {
    key.split('.').fold(tree, |inner, part| &mut inner[part])
}

/// The dotted keys of everything that is no table.
pub(super) fn leaves(tree: &Value) -> Vec<String> {
    fn walk(tree: &Value, path: &str, found: &mut Vec<String>) {
        match tree {
            // A key with dots of its own cannot be found by a dotted path: its table is shown whole.
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
