//! Lets a cell go on until its latency window holds as many successes as `min_samples` asks for.

use crate::executor::port::{Gate, Refusal};
use crate::matrix::{Cell, Shard};
use crate::record::{Outcome, Record};
use crate::stats::{samples_wanted, window};
use crate::units::ms;
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
        self.with(|state| *state = wanted.then(|| State { cell, began: Instant::now(), successes: Vec::new() }));
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
                state.successes.push((record.due_ms.unwrap_or(record.sent_ms), record.response_time_ms));
            }
        });
    }
}
