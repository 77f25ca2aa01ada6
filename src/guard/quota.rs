//! Skips the remaining cells of a model whose daily token quota is used up. The quota is renewed on the next day, when
//! `--resume` can continue.

use crate::executor::port::{Gate, Refusal, RefusalReason};
use crate::matrix::Cell;
use crate::record::{Record, class};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// The gate that refuses cells of models without quota.
#[derive(Debug)]
pub(crate) struct DailyQuotaGate {
    /// The model of each cell, in matrix order.
    models: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Index of the running cell.
    cell: usize,
    exhausted: HashSet<String>,
}

impl DailyQuotaGate {
    /// Creates the gate for the cells of a run, in matrix order.
    pub(crate) fn new(cells: &[Cell]) -> Self {
        Self { models: cells.iter().map(|cell| cell.model_id.clone()).collect(), state: Mutex::default() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn check(&self, state: &State, cell: usize) -> Result<(), Refusal> {
        let model = &self.models[cell];
        if !state.exhausted.contains(model) {
            return Ok(());
        }
        let message = format!("the daily token quota of `{model}` is used up; continue tomorrow with --resume");
        Err(Refusal { message, reason: RefusalReason::DailyQuotaExhausted })
    }
}

impl Gate for DailyQuotaGate {
    fn start_cell(&self, cell: usize) {
        self.with(|state| state.cell = cell);
    }

    fn check_cell(&self, cell: usize) -> Result<(), Refusal> {
        self.with(|state| self.check(state, cell))
    }

    fn admit(&self) -> Result<(), Refusal> {
        self.with(|state| self.check(state, state.cell))
    }

    fn settle(&self, record: &Record) {
        let is_refused = record.outcome.is_failure();
        if is_refused && record.error_message.as_deref().is_some_and(class::is_daily_quota) {
            self.with(|state| {
                state.exhausted.insert(self.models[state.cell].clone());
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use crate::record::request::tests::record;

    #[test]
    fn only_cells_of_a_model_without_quota_are_skipped() {
        let mut cells = crate::matrix::expand(&crate::plan::tests::plan());
        cells.truncate(3);
        cells[2].model_id = "another".into();
        let gate = DailyQuotaGate::new(&cells);
        let throttled =
            |message: &str| Record { outcome: Outcome::Throttled, error_message: Some(message.into()), ..record() };
        gate.start_cell(0);
        gate.settle(&throttled("Too many tokens, please wait before trying again."));
        assert!(gate.admit().is_ok() && gate.check_cell(1).is_ok());
        gate.settle(&throttled("Too many tokens per day, please wait before trying again."));
        assert_eq!(gate.admit().unwrap_err().reason, RefusalReason::DailyQuotaExhausted);
        assert!(gate.check_cell(1).is_err());
        assert!(gate.check_cell(2).is_ok());
        gate.start_cell(2);
        assert!(gate.admit().is_ok());
    }
}
