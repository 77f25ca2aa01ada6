//! `show`: what a plan would run, and where each value came from. Sends nothing, writes nothing.

use crate::cli::ShowFormat;
use crate::config::Resolved;
use crate::error::Error;
use crate::estimate::estimate;
use crate::matrix::rule::matches;
use crate::matrix::{AXES, Cell, expand};
use crate::plan::{Plan, Slo};
use crate::terminal;
use serde_json::{Map, Value, json};
use std::io::Write;

/// Prints a plan.
pub(super) fn show(format: ShowFormat, only: &[String], resolved: &Resolved) -> Result<u8, Error> {
    let cells = super::select(&expand(&resolved.plan), only)?;
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
        ShowFormat::Json => format!("{:#}\n", as_json(resolved, &cells)),
        ShowFormat::Toml => toml(&resolved.plan),
    };
    // A closed pipe is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(0)
}

fn as_json(resolved: &Resolved, cells: &[Cell]) -> Value {
    let cell = |cell: &Cell| {
        let mut fields = Map::from_iter([("id".to_owned(), json!(cell.id))]);
        fields.extend(AXES.iter().map(|axis| (axis.field.to_owned(), json!((axis.get)(cell)))));
        fields.retain(|_, value| !value.is_null());
        Value::Object(fields)
    };
    let threshold = |(index, slo): (usize, &Slo)| {
        let meant = cells.iter().filter(|cell| matches(&slo.when, cell)).map(|cell| &cell.id);
        json!({ "name": slo.title(index), "cells": meant.collect::<Vec<_>>() })
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

/// What will probably not do what was meant, one line each.
pub(super) fn warnings(resolved: &Resolved) -> String {
    resolved.warnings.iter().fold(String::new(), |text, warning| text + "warning: " + warning + "\n")
}

/// A plan that gives the same matrix again.
pub(super) fn toml(plan: &Plan) -> String {
    toml::to_string(plan).unwrap_or_else(|error| unreachable!("a plan is plain data: {error}"))
}
