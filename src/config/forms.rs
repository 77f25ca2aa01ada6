//! Rules for the forms of a plan that apply to some of its cells: `exclude`, `[[matrix.zip]]`, `[[matrix.add]]` and
//! `[[override]]`. Their values are parsed like those of the tables that own the keys.

use super::layers::describe_type_error;
use super::problem::nearest;
use super::violations::Violations;
use crate::matrix::{AXES, AddError, Axis, Cell, LOAD_FIELDS, added_cell, expand, parse_values, product, rows, rule};
use crate::plan::{Keys, Load, Override, Plan, RUN_KEYS, Request, apply_keys, field_names};
use serde_json::Value;

/// Checks all forms.
pub(super) fn check(plan: &Plan, violations: &mut Violations) {
    let product = product(plan);
    exclude(plan, &product, violations);
    zip(plan, violations);
    add(plan, &product, violations);
    overrides(plan, violations);
}

/// Returns a hint: the most similar of the known names, or all of them after `prefix`.
fn suggest(name: &str, names: &[&str], prefix: &str) -> String {
    nearest(name, names.iter().copied()).map_or_else(
        || format!("{prefix} {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    )
}

fn exclude(plan: &Plan, product: &[Cell], violations: &mut Violations) {
    for (index, rule) in plan.matrix.exclude.iter().enumerate() {
        violations.require_match(&format!("matrix.exclude[{index}]"), rule, product);
    }
    let none_left = product.iter().all(|cell| plan.matrix.exclude.iter().any(|rule| rule::matches(rule, cell)));
    violations.require(
        plan.matrix.exclude.is_empty() || product.is_empty() || !none_left || !plan.matrix.add.is_empty(),
        &["matrix.exclude"],
        "every cell is excluded",
        "remove or narrow a rule: it excludes the cells that have all of its attributes",
    );
}

fn zip(plan: &Plan, violations: &mut Violations) {
    let keys: Vec<&str> = AXES.iter().map(|axis| axis.key).collect();
    for (index, zip) in plan.matrix.zip.iter().enumerate() {
        let at = format!("matrix.zip[{index}]");
        let example = "write prompt_sizes = [\"small\", \"large\"] and max_tokens = [64, 512]";
        violations.require(zip.iter().count() > 1, &[&at], "[[matrix.zip]] needs at least two axes", example);
        let mut first: Option<(&str, usize)> = None;
        for (key, list) in zip.iter() {
            let place = format!("{at}.{key}");
            let Some(axis) = AXES.iter().find(|axis| axis.key == key) else {
                let hint = suggest(key, &keys, "the axes are");
                violations.report(&[&place], format!("unknown axis `{key}`"), hint);
                continue;
            };
            values(plan, axis, list, &place, violations);
            let Some(length) = list.as_array().map(Vec::len) else { continue };
            violations.require(
                length > 0,
                &[&place],
                || format!("`{key}` is empty"),
                "an axis needs at least one value",
            );
            let (leader, wanted) = *first.get_or_insert((key, length));
            violations.require(
                length == wanted,
                &[&place],
                || format!("`{key}` has {length} values, but `{leader}` has {wanted}"),
                "zipped lists must have the same length: their values are paired by position",
            );
        }
        let rows = rows(plan, zip);
        for (number, row) in rows.iter().enumerate() {
            let same = |other: &Vec<_>| row.iter().zip(other).all(|((_, one), (_, other))| one == other);
            let texts: Vec<String> = row.iter().map(|(_, value)| format!("`{value}`")).collect();
            let message = || format!("{} are zipped twice", texts.join(" and "));
            violations.require(!rows[..number].iter().any(same), &[&at], message, "remove one of them");
        }
    }
}

/// Reports the values of a list that the axis cannot parse.
fn values(plan: &Plan, axis: &Axis, list: &Value, at: &str, violations: &mut Violations) {
    let key = format!("matrix.{}", axis.key);
    let Some(items) = list.as_array() else {
        if let Err(error) = parse_values(plan, axis, list) {
            violations.report(&[at], describe_type_error(&key, &error.to_string()), "");
        }
        return;
    };
    for (index, item) in items.iter().enumerate() {
        if let Err(error) = parse_values(plan, axis, &Value::Array(vec![item.clone()])) {
            violations.report(&[&format!("{at}[{index}]")], describe_type_error(&key, &error.to_string()), "");
        }
    }
}

fn add(plan: &Plan, product: &[Cell], violations: &mut Violations) {
    let attributes: Vec<&str> = AXES.iter().map(|axis| axis.field).collect();
    let excluded = |cell: &&Cell| plan.matrix.exclude.iter().any(|rule| rule::matches(rule, cell));
    let mut earlier: Vec<Cell> = product.iter().filter(|cell| !excluded(cell)).cloned().collect();
    let ids: Vec<String> = expand(plan).into_iter().map(|cell| cell.id).collect();
    for (index, keys) in plan.matrix.add.iter().enumerate() {
        let at = format!("matrix.add[{index}]");
        let mut has_known_keys = true;
        for (name, _) in keys.iter().filter(|(name, _)| !attributes.contains(name)) {
            has_known_keys = false;
            let hint = suggest(name, &attributes, "a cell has");
            violations.report(&[&format!("{at}.{name}")], format!("no cell has an attribute `{name}`"), hint);
        }
        let demands: Vec<&str> = LOAD_FIELDS.into_iter().filter(|field| keys.get(field).is_some()).collect();
        if let [first, second, ..] = demands[..] {
            let message = format!("`{first}` and `{second}` are mutually exclusive");
            violations.report(&[&format!("{at}.{second}")], message, "remove one of them");
        }
        match added_cell(plan, keys) {
            Ok(cell) => {
                let same = |other: &Cell| AXES.iter().all(|axis| (axis.get)(other) == (axis.get)(&cell));
                if let Some(found) = earlier.iter().position(same) {
                    let id = ids.get(found).map_or("", String::as_str);
                    violations.report(
                        &[&at],
                        format!("the cell `{id}` already exists"),
                        "`add` creates cells; to change existing ones, use [[override]]",
                    );
                }
                earlier.push(cell);
            }
            Err(AddError::Invalid(field, message)) => {
                let key = AXES.iter().find(|axis| axis.field == field).map_or(field.as_str(), |axis| axis.key);
                violations.report(
                    &[&format!("{at}.{field}")],
                    describe_type_error(&format!("matrix.{key}"), &message),
                    "",
                );
            }
            Err(AddError::Missing(field, values)) if has_known_keys => {
                let values = values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
                violations.report(
                    &[&at],
                    format!("the added cell does not set `{field}`, and the matrix has several: {values}"),
                    "set it; only an axis with one value may be omitted",
                );
            }
            Err(AddError::Missing(..)) => {}
        }
    }
}

fn overrides(plan: &Plan, violations: &mut Violations) {
    if plan.overrides.is_empty() {
        return;
    }
    let cells = expand(&Plan { overrides: Vec::new(), ..plan.clone() });
    for (index, Override { when, keys }) in plan.overrides.iter().enumerate() {
        let at = format!("override[{index}]");
        violations.require(
            !when.is_empty(),
            &[&format!("{at}.when"), &at],
            "an override without `when` applies to every cell",
            "write when = { service_tier = \"flex\" }, or move the keys to [load] or [request]",
        );
        violations.require_match(&format!("{at}.when"), when, &cells);
        violations.require(
            keys.iter().next().is_some(),
            &[&at],
            "an override changes nothing",
            "add keys of [load] or [request], such as timeout = \"30m\"",
        );
        changes(plan, keys, &at, violations);
    }
}

/// Checks the keys of an override.
fn changes(plan: &Plan, keys: &Keys, at: &str, violations: &mut Violations) {
    let names: Vec<&str> = field_names::<Load>()
        .iter()
        .chain(field_names::<Request>())
        .copied()
        .filter(|name| !RUN_KEYS.contains(name))
        .collect();
    let axis = AXES.iter().find(|axis| axis.key == "max_tokens");
    let is_axis = axis.is_some_and(|axis| {
        !plan.matrix.max_tokens.is_empty() || plan.matrix.zip.iter().any(|zip| zip.get(axis.key).is_some())
    });
    for (key, value) in keys.iter() {
        let place = format!("{at}.{key}");
        if RUN_KEYS.contains(&key) {
            let message = format!("`{key}` applies to the whole run and cannot be overridden per cell");
            violations.report(&[&place], message, "set it in [load]");
            continue;
        }
        if key == "max_tokens" && is_axis {
            violations.report(
                &[&place],
                "`max_tokens` is an axis of this plan",
                "remove it here: the matrix sets it for every cell",
            );
            continue;
        }
        let change = || std::iter::once((key, value));
        let read = if field_names::<Load>().contains(&key) {
            apply_keys(&plan.load, change()).map(|_| "load")
        } else if field_names::<Request>().contains(&key) {
            apply_keys(&plan.request, change()).map(|_| "request")
        } else {
            let hint = suggest(key, &names, "an override has `when` and");
            violations.report(&[&place], format!("unknown key `{key}` in [[override]]"), hint);
            continue;
        };
        if let Err(error) = read {
            let table = if field_names::<Load>().contains(&key) { "load" } else { "request" };
            violations.report(&[&place], describe_type_error(&format!("{table}.{key}"), &error.to_string()), "");
        }
    }
}
