//! Extends a cell until its latency window contains `min_samples` successes.

use crate::executor::port::{Gate, Refusal};
use crate::matrix::{Cell, Shard};
use crate::record::{Outcome, Record};
use crate::stats::sufficiency::{count_samples, required_samples};
use crate::stats::window;
use crate::units::ms;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The gate that extends cells.
#[derive(Debug)]
pub(crate) struct ExtensionGate {
    cells: Vec<Cell>,
    include_ramp: bool,
    shard: Shard,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    cell: usize,
    started: Instant,
    /// Start and response time of each success, in milliseconds.
    successes: Vec<(f64, f64)>,
    /// The most recent stalls of this machine: start and end, in milliseconds.
    stalls: VecDeque<(f64, f64)>,
}

/// Maximum number of stalls kept; no request is in flight during more.
const MAX_STALLS: usize = 1_000;

/// Returns whether a request with this start and response time was in flight during a stall.
fn overlaps(stall: &(f64, f64), start_ms: f64, response_ms: f64) -> bool {
    start_ms < stall.1 && start_ms + response_ms > stall.0 - crate::stats::TICK_MS
}

impl ExtensionGate {
    /// Creates the gate for the cells of a run, in matrix order. Each shard collects its share of the samples.
    pub(crate) fn new(cells: &[Cell], include_ramp: bool, shard: Shard) -> Self {
        Self { cells: cells.to_vec(), include_ramp, shard, state: Mutex::new(None) }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Option<State>) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Gate for ExtensionGate {
    fn start_cell(&self, cell: usize) {
        let has_minimum = self.cells[cell].load.min_samples.is_some();
        self.with(|state| {
            *state = has_minimum.then(|| State {
                cell,
                started: Instant::now(),
                successes: Vec::new(),
                stalls: VecDeque::new(),
            });
        });
    }

    fn admit(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn wants_extension(&self) -> bool {
        self.with(|state| {
            let Some(state) = state else { return false };
            let cell = &self.cells[state.cell];
            let Some(samples) = cell.load.min_samples else { return false };
            let wanted = required_samples(samples) as u64;
            let wanted = cell.part(self.shard).map_or(0, |part| part.share(wanted)) as usize;
            let times = state.successes.iter().map(|(_, response_ms)| *response_ms).collect();
            let elapsed_ms = ms(state.started.elapsed());
            let (start_ms, _) = window::start(cell, elapsed_ms, times, self.include_ramp);
            let in_window = state.successes.iter().copied().filter(|(sent_ms, _)| *sent_ms >= start_ms);
            count_samples(samples, in_window, start_ms, elapsed_ms) < wanted
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
                if !during.any(|stall| overlaps(stall, start_ms, response_ms)) {
                    state.successes.push((start_ms, response_ms));
                }
            }
        });
    }

    fn exclude_stall(&self, from_ms: f64, to_ms: f64) {
        self.with(|state| {
            let Some(state) = state else { return };
            let stall = (from_ms, to_ms);
            // Successes are ordered by their end, except those that ended almost at the same time.
            let is_before = |(start_ms, response_ms): &(f64, f64)| start_ms + response_ms < from_ms - 1_000.0;
            let recent = state.successes.iter().rposition(is_before).map_or(0, |last| last + 1);
            let mut tail = state.successes.split_off(recent);
            tail.retain(|(start_ms, response_ms)| !overlaps(&stall, *start_ms, *response_ms));
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

    /// Creates a gate whose cells need `wanted` samples and have no ramp.
    fn extend(wanted: u32) -> ExtensionGate {
        let mut plan = crate::plan::tests::plan();
        plan.load.min_samples = Some(crate::units::Samples::Count(wanted.into()));
        ExtensionGate::new(&crate::matrix::expand(&plan), true, Shard::WHOLE)
    }

    fn settle(extend: &ExtensionGate, sent_ms: f64, response_time_ms: f64) {
        extend.settle(&Record { response_time_ms, sent_ms, ..record() });
    }

    #[test]
    fn requests_in_flight_during_a_stall_do_not_count_as_samples() {
        let extend = extend(3);
        extend.start_cell(0);
        settle(&extend, 0.0, 100.0);
        settle(&extend, 150.0, 100.0);
        settle(&extend, 190.0, 1_010.0);
        assert!(!extend.wants_extension(), "three samples");
        extend.exclude_stall(200.0, 1_200.0);
        assert!(extend.wants_extension(), "two of them were in flight during the stall");
        settle(&extend, 195.0, 1_100.0);
        settle(&extend, 1_201.0, 100.0);
        assert!(extend.wants_extension(), "one was in flight, and one was sent after it");
        settle(&extend, 1_301.0, 100.0);
        assert!(!extend.wants_extension());
    }
}
