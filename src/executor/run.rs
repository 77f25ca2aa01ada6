//! The turns of a run, one after the other, with nothing in flight between them.

use super::backlog::Backlog;
use super::bedrock::Bedrock;
use super::cell::{NotStarted, run_turn};
use super::port::{Barrier, Event, Gate, RefusalReason, Stop};
use crate::matrix::order::Turn;
use crate::matrix::{Cell, Shard};
use crate::plan::AfterAbort;
use crate::prompts::Source;
use crate::record::manifest::TurnEnd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Receives the events; see [`Event`].
pub(crate) type Tell = Arc<dyn Fn(Event) + Send + Sync>;

/// What is to be done.
#[derive(Clone)]
pub(crate) struct Job {
    /// In matrix order.
    pub(crate) cells: Vec<Cell>,
    /// What each cell's requests are drawn from.
    pub(crate) prompts: Vec<Arc<Source>>,
    /// Which cell when, of the whole run: what is drawn for a turn depends on its place.
    pub(crate) order: Vec<Turn>,
    /// The places of the turns that are to be run.
    pub(crate) turns: Vec<usize>,
    /// The seed of everything that is drawn.
    pub(crate) seed: u64,
    /// The pause between turns.
    pub(crate) cool_down: Duration,
    /// What was said and answered is recorded.
    pub(crate) keeps_text: bool,
    /// What follows when a cell is given up.
    pub(crate) then: AfterAbort,
    /// What of it is this machine's.
    pub(crate) shard: Shard,
    /// Where it waits for the others, if there are any.
    pub(crate) barrier: Option<Arc<dyn Barrier>>,
    /// What waits for the recorder: while it is full no request starts.
    pub(crate) backlog: Arc<Backlog>,
}

/// How it went, as far as it is not told by events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Execution {
    /// A person or CI stopped it.
    pub(crate) interrupted: bool,
    /// Why the machines of the run did not come together for a turn.
    pub(crate) barrier_error: Option<String>,
    /// Why a cell was not run once more.
    pub(crate) refused: Option<String>,
}

/// The monotonic clock, anchored once to the wall clock: a step of the latter moves no record.
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

    /// Microseconds since the epoch.
    pub(super) fn epoch_us(self, instant: Instant) -> u64 {
        self.epoch_us + instant.saturating_duration_since(self.instant).as_micros() as u64
    }
}

/// Runs all turns, or as many as `stop` lets it. Returns when nothing is in flight any more.
pub(crate) async fn execute(
    bedrock: Arc<Bedrock>,
    job: Job,
    gate: Arc<dyn Gate>,
    tell: Tell,
    stop: &Stop,
) -> Execution {
    let clock = Clock::anchored_now();
    let (mut barrier_error, mut refused) = (None, None);
    let mut has_run = false;
    for place in job.turns.iter().copied() {
        let turn = job.order[place];
        if std::mem::take(&mut has_run) {
            tokio::select! {
                () = tokio::time::sleep(job.cool_down) => {}
                () = stop.starting.cancelled() => {}
            }
        }
        if stop.starting.is_cancelled() {
            break;
        }
        if let Err(refusal) = gate.check_cell(turn.cell) {
            // Other machines wait for this one before every turn, so that there it begins, and ends at once.
            if refusal.reason == RefusalReason::DailyQuotaExhausted && job.barrier.is_none() {
                refused.get_or_insert(format!("cells are left out: {}", refusal.message));
                continue;
            }
            // From its start on an attempt is all that counts of a turn: one that could send nothing must not begin.
            if turn.attempt > 1 {
                refused = Some(format!("{} is not run again: {}", job.cells[turn.cell].id, refusal.message));
                break;
            }
        }
        has_run = true;
        tell(Event::TurnStarted { place, turn });
        gate.start_cell(turn.cell);
        let report = match run_turn(&bedrock, &job, place, clock, &gate, &tell, stop).await {
            Ok(report) => report,
            Err(NotStarted::Stopped) => break,
            Err(NotStarted::BarrierFailed(why)) => {
                barrier_error = Some(why);
                break;
            }
        };
        let ends_run = match report.end {
            TurnEnd::OutOfBudget | TurnEnd::LostCredentials => true,
            TurnEnd::Aborted => job.then == AfterAbort::Stop,
            _ => false,
        };
        tell(Event::TurnEnded(Box::new(report)));
        if ends_run {
            break;
        }
    }
    Execution { interrupted: stop.starting.is_cancelled(), barrier_error, refused }
}
