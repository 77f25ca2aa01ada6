//! Counts and latencies of a cell as numbers, for programs.

use crate::stats::percentile::Percentile;
use crate::stats::series::LEVELS;
use crate::stats::{Counts, Latency};
use serde::Serialize;

/// Requests by outcome.
#[derive(Debug, Serialize)]
pub(crate) struct CountsView {
    /// All requests.
    pub(crate) total: u64,
    /// See `Outcome`.
    pub(crate) succeeded: u64,
    /// Throttled plus failed requests.
    pub(crate) failures: u64,
    /// See `Outcome`.
    pub(crate) throttled: u64,
    /// See `Outcome`.
    pub(crate) failed: u64,
    /// See `Outcome`.
    pub(crate) censored: u64,
}

/// Latencies in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Numbers {
    /// Number of observations, including censored ones.
    pub(crate) n: usize,
    pub(crate) mean: Option<f64>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    /// Values at the percentile ranks of Locust's files.
    pub(crate) levels: [Option<f64>; LEVELS.len()],
    /// Quality of p95.
    pub(crate) p95_quality: Option<&'static str>,
    /// Quality of p99.
    pub(crate) p99_quality: Option<&'static str>,
    /// Lower end of the 95 % interval of p95.
    pub(crate) p95_low: Option<f64>,
    /// Upper end of the same interval; `None` if it is open.
    pub(crate) p95_high: Option<f64>,
    /// Percentiles with their quality: p50, p90, p95, p99, and those that the plan requests.
    #[serde(skip)]
    pub(crate) percentiles: Vec<Percentile>,
}

impl CountsView {
    pub(super) fn of(counts: Counts) -> Self {
        Self {
            total: counts.total,
            succeeded: counts.succeeded,
            failures: counts.failures(),
            throttled: counts.throttled,
            failed: counts.failed,
            censored: counts.censored,
        }
    }
}

impl Numbers {
    /// Computes the numbers. `further` contains percentile ranks, 0 to 100, in addition to those of every plan.
    pub(super) fn of(latency: &Latency, further: &[f64]) -> Self {
        let mut wanted = vec![50.0, 90.0, 95.0, 99.0];
        wanted.extend(further);
        wanted.sort_by(f64::total_cmp);
        wanted.dedup();
        let percentiles: Vec<Percentile> = wanted.iter().filter_map(|p| latency.percentile(p / 100.0)).collect();
        let at = |p: f64| percentiles.iter().find(|percentile| (percentile.p - p).abs() < 1e-9);
        let (p95, p99) = (at(0.95), at(0.99));
        Self {
            n: latency.observations(),
            mean: latency.mean_ms,
            min: latency.min_ms,
            max: latency.max_ms,
            levels: LEVELS.map(|p| latency.value_ms(p)),
            p95_quality: p95.map(|percentile| percentile.quality.key()),
            p99_quality: p99.map(|percentile| percentile.quality.key()),
            p95_low: p95.and_then(|percentile| percentile.low_ms),
            p95_high: p95.and_then(|percentile| percentile.high_ms),
            percentiles,
        }
    }

    /// Returns the value at one of Locust's percentile ranks.
    pub(crate) fn at(&self, p: f64) -> Option<f64> {
        LEVELS.iter().position(|level| (level - p).abs() < 1e-9).and_then(|index| self.levels[index])
    }
}
