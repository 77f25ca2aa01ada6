//! Approximate statistics of a running run, for the progress display only.

use super::histogram::LatencyHistogram;
use super::spend::Spend;
use crate::matrix::Cell;
use crate::prices::Prices;
use crate::record::manifest::{CellRunEnd, CellRunReport, Second};
use crate::record::{Outcome, Record};
use crate::units::Usd;
use std::collections::VecDeque;
use std::time::Instant;

/// Length of the sliding window, seconds.
const NOW_S: usize = 10;

/// Statistics of the running cell, and the cost of the run.
#[derive(Debug)]
pub(crate) struct LiveStats {
    /// Position of the running cell in the order; `None` before the first.
    pub(crate) place: Option<usize>,
    /// Index of the running cell in matrix order.
    pub(crate) cell: usize,
    /// Start of the cell.
    pub(crate) began: Option<Instant>,
    /// The cell has ended and the next one has not started.
    pub(crate) is_over: bool,
    /// Users running.
    pub(crate) users: u32,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// How its requests ended.
    pub(crate) ends: OutcomeCounts,
    /// Of its successes.
    pub(crate) input_tokens: u64,
    /// Of its successes.
    pub(crate) output_tokens: u64,
    /// Finished cells that the display has not taken yet.
    pub(crate) done: Vec<FinishedCell>,
    /// Requests that ended in each of the last seconds, the running one last.
    ended: VecDeque<u64>,
    times: LatencyHistogram,
    ttft: LatencyHistogram,
    prices: Prices,
    /// Of the cell.
    spend: Spend,
    /// Of the cells before it, as far as prices are known.
    before: Option<Usd>,
}

/// Requests by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OutcomeCounts {
    /// See `Outcome`.
    pub(crate) succeeded: u64,
    /// See `Outcome`.
    pub(crate) throttled: u64,
    /// See `Outcome`.
    pub(crate) failed: u64,
    /// See `Outcome`.
    pub(crate) censored: u64,
}

/// A finished cell.
#[derive(Debug, Clone)]
pub(crate) struct FinishedCell {
    /// Position in the order.
    pub(crate) place: usize,
    /// Index in matrix order.
    pub(crate) cell: usize,
    /// How its requests ended.
    pub(crate) ends: OutcomeCounts,
    /// Of all its successes, milliseconds.
    pub(crate) p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub(crate) p95_ms: Option<f64>,
    /// Cost, if completely known.
    pub(crate) usd: Option<Usd>,
    /// How it ended.
    pub(crate) end: CellRunEnd,
    /// Why the cell did not finish.
    pub(crate) reason: Option<String>,
}

impl LiveStats {
    /// Before the first cell.
    pub(crate) fn new(prices: Prices) -> Self {
        Self {
            place: None,
            cell: 0,
            began: None,
            is_over: true,
            users: 0,
            in_flight: 0,
            ends: OutcomeCounts::default(),
            input_tokens: 0,
            output_tokens: 0,
            done: Vec::new(),
            ended: VecDeque::new(),
            times: LatencyHistogram::new(),
            ttft: LatencyHistogram::new(),
            prices,
            spend: Spend::default(),
            before: None,
        }
    }

    /// Starts the next cell.
    pub(crate) fn begin(&mut self, place: usize, cell: usize) {
        self.times.clear();
        self.ttft.clear();
        self.ended.clear();
        (self.place, self.cell, self.began, self.is_over) = (Some(place), cell, Some(Instant::now()), false);
        (self.ends, self.input_tokens, self.output_tokens) = (OutcomeCounts::default(), 0, 0);
        self.before = self.usd();
        self.spend = Spend::default();
    }

    /// Adds a finished request of `cell`.
    pub(crate) fn add(&mut self, cell: &Cell, record: &Record) {
        self.spend.add(&self.prices, cell, record, true);
        if !record.phase.is_load() {
            return;
        }
        match self.ended.back_mut() {
            Some(now) => *now += 1,
            None => self.ended.push_back(1),
        }
        match record.outcome {
            Outcome::Succeeded => {
                self.ends.succeeded += 1;
                if record.validity.is_none() {
                    self.times.add(record.response_time_ms);
                    if let Some(ttft_ms) = record.ttft_ms {
                        self.ttft.add(ttft_ms);
                    }
                }
                self.input_tokens += record.input_tokens.unwrap_or(0);
                self.output_tokens += record.output_tokens.unwrap_or(0);
            }
            Outcome::Throttled => self.ends.throttled += 1,
            Outcome::Failed => self.ends.failed += 1,
            Outcome::Censored => self.ends.censored += 1,
        }
    }

    /// Advances the sliding window by one second.
    pub(crate) fn second(&mut self, second: Second) {
        (self.users, self.in_flight) = (second.users, second.in_flight);
        if self.ended.is_empty() {
            self.ended.push_back(0);
        }
        self.ended.push_back(0);
        if self.ended.len() > NOW_S + 1 {
            self.ended.pop_front();
        }
    }

    /// Ends the cell.
    pub(crate) fn end(&mut self, report: &CellRunReport) {
        (self.is_over, self.users, self.in_flight) = (true, 0, 0);
        self.done.push(FinishedCell {
            place: self.place.unwrap_or_default(),
            cell: self.cell,
            ends: self.ends,
            p50_ms: self.times.percentile_ms(0.50),
            p95_ms: self.times.percentile_ms(0.95),
            usd: self.spend.known(),
            end: report.end,
            reason: report.reason.clone(),
        });
    }

    /// Of the cell's successes so far, milliseconds.
    pub(crate) fn percentile_ms(&self, p: f64) -> Option<f64> {
        self.times.percentile_ms(p)
    }

    /// Time to the first token of its streams so far, the median, milliseconds.
    pub(crate) fn ttft_p50_ms(&self) -> Option<f64> {
        self.ttft.percentile_ms(0.50)
    }

    /// Requests of any outcome that ended in the last ten whole seconds, per second.
    pub(crate) fn requests_per_sec(&self) -> Option<f64> {
        let whole = self.ended.len().saturating_sub(1);
        (whole > 0).then(|| self.ended.iter().take(whole).sum::<u64>() as f64 / whole as f64)
    }

    /// Returns the cost of this session as far as prices are known; `None` without any price.
    pub(crate) fn usd(&self) -> Option<Usd> {
        let of_cell = (self.spend.priced > 0 || self.spend.total > Usd::default()).then_some(self.spend.total);
        match (self.before, of_cell) {
            (None, of_cell) => of_cell,
            (Some(before), of_cell) => Some(before + of_cell.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::request::tests::record;

    fn second() -> Second {
        Second { users: 2, in_flight: 1, cpu_ms: None, ticker_ms: 0.0, dropped: 0 }
    }

    #[test]
    fn rate_covers_the_last_ten_whole_seconds() {
        let cell = &crate::matrix::expand(&crate::plan::tests::plan())[0];
        let mut live = LiveStats::new(Prices::from_rows(&[]));
        live.begin(0, 0);
        assert_eq!(live.requests_per_sec(), None, "nothing is not zero");
        for requests in [0, 20, 10, 30] {
            (0..requests).for_each(|_| live.add(cell, &record()));
            live.second(second());
        }
        live.add(cell, &record());
        assert_eq!(live.requests_per_sec(), Some(15.0));
        (0..10).for_each(|_| live.second(second()));
        assert_eq!(live.requests_per_sec(), Some(0.1));
        assert_eq!((live.ends.succeeded, live.usd()), (61, None));
        live.end(&crate::stats::collect::tests::turn());
        assert_eq!(live.done[0].ends, live.ends);
        live.begin(1, 1);
        assert_eq!((live.ends.succeeded, live.requests_per_sec()), (0, None));
    }
}
