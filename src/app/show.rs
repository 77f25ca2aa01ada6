//! `show`: prints what a plan would run, and the origin of each value. Sends no request and writes no file.

use super::cells::select;
use super::plan_text::toml_in;
use super::plan_warnings::warnings;
use super::stdout::print;
use crate::cli::ShowFormat;
use crate::config::Resolved;
use crate::error::Error;
use crate::estimate::estimate;
use crate::matrix::rule::matches;
use crate::matrix::{AXES, Cell, expand, expand_all};
use crate::plan::{Override, Slo};
use crate::terminal;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Prints a plan. Returns the exit code.
pub(super) fn show(format: ShowFormat, only: &[String], plan: Option<&Path>, resolved: &Resolved) -> Result<u8, Error> {
    let cells = select(&expand(&resolved.plan), only)?;
    let text = match format {
        ShowFormat::Table => {
            terminal::plan::block(
                &resolved.plan,
                &resolved.origins,
                &cells,
                &estimate(&cells, &resolved.plan, &resolved.prompts),
                terminal::width(),
            ) + &warnings(resolved)
        }
        ShowFormat::Json => format!("{:#}\n", plan_json(resolved, &cells)),
        ShowFormat::Toml => toml_in(plan.and_then(Path::parent).unwrap_or(Path::new("")), &resolved.plan),
    };
    print(text.as_bytes())?;
    Ok(0)
}

fn plan_json(resolved: &Resolved, cells: &[Cell]) -> Value {
    let expanded = expand_all(&resolved.plan);
    let overrides: HashMap<&str, &[usize]> =
        expanded.iter().map(|expanded| (expanded.cell.id.as_str(), &expanded.overrides[..])).collect();
    let cell = |cell: &Cell| {
        let mut fields = Map::from_iter([("id".to_owned(), json!(cell.id))]);
        fields.extend(AXES.iter().map(|axis| (axis.field.to_owned(), json!((axis.get)(cell)))));
        fields.retain(|_, value| !value.is_null());
        let changed = overrides.get(cell.id.as_str()).copied().unwrap_or_default();
        // The value of `by` is a key of `origin`.
        let overridden: Map<String, Value> = Override::combined(&resolved.plan.overrides, changed)
            .into_iter()
            .map(|(key, value, index)| (key.to_owned(), json!({ "value": value, "by": format!("override[{index}]") })))
            .collect();
        if !overridden.is_empty() {
            fields.insert("overridden".into(), Value::Object(overridden));
        }
        Value::Object(fields)
    };
    let threshold = |(index, slo): (usize, &Slo)| {
        let matching = cells.iter().filter(|cell| matches(&slo.when, cell)).map(|cell| &cell.id);
        json!({ "name": slo.title(index), "cells": matching.collect::<Vec<_>>() })
    };
    let mut shown = json!({
        "plan": resolved.plan,
        "origin": resolved.origins,
        "cells": cells.iter().map(cell).collect::<Vec<_>>(),
        "estimate": estimate(cells, &resolved.plan, &resolved.prompts),
        "warnings": resolved.warnings,
    });
    if !resolved.plan.slo.is_empty() {
        shown["thresholds"] = resolved.plan.slo.iter().enumerate().map(threshold).collect();
    }
    shown
}
