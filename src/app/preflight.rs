//! Pre-flight of a run: which probes are sent, what they find, and `--preflight-only`, which sends the probes and
//! nothing else.

use super::cells::{select, sources};
use super::connect::{Connected, connect};
use super::outcome;
use super::shards::JoinedShard;
use super::signals::Signals;
use super::stdout::print;
use crate::cluster::BarrierError;
use crate::config::Resolved;
use crate::error::Error;
use crate::executor::port::{Event, Gate, Stop};
use crate::executor::{Bedrock, EventSink, Job, preflight};
use crate::guard::{AllGates, BudgetGate};
use crate::matrix::{Cell, Shard, expand};
use crate::record::manifest::Manifest;
use crate::record::probe::{Finding, Probe, ProbeResult, cells_by_probe, ends_run, probes};
use crate::terminal::DisplayHandle;
use crate::terminal::table::MAX_LINES;
use crate::units::Secrets;
use crate::units::text::count;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Adds the probes of the cells that are still to be run to the manifest. Findings of an earlier session for these
/// probes are discarded, so that they are sent again; findings of other probes are kept.
pub(super) fn add_probes(manifest: &mut Manifest, cells: &[Cell]) {
    let known = manifest.preflight.iter().enumerate();
    let places: HashMap<Probe, usize> = known.map(|(place, known)| (known.probe.clone(), place)).collect();
    for fresh in probes(cells) {
        match places.get(&fresh.probe) {
            Some(place) => manifest.preflight[*place] = fresh,
            None if manifest.plan.run.preflight => manifest.preflight.push(fresh),
            None => {}
        }
    }
}

/// Returns the index of the first cell of each probe. A probe that no cell uses any more is attributed to the first
/// cell of the run.
pub(super) fn first_cells(manifest: &Manifest) -> Vec<usize> {
    manifest.cells_by_probe().iter().map(|cells| cells.first().copied().unwrap_or(0)).collect()
}

/// Sends the probes in `checked` that have no finding yet, and returns all of them with their findings. Emits
/// [`Event::PreflightEnded`].
pub(super) async fn send_probes(
    bedrock: &Arc<Bedrock>,
    checked: &[ProbeResult],
    cells: &[Cell],
    gate: &Arc<dyn Gate>,
    sink: &EventSink,
    stop: &Stop,
) -> Vec<ProbeResult> {
    let open: Vec<(usize, Cell)> = checked
        .iter()
        .zip(cells_by_probe(checked, cells))
        .enumerate()
        .filter(|(_, (checked, _))| checked.finding.is_none())
        .filter_map(|(index, (_, probe_cells))| Some((index, cells[*probe_cells.first()?].clone())))
        .collect();
    let findings = Arc::new(Mutex::new(checked.to_vec()));
    let updated = Arc::clone(&findings);
    let forward = Arc::clone(sink);
    let recording: EventSink = Arc::new(move |event: Event| {
        if let Event::Probed { probe, record } = &event {
            updated.lock().unwrap_or_else(PoisonError::into_inner)[*probe].set_outcome(record);
        }
        forward(event);
    });
    preflight(bedrock, &open, gate, &recording, stop).await;
    let findings = findings.lock().unwrap_or_else(PoisonError::into_inner).clone();
    sink(Event::PreflightEnded(findings.clone()));
    findings
}

/// Runs the pre-flight of a run: sends the probes that the manifest lists, prints the problems, and removes cell runs
/// that cannot be sent from the job. With several shards, shard 0 sends the probes and publishes the findings; the
/// others receive them.
///
/// # Errors
/// If the shards cannot exchange the findings. The job then contains no cell run.
#[allow(clippy::too_many_arguments)] // each is a different thing, and there is one caller
pub(super) async fn run_before_load(
    manifest: &mut Manifest,
    job: &mut Job,
    bedrock: &Arc<Bedrock>,
    gate: &Arc<dyn Gate>,
    sink: &EventSink,
    stop: &Stop,
    display: &DisplayHandle,
    joined_shard: Option<&JoinedShard>,
) -> Result<(), BarrierError> {
    manifest.preflight = match joined_shard {
        Some(joined_shard) if joined_shard.shard().index > 0 => {
            let received = joined_shard.receive_findings(stop).await.inspect_err(|_| job.planned_runs.clear())?;
            let Some(received) = received else { return Ok(()) };
            sink(Event::PreflightEnded(received.clone()));
            received
        }
        _ => {
            let open = manifest.preflight.iter().filter(|checked| checked.finding.is_none()).count();
            display.print_unless_quiet(&format!("pre-flight: sending {}", count(open, "small request")));
            let found = send_probes(bedrock, &manifest.preflight, &job.cells, gate, sink, stop).await;
            // An interrupted pre-flight has no finding to publish.
            if let Some(joined_shard) = joined_shard.filter(|_| !stop.drain.is_cancelled()) {
                joined_shard.publish_findings(&found).await.inspect_err(|_| job.planned_runs.clear())?;
            }
            found
        }
    };
    let probe_cells = cells_by_probe(&manifest.preflight, &job.cells);
    let problems: Vec<String> = manifest
        .preflight
        .iter()
        .zip(&probe_cells)
        .filter_map(|(checked, cells)| checked.problem_text(cells.len()))
        .collect();
    for problem in problems.iter().take(MAX_LINES) {
        display.print(&format!("pre-flight: {problem}"));
    }
    if problems.len() > MAX_LINES {
        display.print(&format!("pre-flight: ... and {} more in manifest.json", problems.len() - MAX_LINES));
    }
    let is_run_ended = manifest.is_ended_by_preflight();
    let excluded = manifest.excluded();
    job.planned_runs.retain(|place| !is_run_ended && excluded.get(&job.cells[job.order[*place].cell]).is_none());
    Ok(())
}

/// Sends the probes, prints the findings, and ends. Returns the exit code: 0 if everything that the plan requests is
/// available or is skipped as the plan allows, otherwise the exit code that the run would have.
pub(super) fn run_alone(
    only: &[String],
    resolved: &Resolved,
    environment: &BTreeMap<String, String>,
    secrets: &Secrets,
) -> Result<u8, Error> {
    let cells = select(&expand(&resolved.plan), only)?;
    let Connected { runtime, simulator, bedrock } = connect(resolved, &cells, environment, secrets, Shard::WHOLE)?;
    let requested = probes(&cells);
    let sources = sources(resolved, &cells, 0);
    let probe_cells = cells_by_probe(&requested, &cells);
    let first = probe_cells.iter().map(|cells| cells.first().copied().unwrap_or(0)).collect();
    let budget = BudgetGate::new(&resolved.plan, &cells, &sources, first, Shard::WHOLE);
    let gate: Arc<dyn Gate> = Arc::new(AllGates(vec![Arc::new(budget)]));
    let sink: EventSink = Arc::new(|_| {});
    let stop = Stop::default();
    let signals = Signals::listen(2);
    let found = runtime.block_on(async {
        let found = send_probes(&bedrock, &requested, &cells, &gate, &sink, &stop);
        let interrupted = async {
            signals.nth(1).await;
            stop.drain.cancel();
            stop.abandon.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            found = found => found,
            () = interrupted => Vec::new(),
        }
    });
    drop(simulator);
    let lines = found.iter().zip(&probe_cells).map(|(checked, probe_cells)| checked.line(probe_cells.len()) + "\n");
    print(lines.collect::<String>().as_bytes())?;
    let has_finding = |finding| found.iter().any(|checked| checked.finding == Some(finding));
    let is_refused_tier = |(checked, probe_cells): (&ProbeResult, &Vec<usize>)| {
        checked.finding == Some(Finding::Unsupported)
            && probe_cells.iter().any(|cell| outcome::is_tier_set(&resolved.plan, &resolved.origins, &cells[*cell]))
    };
    Ok(if stop.drain.is_cancelled() {
        130
    } else if ends_run(&found, resolved.plan.run.on_unsupported) {
        4
    } else if has_finding(Finding::Refused)
        || has_finding(Finding::Unreachable)
        || found.iter().any(|checked| checked.finding.is_none())
        || found.iter().zip(&probe_cells).any(is_refused_tier)
    {
        3
    } else {
        0
    })
}
