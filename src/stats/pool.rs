//! Pools of cells: counts are added, distributions are merged, and percentiles are never averaged.

use super::cell_summary::CellSummary;
use super::latency::Latency;
use super::summary::Summary;
use super::tokens::TokenSums;
use crate::matrix::{AxisValue, find_axis};
use crate::result::{Counts, Tokens, Validity};
use crate::units::Keyed;

/// Pool of cells.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Shared coordinates, in the requested order.
    pub(crate) key: Vec<AxisValue>,
    /// All requests.
    pub(crate) counts: Counts,
    /// Response times as in `CellSummary::reported_latency`, over the samples of all windows.
    pub(crate) latency: Latency,
    /// Tokens of the successes.
    pub(crate) tokens: Tokens,
    /// Requests that ended in the windows, divided by the total length of the windows.
    pub(crate) requests_per_sec: Option<f64>,
    /// Number of INVALID cells.
    pub(crate) invalid: usize,
}

impl Summary {
    /// Pools the samples of all cells by the axes with these fields, in matrix order.
    pub(crate) fn pool(&self, fields: &[&str]) -> Vec<Pool> {
        self.groups(fields).into_iter().map(|(key, cells)| Pool::new(key, &cells)).collect()
    }

    /// Returns the values of an axis over all cells, in matrix order.
    pub(crate) fn values(&self, field: &str) -> Vec<AxisValue> {
        self.groups(&[field]).into_iter().flat_map(|(key, _)| key).collect()
    }

    fn groups(&self, fields: &[&str]) -> Vec<(Vec<AxisValue>, Vec<&CellSummary>)> {
        let axes: Vec<_> = fields.iter().filter_map(|field| find_axis(field)).collect();
        let mut groups: Keyed<Vec<AxisValue>, (Vec<AxisValue>, Vec<&CellSummary>)> = Keyed::default();
        for cell in &self.cells {
            let key: Vec<AxisValue> = axes.iter().map(|axis| (axis.get)(&cell.cell)).collect();
            groups.entry(key.clone(), || (key, Vec::new())).1.push(cell);
        }
        groups.items
    }
}

impl Pool {
    fn new(key: Vec<AxisValue>, cells: &[&CellSummary]) -> Self {
        let length: f64 = cells.iter().map(|cell| cell.window.length_s).sum();
        let ended: f64 =
            cells.iter().filter_map(|cell| cell.requests_per_sec.map(|rate| rate * cell.window.length_s)).sum();
        Self {
            key,
            counts: cells.iter().fold(Counts::default(), |sum, cell| sum + cell.counts),
            latency: Latency::pooled(&cells.iter().map(|cell| cell.reported_latency()).collect::<Vec<_>>()),
            tokens: cells.iter().fold(TokenSums::default(), |sum, cell| sum.add(cell.token_sums)).tokens(),
            requests_per_sec: (length > 0.0).then(|| ended / length),
            invalid: cells.iter().filter(|cell| matches!(cell.validity, Validity::Invalid(_))).count(),
        }
    }
}
