//! `run --resume` and `--rerun`: the state that an earlier session left, whether the plan is unchanged, and which cell
//! runs are outstanding.

use super::cells::select;
use super::render::summarise;
use crate::config::Resolved;
use crate::error::Error;
use crate::estimate::{Estimate, estimate};
use crate::matrix::Cell;
use crate::matrix::order::PlannedRun;
use crate::plan::{Load, Plan};
use crate::prompts::Prompts;
use crate::record::dir::RunDir;
use crate::record::hash::{cell_hash, plan_hash};
use crate::record::manifest::{Manifest, PlannedCell};
use crate::record::resume::{self, ExistingRun, ResumeError};
use crate::result::Validity;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::path::Path;

/// An earlier run that is resumed. Its directory is locked.
pub(super) struct ResumedRun {
    dir: RunDir,
    pub(super) manifest: Manifest,
    /// Order of the cell runs, with the attempts of the outstanding ones.
    order: Vec<PlannedRun>,
    /// Places in `order` of the cell runs that are outstanding.
    pub(super) planned_runs: Vec<usize>,
}

/// Opens the run in the results directory. Returns `None` if there is none; a message then reports that a new run
/// starts.
///
/// # Errors
/// If the run cannot be read or locked, if it is a shard, or if the plan differs from the one it was started with.
pub(super) fn open(
    results: &Path,
    only: &[String],
    rerun: &[String],
    resolved: &Resolved,
    all_cells: &[Cell],
) -> Result<Option<ResumedRun>, Error> {
    if resolved.plan.results_dir.contains("{started}") {
        return Err(Error::ResumeDirUnknown);
    }
    let found = resume::open_existing(results).map_err(|error| match error {
        ResumeError::Dir(error) => Error::Results(error),
        ResumeError::Read(error) => Error::Read(error),
    })?;
    let (dir, mut manifest) = match found {
        ExistingRun::Found(dir, manifest) => (dir, *manifest),
        ExistingRun::Missing(why) => {
            let _ = writeln!(std::io::stderr(), "{}: {why}; starting a new run", results.display());
            return Ok(None);
        }
    };
    if manifest.shards.is_some() {
        return Err(Error::ResumeShards { dir: results.to_owned() });
    }
    let differences = differences(&manifest, only, resolved, all_cells);
    if !differences.is_empty() {
        return Err(Error::PlanChanged { dir: results.to_owned(), differences });
    }
    // Settings outside the comparison (thresholds, budget, report) may have changed.
    let known = by_id(all_cells);
    for planned in &mut manifest.cells {
        if let Some(cell) = known.get(planned.cell.id.as_str()) {
            planned.cell = (*cell).clone();
        }
    }
    let again: HashSet<String> = cells_to_rerun(results, rerun, &manifest)?.into_iter().collect();
    let (order, planned_runs) = resume::outstanding_runs(results, &manifest, |id| again.contains(id))?;
    Ok(Some(ResumedRun { dir, manifest, order, planned_runs }))
}

/// Indexes cells by their ids.
fn by_id(cells: &[Cell]) -> HashMap<&str, &Cell> {
    cells.iter().map(|cell| (cell.id.as_str(), cell)).collect()
}

/// Returns the ids of the cells that `--rerun` selects.
fn cells_to_rerun(results: &Path, patterns: &[String], manifest: &Manifest) -> Result<Vec<String>, Error> {
    let mut again = Vec::new();
    for pattern in patterns {
        match pattern.as_str() {
            "failed" | "invalid" => {
                let summary = summarise(results, manifest)?;
                let matching = summary.cells.iter().filter(|cell| match &cell.validity {
                    Validity::Invalid(_) => pattern == "invalid",
                    Validity::NotRun => false,
                    Validity::Unsupported(_) | Validity::Refused(_) => pattern == "failed",
                    _ => pattern == "failed" && (cell.validity == Validity::Aborted || cell.counts.succeeded == 0),
                });
                let before = again.len();
                again.extend(matching.map(|cell| cell.cell.id.clone()));
                if again.len() == before {
                    let _ = writeln!(std::io::stderr(), "--rerun {pattern}: no cell is {pattern}; no cell runs again");
                }
            }
            pattern => {
                let cells: Vec<Cell> = manifest.cells.iter().map(|planned| planned.cell.clone()).collect();
                let selected = select(&cells, &[pattern.to_owned()])?;
                again.extend(selected.into_iter().map(|cell| cell.id));
            }
        }
    }
    Ok(again)
}

/// Returns the differences between this plan and that of the run, as text.
fn differences(manifest: &Manifest, only: &[String], resolved: &Resolved, all_cells: &[Cell]) -> Vec<String> {
    let hash = |cell: &Cell| {
        let prompt = resolved.prompts.canonical(&cell.prompt_size, &resolved.plan.mix);
        cell_hash(cell, &resolved.plan.target, &prompt)
    };
    let mut differences = Vec::new();
    let now: BTreeMap<&str, String> = all_cells.iter().map(|cell| (cell.id.as_str(), hash(cell))).collect();
    let hashes: Vec<String> = all_cells.iter().map(hash).collect();
    if plan_hash(&hashes) != manifest.plan_hash {
        let cells = by_id(all_cells);
        let changed = |planned: &&PlannedCell| now.get(planned.cell.id.as_str()) != Some(&planned.cell_hash);
        for planned in manifest.cells.iter().filter(changed).take(5) {
            let id = &planned.cell.id;
            differences.push(match cells.get(id.as_str()) {
                None => format!("{id} is no longer in the plan"),
                Some(cell) => format!("{id} has changed: {}", changes(&planned.cell, cell)),
            });
        }
        let known: HashSet<&str> = manifest.cells.iter().map(|planned| planned.cell.id.as_str()).collect();
        let new = all_cells.iter().filter(|cell| manifest.only.is_empty() && !known.contains(cell.id.as_str()));
        differences.extend(new.take(5).map(|cell| format!("{} is new in the plan", cell.id)));
        if differences.is_empty() {
            differences.push("its cells differ (a model, a prompt's text, or a setting of the load changed)".into());
        }
    }
    let endpoint = resolved.plan.target.endpoint.to_string();
    // The manifest has one endpoint for all records. The hashes include only its kind, so the address is compared here.
    if differences.is_empty() && endpoint != manifest.endpoint {
        differences.push(format!("target.endpoint is `{endpoint}`, was `{}`", manifest.endpoint));
    }
    let (then, load) = (&manifest.plan.load, &resolved.plan.load);
    let mut add_if = |is_different: bool, difference: String| {
        if is_different {
            differences.push(difference);
        }
    };
    add_if(
        then.repetitions != load.repetitions,
        format!("load.repetitions is {}, was {}", load.repetitions, then.repetitions),
    );
    add_if(
        load.seed.is_some_and(|seed| seed != manifest.seed),
        format!("load.seed is {}, was {}", load.seed.unwrap_or_default(), manifest.seed),
    );
    add_if(
        !only.is_empty() && only != manifest.only,
        format!("--only is {}, was {}", only.join(", "), or_all(&manifest.only)),
    );
    differences
}

fn or_all(patterns: &[String]) -> String {
    if patterns.is_empty() { "not set".into() } else { patterns.join(", ") }
}

/// Keys of `[load]` that may differ between the sessions of a run.
const CHANGEABLE_KEYS: [&str; 5] = ["load.seed", "load.repetitions", "load.order", "load.cool_down", "load.drain"];

/// Returns the fields in which two cells with the same id differ, as text.
fn changes(then: &Cell, now: &Cell) -> String {
    fn leaves(value: &serde_json::Value, path: &str, into: &mut BTreeMap<String, String>) {
        match value {
            serde_json::Value::Object(map) => {
                for (key, value) in map {
                    leaves(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, into);
                }
            }
            value => drop(into.insert(path.to_owned(), value.to_string())),
        }
    }
    let fields = |cell: &Cell| {
        let mut found = BTreeMap::new();
        leaves(&serde_json::to_value(cell).unwrap_or_default(), "", &mut found);
        found
    };
    let (then, now) = (fields(then), fields(now));
    let not_set = "not set".to_owned();
    let changed = |key: &&String| !CHANGEABLE_KEYS.contains(&key.as_str()) && then.get(*key) != now.get(*key);
    let keys: std::collections::BTreeSet<&String> = then.keys().chain(now.keys()).filter(changed).collect();
    let changes: Vec<String> = keys
        .into_iter()
        .map(|key| format!("{key} is {}, was {}", now.get(key).unwrap_or(&not_set), then.get(key).unwrap_or(&not_set)))
        .collect();
    if changes.is_empty() { "its prompt or its target changed".into() } else { changes.join("; ") }
}

impl ResumedRun {
    /// Checks that the resolved region is that of the earlier session.
    ///
    /// # Errors
    /// [`Error::PlanChanged`] if it differs.
    pub(super) fn check_region(&self, region: &str) -> Result<(), Error> {
        match &self.manifest.region {
            Some(then) if then != region => Err(Error::PlanChanged {
                dir: self.dir.path.clone(),
                differences: vec![format!("the region is {region}, was {then}")],
            }),
            _ => Ok(()),
        }
    }

    /// Estimates the outstanding cell runs.
    pub(super) fn estimate(&self, plan: &Plan, prompts: &Prompts) -> Estimate {
        let cells: Vec<Cell> =
            self.planned_runs.iter().map(|place| self.manifest.cells[self.order[*place].cell].cell.clone()).collect();
        let plan = Plan { load: Load { repetitions: 1, ..plan.load.clone() }, ..plan.clone() };
        estimate(&cells, &plan, prompts)
    }

    /// Returns a sentence with the numbers of cell runs that are kept and that follow.
    pub(super) fn describe(&self) -> String {
        let repeated = self.planned_runs.iter().filter(|place| self.order[**place].attempt > 1).count();
        let left = self.planned_runs.len();
        let repeated = if repeated > 0 { format!(", {repeated} of them repeated") } else { String::new() };
        format!(
            "resuming {}: {} finished cell runs are kept, {left} are outstanding{repeated}",
            self.manifest.run_id,
            self.order.len() - left
        )
    }

    /// Returns the directory, the manifest as it is until the first record is written, the order of the cell runs, and
    /// the places in it of the outstanding ones.
    pub(super) fn into_parts(
        self,
        resolved: &Resolved,
        now_ms: u64,
    ) -> (RunDir, Manifest, Vec<PlannedRun>, Vec<usize>) {
        let mut manifest = self.manifest;
        manifest.plan = resolved.plan.clone();
        manifest.origins = resolved.origins.clone();
        manifest.resumed_ms.push(now_ms);
        (manifest.interrupted, manifest.ended_ms) = (false, None);
        (self.dir, manifest, self.order, self.planned_runs)
    }
}
