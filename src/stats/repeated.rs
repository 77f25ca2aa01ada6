//! Metrics of a cell per repetition, and their intervals within one session, for comparing cells.

use super::cell_summary::CellSummary;
use super::compared::{CellMetric, ComparedValues};
use super::latency::{Latency, Metric, Population};
use super::percentile::quality;
use super::student;
use crate::record::Outcome;
use crate::result::Quality;

/// Number of batches per latency window.
const BATCHES: usize = 20;

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

/// Metrics that comparisons of cells use.
const COMPARED: [CellMetric; 4] = [
    CellMetric::Percentile(Metric::Response, 0.50),
    CellMetric::Percentile(Metric::Response, 0.95),
    CellMetric::Percentile(Metric::Ttft, 0.50),
    CellMetric::OutputTokensPerSec,
];

impl CellSummary {
    /// Computes the values that comparisons need.
    pub(super) fn compared_values(&self) -> ComparedValues {
        let values = |metric: CellMetric| {
            let value = |repetition: &u32| Some((*repetition, self.repetition_value(metric, *repetition)?));
            self.load_ms.keys().filter_map(value).filter(|(_, value)| *value > 0.0).collect()
        };
        ComparedValues {
            by_repetition: COMPARED.into_iter().map(|metric| (metric, values(metric))).collect(),
            token_batches: self.token_batches(),
            mean_output_tokens: self.mean_output_tokens(),
        }
    }

    /// Returns the value of every repetition that has enough requests, in their order. The metric must be one of the
    /// compared ones.
    pub(crate) fn values_by_repetition(&self, metric: CellMetric) -> &[(u32, f64)] {
        let known = self.compared.by_repetition.iter().find(|(known, _)| *known == metric);
        known.map_or(&[], |(_, values)| values)
    }

    /// Returns the value over all repetitions with its interval within this session: each end is missed with at most
    /// `tail`. Percentiles use order statistics, rates the means of [`BATCHES`] batches. The metric must be one of the
    /// compared ones.
    pub(crate) fn session_interval(&self, metric: CellMetric, tail: f64) -> Result<BoundedInterval, MissingValue> {
        let interval = match metric {
            CellMetric::Percentile(metric, p) => {
                let latency = if metric == Metric::Ttft { self.ttft.as_ref() } else { Some(&self.latency) };
                let latency = latency.ok_or(MissingValue::TooFew(0))?;
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
        if interval.low > 0.0 { Ok(interval) } else { Err(MissingValue::TooFew(self.success.samples)) }
    }

    /// Returns the mean output tokens of the successes that the latencies are of, per reply that reported them.
    pub(crate) fn output_tokens_of_latency(&self) -> Option<f64> {
        self.compared.mean_output_tokens
    }

    fn mean_output_tokens(&self) -> Option<f64> {
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
                let taken = self.samples.iter().filter(|sample| self.window.includes(sample));
                let taken = taken.filter(|sample| sample.repetition == repetition);
                let latency = Latency::for_metric(taken, Population::Settled, metric);
                // A p95 of twenty requests would be another number in each cell. Whether requests depend on each other does
                // not matter here: the repetitions show how much the value varies.
                let is_enough = quality(latency.observations(), p) != Quality::TooFew;
                let percentile = latency.percentile(p).filter(|_| is_enough)?;
                (percentile.quality != Quality::Censored).then_some(percentile.value_ms)
            }
            CellMetric::OutputTokensPerSec => {
                let length_ms = self.load_ms.get(&repetition)? - self.window.start_ms;
                let tokens: f64 = self.tokens_in_time(repetition).map(|(_, tokens)| tokens).sum();
                (length_ms > 0.0).then(|| tokens * 1e3 / length_ms)
            }
        }
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

    /// Returns the output tokens per second of each batch of time. The batches are shared among the repetitions.
    fn token_batches(&self) -> Vec<f64> {
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
        batches
    }

    /// Returns Student's interval over the batch means: counts of neighbouring seconds depend on each other, in a closed
    /// loop strongly.
    fn batch_means(&self, tail: f64) -> Result<BoundedInterval, MissingValue> {
        let batches = &self.compared.token_batches;
        // The mean of a batch with fewer than about five replies is chance.
        if batches.len() < 2 || self.success.samples < 5 * batches.len() {
            return Err(MissingValue::TooFew(self.success.samples));
        }
        let (value, half) = student::mean(batches, tail);
        Ok(BoundedInterval { value, low: value - half, high: value + half })
    }
}
