//! A part of a cell run.

use crate::record::manifest::CellRunReport;

/// Part of a cell run on one machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) report: &'a CellRunReport,
    /// End of the load on the first machine that ended, milliseconds.
    pub(super) until_ms: f64,
}
