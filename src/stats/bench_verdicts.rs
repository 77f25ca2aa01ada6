//! Bench of the intervals of a cell: the worlds of the inference notes, simulated and measured by the real code. The world
//! simulation is shared with the bench of rule F in `guard`.
//!
//! ```text
//! cargo test --release --lib bench_verdicts -- --ignored --nocapture --test-threads 1
//! ```
//!
//! prints the coverage of the 95 % intervals of p50, p95 and p99, and how often rule F aborts a cell at its bound. It takes
//! a few seconds in a release build, and about a minute in a test build.

#![allow(clippy::print_stdout)]

use super::collect::tests::{sample, turn};
use super::latency::{Latency, Population};
use super::percentile::nearest_rank;
use super::sample::Sample;
use super::window::Window;
use crate::matrix::Cell;
use crate::record::manifest::CellRunReport;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;

/// Number of users of the closed loop; they think for 1 to 2 s.
const USERS: usize = 30;

/// Median response time, milliseconds.
const MEDIAN_MS: f64 = 2_000.0;

/// Standard deviation of ln(response time), all causes together.
const SIGMA: f64 = 0.35;

/// Number of simulated cells per figure.
pub(crate) const CELLS: u64 = 200;

/// A service.
#[derive(Debug, Clone, Copy)]
pub(crate) enum World {
    /// Requests are independent.
    Iid,
    /// Half of the variance has a correlation time of 2 s.
    Ar,
    /// The level changes every 20 s; the standard deviation of its logarithm.
    Regime(f64),
    /// 10 s of every 120 s are twice as slow.
    Spells,
}

/// All worlds with their names.
pub(crate) const WORLDS: [(&str, World); 5] = [
    ("iid", World::Iid),
    ("AR 2 s", World::Ar),
    ("regime .10", World::Regime(0.10)),
    ("regime .25", World::Regime(0.25)),
    ("spells", World::Spells),
];

/// Step of the state of a world, milliseconds.
const STEP_MS: f64 = 100.0;

impl World {
    /// Draws the state of the service (the part of ln(time) that all requests share) in steps of [`STEP_MS`], and returns
    /// it with the standard deviation of the rest.
    fn path(self, length_ms: f64, rng: &mut ChaCha8Rng) -> (Vec<f64>, f64) {
        let steps = (length_ms / STEP_MS) as usize + 1;
        let mut normal = || -> f64 { StandardNormal.sample(rng) };
        match self {
            Self::Iid => (vec![0.0; steps], SIGMA),
            Self::Ar => {
                let (sd, keep) = (SIGMA / 2.0_f64.sqrt(), (-STEP_MS / 2_000.0).exp());
                let mut state = sd * normal();
                let mut next = || {
                    state = keep * state + (1.0 - keep * keep).sqrt() * sd * normal();
                    state
                };
                ((0..steps).map(|_| next()).collect(), sd)
            }
            Self::Regime(sd) => {
                let each = (20_000.0 / STEP_MS) as usize;
                let levels: Vec<f64> = (0..=steps / each + 1).map(|_| sd * normal()).collect();
                let offset = rng.random_range(0..each);
                let path = (0..steps).map(|step| levels[(step + offset) / each]).collect();
                (path, (SIGMA * SIGMA - sd * sd).sqrt())
            }
            Self::Spells => {
                let offset_ms = rng.random_range(0.0..120_000.0);
                let slow = |step: usize| (step as f64 * STEP_MS + offset_ms) % 120_000.0 < 10_000.0;
                ((0..steps).map(|step| if slow(step) { 2.0_f64.ln() } else { 0.0 }).collect(), SIGMA)
            }
        }
    }

    /// Simulates a cell run: start and response time of each request that starts within `length_ms`, in milliseconds.
    pub(crate) fn requests(self, length_ms: f64, rng: &mut ChaCha8Rng) -> Vec<(f64, f64)> {
        let (path, sd) = self.path(length_ms, rng);
        let mut requests = Vec::new();
        for _ in 0..USERS {
            let mut at_ms = 0.0;
            while at_ms < length_ms {
                let own: f64 = StandardNormal.sample(rng);
                let ms = MEDIAN_MS * (path[(at_ms / STEP_MS) as usize] + sd * own).exp();
                requests.push((at_ms, ms));
                at_ms += ms + rng.random_range(1_000.0..2_000.0);
            }
        }
        requests
    }

    /// Returns percentiles of the response time that a run without end has, milliseconds.
    pub(crate) fn truth<const N: usize>(self, levels: [f64; N]) -> [f64; N] {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let length_ms = if matches!(self, Self::Regime(_)) { 120e6 } else { 12e6 };
        let mut times: Vec<f64> = self.requests(length_ms, &mut rng).into_iter().map(|(_, ms)| ms).collect();
        times.sort_by(f64::total_cmp);
        levels.map(|p| times[nearest_rank(times.len(), p)])
    }
}

/// Returns a cell of a closed loop whose users all start at once.
pub(crate) fn plan(length_ms: f64) -> crate::plan::Plan {
    let mut plan = crate::plan::tests::plan();
    plan.load.spawn_rate = 1e9;
    plan.load.test_duration = std::time::Duration::from_secs_f64(length_ms / 1e3);
    plan
}

/// Measures the requests of a cell run.
pub(crate) fn measure(cell: &Cell, requests: &[(f64, f64)], length_ms: f64) -> Latency {
    let mut samples: Vec<Sample> = requests
        .iter()
        .map(|(start_ms, response_ms)| Sample { start_ms: *start_ms, response_ms: *response_ms, ..sample() })
        .collect();
    let turns = [CellRunReport { load_ms: length_ms, ..turn() }];
    let window = Window::new(cell, &turns, &samples, false);
    window.assign_blocks(&mut samples, &BTreeMap::from([(1, length_ms)]));
    Latency::from_samples(samples.iter().filter(|sample| window.includes(sample)), Population::Settled)
}

#[test]
#[ignore = "a simulation: run by name, see the module"]
fn coverage_of_intervals() {
    const LEVELS: [f64; 3] = [0.50, 0.95, 0.99];
    println!("coverage of the 95 % intervals, {CELLS} cells each");
    println!(
        "{:12} {:>5} {:>6} {:>6} {:>6} {:>9} {:>11}",
        "world", "T, s", "p50", "p95", "p99", "p99 open", "n_eff/n p95"
    );
    for (name, world) in WORLDS {
        let truth = world.truth(LEVELS);
        for length_ms in [60e3, 300e3] {
            let cell = crate::matrix::expand(&plan(length_ms)).remove(0);
            let (mut covered, mut open, mut worth) = ([0_u32; 3], 0, 0.0);
            for seed in 0..CELLS {
                let mut rng = ChaCha8Rng::seed_from_u64(100 + seed);
                let latency = measure(&cell, &world.requests(length_ms, &mut rng), length_ms);
                for (index, p) in LEVELS.into_iter().enumerate() {
                    let found = latency.percentile(p).unwrap();
                    let is_above = found.low_ms.is_none_or(|low| low <= truth[index]);
                    covered[index] += u32::from(is_above && found.high_ms.is_none_or(|high| truth[index] <= high));
                }
                open += u32::from(latency.percentile(0.99).unwrap().high_ms.is_none());
                worth += latency.effective_size(0.95) / latency.observations() as f64;
            }
            let share = |count: u32| f64::from(count) / CELLS as f64;
            println!(
                "{name:12} {:>5} {:>6.3} {:>6.3} {:>6.3} {:>9.2} {:>11.2}",
                length_ms / 1e3,
                share(covered[0]),
                share(covered[1]),
                share(covered[2]),
                share(open),
                worth / CELLS as f64
            );
        }
    }
}
