//! Latencies of a population: mean, minimum, maximum, percentiles.

use super::confidence::ConfidenceInterval;
use super::percentile::{Curve, Observation, microseconds};
use super::sample::Sample;
use crate::record::Outcome;
use crate::result::{LEVELS, Percentile, Times, reported_ranks};

/// Population of a latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Population {
    /// Successes only: plain percentiles.
    Successes,
    /// Successes, and censored or timed-out requests as lower bounds.
    Settled,
    /// As [`Self::Settled`], with failed and throttled requests as events: `include_failures`.
    Pooled,
}

/// Measured time of a request, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// From the start (in an open loop: the intended one) to the end.
    Response,
    /// From the send to the end.
    Service,
    /// Time to the first content of a stream; known also for streams that broke later.
    Ttft,
    /// To the first content of a stream that is no reasoning.
    Ttfat,
    /// Time per output token of streams that are not bursts.
    Tpot,
    /// The longest time between two content events.
    ChunkGap,
    /// From due to sent, whatever the outcome.
    SendLag,
    /// Latency reported by the service.
    Server,
    /// Client overhead: service time minus reported latency.
    BeyondServer,
}

impl Metric {
    /// Returns the time of a sample of a population, and whether it is exact (true) or a lower bound.
    pub(super) fn observe(self, sample: &Sample, population: Population) -> Option<(f64, bool)> {
        let known = |value: Option<f64>| value.map(|ms| (ms, true));
        let of_success = |value: Option<f64>| known(value.filter(|_| sample.outcome == Outcome::Succeeded));
        let server = sample.server_ms.map(f64::from);
        match self {
            Self::Response => event(sample, population).map(|event| (sample.response_ms, event)),
            Self::Service => event(sample, population).map(|event| (sample.service_ms, event)),
            Self::Ttft => first(sample, sample.ttft_ms, population),
            Self::Ttfat => first(sample, sample.ttfat_ms, population),
            Self::Tpot => of_success(sample.tpot_ms.filter(|_| !sample.is_burst())),
            Self::ChunkGap => of_success(sample.chunk_gap_max_ms.map(f64::from)),
            Self::SendLag => known(Some(sample.send_lag_ms)),
            Self::Server => of_success(server),
            Self::BeyondServer => of_success(server.map(|server| sample.service_ms - server)),
        }
    }
}

/// Latencies of a population, milliseconds. Missing values are `None`, never zero.
#[derive(Debug, Clone)]
pub(crate) struct Latency {
    /// Requests that mean, minimum and maximum are of: those that ended by themselves, and with
    /// `include_failures` those that ended at their timeout.
    pub(crate) n: usize,
    /// Requests with a lower bound only.
    pub(crate) cut_off: usize,
    /// Arithmetic mean.
    pub(crate) mean_ms: Option<f64>,
    /// The smallest.
    pub(crate) min_ms: Option<f64>,
    /// The largest.
    pub(crate) max_ms: Option<f64>,
    curve: Curve,
}

impl Latency {
    /// Computes the response times of the samples of a population.
    pub(crate) fn from_samples<'a>(samples: impl IntoIterator<Item = &'a Sample>, population: Population) -> Self {
        Self::for_metric(samples, population, Metric::Response)
    }

    /// Computes a metric of the samples of a population.
    pub(crate) fn for_metric<'a>(
        samples: impl IntoIterator<Item = &'a Sample>,
        population: Population,
        metric: Metric,
    ) -> Self {
        let (mut n, mut cut_off, mut sum_us) = (0_usize, 0_usize, 0_i64);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        let curve = Curve::new(samples.into_iter().filter_map(|sample| {
            let (ms, event) = metric.observe(sample, population)?;
            cut_off += usize::from(!event);
            if is_timed(sample, event, population) {
                n += 1;
                // A sum of integers does not depend on the order of the samples.
                sum_us = sum_us.saturating_add(microseconds(ms));
                min = f64::min(min, ms);
                max = f64::max(max, ms);
            }
            Some(observation(sample, ms, event))
        }));
        let some = |value: f64| (n > 0).then_some(value);
        Self { n, cut_off, mean_ms: some(sum_us as f64 / 1e3 / n as f64), min_ms: some(min), max_ms: some(max), curve }
    }

    /// Combines the latencies of several cells.
    pub(super) fn pooled(cells: &[&Self]) -> Self {
        let n = cells.iter().map(|latency| latency.n).sum();
        let sum: f64 = cells.iter().filter_map(|latency| Some(latency.mean_ms? * latency.n as f64)).sum();
        let all = |value: fn(&Self) -> Option<f64>| cells.iter().filter_map(move |latency| value(latency));
        Self {
            n,
            cut_off: cells.iter().map(|latency| latency.cut_off).sum(),
            mean_ms: (n > 0).then(|| sum / n as f64),
            min_ms: all(|latency| latency.min_ms).min_by(f64::total_cmp),
            max_ms: all(|latency| latency.max_ms).max_by(f64::total_cmp),
            curve: Curve::pooled(cells.iter().map(|latency| &latency.curve)),
        }
    }

    /// Returns the percentile `p` (0 to 1); `None` without samples.
    pub(crate) fn percentile(&self, p: f64) -> Option<Percentile> {
        self.curve.percentile(p)
    }

    /// Returns the times for reports. `further` contains percentile ranks, 0 to 100, in addition to p50, p90, p95, p99.
    pub(crate) fn times(&self, further: &[f64]) -> Times {
        let ranks = reported_ranks(further);
        Times {
            samples: self.observations(),
            mean_ms: self.mean_ms,
            min_ms: self.min_ms,
            max_ms: self.max_ms,
            percentiles: ranks.iter().filter_map(|rank| self.percentile(rank / 100.0)).collect(),
            levels: LEVELS.map(|level| self.value_ms(level)),
        }
    }

    /// Returns the value of a percentile without its interval, milliseconds; see [`Curve::value`].
    pub(crate) fn value_ms(&self, p: f64) -> Option<f64> {
        self.curve.value(p)
    }

    /// Returns the interval of a percentile, milliseconds; see [`Curve::interval`].
    pub(super) fn interval(&self, p: f64, tail: f64) -> (Option<f64>, Option<f64>) {
        self.curve.interval(p, tail)
    }

    /// Returns a percentile with the interval that thresholds use, which leaves `tail` outside on either side: censored
    /// requests raise the lower end, because they took at least as long. `None` without samples.
    pub(crate) fn percentile_interval(&self, p: f64, tail: f64) -> Option<ConfidenceInterval> {
        let value = self.curve.value(p)?;
        let (low, high) = self.curve.bounds(p, tail);
        Some(ConfidenceInterval { value, low, high })
    }

    /// Returns the number of independent requests that the requests are worth at the percentile `p` (0 to 1).
    pub(crate) fn effective_size(&self, p: f64) -> f64 {
        self.curve.effective_size(p)
    }

    /// Returns the distribution.
    pub(super) fn curve(&self) -> &Curve {
        &self.curve
    }

    /// Returns the histogram; see [`Curve::bins`].
    pub(crate) fn bins(&self, top_ms: f64, bins: usize) -> (Vec<usize>, usize) {
        self.curve.bins(top_ms, bins)
    }

    /// Returns the number of observations, including censored ones.
    pub(crate) fn observations(&self) -> usize {
        self.curve.len()
    }
}

/// Returns the observation of a time of a sample.
fn observation(sample: &Sample, ms: f64, event: bool) -> Observation {
    Observation { ms, event, block: sample.block, repetition: sample.repetition.min(u16::MAX.into()) as u16 }
}

/// Returns the time to a stream's first content. A stream that was cut before it gives a lower bound.
fn first(sample: &Sample, came_ms: Option<f64>, population: Population) -> Option<(f64, bool)> {
    let ended = event(sample, population)?;
    let succeeded = sample.outcome == Outcome::Succeeded;
    match came_ms {
        Some(ms) => (succeeded || !ended).then_some((ms, true)),
        None => (!ended).then_some((sample.service_ms, false)),
    }
}

/// Returns whether mean, minimum and maximum include a sample: those that were not cut off, and with
/// `include_failures` those that ended at their timeout.
fn is_timed(sample: &Sample, event: bool, population: Population) -> bool {
    event || (population == Population::Pooled && sample.timed_out)
}

/// Returns whether the time of a sample is exact; `None` if the sample is not in the population.
fn event(sample: &Sample, population: Population) -> Option<bool> {
    match (sample.outcome, population) {
        (Outcome::Succeeded, _) => Some(true),
        (_, Population::Successes) => None,
        (Outcome::Censored, _) => Some(false),
        (Outcome::Failed, _) if sample.timed_out => Some(false),
        (Outcome::Failed | Outcome::Throttled, Population::Pooled) => Some(true),
        (Outcome::Failed | Outcome::Throttled, Population::Settled) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(response_ms: f64, outcome: Outcome, timed_out: bool) -> Sample {
        Sample { response_ms, outcome, timed_out, ..super::super::collect::tests::sample() }
    }

    #[test]
    fn populations_contain_the_right_requests() {
        let samples = [
            sample(100.0, Outcome::Succeeded, false),
            sample(200.0, Outcome::Failed, true),
            sample(300.0, Outcome::Failed, false),
            sample(400.0, Outcome::Throttled, false),
            sample(500.0, Outcome::Censored, false),
        ];
        let of = |population| {
            let latency = Latency::from_samples(&samples, population);
            (latency.n, latency.cut_off, latency.observations(), latency.mean_ms, latency.max_ms)
        };
        assert_eq!(of(Population::Successes), (1, 0, 1, Some(100.0), Some(100.0)));
        assert_eq!(of(Population::Settled), (1, 2, 3, Some(100.0), Some(100.0)));
        assert_eq!(of(Population::Pooled), (4, 2, 5, Some(250.0), Some(400.0)));
    }

    #[test]
    fn missing_data_are_not_zero() {
        let latency = Latency::from_samples(&[], Population::Settled);
        assert_eq!((latency.mean_ms, latency.min_ms, latency.value_ms(0.5)), (None, None, None));
        assert!(latency.percentile(0.95).is_none());
    }
}
