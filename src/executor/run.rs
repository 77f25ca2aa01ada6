//! The cell runs of a run, one after the other, with nothing in flight between them.

use super::backlog::Backlog;
use super::bedrock::Bedrock;
use super::cell::{NotStarted, run_cell};
use super::port::{Barrier, Event, Gate, RefusalReason, Stop};
use crate::matrix::order::PlannedRun;
use crate::matrix::{Cell, Shard};
use crate::plan::AfterAbort;
use crate::prompts::Source;
use crate::record::manifest::CellRunEnd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Callback for events; see [`Event`].
pub(crate) type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// Everything that the executor needs for a run.
#[derive(Clone)]
pub(crate) struct Job {
    /// Cells in matrix order.
    pub(crate) cells: Vec<Cell>,
    /// Prompts of each cell.
    pub(crate) prompts: Vec<Arc<Source>>,
    /// All cell runs of the run in order: random draws of a cell run depend on its position.
    pub(crate) order: Vec<PlannedRun>,
    /// Positions of the cell runs to execute.
    pub(crate) turns: Vec<usize>,
    /// Seed of all random draws.
    pub(crate) seed: u64,
    /// Pause between cell runs.
    pub(crate) cool_down: Duration,
    /// Whether prompts and replies are recorded.
    pub(crate) keep_text: bool,
    /// How the run continues after a cell was aborted.
    pub(crate) after_abort: AfterAbort,
    /// The shard of this process.
    pub(crate) shard: Shard,
    /// The barrier, if there are several shards.
    pub(crate) barrier: Option<Arc<dyn Barrier>>,
    /// Queue of the recorder: while it is full, no request starts.
    pub(crate) backlog: Arc<Backlog>,
}

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

/// The monotonic clock, anchored once to the wall clock, so that clock changes do not affect records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    instant: Instant,
    epoch_us: u64,
}

impl Clock {
    pub(super) fn anchored_now() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), epoch_us: epoch.as_micros() as u64 }
    }

    /// Converts to microseconds since the epoch.
    pub(super) fn epoch_us(self, instant: Instant) -> u64 {
        self.epoch_us + instant.saturating_duration_since(self.instant).as_micros() as u64
    }
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
    let (mut barrier_error, mut run_refusal) = (None, None);
    let mut has_run = false;
    for place in job.turns.iter().copied() {
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
        let report = match run_cell(&bedrock, &job, place, clock, &gate, &emit, stop).await {
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
        emit(Event::TurnEnded(Box::new(report)));
        if ends_run {
            break;
        }
    }
    Execution { interrupted: stop.drain.is_cancelled(), barrier_error, refusal: run_refusal }
}
