//! Stops a cell early that can no longer meet a threshold with `abort_on_fail`.
//!
//! A percentile p exceeds its bound if more than 1 - p of the times do. Every bound is therefore a bound on a share, and
//! only counters per second of the cell run are kept. The gate applies rule F ([`crate::stats::rule_f`]) each time a
//! further block of time is complete, at a level 20 % above the bound: a cell that meets its bound is stopped with a
//! probability of at most 1.25 % if its requests are independent or its blocks are. Lower bounds (requests per second,
//! goodput) are not tested: the rest of the cell run may compensate.

use crate::executor::port::{Gate, Refusal, RefusalReason};
use crate::matrix::Cell;
use crate::matrix::rule::matches;
use crate::plan::{Bound, Plan, ShareMetric, TimeMetric};
use crate::record::manifest::FailedBound;
use crate::record::{ExclusionReason, Outcome, Record};
use crate::stats::LatencyHistogram;
use crate::stats::rule_f::{self, ABORT_GUARD, Prefix, Side};
use crate::stats::{Sample, interval, window};
use crate::units::{duration, ms, rounded};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Number of requests between two estimates of the start of the latency window and of a user's cycle.
const REFRESH: u64 = 64;

/// The gate that stops cells early.
#[derive(Debug)]
pub(crate) struct EarlyStopGate {
    cells: Vec<Cell>,
    /// The watched bounds of each cell.
    bounds: Vec<Vec<WatchedBound>>,
    include_ramp: bool,
    state: Mutex<State>,
}

/// One bound, expressed as a bound on a share and moved by the guard.
#[derive(Debug, Clone)]
struct WatchedBound {
    bound: FailedBound,
    criterion: Criterion,
    /// Maximum share of requests that may violate the criterion.
    max_share: f64,
    /// Description, such as `p95 of slo 1`.
    label: String,
}

#[derive(Debug, Clone, Copy)]
enum Criterion {
    /// The time is longer than this level, milliseconds.
    LongerThan(TimeMetric, f64),
    Share(ShareMetric),
}

impl Criterion {
    /// Returns how long after its start it is known whether a request violates the criterion, milliseconds, if requests
    /// last at most `longest_ms`.
    fn known_after_ms(self, longest_ms: f64) -> f64 {
        use TimeMetric::{ChunkGap, Response, Service, Tpot, Ttfat, Ttft};
        match self {
            Self::LongerThan(Response | Service | Ttft | Ttfat, level_ms) => level_ms,
            Self::LongerThan(Tpot | ChunkGap, _) | Self::Share(_) => longest_ms,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    cell: usize,
    counts: Vec<BoundCounts>,
    settled: u64,
    /// Response times of the successes, for their p50 and p95.
    times: LatencyHistogram,
    /// The latest known end of a request, milliseconds from the start of the cell run.
    now_ms: f64,
    /// The longest request of any outcome, milliseconds.
    longest_ms: f64,
    /// Start of the latency window, in milliseconds from the start of the cell run, and length of a block in seconds;
    /// `None` until they are estimated.
    estimates: Option<(f64, usize)>,
    /// Cells that failed, in this cell run or an earlier one.
    failed: HashMap<usize, Refusal>,
}

/// Requests of one bound.
#[derive(Debug, Clone, Default)]
struct BoundCounts {
    prefix: Prefix,
    /// Number of blocks at the last test.
    tested_blocks: usize,
}

impl EarlyStopGate {
    /// Creates the gate for the cells of a run, in matrix order.
    pub(crate) fn new(cells: &[Cell], plan: &Plan) -> Self {
        let bounds = |cell: &Cell| {
            let watched = plan.slo.iter().enumerate().filter(|(_, slo)| slo.abort_on_fail && matches(&slo.when, cell));
            let watch = |slo: usize, title: String, bound: &Bound| {
                let (criterion, max_share) = match bound {
                    Bound::Percentile { metric, p, max } => {
                        (Criterion::LongerThan(*metric, ms(*max) * (1.0 + ABORT_GUARD)), 1.0 - p / 100.0)
                    }
                    Bound::Share { metric, max } => (Criterion::Share(*metric), max * (1.0 + ABORT_GUARD)),
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
    fn is_violation(watch: &WatchedBound, sample: &Sample) -> Option<bool> {
        match watch.criterion {
            Criterion::Share(metric) => {
                (sample.outcome != Outcome::Censored).then(|| interval::is_counted(metric, sample))
            }
            Criterion::LongerThan(metric, level_ms) => {
                let (ms, is_exact) = interval::observe(metric, sample)?;
                // A request that was cut off before the level may have met it.
                (is_exact || ms > level_ms).then_some(ms > level_ms)
            }
        }
    }

    /// Estimates the start of the latency window, milliseconds, and the length of a block, seconds.
    fn estimate(&self, state: &State) -> (f64, usize) {
        let cell = &self.cells[state.cell];
        let p95 = state.times.percentile_ms(0.95).into_iter().collect();
        let (start_ms, _) = window::start(cell, ms(cell.length()), p95, self.include_ramp);
        let think_ms = if cell.is_open() { 0.0 } else { ms(cell.load.think_time.mean()) };
        let cycle_ms = state.times.percentile_ms(0.5).unwrap_or(0.0) + think_ms;
        (start_ms, rule_f::block_s(cycle_ms))
    }
}

impl Gate for EarlyStopGate {
    fn start_cell(&self, cell: usize) {
        self.with(|state| {
            let failed = std::mem::take(&mut state.failed);
            let counts = vec![BoundCounts::default(); self.bounds[cell].len()];
            *state = State { cell, counts, failed, ..State::default() };
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
            let sample = Sample::from_record(record);
            state.now_ms = state.now_ms.max(sample.start_ms + sample.response_ms);
            state.longest_ms = state.longest_ms.max(sample.response_ms);
            if state.settled.is_multiple_of(REFRESH) {
                state.estimates = Some(self.estimate(state));
            }
            for (watch, counts) in bounds.iter().zip(&mut state.counts) {
                if let Some(is_violation) = Self::is_violation(watch, &sample) {
                    counts.prefix.add(sample.start_ms, is_violation);
                }
                let Some((window_ms, block_s)) = state.estimates else { continue };
                // A share counts all requests, as at the end of the cell.
                let from_ms = if matches!(watch.criterion, Criterion::Share(_)) { 0.0 } else { window_ms };
                let until_ms = state.now_ms - watch.criterion.known_after_ms(state.longest_ms);
                let blocks = Prefix::count_blocks(from_ms, until_ms, block_s);
                if blocks < rule_f::MIN_BLOCKS || blocks == counts.tested_blocks {
                    continue;
                }
                counts.tested_blocks = blocks;
                let blocks = counts.prefix.blocks(from_ms, until_ms, block_s);
                if rule_f::is_decided(Side::Fail, &blocks, watch.max_share) {
                    state.failed.insert(state.cell, refusal(watch, &blocks));
                    return;
                }
            }
        });
    }
}

fn refusal(watch: &WatchedBound, blocks: &[rule_f::Block]) -> Refusal {
    let n: u64 = blocks.iter().map(|block| block.n).sum();
    let above: u64 = blocks.iter().map(|block| block.above).sum();
    let violated = match watch.criterion {
        Criterion::LongerThan(_, level_ms) => {
            format!("took longer than {}", duration::format(Duration::from_secs_f64(level_ms / 1e3)))
        }
        Criterion::Share(ShareMetric::Failures) => "failed".into(),
        Criterion::Share(ShareMetric::Throttles) => "were throttled".into(),
        Criterion::Share(ShareMetric::Blocked) => "were blocked".into(),
    };
    let message = format!(
        "{} can no longer be met: {above} of {n} requests {violated}, allowed are {} % (tested {} % above the bound)",
        watch.label,
        round_for_display(watch.max_share * 100.0),
        round_for_display(ABORT_GUARD * 100.0),
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

    /// Returns the second at which a cell run of 300 s with 10 requests per second is stopped in which each request is as
    /// long as `took_ms` says; 300 if it is not.
    fn seconds_until_stop(took_ms: impl Fn(f64, &mut ChaCha8Rng) -> f64, seed: u64) -> f64 {
        let early = early("p95 = \"1s\"\nabort_on_fail = true");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        early.start_cell(0);
        for n in 0..3_000 {
            let sent_ms = f64::from(n) * 100.0;
            if early.admit().is_err() {
                return sent_ms / 1e3;
            }
            early.settle(&record(sent_ms, took_ms(sent_ms, &mut rng), "succeeded"));
        }
        300.0
    }

    /// A share of requests that is longer than 1 s and the guard.
    fn long(share: f64) -> impl Fn(f64, &mut ChaCha8Rng) -> f64 {
        move |_, rng| if rng.random_bool(share) { 1_201.0 } else { 500.0 }
    }

    #[test]
    fn cell_run_exactly_on_its_bound_is_almost_never_stopped() {
        let ended = (0..200).filter(|seed| seconds_until_stop(long(0.05), *seed) < 300.0).count();
        assert!(ended <= 3, "{ended} of 200");
    }

    #[test]
    fn states_that_last_do_not_stop_a_cell_run() {
        // One spell of 20 s in which every request is slow: 7 % of the requests of 300 s, and 20 % until second 100.
        let spell = |sent_ms: f64, _: &mut ChaCha8Rng| if (80e3..100e3).contains(&sent_ms) { 1_201.0 } else { 500.0 };
        assert!((seconds_until_stop(spell, 0) - 300.0).abs() < 1e-9);
    }

    #[test]
    fn cell_run_within_the_guard_is_not_stopped() {
        let slow = |_: f64, rng: &mut ChaCha8Rng| if rng.random_bool(0.5) { 1_199.0 } else { 500.0 };
        assert!((seconds_until_stop(slow, 0) - 300.0).abs() < 1e-9);
    }

    #[test]
    fn cell_that_violates_its_bound_is_stopped_and_stays_stopped() {
        for seed in 0..20 {
            assert!(seconds_until_stop(long(0.2), seed) < 150.0, "seed {seed}");
        }
        let early = early("failure_rate = \"1%\"\nrequests_per_sec = { min = 20 }\nabort_on_fail = true");
        early.start_cell(3);
        (0..200).for_each(|n| early.settle(&record(f64::from(n) * 100.0, 5.0, "failed")));
        assert!(early.admit().is_ok(), "no test before four blocks are complete");
        (200..203).for_each(|n| early.settle(&record(f64::from(n) * 100.0, 5.0, "failed")));
        let refusal = early.admit().unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::BoundFailed(FailedBound { slo: 0, metric: "failure_rate".into() }));
        insta::assert_snapshot!(refusal.message, @"failure_rate of slo 1 can no longer be met: 200 of 200 requests failed, allowed are 1.2 % (tested 20 % above the bound)");
        early.start_cell(4);
        assert!(early.admit().is_ok(), "another cell starts with no counts");
        early.start_cell(3);
        assert_eq!(early.admit(), Err(refusal), "a repetition of a failed cell is not run");
    }

    /// Settles one request per 100 ms from 40 s on.
    fn settle(early: &EarlyStopGate, took_ms: f64, outcome: &str) {
        (0..600).for_each(|n| early.settle(&record(40_000.0 + f64::from(n) * 100.0, took_ms, outcome)));
    }

    #[test]
    fn requests_in_the_ramp_failures_and_early_censored_requests_do_not_count() {
        let gate = early("p95 = \"1s\"\nabort_on_fail = true");
        gate.start_cell(0);
        for n in 0..600 {
            gate.settle(&record(f64::from(n), 9_000.0, "succeeded"));
        }
        settle(&gate, 9_000.0, "throttled");
        settle(&gate, 900.0, "censored");
        assert!(gate.admit().is_ok(), "the ramp, failures, and requests censored before the bound");
        gate.start_cell(1);
        settle(&gate, 900.0, "succeeded");
        settle(&gate, 9_000.0, "censored");
        assert!(gate.admit().is_err(), "requests censored after the bound violate it");
    }

    #[test]
    fn only_requests_that_are_known_count() {
        let gate = early("p95 = \"1s\"\nabort_on_fail = true");
        gate.start_cell(0);
        // Users think for 1.5 s: blocks of 6 s, the first from 2 s on.
        (0..258).for_each(|n| gate.settle(&record(f64::from(n) * 100.0, 1_300.0, "succeeded")));
        gate.settle(&record(25_800.0, 10.0, "succeeded"));
        assert!(gate.admit().is_ok(), "the fourth block ends at 26 s, and its slow requests are known at 27.2 s");
        (258..262).for_each(|n| gate.settle(&record(f64::from(n) * 100.0, 1_300.0, "succeeded")));
        assert!(gate.admit().is_err());
    }

    #[test]
    fn failed_requests_do_not_end_a_cell_for_its_latency() {
        let mut plan = crate::plan::tests::plan();
        plan.load.spawn_rate = 1e6;
        plan.report.include_failures = true;
        plan.slo = vec![toml::from_str("p95 = \"1s\"\nabort_on_fail = true").unwrap()];
        let gate = EarlyStopGate::new(&crate::matrix::expand(&plan), &plan);
        gate.start_cell(0);
        settle(&gate, 500.0, "succeeded");
        settle(&gate, 9_000.0, "throttled");
        assert!(gate.admit().is_ok(), "the latencies in a report decide nothing");
    }

    #[test]
    fn threshold_without_abort_on_fail_is_not_watched() {
        let gate = early("p95 = \"1ms\"");
        gate.start_cell(0);
        settle(&gate, 9_000.0, "succeeded");
        assert!(gate.admit().is_ok());
    }
}
