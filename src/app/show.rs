//! `show`: prints what a plan would run, and the origin of each value. Sends no request and writes no file.

use crate::cli::ShowFormat;
use crate::config::{Resolved, relative_to};
use crate::error::Error;
use crate::estimate::estimate;
use crate::matrix::rule::matches;
use crate::matrix::{AXES, Cell, expand, expand_all};
use crate::plan::{Override, Plan, Slo};
use crate::terminal;
use crate::terminal::table::MAX_LINES;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::path::Path;

/// Prints a plan. Returns the exit code.
pub(super) fn show(format: ShowFormat, only: &[String], plan: Option<&Path>, resolved: &Resolved) -> Result<u8, Error> {
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
        ShowFormat::Json => format!("{:#}\n", plan_json(resolved, &cells)),
        ShowFormat::Toml => toml_in(plan.and_then(Path::parent).unwrap_or(Path::new("")), &resolved.plan),
    };
    super::print(text.as_bytes())?;
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

/// Returns the settings that are probably mistakes, one line each.
pub(super) fn warnings(resolved: &Resolved) -> String {
    let shown = resolved.warnings.iter().take(MAX_LINES);
    let mut text = shown.fold(String::new(), |text, warning| text + "warning: " + warning + "\n");
    let left_out = resolved.warnings.len().saturating_sub(MAX_LINES);
    if left_out > 0 {
        text += &format!("... and {left_out} more in the output of `bedrock-plan show --format json`\n");
    }
    text
}

/// Returns a plan file that expands to the same matrix.
pub(super) fn toml(plan: &Plan) -> String {
    toml::to_string(plan).unwrap_or_else(|error| unreachable!("a plan is plain data: {error}"))
}

/// Returns the plan like [`toml()`], for a file in a directory: the paths in it are relative to that directory.
pub(super) fn toml_in(dir: &Path, plan: &Plan) -> String {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let mut plan = plan.clone();
    let files = plan.prompts_file.iter_mut().chain(plan.dataset.iter_mut().map(|dataset| &mut dataset.file));
    files.for_each(|file| *file = relative_to(file, &dir));
    toml(&plan)
}

#[cfg(test)]
mod tests {
    use super::toml;
    use crate::config::{Resolved, Sources, read};
    use crate::matrix::expand;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    fn resolved(path: &Path) -> Resolved {
        let sources = Sources {
            plan: Some(path),
            flags: &[],
            sets: &[],
            environment: &BTreeMap::new(),
            working_dir: path.parent().unwrap(),
            max_cells: crate::config::MAX_CELLS,
        };
        read(&sources).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn list(items: &[impl std::fmt::Debug]) -> String {
        format!("{items:?}")
    }

    /// Generates a parent plan and a child plan that use every form in consistent ways.
    fn plans() -> impl Strategy<Value = (String, String)> {
        let tiers = prop::sample::subsequence(vec!["default", "priority", "flex", "reserved"], 2..=4).prop_shuffle();
        let users = prop::sample::subsequence(vec![1, 5, 30, 31, 90], 2..=4).prop_shuffle();
        let tokens = prop::sample::subsequence(vec![16, 64, 512, 4096], 2..=3).prop_shuffle();
        let models = prop::sample::subsequence(vec!["a.x-v1:0", "b.x-v1:0", "b.x", "c.Y"], 1..=4).prop_shuffle();
        (tiers, users, tokens, models, any::<[bool; 5]>(), 1_u32..100).prop_map(
            |(tiers, users, tokens, models, [exclude, zip, add, changed, regions], seconds)| {
                let mut parent = format!("[matrix]\nmodel_ids = {}\nuser_counts = {}\n", list(&models), list(&users));
                let mut child = format!("extends = \"parent.toml\"\n[matrix]\nservice_tiers = {}\n", list(&tiers));
                if regions {
                    child += "regions = [\"eu-west-1\", \"us-east-1\"]\n";
                }
                if exclude {
                    child += &format!("exclude = [{{ service_tier = {:?}, users = [{}, 7] }}]\n", tiers[0], users[1]);
                }
                if !zip {
                    child += "prompt_sizes = [\"small\"]\n";
                }
                if zip {
                    let sizes = &["large", "small", "medium"][..tokens.len()];
                    parent += "[[matrix.zip]]\nprompt_sizes = [\"small\", \"large\"]\nmax_tokens = [3, 4]\n";
                    child += &format!("[[matrix.zip]]\nprompt_sizes = {}\nmax_tokens = {}\n", list(sizes), list(&tokens));
                }
                if add {
                    child += "[[matrix.add]]\nmodel_id = \"d.z\"\nservice_tier = \"other\"\narrival_rate = 2.5\nregion = \"x\"\nprompt_size = \"small\"\nmax_tokens = 9\n";
                }
                if changed {
                    child += &format!("[[override]]\nwhen = {{ service_tier = {:?} }}\ntimeout = \"{seconds}s\"\n", tiers[1]);
                    child += "[[override]]\nwhen = { prompt_size = \"small\" }\nmin_samples = \"p99\"\ntemperature = 0.5\n";
                }
                (parent, child)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn resolved_plan_expands_to_the_same_cells_with_unique_ids((parent, child) in plans()) {
            let dir = tempfile::tempdir().unwrap();
            let path = |name: &str| dir.path().join(name);
            std::fs::write(path("parent.toml"), parent).unwrap();
            std::fs::write(path("child.toml"), child).unwrap();
            let first = resolved(&path("child.toml"));
            let cells = expand(&first.plan);
            prop_assert_eq!(&cells, &expand(&first.plan));
            let ids: BTreeSet<String> = cells.iter().map(|cell| cell.id.to_lowercase()).collect();
            prop_assert_eq!(ids.len(), cells.len());
            std::fs::write(path("again.toml"), toml(&first.plan)).unwrap();
            let again = resolved(&path("again.toml"));
            prop_assert_eq!(&first.plan, &again.plan);
            prop_assert_eq!(&cells, &expand(&again.plan));
        }
    }
}
