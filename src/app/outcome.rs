//! The exit code of a run, from what is on the disk: `report` exits as its run would.

use crate::record::manifest::Manifest;
use crate::stats::{CellSummary, Summary, Validity};

/// Failures that mean that nobody can be asked any more.
const CREDENTIALS: [&str; 4] =
    ["credentials", "ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"];

/// See the README's table. When several hold, the first of 130, 4, 3.
pub(super) fn exit_code(manifest: &Manifest, summary: &Summary) -> u8 {
    let cells = &summary.cells;
    let sent: u64 = cells.iter().map(|cell| cell.counts.total).sum();
    if manifest.interrupted {
        130
    } else if sent > 0 && (!summary.answered || cells.iter().any(lost_credentials)) {
        4
    } else if cells.iter().any(|cell| cell.counts.succeeded == 0 || cell.validity != Validity::Ok) {
        3
    } else {
        0
    }
}

/// Nothing of a cell succeeded, for want of credentials.
fn lost_credentials(cell: &CellSummary) -> bool {
    let is_one = |class: &String| CREDENTIALS.contains(&class.as_str());
    cell.counts.succeeded == 0 && !cell.errors.is_empty() && cell.errors.iter().all(|error| is_one(&error.class))
}
