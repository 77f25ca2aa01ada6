//! The identity of a run and of its cells.

use crate::config::Resolved;
use crate::matrix::Cell;
use crate::plan::Plan;
use crate::record::hash::cell_hash;
use crate::units::timestamp;

/// Identity of a run, the same on all its shards.
#[derive(Debug, Clone)]
pub(super) struct RunIdentity {
    /// Start of the run, epoch milliseconds.
    pub(super) started_ms: u64,
    pub(super) run_id: String,
    pub(super) seed: u64,
}

impl RunIdentity {
    /// Creates the identity of a run that starts now.
    pub(super) fn new(plan: &Plan) -> Self {
        let started_ms = timestamp::now_ms();
        // A drawn seed must survive a round trip: TOML has no number above 2^63, and many JSON readers none above 2^53.
        let drawn = || rand::random_range(0..1 << 53);
        Self { started_ms, run_id: run_id(started_ms), seed: plan.load.seed.unwrap_or_else(drawn) }
    }
}

/// Returns the hash that identifies a cell across runs.
pub(super) fn hash(resolved: &Resolved, cell: &Cell) -> String {
    let plan = &resolved.plan;
    cell_hash(cell, &plan.target, &resolved.prompts.canonical(&cell.prompt_size, &plan.mix))
}

/// Returns the start time and 32 random bits: ids sort by time, and two runs that start in the same second differ.
fn run_id(started_ms: u64) -> String {
    format!("{}-{:08x}", timestamp::compact(started_ms), rand::random::<u32>())
}
