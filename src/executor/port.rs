//! How the executor meets the rest of the house: events out, permission in, and two ways to stop.

use crate::matrix::order::Turn;
use crate::record::Record;
use crate::record::manifest::{FailedBound, Second, TurnReport};
use crate::record::probe::Checked;
use std::pin::Pin;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;

/// What happens, told through one callback. The callback must not block: requests wait for it.
#[derive(Debug)]
pub(crate) enum Event {
    /// A cell begins.
    TurnStarted {
        /// Its place in the order.
        place: usize,
        /// Which cell, and which attempt.
        turn: Turn,
    },
    /// A request ended, whatever its end.
    Ended {
        /// Index of the cell in matrix order.
        cell: usize,
        /// What is written of it.
        record: Box<Record>,
    },
    /// The server at a URL turned out to be a simulator, which names itself so. Comes before the end of its first reply.
    SimulatorFound(String),
    /// A pre-flight request ended.
    Probed {
        /// Its place in the manifest.
        probe: usize,
        /// What is written of it.
        record: Box<Record>,
    },
    /// All of them did; what each says of the cells that ask so.
    PreflightEnded(Vec<Checked>),
    /// A second went by in the running cell.
    Second(Second),
    /// A cell ended and nothing of it is in flight any more.
    TurnEnded(Box<TurnReport>),
}

impl Event {
    /// Bytes of memory that it takes while it waits, about.
    pub(crate) fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>()
            + match self {
                Self::Ended { record, .. } | Self::Probed { record, .. } => {
                    let texts = [&record.prompt_text, &record.reply_text, &record.error_message, &record.request_id];
                    size_of::<Record>() + texts.into_iter().map(length).sum::<usize>()
                }
                Self::TurnEnded(report) => size_of::<TurnReport>() + size_of_val(&report.series[..]),
                Self::PreflightEnded(checked) => size_of_val(&checked[..]),
                Self::SimulatorFound(name) => name.len(),
                Self::TurnStarted { .. } | Self::Second(_) => 0,
            }
    }
}

/// Why nothing more may start in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// For people.
    pub(crate) reason: String,
    /// What follows from it.
    pub(crate) why: Why,
}

/// What follows from a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// The cell measures nothing.
    GivenUp,
    /// A bound that can no longer be met.
    Failed(FailedBound),
    /// Nothing more may be spent: the run ends.
    Budget,
    /// Nobody can be asked any more: the run ends.
    Unsigned,
    /// The daily quota of the cell's model is used up: the run goes on with other models.
    DailyQuota,
    /// The budget for it is not on the disk yet: the start is tried again after [`Gate::reserved`].
    Unreserved,
}

/// Decides whether a request may start, and learns how it ended.
pub(crate) trait Gate: Send + Sync {
    /// A cell begins: whatever was known of the one before is forgotten.
    fn begin(&self, cell: usize);
    /// Asked before a cell is run once more: whether anything could start. What it gave before counts until then.
    fn could_admit(&self, _cell: usize) -> Result<(), Refusal> {
        Ok(())
    }
    /// Asked before each start; the reason of a refusal ends the cell.
    fn admit(&self) -> Result<(), Refusal>;
    /// Waits until a start that was refused with [`Why::Unreserved`] can be tried again.
    fn reserved(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
    /// Asked when a cell's time is over: whether it goes on, for a second at a time.
    fn goes_on(&self) -> bool {
        false
    }
    /// Told of each end, of priming requests too.
    fn settle(&self, record: &Record);
    /// Reports that this machine stood still, from and to in milliseconds since the start of the cell run. Requests
    /// that were in flight then may not count for latencies; some of them have been settled before this call.
    fn stalled(&self, _from_ms: f64, _to_ms: f64) {}
    /// Asked before a pre-flight request, which asks as this cell does.
    fn admit_probe(&self, _probe: usize) -> Result<(), Refusal> {
        Ok(())
    }
    /// Told of its end.
    fn settle_probe(&self, _probe: usize, _record: &Record) {}
}

/// Where the machines of a run wait for each other.
pub(crate) trait Meet: Send + Sync {
    /// Waits before the load of a turn, which is named by its place in the order, until all are there. Returns when it
    /// begins, by this machine's clock, or why it never will. May be dropped at any moment.
    fn meet(&self, place: usize) -> Pin<Box<dyn Future<Output = Result<SystemTime, String>> + Send + '_>>;
    /// Says that this machine has as many samples of a turn as it should. Returns whether all have.
    fn enough(&self, place: usize) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

/// A person's wish to stop, in two steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Nothing new starts; what is in flight is drained within the plan's bound.
    pub(crate) starting: CancellationToken,
    /// What is in flight is given up at once, and counted as censored.
    pub(crate) waiting: CancellationToken,
}
