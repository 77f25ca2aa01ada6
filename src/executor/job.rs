//! What is to be executed.

use super::backlog::Backlog;
use super::port::Barrier;
use crate::matrix::order::PlannedRun;
use crate::matrix::{Cell, Shard};
use crate::plan::AfterAbort;
use crate::prompts::Source;
use std::sync::Arc;
use std::time::Duration;

/// Everything that the executor needs for a run.
pub(crate) struct Job {
    /// Cells in matrix order.
    pub(crate) cells: Vec<Cell>,
    /// Prompts of each cell.
    pub(crate) prompts: Vec<Arc<Source>>,
    /// All cell runs of the run in order: random draws of a cell run depend on its position.
    pub(crate) order: Vec<PlannedRun>,
    /// Positions of the cell runs to execute.
    pub(crate) planned_runs: Vec<usize>,
    /// Seed of all random draws.
    pub(crate) seed: u64,
    /// Pause between cell runs.
    pub(crate) cool_down: Duration,
    /// Whether prompts and replies are recorded.
    pub(crate) keep_text: bool,
    /// How the run continues after a cell was aborted.
    pub(crate) after_abort: AfterAbort,
    /// The shard of this process.
    pub(crate) shard: Shard,
    /// The barrier, if there are several shards.
    pub(crate) barrier: Option<Arc<dyn Barrier>>,
    /// Queue of the recorder: while it is full, no request starts.
    pub(crate) backlog: Arc<Backlog>,
}
