//! Lets a cell go on until its latency window holds as many successes as `min_samples` asks for.

use crate::executor::port::{Gate, Refusal};
use crate::matrix::{Cell, Shard};
use crate::record::{Outcome, Record};
use crate::stats::{samples_wanted, window};
use crate::units::ms;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The gate.
#[derive(Debug)]
pub(crate) struct Extend {
    cells: Vec<Cell>,
    include_ramp: bool,
    shard: Shard,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    cell: usize,
    began: Instant,
    /// Start and response time of each success, milliseconds.
    successes: Vec<(f64, f64)>,
    /// The last times for which this machine stood still, from and to, milliseconds.
    stalls: VecDeque<(f64, f64)>,
}

/// Stalls that are remembered: no request is in flight during more.
const MAX_STALLS: usize = 1_000;

/// Whether a request with this start and response time was in flight while this machine stood still.
fn is_in(stall: &(f64, f64), start_ms: f64, response_ms: f64) -> bool {
    start_ms < stall.1 && start_ms + response_ms > stall.0 - crate::stats::TICK_MS
}

impl Extend {
    /// For the cells of a run, in matrix order; a machine goes on for its share of the samples.
    pub(crate) fn new(cells: &[Cell], include_ramp: bool, shard: Shard) -> Self {
        Self { cells: cells.to_vec(), include_ramp, shard, state: Mutex::new(None) }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Option<State>) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Gate for Extend {
    fn begin(&self, cell: usize) {
        let wanted = self.cells[cell].load.min_samples.is_some();
        self.with(|state| {
            *state =
                wanted.then(|| State { cell, began: Instant::now(), successes: Vec::new(), stalls: VecDeque::new() });
        });
    }

    fn admit(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn goes_on(&self) -> bool {
        self.with(|state| {
            let Some(state) = state else { return false };
            let cell = &self.cells[state.cell];
            let wanted = cell.load.min_samples.map_or(0, samples_wanted) as u64;
            let wanted = cell.part(self.shard).map_or(0, |part| part.share(wanted)) as usize;
            let times = state.successes.iter().map(|(_, response_ms)| *response_ms).collect();
            let (start_ms, _) = window::start(cell, ms(state.began.elapsed()), times, self.include_ramp);
            state.successes.iter().filter(|(sent_ms, _)| *sent_ms >= start_ms).count() < wanted
        })
    }

    fn settle(&self, record: &Record) {
        self.with(|state| {
            if let Some(state) = state
                .as_mut()
                .filter(|_| record.outcome == Outcome::Succeeded && record.validity.is_none() && record.phase.is_load())
            {
                let (start_ms, response_ms) = (record.due_ms.unwrap_or(record.sent_ms), record.response_time_ms);
                let mut during = state.stalls.iter().rev().take_while(|stall| stall.1 > start_ms);
                if !during.any(|stall| is_in(stall, start_ms, response_ms)) {
                    state.successes.push((start_ms, response_ms));
                }
            }
        });
    }

    fn stalled(&self, from_ms: f64, to_ms: f64) {
        self.with(|state| {
            let Some(state) = state else { return };
            let stall = (from_ms, to_ms);
            // They are in order of their ends, but for those that ended at nearly the same time.
            let is_before = |(start_ms, response_ms): &(f64, f64)| start_ms + response_ms < from_ms - 1_000.0;
            let recent = state.successes.iter().rposition(is_before).map_or(0, |last| last + 1);
            let mut tail = state.successes.split_off(recent);
            tail.retain(|(start_ms, response_ms)| !is_in(&stall, *start_ms, *response_ms));
            state.successes.append(&mut tail);
            state.stalls.push_back(stall);
            if state.stalls.len() > MAX_STALLS {
                state.stalls.pop_front();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::request::tests::record;

    /// A cell that wants so many samples, with no ramp.
    fn extend(wanted: u32) -> Extend {
        let mut plan = crate::plan::tests::plan();
        plan.load.min_samples = Some(crate::units::Samples::Count(wanted.into()));
        Extend::new(&crate::matrix::expand(&plan), true, Shard::WHOLE)
    }

    fn settle(extend: &Extend, sent_ms: f64, response_time_ms: f64) {
        extend.settle(&Record { response_time_ms, sent_ms, ..record() });
    }

    #[test]
    fn requests_in_flight_during_a_stall_are_no_samples_whenever_they_are_settled() {
        let extend = extend(3);
        extend.begin(0);
        settle(&extend, 0.0, 100.0);
        settle(&extend, 150.0, 100.0);
        settle(&extend, 190.0, 1_010.0);
        assert!(!extend.goes_on(), "three samples");
        extend.stalled(200.0, 1_200.0);
        assert!(extend.goes_on(), "two of them were in flight during the stall");
        settle(&extend, 195.0, 1_100.0);
        settle(&extend, 1_201.0, 100.0);
        assert!(extend.goes_on(), "one was in flight, and one was sent after it");
        settle(&extend, 1_301.0, 100.0);
        assert!(!extend.goes_on());
    }
}
