//! How often verdicts are wrong, and what they find: simulated sessions of 27 cells through the code that
//! `compare` runs, and beside it rules that people use. `cargo test --release --lib verdict::compare::bench --
//! --ignored --nocapture` prints the README's tables; without `--release` there are fewer rounds.

#![allow(clippy::print_stdout)]

use super::super::baseline::{CellStatistics, Session, SessionCell};
use super::{SECOND_LOOK, Verdict, compare};
use crate::stats::location::Location;
use crate::stats::percentile::{Curve, Observation};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, Normal};
use std::collections::BTreeSet;

/// Runs of each kind.
const ROUNDS: u64 = if cfg!(debug_assertions) { 200 } else { 8_000 };

/// Of the naive rules, whose false alarms are no matter of a percent.
const NAIVE_ROUNDS: u64 = 500;

/// Nine cells of each of three tiers.
const CELLS: usize = 27;
const TIERS: [&str; 3] = ["default", "priority", "flex"];

/// Requests of a cell, and the sigma of the logarithm of their times.
const N: usize = 300;

/// Requests of every other cell where they are not alike.
const UNLIKE: [usize; 2] = [100, 1_000];

const SIGMA: f64 = 0.35;

/// Baseline sessions.
const K: usize = 5;

/// The hour and the day, in percent.
const DRIFTS: [f64; 4] = [0.0, 2.0, 3.0, 5.0];

/// How sessions differ.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// All cells of a session move together,
    Common,
    /// or each by itself,
    PerCell,
    /// or half of the variance each.
    Both,
}

/// What has changed, by 10 %.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shift {
    Nothing,
    /// All times of one cell.
    Cell,
    /// p95 of one cell.
    Tail,
    Everything,
}

/// Times of the middle and of the tail of many samples, by the real code: a session draws one of these and
/// moves it, which is what moving all of its times would give.
struct Bank(Vec<(usize, Vec<Location>)>);

impl Bank {
    fn new(rng: &mut ChaCha8Rng) -> Self {
        let times = LogNormal::new(0.0, SIGMA).unwrap();
        let samples = if cfg!(debug_assertions) { 2_000 } else { 30_000 };
        let mut one = |n: usize| {
            let sample = (0..n).map(|_| Observation::independent(1_000.0 * times.sample(rng), true));
            Location::from_curve(&Curve::new(sample))
        };
        Self([N, UNLIKE[0], UNLIKE[1]].into_iter().map(|n| (n, (0..samples).map(|_| one(n)).collect())).collect())
    }

    /// A session of these cells; `changed` of them moved.
    fn session(&self, number: usize, only: Option<&BTreeSet<usize>>, world: &World, rng: &mut ChaCha8Rng) -> Session {
        let normal = |sd: f64, rng: &mut ChaCha8Rng| Normal::new(0.0, sd / 100.0).unwrap().sample(rng);
        let half = world.sd / 2.0_f64.sqrt();
        let (common, own) = match world.kind {
            Kind::Common => (world.sd, 0.0),
            Kind::PerCell => (0.0, world.sd),
            Kind::Both => (half, half),
        };
        let hour = normal(common, rng);
        let mut cells = Vec::new();
        for cell in 0..CELLS {
            let moved = (hour + normal(own, rng)).exp();
            // Neighbours of one tier differ.
            let (n, bank) = &self.0[if world.is_unlike { 1 + cell / 3 % 2 } else { 0 }];
            let drawn = bank[rng.random_range(0..bank.len())];
            let is_new = number >= K;
            let (typical, tail) = match world.shift {
                Shift::Cell if is_new && cell == 0 => (1.1, 1.1),
                Shift::Tail if is_new && cell == 0 => (1.0, 1.1),
                Shift::Everything if is_new => (1.1, 1.1),
                _ => (1.0, 1.0),
            };
            if only.is_none_or(|only| only.contains(&cell)) {
                cells.push(SessionCell {
                    cell_hash: format!("{cell}"),
                    test_id: format!("{cell}"),
                    settings: [("service_tier".to_owned(), TIERS[cell % 3].into())].into(),
                    numbers: Ok(CellStatistics {
                        n: *n,
                        typical_ms: drawn.typical_ms.map(|ms| ms * moved * typical),
                        p95_ms: drawn.p95_ms.map(|ms| ms * moved * tail),
                        typical_error: drawn.typical_error,
                        p95_error: drawn.p95_error,
                    }),
                });
            }
        }
        Session {
            id: number.to_string(),
            started_ms: number as u64 * 86_400_000,
            tool_version: "0".into(),
            endpoint: "aws".into(),
            region: None,
            cells,
        }
    }
}

/// Parameters of a simulation.
#[derive(Debug, Clone, Copy)]
struct World {
    sd: f64,
    kind: Kind,
    shift: Shift,
    /// Cells of a tier have different numbers of requests.
    is_unlike: bool,
}

/// What came of the rounds, as shares.
#[derive(Debug, Clone, Copy, Default)]
struct Rates {
    /// Something was called slower,
    first: f64,
    /// after the second look too.
    both: f64,
    /// The cell that was changed was,
    first_cell: f64,
    /// after the second look too.
    both_cell: f64,
    /// Something was called faster.
    improved: f64,
    /// Cells to repeat, per run.
    repeated: f64,
}

/// A user's way: a whole run; what is suspected, and only that, in four more; both looks.
fn rounds(bank: &Bank, world: World, rounds: u64, rng: &mut ChaCha8Rng) -> Rates {
    let mut rates = Rates::default();
    let share = 1.0 / rounds as f64;
    for _ in 0..rounds {
        let base: Vec<Session> = (0..K).map(|number| bank.session(number, None, &world, rng)).collect();
        let mut new = vec![bank.session(K, None, &world, rng)];
        let regressed = |comparison: &super::Comparison| -> BTreeSet<usize> {
            let rows = comparison.rows.iter().filter(|row| row.verdict == Verdict::Regressed);
            rows.map(|row| row.test_id.parse().unwrap()).collect()
        };
        let mut comparison = compare(&base, &new);
        let first = regressed(&comparison);
        let suspects = comparison.rows.iter().filter(|row| row.verdict == Verdict::Suspect);
        let suspects: BTreeSet<usize> = suspects.map(|row| row.test_id.parse().unwrap()).collect();
        if !suspects.is_empty() {
            new.extend((1..SECOND_LOOK).map(|more| bank.session(K + more, Some(&suspects), &world, rng)));
            comparison = compare(&base, &new);
        }
        let both = regressed(&comparison);
        let count = |holds: bool| if holds { share } else { 0.0 };
        rates.first += count(!first.is_empty());
        rates.both += count(!both.is_empty());
        rates.first_cell += count(first.contains(&0));
        rates.both_cell += count(both.contains(&0));
        rates.improved += count(comparison.rows.iter().any(|row| row.verdict == Verdict::Improved));
        rates.repeated += suspects.len() as f64 * share;
    }
    rates
}

/// One run against one run, request by request: what p95 + 10 %, Mann-Whitney at .05 a cell, and the same
/// after Benjamini and Hochberg flag when nothing changed.
fn naive(sd: f64, rng: &mut ChaCha8Rng) -> [f64; 3] {
    let times = LogNormal::new(0.0, SIGMA).unwrap();
    let drift = Normal::new(0.0, sd / 100.0).unwrap();
    let mut flagged = [0.0; 3];
    for _ in 0..NAIVE_ROUNDS {
        let mut p_values = Vec::new();
        let mut grew = false;
        for _ in 0..CELLS {
            let mut sample = || -> Vec<f64> {
                let moved = drift.sample(rng).exp();
                let mut all: Vec<f64> = (0..N).map(|_| moved * times.sample(rng)).collect();
                all.sort_by(f64::total_cmp);
                all
            };
            let (old, new) = (sample(), sample());
            let p95 = |sorted: &[f64]| sorted[(N * 95).div_ceil(100) - 1];
            grew |= p95(&new) > 1.1 * p95(&old);
            p_values.push(mann_whitney(&old, &new));
        }
        p_values.sort_by(f64::total_cmp);
        let n = p_values.len() as f64;
        let hochberg = p_values.iter().enumerate().any(|(index, p)| *p <= 0.05 * (index + 1) as f64 / n);
        for (flagged, holds) in flagged.iter_mut().zip([grew, p_values[0] < 0.05, hochberg]) {
            *flagged += if holds { 1.0 / NAIVE_ROUNDS as f64 } else { 0.0 };
        }
    }
    flagged
}

/// Two-sided, by its normal approximation; both samples ascending and without ties.
fn mann_whitney(one: &[f64], other: &[f64]) -> f64 {
    let (n, m) = (one.len() as f64, other.len() as f64);
    let u: f64 = other.iter().map(|value| one.partition_point(|old| old < value) as f64).sum();
    let z = (u - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt();
    2.0 * crate::stats::student::exceeds(z.abs(), 1_000)
}

#[test]
#[ignore = "a bench: minutes"]
fn false_alarms_and_power() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let bank = Bank::new(&mut rng);
    let mut good = true;
    println!(
        "\nA run in which nothing changed is flagged, at the first look / after the second ({ROUNDS} runs of each kind; {CELLS} cells, {K} baseline sessions):\n"
    );
    println!(
        "| sessions differ by | together | each cell by itself | both | both, cells of 100 and 1,000 requests | called faster | p95 + 10 % | Mann-Whitney | with B-H |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let error = |p: f64| 3.0 * (p * (1.0 - p) / ROUNDS as f64).sqrt();
    for sd in DRIFTS {
        let of = |kind, is_unlike, rng: &mut ChaCha8Rng| {
            rounds(&bank, World { sd, kind, shift: Shift::Nothing, is_unlike }, ROUNDS, rng)
        };
        let [common, own, both] = [Kind::Common, Kind::PerCell, Kind::Both].map(|kind| of(kind, false, &mut rng));
        let unlike = of(Kind::Both, true, &mut rng);
        let [grew, plain, hochberg] = naive(sd, &mut rng);
        println!(
            "| {sd} % | {:.3} / {:.3} | {:.3} / {:.3} | {:.3} / {:.3} | {:.3} / {:.3} | {:.3} | {grew:.2} | {plain:.2} | {hochberg:.2} |",
            common.first,
            common.both,
            own.first,
            own.both,
            both.first,
            both.both,
            unlike.first,
            unlike.both,
            common.improved.max(own.improved).max(both.improved),
        );
        good &= [common, own, both, unlike].iter().all(|rates| rates.both <= 0.05 + error(0.05));
    }
    println!("\nA change of 10 % is found, at the first look / after the second:\n");
    println!(
        "| sessions differ by | a cell (together) | a cell (each by itself) | its p95 alone | everything | cells repeated when nothing changed |"
    );
    println!("|---|---|---|---|---|---|");
    for (sd, least) in DRIFTS.into_iter().zip([0.95, 0.90, 0.70, 0.28]) {
        let of =
            |kind, shift, rng: &mut ChaCha8Rng| rounds(&bank, World { sd, kind, shift, is_unlike: false }, ROUNDS, rng);
        let common = of(Kind::Common, Shift::Cell, &mut rng);
        let own = of(Kind::PerCell, Shift::Cell, &mut rng);
        let tail = of(Kind::PerCell, Shift::Tail, &mut rng);
        let all = of(Kind::PerCell, Shift::Everything, &mut rng);
        let calm = of(Kind::PerCell, Shift::Nothing, &mut rng);
        println!(
            "| {sd} % | {:.2} / {:.2} | {:.2} / {:.2} | {:.2} / {:.2} | {:.2} / {:.2} | {:.1} of {CELLS} |",
            common.first_cell,
            common.both_cell,
            own.first_cell,
            own.both_cell,
            tail.first_cell,
            tail.both_cell,
            all.first,
            all.both,
            calm.repeated,
        );
        good &= [common, own].iter().all(|rates| rates.both_cell >= least - error(least));
    }
    assert!(good, "a figure is out of its bounds");
}
