//! The manifest of a run that starts.

use super::identity::{RunIdentity, hash};
use super::network;
use crate::config::Resolved;
use crate::executor::connect;
use crate::matrix::{Cell, order};
use crate::plan::Endpoint;
use crate::prices::Prices;
use crate::record::hash::plan_hash;
use crate::record::manifest::{self, Machine, Manifest, PlannedCell};

/// Returns the manifest of a run before its first request.
pub(super) fn new_manifest(
    resolved: &Resolved,
    all_cells: &[Cell],
    cells: &[Cell],
    identity: RunIdentity,
    region: &str,
    only: &[String],
) -> Manifest {
    let plan = &resolved.plan;
    let RunIdentity { started_ms, run_id, seed } = identity;
    let hash = |cell: &Cell| hash(resolved, cell);
    let simulated = plan.target.endpoint == Endpoint::Simulated;
    Manifest {
        format: manifest::FORMAT,
        run_id,
        tool_version: env!("CARGO_PKG_VERSION").into(),
        started_ms,
        resumed_ms: Vec::new(),
        ended_ms: None,
        interrupted: false,
        simulator: None,
        endpoint: plan.target.endpoint.to_string(),
        region: (!simulated).then(|| region.to_owned()),
        connection_policy: connect::POLICY.into(),
        machine: Machine {
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu_quota_cores: crate::executor::cpu_quota_cores(),
        },
        plan: plan.clone(),
        origins: resolved.origins.clone(),
        plan_hash: plan_hash(&all_cells.iter().map(hash).collect::<Vec<_>>()),
        seed,
        calibration: None,
        preflight: Vec::new(),
        prices: Prices::from_plan(plan).rows_for(cells),
        only: only.to_vec(),
        cells: cells.iter().map(|cell| PlannedCell { cell: cell.clone(), cell_hash: hash(cell) }).collect(),
        order: order::execution_order(cells, &plan.load, seed),
        planned_runs: Vec::new(),
        shards: None,
    }
}

/// Returns the regions that a run calls, for display. `resolved` is the region of cells that set none.
pub(super) fn called_regions(cells: &[Cell], resolved: &str) -> String {
    let mut regions = network::regions(cells);
    if regions.is_empty() || cells.iter().any(|cell| cell.region.is_none()) {
        regions.insert(0, resolved.to_owned());
    }
    regions.dedup();
    regions.join(", ")
}
