//! Whether a request of the load may start: the deadline, the number of requests, the requests in flight, the recorder's queue
//! and the gate.

use super::backlog::Backlog;
use super::counters::CellCounters;
use super::deadline::Deadline;
use super::job::Job;
use super::port::{Barrier, Gate, Refusal, RefusalReason};
use crate::matrix::{Cell, Shard};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Admission of the requests of a cell run.
pub(super) struct Admission {
    gate: Arc<dyn Gate>,
    start: Instant,
    pub(super) deadline: Deadline,
    /// The shard whose requests are started here.
    pub(super) shard: Shard,
    /// Maximum number of requests of this shard.
    max_requests: u64,
    max_in_flight: u32,
    backlog: Arc<Backlog>,
    /// The barrier and the position of the cell run, if there are several shards.
    barrier: Option<(Arc<dyn Barrier>, usize)>,
    /// Number of the next request.
    sequence: AtomicU64,
    refusal: Mutex<Option<Refusal>>,
}

/// Outcome of an attempt to start a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartOutcome {
    /// The request has this number and must be sent.
    Started(u64),
    /// The start must wait, see [`Admission::wait_for_reservation`].
    NotReserved,
    /// The request must not be sent.
    Refused,
}

impl Admission {
    /// Creates the admission of the cell run at a position of the order.
    pub(super) fn new(job: &Job, place: usize, cell: &Cell, start: Instant, gate: Arc<dyn Gate>) -> Self {
        let part = cell.part(job.shard);
        let shard = part.unwrap_or(job.shard);
        let deadline = Deadline::new(start + cell.length());
        let max_requests = match cell.load.requests {
            // An idle shard starts no requests of a limited number.
            Some(_) if part.is_none() => {
                deadline.closing.cancel();
                0
            }
            requests => shard.share(requests.unwrap_or(u64::MAX)),
        };
        Self {
            gate,
            start,
            deadline,
            shard,
            max_requests,
            max_in_flight: shard.share(u64::from(cell.load.max_in_flight)).max(1) as u32,
            backlog: Arc::clone(&job.backlog),
            barrier: job.barrier.clone().map(|barrier| (barrier, place)),
            sequence: AtomicU64::new(0),
            refusal: Mutex::new(None),
        }
    }

    /// Closes the load: nothing starts afterwards. Returns the duration of the load.
    pub(super) fn close(&self) -> Duration {
        self.deadline.close() - self.start
    }

    /// Returns whether starts must wait for the recorder. Cheap: one atomic load.
    pub(super) fn recorder_is_full(&self) -> bool {
        self.backlog.is_full()
    }

    /// Waits while the recorder's queue is full, at most until `leaving`.
    pub(super) async fn wait_for_recorder(&self, counters: &CellCounters, leaving: &CancellationToken) {
        counters.add_waited_start();
        tokio::select! {
            () = self.backlog.wait_for_room() => {}
            () = leaving.cancelled() => {}
        }
    }

    /// Returns the number of requests started.
    pub(super) fn started(&self) -> u64 {
        self.sequence.load(Ordering::Relaxed).min(self.max_requests)
    }

    /// Returns whether all planned requests have been started.
    pub(super) fn has_started_all(&self) -> bool {
        self.started() >= self.max_requests
    }

    /// Returns the refusal of the gate, if any.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tries to start a request. A refusal of the gate closes the load, and so does the last planned request.
    pub(super) fn try_start(&self, counters: &CellCounters) -> StartOutcome {
        if let Err(refusal) = self.gate.admit() {
            if refusal.reason == RefusalReason::NotReserved {
                return StartOutcome::NotReserved;
            }
            self.refusal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(refusal);
            self.deadline.closing.cancel();
            return StartOutcome::Refused;
        }
        let nth = self.sequence.fetch_add(1, Ordering::Relaxed);
        if nth + 1 >= self.max_requests {
            self.deadline.closing.cancel();
        }
        if nth >= self.max_requests {
            return StartOutcome::Refused;
        }
        counters.add_in_flight();
        StartOutcome::Started(self.shard.number(nth))
    }

    /// Tries to start an arrival. With too many requests in flight, it is dropped and counted.
    pub(super) fn try_arrive(&self, counters: &CellCounters) -> StartOutcome {
        if counters.in_flight() >= self.max_in_flight {
            counters.add_dropped(1);
            return StartOutcome::Refused;
        }
        self.try_start(counters)
    }

    /// Waits until a start that was [`StartOutcome::NotReserved`] can be retried, or the load is closed.
    pub(super) async fn wait_for_reservation(&self) {
        tokio::select! {
            () = self.gate.wait_for_reservation() => {}
            () = self.deadline.closing.cancelled() => {}
        }
    }

    /// Waits until it is decided whether a user may start a request now; returns the decision.
    pub(super) async fn wait_until_allowed(&self) -> bool {
        let now = Instant::now();
        match self.deadline.allows(now) {
            Some(decided) => decided,
            None => self.deadline.wait_for_decision(now).await,
        }
    }

    /// Returns whether the gate wants to extend the cell.
    pub(super) fn wants_extension(&self) -> bool {
        self.gate.wants_extension()
    }

    /// Returns whether all shards have enough samples. This shard has.
    pub(super) async fn all_shards_have_enough(&self) -> bool {
        match &self.barrier {
            Some((barrier, place)) => barrier.all_have_enough(*place).await,
            None => true,
        }
    }
}
