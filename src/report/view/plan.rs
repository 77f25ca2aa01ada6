//! The resolved plan with the origin of each value, the machine, the connections, the seed and the order.

use super::disturbances::cores;
use super::entry::Entry;
use crate::plan::Endpoint;
use crate::record::manifest::{CellRunEnd, Manifest};
use crate::units::timestamp;
use serde::Serialize;
use serde_json::Value;

/// Section on the resolved plan and the order of execution.
#[derive(Debug, Serialize)]
pub(crate) struct PlanView {
    /// Facts about the run and its machine.
    pub(crate) facts: Vec<Entry>,
    /// Values of the plan.
    pub(crate) plan: Vec<PlanValue>,
    /// Cell runs in the planned order.
    pub(crate) order: Vec<CellRunView>,
}

/// Value of the plan.
#[derive(Debug, Serialize)]
pub(crate) struct PlanValue {
    /// For example `matrix.user_counts`.
    pub(crate) key: String,
    /// In the syntax of a plan.
    pub(crate) value: String,
    /// For example `plans/nova.toml:7`, `--user-counts` or `default`.
    pub(crate) origin: String,
    /// Whether the value was set, as opposed to a default.
    pub(crate) is_set: bool,
}

/// One cell run.
#[derive(Debug, Serialize)]
pub(crate) struct CellRunView {
    /// Cell id.
    pub(crate) id: String,
    /// Repetition and attempt, if there are several, and how the cell run ended, if it did not finish.
    pub(crate) note: String,
}

pub(super) fn view(manifest: &Manifest) -> PlanView {
    let machine = &manifest.machine;
    let mut facts =
        vec![Entry::new("run", manifest.run_id.clone()), Entry::new("started", timestamp::iso(manifest.started_ms))];
    facts.extend(manifest.ended_ms.map(|ended| Entry::new("ended", timestamp::iso(ended))));
    facts.extend(manifest.resumed_ms.iter().map(|resumed| Entry::new("gone on with", timestamp::iso(*resumed))));
    facts.extend([
        Entry::new("endpoint", manifest.endpoint.clone()),
        Entry::new("connections", manifest.connection_policy.clone()),
    ]);
    facts.push(match &manifest.shards {
        Some(shards) => Entry::new("machines", shards.shown()),
        None => Entry::new("machine", format!("{} on {}, {}", machine.os, machine.arch, cores(machine))),
    });
    facts.extend([
        Entry::new("seed", manifest.seed.to_string()),
        Entry::new("plan hash", manifest.plan_hash.clone()),
        Entry::new("tool", format!("bedrock-plan {}", manifest.tool_version)),
    ]);
    if !manifest.only.is_empty() {
        facts.push(Entry::new("only", manifest.only.join(", ")));
    }
    PlanView { facts, plan: values(manifest), order: order(manifest) }
}

/// Returns every value that has an origin. Values of the simulator are included only if it was used and they were set.
fn values(manifest: &Manifest) -> Vec<PlanValue> {
    let tree = serde_json::to_value(&manifest.plan).unwrap_or_default();
    let shown = manifest.origins.iter().filter_map(|(key, origin)| {
        let value = key.split('.').try_fold(&tree, |inner, part| inner.get(part))?;
        let idle = key.starts_with("simulator.")
            && (manifest.plan.target.endpoint != Endpoint::Simulated || origin.name.is_none());
        (!idle).then(|| PlanValue {
            key: key.clone(),
            value: plain(value),
            origin: origin.to_string(),
            is_set: origin.name.is_some(),
        })
    });
    shown.collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        // Tables keep the syntax of a plan.
        table @ Value::Object(_) => {
            toml::Value::try_from(table).map_or_else(|_| table.to_string(), |toml| toml.to_string())
        }
        other => other.to_string(),
    }
}

fn order(manifest: &Manifest) -> Vec<CellRunView> {
    let (reports, excluded) = (manifest.last_reports(), manifest.excluded());
    let several = manifest.order.iter().any(|planned_run| planned_run.repetition > 1);
    manifest
        .order
        .iter()
        .map(|planned_run| {
            let id = &manifest.cells[planned_run.cell].cell.id;
            let mut note = Vec::new();
            if several {
                note.push(format!("repetition {}", planned_run.repetition));
            }
            if planned_run.attempt > 1 {
                note.push(format!("attempt {}", planned_run.attempt));
            }
            match reports.get(id, planned_run.repetition).map(|report| report.end) {
                Some(CellRunEnd::Finished) => {}
                Some(CellRunEnd::Aborted) => note.push("aborted".into()),
                Some(CellRunEnd::FailedEarly) => note.push("ended early by a threshold".into()),
                Some(CellRunEnd::Interrupted) => note.push("interrupted".into()),
                Some(CellRunEnd::OutOfBudget) => note.push("out of budget".into()),
                Some(CellRunEnd::LostCredentials) => note.push("no credentials".into()),
                Some(CellRunEnd::DailyQuota) => note.push("daily quota used up".into()),
                None if excluded.get(&manifest.cells[planned_run.cell].cell).is_some() => note.push("left out".into()),
                None => note.push("not run".into()),
            }
            CellRunView { id: id.clone(), note: note.join(", ") }
        })
        .collect()
}
