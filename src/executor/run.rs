//! The cell runs of a run, one after the other, with nothing in flight between them.

use super::bedrock::Bedrock;
use super::cell::{NotStarted, RunContext, run_cell};
use super::clock::Clock;
use super::job::Job;
use super::port::{Event, EventSink, Gate, RefusalReason, Stop};
use super::prepared::PreparedPrompts;
use crate::plan::AfterAbort;
use crate::record::manifest::CellRunEnd;
use std::sync::Arc;

/// Result of an execution, beside the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Execution {
    /// Whether the run was stopped by a signal.
    pub(crate) interrupted: bool,
    /// Why the barrier failed, if it did.
    pub(crate) barrier_error: Option<String>,
    /// Why cells were skipped or not repeated, if so.
    pub(crate) refusal: Option<String>,
}

/// Executes all cell runs until `stop`. Returns when nothing is in flight.
pub(crate) async fn execute(
    bedrock: Arc<Bedrock>,
    job: Job,
    gate: Arc<dyn Gate>,
    emit: EventSink,
    stop: &Stop,
) -> Execution {
    let clock = Clock::anchored_now();
    let shared = RunContext { bedrock: &bedrock, job: &job, clock, gate: &gate, emit: &emit, stop };
    let mut prompts = PreparedPrompts::default();
    let (mut barrier_error, mut run_refusal) = (None, None);
    let mut has_run = false;
    for place in job.planned_runs.iter().copied() {
        let run = job.order[place];
        if std::mem::take(&mut has_run) {
            tokio::select! {
                () = tokio::time::sleep(job.cool_down) => {}
                () = stop.drain.cancelled() => {}
            }
        }
        if stop.drain.is_cancelled() {
            break;
        }
        if let Err(refusal) = gate.check_cell(run.cell) {
            // With several shards, the cell run must start, since the others wait for it at the barrier; it ends at once.
            if refusal.reason == RefusalReason::DailyQuotaExhausted && job.barrier.is_none() {
                run_refusal.get_or_insert(format!("cells were skipped: {}", refusal.message));
                continue;
            }
            // Only the last attempt of a cell run counts: an attempt that cannot send anything must not start.
            if run.attempt > 1 {
                run_refusal = Some(format!("{} was not repeated: {}", job.cells[run.cell].id, refusal.message));
                break;
            }
        }
        has_run = true;
        emit(Event::CellRunStarted { place, run });
        gate.start_cell(run.cell);
        let report = match run_cell(&shared, place, &mut prompts).await {
            Ok(report) => report,
            Err(NotStarted::Stopped) => break,
            Err(NotStarted::BarrierFailed(why)) => {
                barrier_error = Some(why);
                break;
            }
        };
        let ends_run = match report.end {
            CellRunEnd::OutOfBudget | CellRunEnd::LostCredentials => true,
            CellRunEnd::Aborted => job.after_abort == AfterAbort::Stop,
            _ => false,
        };
        emit(Event::CellRunEnded(Box::new(report)));
        if ends_run {
            break;
        }
    }
    Execution { interrupted: stop.drain.is_cancelled(), barrier_error, refusal: run_refusal }
}
