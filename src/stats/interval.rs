//! Quantities that thresholds limit, with 95 % confidence intervals: order statistics for percentiles, Clopper-Pearson for
//! fractions, 20 batch means for rates.

use super::collect::Sample;
use super::latency::{Latency, Metric, Population};
use super::proportion::Tally;
use super::student;
use super::summary::{CellSummary, is_good};
use crate::plan::{Bound, Goodput, RateMetric, ShareMetric, TimeMetric};
use crate::record::{ExclusionReason, Outcome};

/// Probability outside an interval on either side.
const ALPHA: f64 = 0.025;

/// Number of batches per latency window.
pub(super) const BATCHES: usize = 20;

/// A value with its 95 % confidence interval; an open end is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ConfidenceInterval {
    pub(crate) value: f64,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}

impl CellSummary {
    /// Measures the quantity that a bound limits.
    pub(super) fn measure(&self, bound: &Bound) -> Option<ConfidenceInterval> {
        match bound {
            Bound::Percentile { metric, p, .. } => self.latency_of_metric(*metric)?.percentile_interval(p / 100.0),
            Bound::Share { metric, .. } => self.share_interval(*metric),
            Bound::PerSecond { metric, .. } => self.rate_interval(*metric),
            Bound::Goodput { limits, .. } => self.goodput_of(limits),
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

    /// Returns a fraction of all requests. Censored requests widen the interval upwards.
    pub(super) fn share_interval(&self, metric: ShareMetric) -> Option<ConfidenceInterval> {
        let mut in_order: Vec<&Sample> = self.samples.iter().collect();
        in_order.sort_by(|a, b| a.repetition.cmp(&b.repetition).then(a.start_ms.total_cmp(&b.start_ms)));
        let (mut at_least, mut at_most) = (Tally::default(), Tally::default());
        for sample in in_order {
            let hit = is_counted(metric, sample);
            at_least.add(hit);
            at_most.add(hit || sample.outcome == Outcome::Censored);
        }
        let (hits, n) = (at_least.hits() as f64, at_least.n() as f64);
        (n > 0.0).then(|| ConfidenceInterval {
            value: hits / n,
            low: Some(at_least.low(ALPHA)),
            high: Some(at_most.high(ALPHA)),
        })
    }

    /// Returns a rate per second of the window.
    pub(super) fn rate_interval(&self, metric: RateMetric) -> Option<ConfidenceInterval> {
        self.per_second(|sample| match metric {
            RateMetric::Requests => 1.0,
            RateMetric::OutputTokens if sample.outcome == Outcome::Succeeded => {
                sample.output_tokens.map_or(0.0, f64::from)
            }
            RateMetric::OutputTokens => 0.0,
        })
    }

    /// Returns the requests per second of the window that meet all limits.
    pub(super) fn goodput_of(&self, limits: &Goodput) -> Option<ConfidenceInterval> {
        self.per_second(|sample| f64::from(u8::from(is_good(sample, limits))))
    }

    /// Returns the weighted number of requests per second that end in the window; `None` if fewer requests end than the batch
    /// means need.
    fn per_second(&self, weight: impl Fn(&Sample) -> f64) -> Option<ConfidenceInterval> {
        let mut starts: Vec<(u32, f64, f64)> = Vec::new();
        let mut length_ms = 0.0;
        for (repetition, load_ms) in &self.load_ms {
            starts.push((*repetition, length_ms, *load_ms));
            length_ms += (load_ms - self.window.start_ms).max(0.0);
        }
        let ended = self.samples.iter().filter_map(|sample| {
            let (_, offset_ms, load_ms) = starts.iter().find(|(repetition, ..)| *repetition == sample.repetition)?;
            let at_ms = offset_ms + sample.start_ms + sample.response_ms - self.window.start_ms;
            self.window.ends_in(sample, *load_ms).then(|| (at_ms, weight(sample)))
        });
        batch_means(length_ms / 1e3, ended.map(|(at_ms, weight)| (at_ms / 1e3, weight)))
    }
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

/// The mean per second with the interval of the means of 20 batches; `events` are (second, weight).
fn batch_means(length_s: f64, events: impl Iterator<Item = (f64, f64)>) -> Option<ConfidenceInterval> {
    if length_s <= 0.0 {
        return None;
    }
    let batch_s = length_s / BATCHES as f64;
    let (mut n, mut sums) = (0_usize, [0.0; BATCHES]);
    for (at_s, weight) in events {
        n += 1;
        sums[((at_s / batch_s) as usize).min(BATCHES - 1)] += weight;
    }
    if n < BATCHES {
        return None;
    }
    let (mean, half) = student::mean(&sums.map(|sum| sum / batch_s), ALPHA);
    Some(ConfidenceInterval { value: mean, low: Some((mean - half).max(0.0)), high: Some(mean + half) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_means_by_hand() {
        // 1 in the first of 20 seconds, 2 in the second, ...: mean 10.5, variance 35.
        let events = (0..20_u32).flat_map(|s| (0..=s).map(move |_| (f64::from(s) + 0.5, 1.0)));
        let interval = batch_means(20.0, events).unwrap();
        let half = 2.093_024 * (35.0_f64 / 20.0).sqrt();
        assert!((interval.value - 10.5).abs() < 1e-12);
        assert!((interval.low.unwrap() - (10.5 - half)).abs() < 1e-5, "{interval:?}");
        assert!((interval.high.unwrap() - (10.5 + half)).abs() < 1e-5, "{interval:?}");
    }

    #[test]
    fn fewer_ends_than_batches_have_no_interval() {
        let events = |n: u32| (0..n).map(|s| (f64::from(s), 1.0));
        assert_eq!(batch_means(20.0, events(19)), None);
        assert_eq!(batch_means(0.0, events(20)), None);
        let even = batch_means(20.0, events(20)).unwrap();
        assert_eq!((even.value, even.low, even.high), (1.0, Some(1.0), Some(1.0)), "what is even is sure");
    }

    #[test]
    fn weights_are_summed_including_the_end() {
        let events = (0..=20_u32).map(|s| (f64::from(s), f64::from(s % 2) * 10.0));
        let interval = batch_means(20.0, events).unwrap();
        assert!((interval.value - 5.0).abs() < 1e-12, "{interval:?}");
    }
}
