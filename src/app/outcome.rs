//! Exit code of a run, derived from how its cells ended. `report` exits with the code of its run.

use crate::matrix::Cell;
use crate::plan::{Layer, OnInvalid, Origins, Plan};
use crate::record::manifest::{CellRunEnd, Manifest, PlannedCell};
use crate::record::{Outcome, Record, class};
use crate::result::Validity;
use crate::stats::{CellSummary, Summary};

/// How a cell ended, reduced to what the exit code depends on.
#[derive(Debug, Clone, Default)]
pub(super) struct CellEnd {
    sent: u64,
    succeeded: u64,
    /// Whether any request received an HTTP status.
    answered: bool,
    failures: u64,
    /// Failures that were caused by missing or invalid credentials.
    unsigned: u64,
    /// Whether the cell is INVALID and the plan treats that as a failure.
    invalid: bool,
}

impl CellEnd {
    /// Adds a record.
    pub(super) fn add(&mut self, record: &Record) {
        self.sent += 1;
        self.succeeded += u64::from(record.outcome == Outcome::Succeeded);
        self.answered |= record.http_status.is_some();
        if record.outcome.is_failure() {
            self.failures += 1;
            self.unsigned += u64::from(record.error_class.as_deref().is_some_and(class::is_credential_failure));
        }
    }

    /// Returns whether no request succeeded and all failures were caused by credentials.
    fn lost_credentials(&self) -> bool {
        self.succeeded == 0 && self.failures > 0 && self.unsigned == self.failures
    }
}

/// Returns how each cell of a summary ended, in the order of the cells.
pub(super) fn ends(manifest: &Manifest, summary: &Summary) -> Vec<CellEnd> {
    let fails = manifest.plan.run.on_invalid == OnInvalid::Fail;
    let end = |cell: &CellSummary| CellEnd {
        sent: cell.counts.total,
        succeeded: cell.counts.succeeded,
        answered: cell.answered,
        failures: cell.counts.failures(),
        unsigned: cell
            .errors
            .iter()
            .filter(|error| class::is_credential_failure(&error.class))
            .map(|error| error.count)
            .sum(),
        invalid: fails && matches!(cell.validity, Validity::Invalid(_)),
    };
    summary.cells.iter().map(end).collect()
}

/// Returns whether the user set a cell's service tier: in the plan, in the environment, or with a flag. A tier of the
/// built-in defaults that Bedrock refuses is not a failure of the run.
pub(super) fn is_tier_set(plan: &Plan, origins: &Origins, cell: &Cell) -> bool {
    let is_default = origins.get("matrix.service_tiers").is_none_or(|origin| origin.layer == Layer::Default);
    !(is_default && plan.matrix.service_tiers.contains(&cell.service_tier))
}

/// Returns the exit code according to the table in the README. If several codes apply, the first of 130, 4, 3 and 99 is
/// used: a number that cannot be trusted takes precedence over a verdict on it. `fails` is set if a threshold is not
/// met.
pub(super) fn exit_code(manifest: &Manifest, ends: &[CellEnd], fails: bool) -> u8 {
    let sent: u64 = ends.iter().map(|cell| cell.sent).sum();
    let answered = ends.iter().any(|cell| cell.answered);
    // A shard that gets none of a cell's users sends no request of that cell.
    let is_part = manifest.shards.as_ref().is_some_and(|shards| shards.count > 1 && shards.parts.len() == 1);
    let excluded = manifest.excluded();
    let is_bad = |(end, PlannedCell { cell, .. }): (&CellEnd, &PlannedCell)| {
        if excluded.is_unsupported(cell) {
            return is_tier_set(&manifest.plan, &manifest.origins, cell);
        }
        (!is_part || end.sent > 0) && (end.succeeded == 0 || end.invalid)
    };
    let reports = manifest.last_reports();
    if manifest.interrupted {
        130
    } else if reports.iter().any(|cell_run| cell_run.end == CellRunEnd::LostCredentials)
        || sent == 0 && manifest.is_ended_by_preflight()
        || sent > 0 && (!answered || ends.iter().any(CellEnd::lost_credentials))
    {
        4
    } else if ends.iter().zip(&manifest.cells).any(is_bad)
        || manifest.ended_ms.is_some() && manifest.has_unfinished()
        || reports.iter().any(|cell_run| {
            matches!(cell_run.end, CellRunEnd::Aborted | CellRunEnd::OutOfBudget | CellRunEnd::DailyQuota)
        })
    {
        3
    } else if fails {
        99
    } else {
        0
    }
}
