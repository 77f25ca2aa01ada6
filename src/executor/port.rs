//! The executor's interface: the events it emits, the gate it consults, and how it is stopped.

use crate::matrix::order::PlannedRun;
use crate::record::Record;
use crate::record::manifest::{CellRunReport, FailedBound, Second};
use crate::record::probe::ProbeResult;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;

/// An event of a run, passed to one callback. The callback must not block: requests wait for it.
#[derive(Debug)]
pub(crate) enum Event {
    /// A cell run has started.
    CellRunStarted {
        /// Position in the execution order.
        place: usize,
        /// The cell, repetition and attempt.
        run: PlannedRun,
    },
    /// A request of the load, or a priming request, has ended with any outcome.
    Ended {
        /// Index of the cell in matrix order.
        cell: usize,
        record: Box<Record>,
    },
    /// The server at a URL has identified itself as a simulator with this name. Precedes the end of its first reply.
    SimulatorFound(String),
    /// A pre-flight probe has ended.
    Probed {
        /// Index of the probe in the manifest.
        probe: usize,
        record: Box<Record>,
    },
    /// The pre-flight has ended, with the result of each probe.
    PreflightEnded(Vec<ProbeResult>),
    /// Figures of one second of the running cell.
    Second(Second),
    /// A cell run has ended and nothing of it is in flight.
    CellRunEnded(Box<CellRunReport>),
}

impl Event {
    /// Returns the approximate size in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>()
            + match self {
                Self::Ended { record, .. } | Self::Probed { record, .. } => {
                    let texts = [&record.prompt_text, &record.reply_text, &record.error_message, &record.request_id];
                    size_of::<Record>() + texts.into_iter().map(length).sum::<usize>()
                }
                Self::CellRunEnded(report) => size_of::<CellRunReport>() + size_of_val(&report.series[..]),
                Self::PreflightEnded(checked) => size_of_val(&checked[..]),
                Self::SimulatorFound(name) => name.len(),
                Self::CellRunStarted { .. } | Self::Second(_) => 0,
            }
    }
}

/// Callback for events; see [`Event`].
pub(crate) type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// A refusal of a gate: nothing further may start in the cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Explanation for the user.
    pub(crate) message: String,
    pub(crate) reason: RefusalReason,
}

/// Why a gate refused a request; it determines how the run continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RefusalReason {
    /// The abort rule applies to the cell.
    Aborted,
    /// A bound can no longer be met.
    BoundFailed(FailedBound),
    /// The budget is used up: the run ends.
    BudgetExhausted,
    /// Requests can no longer be signed: the run ends.
    CredentialsLost,
    /// The daily quota of the cell's model is used up: the run continues with other models.
    DailyQuotaExhausted,
    /// The reservation of the budget is not on the disk yet: retry after [`Gate::wait_for_reservation`].
    NotReserved,
}

/// Decides whether a request may start, and receives its outcome.
pub(crate) trait Gate: Send + Sync {
    /// Starts a cell run and resets the state of the previous one.
    fn start_cell(&self, cell: usize);
    /// Checks before a cell run whether any request could start. A refusal keeps the results of earlier attempts.
    fn check_cell(&self, _cell: usize) -> Result<(), Refusal> {
        Ok(())
    }
    /// Decides whether a request may start. A refusal ends the cell, except [`RefusalReason::NotReserved`].
    fn admit(&self) -> Result<(), Refusal>;
    /// Waits until a request that was refused with [`RefusalReason::NotReserved`] can be retried.
    fn wait_for_reservation(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
    /// Returns whether a cell whose time is over should run for a further second.
    fn wants_extension(&self) -> bool {
        false
    }
    /// Receives each record, priming requests included.
    fn settle(&self, record: &Record);
    /// Receives a stall of this machine: start and end in milliseconds since the start of the cell run. Requests in flight
    /// during the stall may be excluded from latencies; some of them have been settled before this call.
    fn exclude_stall(&self, _from_ms: f64, _to_ms: f64) {}
    /// Decides whether a pre-flight probe may be sent.
    fn admit_probe(&self, _probe: usize) -> Result<(), Refusal> {
        Ok(())
    }
    /// Receives the record of a pre-flight probe.
    fn settle_probe(&self, _probe: usize, _record: &Record) {}
}

/// The barrier at which the shards of a run wait for each other.
pub(crate) trait Barrier: Send + Sync {
    /// Waits until all shards are ready for the cell run at this position in the order. Returns the common start time by
    /// this machine's clock, or the reason why there is none. The future may be dropped at any time.
    fn wait(&self, place: usize) -> Pin<Box<dyn Future<Output = Result<SystemTime, String>> + Send + '_>>;
    /// Announces that this shard has enough samples of a cell run. Returns whether all shards have.
    fn all_have_enough(&self, place: usize) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

/// Tokens that stop a run, in two steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Cancelled: nothing new starts; requests in flight are drained within the plan's bound.
    pub(crate) drain: CancellationToken,
    /// Cancelled: requests in flight are abandoned at once and counted as censored.
    pub(crate) abandon: CancellationToken,
}
