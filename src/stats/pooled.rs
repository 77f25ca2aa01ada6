//! Reported latencies. With `include_failures` they include failed requests; verdicts never do.

use super::latency::{Latency, Metric, Population};
use super::sample::Sample;
use super::window::Window;
use crate::matrix::Cell;

/// Latencies that include failed and throttled requests.
#[derive(Debug)]
pub(super) struct PooledLatencies {
    pub(super) latency: Latency,
    pub(super) service: Option<Latency>,
}

impl PooledLatencies {
    pub(super) fn new(cell: &Cell, window: &Window, samples: &[Sample]) -> Self {
        let windowed = || samples.iter().filter(|sample| window.includes(sample));
        let measured = |metric| Latency::for_metric(windowed(), Population::Pooled, metric);
        Self { latency: measured(Metric::Response), service: cell.is_open().then(|| measured(Metric::Service)) }
    }
}

/// The population of the latencies that reports show.
pub(super) fn reported_population(include_failures: bool) -> Population {
    if include_failures { Population::Pooled } else { Population::Settled }
}
