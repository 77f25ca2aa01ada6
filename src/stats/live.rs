//! What is known of the running cell while it runs, for the display. Approximate, never reported.

use super::histogram::Times;
use crate::record::{Outcome, Record};
use std::time::Instant;

/// The running cell so far.
#[derive(Debug)]
pub(crate) struct Live {
    /// Cells begun so far, repetitions counted.
    pub(crate) turn: usize,
    /// The running cell's index in matrix order.
    pub(crate) cell: usize,
    /// When it began.
    pub(crate) began: Option<Instant>,
    /// Users running.
    pub(crate) users: u32,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// See `Outcome`.
    pub(crate) succeeded: u64,
    /// See `Outcome`.
    pub(crate) throttled: u64,
    /// See `Outcome`.
    pub(crate) failed: u64,
    times: Times,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            turn: 0,
            cell: 0,
            began: None,
            users: 0,
            in_flight: 0,
            succeeded: 0,
            throttled: 0,
            failed: 0,
            times: Times::new(),
        }
    }
}

impl Live {
    /// The next cell begins.
    pub(crate) fn begin(&mut self, cell: usize) {
        self.times.clear();
        (self.turn, self.cell, self.began) = (self.turn + 1, cell, Some(Instant::now()));
        (self.succeeded, self.throttled, self.failed) = (0, 0, 0);
    }

    /// A request ended.
    pub(crate) fn add(&mut self, record: &Record) {
        match record.outcome {
            Outcome::Succeeded => {
                self.succeeded += 1;
                self.times.add(record.response_time_ms);
            }
            Outcome::Throttled => self.throttled += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Censored => {}
        }
    }

    /// Of the cell's successes so far, milliseconds.
    pub(crate) fn percentile_ms(&self, p: f64) -> Option<f64> {
        self.times.percentile_ms(p)
    }
}
