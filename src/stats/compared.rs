//! The values of a cell that comparisons of cells need.

use super::latency::Metric;

/// Metric of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum CellMetric {
    /// The percentile (0 to 1) of a time, milliseconds.
    Percentile(Metric, f64),
    /// Output tokens of successes that ended inside the window, per second.
    OutputTokensPerSec,
}

/// Values of a cell that comparisons need after its samples are dropped.
#[derive(Debug, Default)]
pub(super) struct ComparedValues {
    /// Values by repetition, of each metric.
    pub(super) by_repetition: Vec<(CellMetric, Vec<(u32, f64)>)>,
    /// Output tokens per second of each batch of time.
    pub(super) token_batches: Vec<f64>,
    /// Mean output tokens of the successes in the window that reported them.
    pub(super) mean_output_tokens: Option<f64>,
}
