//! Quantities that thresholds limit, with their confidence intervals: order statistics for percentiles, Clopper-Pearson for
//! fractions, both at the effective sample size, and means over time blocks for rates.

use super::blocks::{self, BlockCounts, TimeBlocks};
use super::cell_summary::CellSummary;
use super::confidence::{ConfidenceInterval, TAIL};
use super::goodput::is_good;
use super::latency::{Latency, Metric, Population};
use super::proportion;
use super::rule_f::FINAL_TAIL;
use super::sample::Sample;
use crate::plan::{Bound, Goodput, RateMetric, ShareMetric, Slo, TimeMetric};
use crate::record::{ExclusionReason, Outcome};

/// Minimum number of requests for a rate: two per time block.
pub(crate) const MIN_REQUESTS_PER_RATE: usize = 2 * blocks::BLOCKS;

/// Returns the probability outside the interval of a threshold on either side: a threshold that is also tested during the
/// cell run spends half of its error there.
pub(crate) fn tail_of(threshold: &Slo) -> f64 {
    if threshold.abort_on_fail { FINAL_TAIL } else { TAIL }
}

impl CellSummary {
    /// Measures the quantity that a bound limits, with `tail` outside of the interval on either side.
    pub(super) fn measure(&self, bound: &Bound, tail: f64) -> Option<ConfidenceInterval> {
        match bound {
            Bound::Percentile { metric, p, .. } => {
                self.latency_of_metric(*metric)?.percentile_interval(p / 100.0, tail)
            }
            Bound::Share { metric, .. } => self.share_interval(*metric, tail),
            Bound::PerSecond { metric, .. } => self.rate_interval(*metric, tail),
            Bound::Goodput { limits, .. } => self.goodput_of(limits, tail),
        }
    }

    /// Returns the latencies of a metric, if the cell has it.
    pub(crate) fn latency_of_metric(&self, metric: TimeMetric) -> Option<&Latency> {
        match metric {
            TimeMetric::Response => Some(&self.latency),
            TimeMetric::Service => self.service.as_ref(),
            TimeMetric::Ttft => self.ttft.as_ref(),
            // Without reasoning the first answer token is the first token.
            TimeMetric::Ttfat => self.ttfat.as_ref().or(self.ttft.as_ref()),
            TimeMetric::Tpot => self.tpot.as_ref(),
            TimeMetric::ChunkGap => self.chunk_gap.as_ref(),
        }
    }

    /// Returns a fraction of all requests, with `tail` outside of its interval on either side. Censored requests widen the
    /// interval upwards. The time blocks are those of the whole load, because the fraction is that of all requests.
    pub(super) fn share_interval(&self, metric: ShareMetric, tail: f64) -> Option<ConfidenceInterval> {
        let time = TimeBlocks::new(0.0, &self.load_ms);
        let (mut at_least, mut at_most) = (BlockCounts::default(), BlockCounts::default());
        for sample in &self.samples {
            let (hit, block) = (is_counted(metric, sample), time.index(sample.repetition, sample.start_ms));
            at_least.add(block, hit);
            at_most.add(block, hit || sample.outcome == Outcome::Censored);
        }
        let (hits, n) = (at_least.hits() as f64, at_least.n() as f64);
        (n > 0.0).then(|| ConfidenceInterval {
            value: hits / n,
            low: Some(proportion::low(&at_least, tail)),
            high: Some(proportion::high(&at_most, tail)),
        })
    }

    /// Returns a rate per second of the window, with `tail` outside of its interval on either side.
    pub(super) fn rate_interval(&self, metric: RateMetric, tail: f64) -> Option<ConfidenceInterval> {
        self.per_second(tail, |sample| match metric {
            RateMetric::Requests => 1.0,
            RateMetric::OutputTokens if sample.outcome == Outcome::Succeeded => {
                sample.output_tokens.map_or(0.0, f64::from)
            }
            RateMetric::OutputTokens => 0.0,
        })
    }

    /// Returns the requests per second of the window that meet all limits.
    pub(super) fn goodput_of(&self, limits: &Goodput, tail: f64) -> Option<ConfidenceInterval> {
        self.per_second(tail, |sample| f64::from(u8::from(is_good(sample, limits))))
    }

    /// Returns the weighted number of requests per second that end in the window; `None` if fewer than
    /// [`MIN_REQUESTS_PER_RATE`] requests end in it.
    fn per_second(&self, tail: f64, weight: impl Fn(&Sample) -> f64) -> Option<ConfidenceInterval> {
        let time = TimeBlocks::new(self.window.start_ms, &self.load_ms);
        let ended = |sample: &&Sample| {
            self.load_ms.get(&sample.repetition).is_some_and(|load_ms| self.window.ends_in(sample, *load_ms))
        };
        let events = self
            .samples
            .iter()
            .filter(ended)
            .map(|sample| (time.index(sample.repetition, sample.start_ms + sample.response_ms), weight(sample)));
        rate(time.length_s(), &events.collect::<Vec<_>>(), tail)
    }
}

/// Returns the mean per second over the time blocks; `events` are a block and a weight.
fn rate(length_s: f64, events: &[(u8, f64)], tail: f64) -> Option<ConfidenceInterval> {
    if length_s <= 0.0 || events.len() < MIN_REQUESTS_PER_RATE {
        return None;
    }
    let (mean, half) = blocks::mean_per_second(length_s, events.iter().copied(), tail);
    Some(ConfidenceInterval { value: mean, low: Some((mean - half).max(0.0)), high: Some(mean + half) })
}

/// Returns whether a request counts towards a share.
pub(crate) fn is_counted(metric: ShareMetric, sample: &Sample) -> bool {
    match metric {
        ShareMetric::Failures => sample.outcome.is_failure(),
        ShareMetric::Throttles => sample.outcome == Outcome::Throttled,
        ShareMetric::Blocked => sample.unfit == Some(ExclusionReason::Blocked),
    }
}

/// Returns a time of a request in milliseconds, and whether it is exact (`true`) or a lower bound, as a cell summary uses
/// it; `None` if the request is not in the population.
pub(crate) fn observe(metric: TimeMetric, sample: &Sample) -> Option<(f64, bool)> {
    let (metric, population) = match metric {
        TimeMetric::Response => (Metric::Response, Population::Settled),
        TimeMetric::Service => (Metric::Service, Population::Settled),
        TimeMetric::Ttft => (Metric::Ttft, Population::Settled),
        TimeMetric::Ttfat => (Metric::Ttfat, Population::Settled),
        TimeMetric::Tpot => (Metric::Tpot, Population::Successes),
        TimeMetric::ChunkGap => (Metric::ChunkGap, Population::Successes),
    };
    if sample.unfit.is_some() { None } else { metric.observe(sample, population) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_needs_two_requests_per_block() {
        let events = |n: u32| (0..n).map(|i| ((i % 10) as u8, 1.0)).collect::<Vec<_>>();
        assert_eq!(rate(20.0, &events(19), TAIL), None);
        assert_eq!(rate(0.0, &events(20), TAIL), None);
        let even = rate(20.0, &events(20), TAIL).unwrap();
        assert_eq!((even.value, even.low, even.high), (1.0, Some(1.0), Some(1.0)), "equal blocks have no variance");
    }

    #[test]
    fn low_end_of_a_rate_is_not_negative() {
        let burst = rate(10.0, &[(4, 10.0); 20], TAIL).unwrap();
        assert_eq!((burst.value, burst.low), (20.0, Some(0.0)));
    }
}
