//! Metrics of a cell per repetition, and their intervals within one session, for comparing cells.

use super::CellSummary;
use super::collect::Sample;
use super::interval::BATCHES;
use super::latency::{Latency, Metric, Population};
use super::student;
use crate::record::Outcome;
use crate::result::Quality;

/// Metric of a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum CellMetric {
    /// The percentile (0 to 1) of a time, milliseconds.
    Percentile(Metric, f64),
    /// Output tokens of successes that ended inside the window, per second.
    OutputTokensPerSec,
}

/// A value with a two-sided interval; all values are positive, so that logarithms exist.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BoundedInterval {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Reason of a missing value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissingValue {
    /// Too few requests: this number.
    TooFew(usize),
    /// Too many censored requests: the value lies beyond the longest observed time.
    CutOff,
}

impl CellSummary {
    /// The number of every repetition whose requests allow it, in their order.
    pub(crate) fn values_by_repetition(&self, metric: CellMetric) -> Vec<(u32, f64)> {
        self.load_ms
            .keys()
            .filter_map(|repetition| Some((*repetition, self.repetition_value(metric, *repetition)?)))
            .filter(|(_, value)| *value > 0.0)
            .collect()
    }

    /// The number over all repetitions, with the interval that requests alone give it: each end is missed
    /// with at most `tail`. Percentiles have their order statistics, rates the means of [`BATCHES`] batches.
    pub(crate) fn session_interval(&self, metric: CellMetric, tail: f64) -> Result<BoundedInterval, MissingValue> {
        let interval = match metric {
            CellMetric::Percentile(metric, p) => {
                let latency = self.latency_of(metric, None);
                let n = latency.observations();
                let percentile = latency.percentile(p).ok_or(MissingValue::TooFew(0))?;
                if percentile.quality == Quality::Censored {
                    return Err(MissingValue::CutOff);
                }
                let (Some(low), Some(high)) = latency.interval(p, tail) else { return Err(MissingValue::TooFew(n)) };
                BoundedInterval { value: percentile.value_ms, low, high }
            }
            CellMetric::OutputTokensPerSec => self.batch_means(tail)?,
        };
        if interval.low > 0.0 { Ok(interval) } else { Err(MissingValue::TooFew(self.success.n)) }
    }

    /// Output tokens of those successes that the latencies are of, per reply that reported them.
    pub(crate) fn output_tokens_of_latency(&self) -> Option<f64> {
        let (mut n, mut sum) = (0_u64, 0.0);
        for sample in self.samples.iter().filter(|sample| self.window.includes(sample)) {
            if let (Outcome::Succeeded, Some(tokens)) = (sample.outcome, sample.output_tokens) {
                n += 1;
                sum += f64::from(tokens);
            }
        }
        (n > 0).then(|| sum / n as f64)
    }

    fn repetition_value(&self, metric: CellMetric, repetition: u32) -> Option<f64> {
        match metric {
            CellMetric::Percentile(metric, p) => {
                let percentile = self.latency_of(metric, Some(repetition)).percentile(p)?;
                // A p95 of twenty requests would be another number in each cell.
                let stands = matches!(percentile.quality, Quality::Ok | Quality::OneSided);
                stands.then_some(percentile.value_ms)
            }
            CellMetric::OutputTokensPerSec => {
                let length_ms = self.load_ms.get(&repetition)? - self.window.start_ms;
                let tokens: f64 = self.tokens_in_time(repetition).map(|(_, tokens)| tokens).sum();
                (length_ms > 0.0).then(|| tokens * 1e3 / length_ms)
            }
        }
    }

    fn latency_of(&self, metric: Metric, repetition: Option<u32>) -> Latency {
        let of_it = |sample: &&Sample| repetition.is_none_or(|repetition| sample.repetition == repetition);
        let taken = self.samples.iter().filter(|sample| self.window.includes(sample)).filter(of_it);
        Latency::for_metric(taken, Population::Settled, metric)
    }

    /// When successes of a repetition ended inside the window, milliseconds from its start, and the
    /// output tokens of each.
    fn tokens_in_time(&self, repetition: u32) -> impl Iterator<Item = (f64, f64)> {
        let load_ms = self.load_ms.get(&repetition).copied().unwrap_or(0.0);
        let ended = self.samples.iter().filter(move |sample| {
            sample.repetition == repetition
                && sample.outcome == Outcome::Succeeded
                && self.window.ends_in(sample, load_ms)
        });
        ended.filter_map(|sample| {
            let ended_ms = sample.start_ms + sample.response_ms - self.window.start_ms;
            sample.output_tokens.map(|tokens| (ended_ms, f64::from(tokens)))
        })
    }

    /// Student's interval over the means of twenty batches of time, shared among the repetitions: counts
    /// of neighbouring seconds depend on each other, in a closed loop strongly.
    fn batch_means(&self, tail: f64) -> Result<BoundedInterval, MissingValue> {
        let mut batches = Vec::new();
        let each = (BATCHES / self.load_ms.len().max(1)).max(2);
        for (repetition, load_ms) in &self.load_ms {
            let batch_ms = (load_ms - self.window.start_ms) / each as f64;
            if batch_ms <= 0.0 {
                continue;
            }
            let mut sums = vec![0.0; each];
            for (ended_ms, tokens) in self.tokens_in_time(*repetition) {
                sums[((ended_ms / batch_ms) as usize).min(each - 1)] += tokens;
            }
            batches.extend(sums.into_iter().map(|sum| sum * 1e3 / batch_ms));
        }
        // A batch of a few replies is luck: the least is some five in each.
        if batches.len() < 2 || self.success.n < 5 * batches.len() {
            return Err(MissingValue::TooFew(self.success.n));
        }
        let (value, half) = student::mean(&batches, tail);
        Ok(BoundedInterval { value, low: value - half, high: value + half })
    }
}
