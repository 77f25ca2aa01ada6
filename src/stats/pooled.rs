//! Reported latencies. With `include_failures` they include failed requests; verdicts never do.

use super::collect::Sample;
use super::latency::{Latency, Metric, Population};
use super::summary::CellSummary;
use super::window::Window;
use crate::matrix::Cell;

/// Latencies that include failed and throttled requests.
#[derive(Debug)]
pub(super) struct PooledLatencies {
    latency: Latency,
    service: Option<Latency>,
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

impl CellSummary {
    /// Returns the response times that reports show: with `include_failures` also those of failed requests.
    pub(crate) fn reported_latency(&self) -> &Latency {
        self.pooled.as_ref().map_or(&self.latency, |pooled| &pooled.latency)
    }

    /// Returns the service times that reports show, in an open loop.
    pub(crate) fn reported_service(&self) -> Option<&Latency> {
        self.pooled.as_ref().map_or(self.service.as_ref(), |pooled| pooled.service.as_ref())
    }
}
