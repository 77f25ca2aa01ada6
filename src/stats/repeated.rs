//! A number of a cell, repetition by repetition, and its interval over requests alone: what two cells
//! are compared by. Compares nothing itself.

use super::CellSummary;
use super::collect::Sample;
use super::interval::BATCHES;
use super::latency::{Latency, Metric, Population};
use super::percentile::Quality;
use super::student;
use crate::record::Outcome;

/// A number that every cell of an api has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Figure {
    /// The percentile (0 to 1) of a time, milliseconds.
    Percentile(Metric, f64),
    /// Output tokens of successes that ended inside the window, per second.
    OutputTokensPerSec,
}

/// A number with an interval that has both ends; nothing of it is zero or less, so that logarithms exist.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Closed {
    /// The number.
    pub(crate) value: f64,
    /// Its lower end.
    pub(crate) low: f64,
    /// Its upper end.
    pub(crate) high: f64,
}

/// Why a number is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lacking {
    /// The requests it would be of: too few.
    TooFew(usize),
    /// So many were cut off that it lies beyond what was seen.
    CutOff,
}

impl CellSummary {
    /// The number of every repetition whose requests allow it, in their order.
    pub(crate) fn by_repetition(&self, figure: Figure) -> Vec<(u32, f64)> {
        self.load_ms
            .keys()
            .filter_map(|repetition| Some((*repetition, self.of_repetition(figure, *repetition)?)))
            .filter(|(_, value)| *value > 0.0)
            .collect()
    }

    /// The number over all repetitions, with the interval that requests alone give it: each end is missed
    /// with at most `tail`. Percentiles have their order statistics, rates the means of [`BATCHES`] batches.
    pub(crate) fn within_session(&self, figure: Figure, tail: f64) -> Result<Closed, Lacking> {
        let interval = match figure {
            Figure::Percentile(metric, p) => {
                let latency = self.gathered(metric, None);
                let n = latency.observations();
                let percentile = latency.percentile(p).ok_or(Lacking::TooFew(0))?;
                if percentile.quality == Quality::Censored {
                    return Err(Lacking::CutOff);
                }
                let (Some(low), Some(high)) = latency.interval(p, tail) else { return Err(Lacking::TooFew(n)) };
                Closed { value: percentile.value_ms, low, high }
            }
            Figure::OutputTokensPerSec => self.batch_means(tail)?,
        };
        if interval.low > 0.0 { Ok(interval) } else { Err(Lacking::TooFew(self.success.n)) }
    }

    /// Output tokens of those successes that the latencies are of, per reply that reported them.
    pub(crate) fn output_tokens_of_latency(&self) -> Option<f64> {
        let (mut n, mut sum) = (0_u64, 0.0);
        for sample in self.samples.iter().filter(|sample| self.window.takes(sample)) {
            if let (Outcome::Succeeded, Some(tokens)) = (sample.outcome, sample.output_tokens) {
                n += 1;
                sum += f64::from(tokens);
            }
        }
        (n > 0).then(|| sum / n as f64)
    }

    fn of_repetition(&self, figure: Figure, repetition: u32) -> Option<f64> {
        match figure {
            Figure::Percentile(metric, p) => {
                let percentile = self.gathered(metric, Some(repetition)).percentile(p)?;
                // A p95 of twenty requests would be another number in each cell.
                let stands = matches!(percentile.quality, Quality::Ok | Quality::OneSided);
                stands.then_some(percentile.value_ms)
            }
            Figure::OutputTokensPerSec => {
                let length_ms = self.load_ms.get(&repetition)? - self.window.start_ms;
                let tokens: f64 = self.tokens_in_time(repetition).map(|(_, tokens)| tokens).sum();
                (length_ms > 0.0).then(|| tokens * 1e3 / length_ms)
            }
        }
    }

    fn gathered(&self, metric: Metric, repetition: Option<u32>) -> Latency {
        let of_it = |sample: &&Sample| repetition.is_none_or(|repetition| sample.repetition == repetition);
        let taken = self.samples.iter().filter(|sample| self.window.takes(sample)).filter(of_it);
        Latency::of_metric(taken, Population::Settled, metric)
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
    fn batch_means(&self, tail: f64) -> Result<Closed, Lacking> {
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
            return Err(Lacking::TooFew(self.success.n));
        }
        let (value, half) = student::mean(&batches, tail);
        Ok(Closed { value, low: value - half, high: value + half })
    }
}
