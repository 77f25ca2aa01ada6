//! Ends a cell that cannot meet a threshold any more, where the threshold says `abort_on_fail`.
//!
//! A percentile lies above its bound where more than 1 - p of the times do, so that every bound it
//! looks at is one on a share, and counters are all that is kept. It looks after 200 requests and
//! whenever their number has doubled, at half the level each time: 0.05 %, 0.025 %, ... By
//! Bonferroni's inequality a turn that is just on its bound is ended for it with a chance of less
//! than 0.1 %, however long it runs; a turn that keeps it, with less. Bounds from below (requests per
//! second, goodput) are left to the end: what is still to come may make up for what was.

use crate::executor::port::{Gate, Refusal, Why};
use crate::matrix::Cell;
use crate::matrix::rule::matches;
use crate::plan::{Bound, Counted, Plan, Timed};
use crate::record::manifest::FailedBound;
use crate::record::{Outcome, Record, Unfit};
use crate::stats::Times;
use crate::stats::proportion::Tally;
use crate::stats::{Sample, interval, window};
use crate::units::ms;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Requests before the first look.
const FIRST_LOOK: u64 = 200;

/// What the first look may be wrong by; each further one by half of the one before.
const FIRST_LEVEL: f64 = 0.000_5;

/// How often the start of the latency window is estimated anew, in requests.
const REFRESH: u64 = 64;

/// The gate.
#[derive(Debug)]
pub(crate) struct Early {
    cells: Vec<Cell>,
    /// What is looked at in each of them.
    watches: Vec<Vec<Watch>>,
    include_ramp: bool,
    state: Mutex<State>,
}

/// One bound, as one on a share.
#[derive(Debug, Clone)]
struct Watch {
    bound: FailedBound,
    what: What,
    /// The share of requests that may break it.
    most: f64,
    /// `p95 <= 2.5s of slo 1`.
    shown: String,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Longer(Timed, f64),
    Counted(Counted),
}

#[derive(Debug, Default)]
struct State {
    cell: usize,
    counts: Vec<Count>,
    settled: u64,
    /// For the p95 of the successes.
    times: Times,
    /// From when on times count, milliseconds from the turn's start; nothing while it is not known.
    window_ms: Option<f64>,
    /// Cells that failed, in this turn or an earlier one.
    failed: HashMap<usize, Refusal>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    tally: Tally,
    next_look: u64,
    level: f64,
}

impl Early {
    /// For the cells of a run, in matrix order.
    pub(crate) fn new(cells: &[Cell], plan: &Plan) -> Self {
        let watches = |cell: &Cell| {
            let asked = plan.slo.iter().enumerate().filter(|(_, slo)| slo.abort_on_fail && matches(&slo.when, cell));
            let watch = |slo: usize, title: String, bound: &Bound| {
                let (what, most) = match bound {
                    Bound::Percentile { of, p, max } => (What::Longer(*of, ms(*max)), 1.0 - p / 100.0),
                    Bound::Share { of, max } => (What::Counted(*of), *max),
                    Bound::PerSecond { .. } | Bound::Goodput { .. } => return None,
                };
                let shown = format!("{} of {title}", bound.key());
                Some(Watch { bound: FailedBound { slo, metric: bound.key() }, what, most, shown })
            };
            asked
                .flat_map(|(index, slo)| {
                    slo.bounds.iter().filter_map(move |bound| watch(index, slo.title(index), bound)).collect::<Vec<_>>()
                })
                .collect()
        };
        Self {
            watches: cells.iter().map(watches).collect(),
            cells: cells.to_vec(),
            include_ramp: plan.report.include_ramp,
            state: Mutex::new(State::default()),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a request says of a bound: whether it breaks it, or nothing.
    fn breaks(watch: &Watch, sample: &Sample, window_ms: Option<f64>) -> Option<bool> {
        match watch.what {
            What::Counted(of) => (sample.outcome != Outcome::Censored).then(|| interval::counts(of, sample)),
            What::Longer(of, most_ms) => {
                if sample.start_ms < window_ms? {
                    return None;
                }
                // What was cut off before the bound may have kept it.
                let (ms, _) = interval::observe(of, sample)?;
                Some(ms > most_ms)
            }
        }
    }
}

impl Gate for Early {
    fn begin(&self, cell: usize) {
        let fresh = Count { tally: Tally::default(), next_look: FIRST_LOOK, level: FIRST_LEVEL };
        self.with(|state| {
            state.cell = cell;
            state.counts = vec![fresh; self.watches[cell].len()];
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
            let watches = &self.watches[state.cell];
            if watches.is_empty() || state.failed.contains_key(&state.cell) {
                return;
            }
            if record.outcome == Outcome::Succeeded && record.validity != Some(Unfit::Blocked) {
                state.times.add(record.response_time_ms);
            }
            state.settled += 1;
            if state.settled % REFRESH == 0 {
                let cell = &self.cells[state.cell];
                let p95 = state.times.percentile_ms(0.95).into_iter().collect();
                state.window_ms = Some(window::start(cell, ms(cell.length()), p95, self.include_ramp).0);
            }
            let sample = Sample::of(record);
            for (watch, count) in watches.iter().zip(&mut state.counts) {
                let Some(broken) = Self::breaks(watch, &sample, state.window_ms) else { continue };
                count.tally.add(broken);
                if count.tally.n() < count.next_look {
                    continue;
                }
                if count.tally.low(count.level) > watch.most {
                    state.failed.insert(state.cell, refusal(watch, count));
                    return;
                }
                count.next_look *= 2;
                count.level /= 2.0;
            }
        });
    }
}

fn refusal(watch: &Watch, count: &Count) -> Refusal {
    let (hits, n) = (count.tally.hits(), count.tally.n());
    let broke = match watch.what {
        What::Longer(..) => "took longer",
        What::Counted(Counted::Failures) => "failed",
        What::Counted(Counted::Throttles) => "were throttled",
        What::Counted(Counted::Blocked) => "were blocked",
    };
    let reason = format!(
        "{} cannot be met any more: {hits} of {n} requests {broke}, and {} % may ({} % sure)",
        watch.shown,
        rounded(watch.most * 100.0),
        rounded(100.0 - count.level * 100.0)
    );
    Refusal { reason, why: Why::Failed(watch.bound.clone()) }
}

/// Without the digits that binary fractions add.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use serde_json::json;

    fn early(slo: &str) -> Early {
        let mut plan = crate::plan::tests::plan();
        plan.load.spawn_rate = 1e6;
        plan.slo = vec![toml::from_str(slo).unwrap()];
        Early::new(&crate::matrix::expand(&plan), &plan)
    }

    fn record(sent_ms: f64, took_ms: f64, outcome: &str) -> Record {
        let record = json!({
            "timestamp": 0.0, "response_time_ms": took_ms, "success": outcome == "succeeded", "repetition": 1, "seq": 0,
            "phase": "steady", "outcome": outcome, "sent_ms": sent_ms,
        });
        serde_json::from_value(record).unwrap()
    }

    /// How many requests a turn gets in which each breaks its bound with a chance, `most` at most.
    fn lasts(chance: f64, most: u32, seed: u64) -> u32 {
        let early = early("p95 = \"1s\"\nabort_on_fail = true");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        early.begin(0);
        for n in 0..most {
            if early.admit().is_err() {
                return n;
            }
            let took_ms = if rng.random_bool(chance) { 1_001.0 } else { 500.0 };
            early.settle(&record(2_000.0 + f64::from(n), took_ms, "succeeded"));
        }
        most
    }

    #[test]
    fn a_turn_on_its_bound_is_practically_never_ended() {
        let ended = (0..400).filter(|seed| lasts(0.05, 1_700, *seed) < 1_700).count();
        assert!(ended <= 2, "{ended} of 400");
    }

    #[test]
    fn a_turn_that_breaks_its_bound_is_ended_and_stays_so() {
        for seed in 0..20 {
            assert!(lasts(0.15, 5_000, seed) < 1_000, "seed {seed}");
        }
        let early = early("failure_rate = \"1%\"\nrequests_per_sec = { min = 20 }\nabort_on_fail = true");
        early.begin(3);
        (0..199).for_each(|n| early.settle(&record(f64::from(n), 5.0, "failed")));
        assert!(early.admit().is_ok(), "not before the first look");
        early.settle(&record(199.0, 5.0, "failed"));
        let refusal = early.admit().unwrap_err();
        assert_eq!(refusal.why, Why::Failed(FailedBound { slo: 0, metric: "failure_rate".into() }));
        insta::assert_snapshot!(refusal.reason, @"failure_rate of slo 1 cannot be met any more: 200 of 200 requests failed, and 1 % may (99.95 % sure)");
        early.begin(4);
        assert!(early.admit().is_ok(), "another cell begins anew");
        early.begin(3);
        assert_eq!(early.admit(), Err(refusal), "a repetition of a cell that failed is not paid for");
    }

    #[test]
    fn what_says_nothing_of_a_bound_does_not_count() {
        let early = early("p95 = \"1s\"\nabort_on_fail = true");
        early.begin(0);
        for n in 0..600 {
            early.settle(&record(0.0, 9_000.0, "succeeded"));
            early.settle(&record(f64::from(n), 9_000.0, "throttled"));
            early.settle(&record(40_000.0 + f64::from(n), 900.0, "censored"));
        }
        assert!(early.admit().is_ok(), "the ramp, failures, and what was cut off before the bound");
        early.begin(1);
        for n in 0..600 {
            early.settle(&record(40_000.0 + f64::from(n), 900.0, "succeeded"));
            early.settle(&record(40_000.0 + f64::from(n), 9_000.0, "censored"));
        }
        assert!(early.admit().is_err(), "what was cut off after the bound broke it");
    }

    #[test]
    fn failed_requests_end_no_cell_for_its_latency() {
        let mut plan = crate::plan::tests::plan();
        plan.load.spawn_rate = 1e6;
        plan.report.include_failures = true;
        plan.slo = vec![toml::from_str("p95 = \"1s\"\nabort_on_fail = true").unwrap()];
        let early = Early::new(&crate::matrix::expand(&plan), &plan);
        early.begin(0);
        (0..2_000).for_each(|n| early.settle(&record(40_000.0 + f64::from(n), 9_000.0, "throttled")));
        assert!(early.admit().is_ok(), "the latencies that a report shows decide nothing");
    }

    #[test]
    fn without_the_wish_nothing_is_watched() {
        let early = early("p95 = \"1ms\"");
        early.begin(0);
        (0..2_000).for_each(|n| early.settle(&record(40_000.0 + f64::from(n), 9_000.0, "succeeded")));
        assert!(early.admit().is_ok());
    }
}
