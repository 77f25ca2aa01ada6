//! Stops a cell early that can no longer meet a threshold with `abort_on_fail`.
//!
//! A percentile p exceeds its bound if more than 1 - p of the times do. Every bound is therefore a bound on a share, and
//! only counters are kept. The gate tests after 200 requests and each time their number has doubled, at half the level
//! each time: 0.05 %, 0.025 %, ... By Bonferroni's inequality, a cell run that is exactly on its bound is stopped with a
//! probability below 0.1 %, however long it runs; a cell run within its bound, with a smaller one. Lower bounds (requests
//! per second, goodput) are not tested: the rest of the cell run may compensate.

use super::tally::Tally;
use crate::executor::port::{Gate, Refusal, RefusalReason};
use crate::matrix::Cell;
use crate::matrix::rule::matches;
use crate::plan::{Bound, Plan, ShareMetric, TimeMetric};
use crate::record::manifest::FailedBound;
use crate::record::{ExclusionReason, Outcome, Record};
use crate::stats::LatencyHistogram;
use crate::stats::{Sample, interval, window};
use crate::units::ms;
use crate::units::rounded;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Number of requests before the first test.
const FIRST_TEST: u64 = 200;

/// Error probability of the first test; it is halved for each further test.
const FIRST_LEVEL: f64 = 0.000_5;

/// Number of requests between two estimates of the start of the latency window.
const WINDOW_REFRESH: u64 = 64;

/// The gate that stops cells early.
#[derive(Debug)]
pub(crate) struct EarlyStopGate {
    cells: Vec<Cell>,
    /// The watched bounds of each cell.
    bounds: Vec<Vec<WatchedBound>>,
    include_ramp: bool,
    state: Mutex<State>,
}

/// One bound, expressed as a bound on a share.
#[derive(Debug, Clone)]
struct WatchedBound {
    bound: FailedBound,
    criterion: Criterion,
    /// Maximum share of requests that may violate the criterion.
    max_share: f64,
    /// Description, such as `p95 <= 2.5s of slo 1`.
    label: String,
}

#[derive(Debug, Clone, Copy)]
enum Criterion {
    LongerThan(TimeMetric, f64),
    Share(ShareMetric),
}

#[derive(Debug, Default)]
struct State {
    cell: usize,
    counts: Vec<BoundTally>,
    settled: u64,
    /// Response times of the successes, for their p95.
    times: LatencyHistogram,
    /// Start of the latency window, in milliseconds from the start of the cell run; `None` until it is estimated.
    window_ms: Option<f64>,
    /// Cells that failed, in this cell run or an earlier one.
    failed: HashMap<usize, Refusal>,
}

#[derive(Debug, Clone, Copy)]
struct BoundTally {
    tally: Tally,
    next_test: u64,
    level: f64,
}

impl EarlyStopGate {
    /// Creates the gate for the cells of a run, in matrix order.
    pub(crate) fn new(cells: &[Cell], plan: &Plan) -> Self {
        let bounds = |cell: &Cell| {
            let watched = plan.slo.iter().enumerate().filter(|(_, slo)| slo.abort_on_fail && matches(&slo.when, cell));
            let watch = |slo: usize, title: String, bound: &Bound| {
                let (criterion, max_share) = match bound {
                    Bound::Percentile { metric, p, max } => (Criterion::LongerThan(*metric, ms(*max)), 1.0 - p / 100.0),
                    Bound::Share { metric, max } => (Criterion::Share(*metric), *max),
                    Bound::PerSecond { .. } | Bound::Goodput { .. } => return None,
                };
                let label = format!("{} of {title}", bound.key());
                Some(WatchedBound { bound: FailedBound { slo, metric: bound.key() }, criterion, max_share, label })
            };
            watched
                .flat_map(|(index, slo)| {
                    slo.bounds.iter().filter_map(move |bound| watch(index, slo.title(index), bound)).collect::<Vec<_>>()
                })
                .collect()
        };
        Self {
            bounds: cells.iter().map(bounds).collect(),
            cells: cells.to_vec(),
            include_ramp: plan.report.include_ramp,
            state: Mutex::new(State::default()),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether a request violates a bound; `None` if the request does not count for it.
    fn is_violation(watch: &WatchedBound, sample: &Sample, window_ms: Option<f64>) -> Option<bool> {
        match watch.criterion {
            Criterion::Share(metric) => {
                (sample.outcome != Outcome::Censored).then(|| interval::is_counted(metric, sample))
            }
            Criterion::LongerThan(metric, max_ms) => {
                if sample.start_ms < window_ms? {
                    return None;
                }
                // A request censored before the bound may have met it.
                let (ms, _) = interval::observe(metric, sample)?;
                Some(ms > max_ms)
            }
        }
    }
}

impl Gate for EarlyStopGate {
    fn start_cell(&self, cell: usize) {
        let fresh = BoundTally { tally: Tally::default(), next_test: FIRST_TEST, level: FIRST_LEVEL };
        self.with(|state| {
            state.cell = cell;
            state.counts = vec![fresh; self.bounds[cell].len()];
            (state.settled, state.window_ms) = (0, None);
            state.times.clear();
        });
    }

    fn admit(&self) -> Result<(), Refusal> {
        self.with(|state| match state.failed.get(&state.cell) {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(()),
        })
    }

    fn settle(&self, record: &Record) {
        if !record.phase.is_load() {
            return;
        }
        self.with(|state| {
            let bounds = &self.bounds[state.cell];
            if bounds.is_empty() || state.failed.contains_key(&state.cell) {
                return;
            }
            if record.outcome == Outcome::Succeeded && record.validity != Some(ExclusionReason::Blocked) {
                state.times.add(record.response_time_ms);
            }
            state.settled += 1;
            if state.settled % WINDOW_REFRESH == 0 {
                let cell = &self.cells[state.cell];
                let p95 = state.times.percentile_ms(0.95).into_iter().collect();
                state.window_ms = Some(window::start(cell, ms(cell.length()), p95, self.include_ramp).0);
            }
            let sample = Sample::from_record(record);
            for (watch, count) in bounds.iter().zip(&mut state.counts) {
                let Some(is_violation) = Self::is_violation(watch, &sample, state.window_ms) else { continue };
                count.tally.add(is_violation);
                if count.tally.n() < count.next_test {
                    continue;
                }
                if count.tally.low(count.level) > watch.max_share {
                    state.failed.insert(state.cell, refusal(watch, count));
                    return;
                }
                count.next_test *= 2;
                count.level /= 2.0;
            }
        });
    }
}

fn refusal(watch: &WatchedBound, count: &BoundTally) -> Refusal {
    let (hits, n) = (count.tally.hits(), count.tally.n());
    let violated = match watch.criterion {
        Criterion::LongerThan(..) => "took longer",
        Criterion::Share(ShareMetric::Failures) => "failed",
        Criterion::Share(ShareMetric::Throttles) => "were throttled",
        Criterion::Share(ShareMetric::Blocked) => "were blocked",
    };
    let message = format!(
        "{} can no longer be met: {hits} of {n} requests {violated}, allowed are {} % ({} % confidence)",
        watch.label,
        round_for_display(watch.max_share * 100.0),
        round_for_display(100.0 - count.level * 100.0)
    );
    Refusal { message, reason: RefusalReason::BoundFailed(watch.bound.clone()) }
}

/// Rounds to six decimals, which removes artefacts of binary fractions.
fn round_for_display(number: f64) -> f64 {
    rounded(number, 6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use serde_json::json;

    fn early(slo: &str) -> EarlyStopGate {
        let mut plan = crate::plan::tests::plan();
        plan.load.spawn_rate = 1e6;
        plan.slo = vec![toml::from_str(slo).unwrap()];
        EarlyStopGate::new(&crate::matrix::expand(&plan), &plan)
    }

    fn record(sent_ms: f64, took_ms: f64, outcome: &str) -> Record {
        let record = json!({
            "timestamp": 0.0, "response_time_ms": took_ms, "success": outcome == "succeeded", "repetition": 1, "seq": 0,
            "phase": "steady", "outcome": outcome, "sent_ms": sent_ms,
        });
        serde_json::from_value(record).unwrap()
    }

    /// Returns the number of requests, at most `max`, until a cell run is stopped in which each request violates the
    /// bound with this probability.
    fn requests_until_stop(probability: f64, max: u32, seed: u64) -> u32 {
        let early = early("p95 = \"1s\"\nabort_on_fail = true");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        early.start_cell(0);
        for n in 0..max {
            if early.admit().is_err() {
                return n;
            }
            let took_ms = if rng.random_bool(probability) { 1_001.0 } else { 500.0 };
            early.settle(&record(2_000.0 + f64::from(n), took_ms, "succeeded"));
        }
        max
    }

    #[test]
    fn cell_run_exactly_on_its_bound_is_almost_never_stopped() {
        let ended = (0..400).filter(|seed| requests_until_stop(0.05, 1_700, *seed) < 1_700).count();
        assert!(ended <= 2, "{ended} of 400");
    }

    #[test]
    fn cell_that_violates_its_bound_is_stopped_and_stays_stopped() {
        for seed in 0..20 {
            assert!(requests_until_stop(0.15, 5_000, seed) < 1_000, "seed {seed}");
        }
        let early = early("failure_rate = \"1%\"\nrequests_per_sec = { min = 20 }\nabort_on_fail = true");
        early.start_cell(3);
        (0..199).for_each(|n| early.settle(&record(f64::from(n), 5.0, "failed")));
        assert!(early.admit().is_ok(), "no test before 200 requests");
        early.settle(&record(199.0, 5.0, "failed"));
        let refusal = early.admit().unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::BoundFailed(FailedBound { slo: 0, metric: "failure_rate".into() }));
        insta::assert_snapshot!(refusal.message, @"failure_rate of slo 1 can no longer be met: 200 of 200 requests failed, allowed are 1 % (99.95 % confidence)");
        early.start_cell(4);
        assert!(early.admit().is_ok(), "another cell starts with no counts");
        early.start_cell(3);
        assert_eq!(early.admit(), Err(refusal), "a repetition of a failed cell is not run");
    }

    #[test]
    fn requests_in_the_ramp_failures_and_early_censored_requests_do_not_count() {
        let early = early("p95 = \"1s\"\nabort_on_fail = true");
        early.start_cell(0);
        for n in 0..600 {
            early.settle(&record(0.0, 9_000.0, "succeeded"));
            early.settle(&record(f64::from(n), 9_000.0, "throttled"));
            early.settle(&record(40_000.0 + f64::from(n), 900.0, "censored"));
        }
        assert!(early.admit().is_ok(), "the ramp, failures, and requests censored before the bound");
        early.start_cell(1);
        for n in 0..600 {
            early.settle(&record(40_000.0 + f64::from(n), 900.0, "succeeded"));
            early.settle(&record(40_000.0 + f64::from(n), 9_000.0, "censored"));
        }
        assert!(early.admit().is_err(), "requests censored after the bound violate it");
    }

    #[test]
    fn failed_requests_do_not_end_a_cell_for_its_latency() {
        let mut plan = crate::plan::tests::plan();
        plan.load.spawn_rate = 1e6;
        plan.report.include_failures = true;
        plan.slo = vec![toml::from_str("p95 = \"1s\"\nabort_on_fail = true").unwrap()];
        let early = EarlyStopGate::new(&crate::matrix::expand(&plan), &plan);
        early.start_cell(0);
        (0..2_000).for_each(|n| early.settle(&record(40_000.0 + f64::from(n), 9_000.0, "throttled")));
        assert!(early.admit().is_ok(), "the latencies in a report decide nothing");
    }

    #[test]
    fn threshold_without_abort_on_fail_is_not_watched() {
        let early = early("p95 = \"1ms\"");
        early.start_cell(0);
        (0..2_000).for_each(|n| early.settle(&record(40_000.0 + f64::from(n), 9_000.0, "succeeded")));
        assert!(early.admit().is_ok());
    }
}
