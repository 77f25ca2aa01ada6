//! The execution order of cells. Only the execution is shuffled, so that a drift of the service does not affect one tier
//! alone; rows and charts keep matrix order.

use super::{AxisValue, Cell};
use crate::plan::{Load, Order};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Stream of the run's seed for the order of cells; other draws use other streams.
const STREAM: u64 = 1;

/// One execution of a cell within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedRun {
    /// Index of the cell in matrix order.
    pub(crate) cell: usize,
    /// Repetition, from 1.
    pub(crate) repetition: u32,
    /// Attempt, from 1: an interrupted cell run is repeated, and only the last attempt counts.
    #[serde(default = "first_attempt", skip_serializing_if = "is_first")]
    pub(crate) attempt: u32,
}

impl PlannedRun {
    /// Creates the first attempt.
    pub(crate) fn new(cell: usize, repetition: u32) -> Self {
        Self { cell, repetition, attempt: first_attempt() }
    }
}

pub(crate) fn first_attempt() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // required by serde
pub(crate) fn is_first(attempt: &u32) -> bool {
    *attempt == first_attempt()
}

/// Returns the cell runs in order: `load.repetitions` independent orders, one after the other.
pub(crate) fn execution_order(cells: &[Cell], load: &Load, seed: u64) -> Vec<PlannedRun> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    (1..=load.repetitions)
        .flat_map(|repetition| {
            one_repetition(cells, load.order, &mut rng).into_iter().map(move |cell| PlannedRun::new(cell, repetition))
        })
        .collect()
}

fn one_repetition(cells: &[Cell], order: Order, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..cells.len()).collect();
    match order {
        Order::Matrix => indices,
        Order::Random => {
            indices.shuffle(rng);
            indices
        }
        Order::Blocked => {
            let mut contexts: Vec<Vec<usize>> = Vec::new();
            let mut known: HashMap<Vec<AxisValue>, usize> = HashMap::new();
            for index in indices {
                let context = *known.entry(context(&cells[index])).or_insert(contexts.len());
                if context == contexts.len() {
                    contexts.push(Vec::new());
                }
                contexts[context].push(index);
            }
            contexts.shuffle(rng);
            for tiers in &mut contexts {
                tiers.shuffle(rng);
            }
            contexts.concat()
        }
    }
}

/// Returns the values of all axes except the tier.
fn context(cell: &Cell) -> Vec<AxisValue> {
    super::AXES.iter().filter(|axis| axis.field != "service_tier").map(|axis| (axis.get)(cell)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::expand;

    fn cells() -> Vec<Cell> {
        expand(&crate::plan::tests::plan())
    }

    #[test]
    fn each_repetition_runs_each_cell_once() {
        let cells = cells();
        for order in [Order::Blocked, Order::Random, Order::Matrix] {
            let load = Load { order, repetitions: 3, ..cells[0].load.clone() };
            let order = execution_order(&cells, &load, 7);
            for repetition in 1..=3 {
                let mut ran: Vec<_> = order.iter().filter(|t| t.repetition == repetition).map(|t| t.cell).collect();
                ran.sort_unstable();
                assert_eq!(ran, (0..cells.len()).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn blocked_order_keeps_the_tiers_of_a_context_adjacent() {
        let cells = cells();
        let load = Load { order: Order::Blocked, ..cells[0].load.clone() };
        for block in execution_order(&cells, &load, 7).chunks(3) {
            assert!(block.iter().all(|run| context(&cells[run.cell]) == context(&cells[block[0].cell])));
        }
    }

    #[test]
    fn same_seed_gives_the_same_order() {
        let cells = cells();
        assert_eq!(execution_order(&cells, &cells[0].load, 7), execution_order(&cells, &cells[0].load, 7));
        assert_ne!(execution_order(&cells, &cells[0].load, 7), execution_order(&cells, &cells[0].load, 8));
    }
}
