//! The two-look test. The replicate is the session, not the request: requests of one session share its
//! hour, and thousands of them tell nothing about the next one.
//!
//! At the first look one new session stands against the baseline's, all tests of the comparison together
//! (Benjamini and Hochberg, 1995). What is merely suspicious is repeated in four more sessions, and a second
//! look takes all five. Both looks together flag a system that did not change in at most one run of twenty,
//! however sessions differ from each other (the bench beside this file counts). Knows numbers only.

use crate::stats::student;

/// The rate of false discoveries at the first look,
const Q_FIRST: f64 = 0.006;

/// and at the second. With .02 and .03 a run in which nothing changed is flagged in 6 of 100 where all cells of a
/// session move together; with these in fewer than 5, and the second look finds as much.
const Q_SECOND: f64 = 0.042;

/// Below this a test of the first look is worth repeating.
const SUSPECT: f64 = 0.10;

/// Sessions of the second look, the first one included.
pub(crate) const SECOND_LOOK: usize = 5;

/// Smaller changes are nobody's business, ln.
pub(crate) const MARGIN: f64 = 0.048_790_164_169_432; // ln 1.05

/// Baseline sessions below which nothing is gated.
pub(crate) const FEWEST: usize = 3;

/// What is outside an interval on either side.
const TAIL: f64 = 0.05;

/// z of a power of .80.
const Z_POWER: f64 = 0.84;

/// One number of one cell, session by session.
#[derive(Debug, Clone)]
pub(super) struct Test {
    /// Tests of one pool share a variance.
    pub(super) pool: usize,
    /// The baseline's sessions, one at least.
    pub(super) base: Vec<Point>,
    /// The new ones in the order of their starts, one at least.
    pub(super) new: Vec<Point>,
}

/// One session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// The number's logarithm.
    pub(super) ln: f64,
    /// The variance that its requests alone give it.
    pub(super) noise: f64,
}

/// What the looks say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Slower.
    Regressed,
    /// Faster.
    Improved,
    /// Not slower by the margin.
    Pass,
    /// Worth repeating.
    Suspect,
    /// Neither can be said.
    Inconclusive,
}

/// One test, told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// What the looks say.
    pub(super) call: Call,
    /// The change, ln.
    pub(super) change: f64,
    /// Its standard error; nothing where no session was repeated.
    pub(super) error: Option<f64>,
    /// The ends of the 90 % interval, ln: 5 % on either side.
    pub(super) interval: Option<(f64, f64)>,
    /// One-sided p of the first look, for slower.
    pub(super) p: Option<f64>,
    /// New sessions that the change is of.
    pub(super) sessions: usize,
    /// The standard deviation between sessions of its pool.
    pub(super) deviation: Option<f64>,
}

/// One test with so many new sessions.
#[derive(Debug, Clone, Copy)]
struct Stage {
    change: f64,
    error: f64,
    /// Student's t at `TAIL`.
    t_tail: f64,
    deviation: f64,
    /// That the system is slower, and that it is faster, one-sided.
    slower: f64,
    faster: f64,
    tested: bool,
}

/// Both looks over all tests of a comparison.
pub(super) fn look(tests: &[Test]) -> Vec<Told> {
    let first = stage(tests, 1);
    let now = stage(tests, SECOND_LOOK);
    let slower = calls(tests, &first, &now, |stage| (stage.slower, stage.change));
    let faster = calls(tests, &first, &now, |stage| (stage.faster, -stage.change));
    let told = |(index, test): (usize, &Test)| {
        let (first, now) = (first[index], now[index]);
        let sessions = test.new.len().min(SECOND_LOOK);
        // Between the looks verdicts stay those of the first.
        let decided = if sessions == SECOND_LOOK { now } else { first };
        let keeps = decided.tested && decided.change + decided.t_tail * decided.error < MARGIN;
        let call = if slower[index] {
            Call::Regressed
        } else if faster[index] {
            Call::Improved
        } else if keeps {
            Call::Pass
        } else if first.tested && first.slower < SUSPECT && sessions < SECOND_LOOK {
            Call::Suspect
        } else {
            Call::Inconclusive
        };
        Told {
            call,
            change: now.change,
            error: now.tested.then_some(now.error),
            interval: now.tested.then_some((now.change - now.t_tail * now.error, now.change + now.t_tail * now.error)),
            p: first.tested.then_some(first.slower),
            sessions,
            deviation: now.tested.then_some(now.deviation),
        }
    };
    tests.iter().enumerate().map(told).collect()
}

/// The smallest change, as a share, that a comparison of so many tests finds in four of five cases.
pub(crate) fn visible(deviation: f64, tests: usize, base: usize, new: usize) -> f64 {
    let z = student::normal_quantile(TAIL / tests.max(1) as f64) + Z_POWER;
    (z * deviation * (1.0 / base as f64 + 1.0 / new as f64).sqrt()).exp_m1()
}

/// Every test with its first new sessions, `most` at the most.
///
/// The variance is pooled over the tests of a pool. Where the requests of a cell alone make it noisier than the
/// pool is on average, as those of a cell with a tenth of the others' requests do, it has that on top: else such
/// a cell would be called different several times as often as promised. It is never less than pooled, since how
/// noisy requests are is itself an estimate.
fn stage(tests: &[Test], most: usize) -> Vec<Stage> {
    let new = |test: &Test| -> usize { test.new.len().min(most) };
    let pools = tests.iter().map(|test| test.pool + 1).max().unwrap_or(0);
    let mut pooled = vec![Pooled::default(); pools];
    for test in tests {
        pooled[test.pool].add(&test.base);
        pooled[test.pool].add(&test.new[..new(test)]);
    }
    let t_tails: Vec<f64> =
        pooled.iter().map(|pool| if pool.df == 0 { f64::NAN } else { student::quantile(pool.df, TAIL) }).collect();
    let stage = |test: &Test| {
        let df = pooled[test.pool].df;
        let (base, new) = (&test.base[..], &test.new[..new(test)]);
        let change = mean(new) - mean(base);
        let share = |points: &[Point]| pooled[test.pool].variance(noise(points)) / points.len() as f64;
        let error = if df == 0 { f64::NAN } else { (share(base) + share(new)).sqrt() };
        // What never varied is as sure as can be.
        let p = |change: f64| match change / error {
            t if t.is_nan() => 1.0,
            t if t.is_infinite() => f64::from(u8::from(t < 0.0)),
            t => student::exceeds(t, df),
        };
        let (slower, faster) = if df == 0 { (1.0, 1.0) } else { (p(change), p(-change)) };
        let deviation = error / (1.0 / base.len() as f64 + 1.0 / new.len() as f64).sqrt();
        Stage { change, error, t_tail: t_tails[test.pool], deviation, slower, faster, tested: df > 0 }
    };
    tests.iter().map(stage).collect()
}

/// What the tests of a pool tell of how sessions differ.
#[derive(Debug, Clone, Copy, Default)]
struct Pooled {
    /// Squared distances from the means.
    squares: f64,
    /// What requests alone would make of them.
    noise: f64,
    df: usize,
}

impl Pooled {
    fn add(&mut self, points: &[Point]) {
        let mean = mean(points);
        let df = points.len() - 1;
        self.squares += points.iter().map(|point| (point.ln - mean).powi(2)).sum::<f64>();
        self.noise += noise(points) * df as f64;
        self.df += df;
    }

    /// The variance of a session whose requests alone give it so much.
    fn variance(&self, noise: f64) -> f64 {
        let df = self.df as f64;
        self.squares / df + (noise - self.noise / df).max(0.0)
    }
}

/// Which tests are called in one direction, at either look. `side` gives p and the change in that direction.
fn calls(tests: &[Test], first: &[Stage], now: &[Stage], side: impl Fn(&Stage) -> (f64, f64)) -> Vec<bool> {
    let at_first: Vec<f64> = first.iter().map(|stage| side(stage).0).collect();
    let found = discoveries(&at_first, Q_FIRST);
    let called: Vec<bool> = first.iter().zip(&found).map(|(stage, found)| *found && side(stage).1 > MARGIN).collect();
    let p = |(index, test): (usize, &Test)| match at_first[index] {
        p if called[index] => p,
        p if p < SUSPECT && test.new.len() >= SECOND_LOOK => side(&now[index]).0,
        // What was not repeated, or not worth it, stays in the family and is no discovery.
        _ => 1.0,
    };
    let at_second: Vec<f64> = tests.iter().enumerate().map(p).collect();
    let found = discoveries(&at_second, Q_SECOND);
    let second = |index: usize| found[index] && tests[index].new.len() >= SECOND_LOOK && side(&now[index]).1 > MARGIN;
    (0..tests.len()).map(|index| called[index] || second(index)).collect()
}

/// Benjamini and Hochberg's step-up: which of these p are discoveries at rate `q`.
fn discoveries(p: &[f64], q: f64) -> Vec<bool> {
    let mut sorted = p.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = p.len() as f64;
    let limit = sorted.iter().enumerate().rev().find(|(index, p)| **p <= (index + 1) as f64 * q / n);
    let limit = limit.map_or(-1.0, |(_, p)| *p);
    p.iter().map(|p| *p <= limit).collect()
}

/// Of the logarithms.
pub(super) fn mean(points: &[Point]) -> f64 {
    points.iter().map(|point| point.ln).sum::<f64>() / points.len() as f64
}

/// The variance of a session of these by its requests alone.
fn noise(points: &[Point]) -> f64 {
    points.iter().map(|point| point.noise).sum::<f64>() / points.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn test(base: &[f64], new: &[f64]) -> Test {
        Test { pool: 0, base: points(base, 0.0), new: points(new, 0.0) }
    }

    fn points(values: &[f64], noise: f64) -> Vec<Point> {
        values.iter().map(|ln| Point { ln: *ln, noise }).collect()
    }

    #[test]
    fn by_hand() {
        // Two cells, five sessions each: squares 0.001 and 0.0004, df 8.
        let one = test(&[-0.02, -0.01, 0.0, 0.01, 0.02], &[0.10]);
        let other = test(&[1.01, 0.99, 1.01, 0.99, 1.0], &[1.01]);
        let told = look(&[one, other]);
        let deviation = (0.0014_f64 / 8.0).sqrt();
        let error = deviation * 1.2_f64.sqrt();
        assert!((told[0].deviation.unwrap() - deviation).abs() < 1e-12);
        assert!((told[0].error.unwrap() - error).abs() < 1e-12);
        // t = 6.90 with 8 degrees of freedom: p = 6.2e-5; 1.860 is t at 5 %.
        assert!((told[0].p.unwrap() - 6.2e-5).abs() < 3e-6, "{:?}", told[0].p);
        let (low, high) = told[0].interval.unwrap();
        assert!((low - (0.1 - 1.8595 * error)).abs() < 1e-5 && (high - (0.1 + 1.8595 * error)).abs() < 1e-5);
        assert_eq!((told[0].call, told[1].call), (Call::Regressed, Call::Pass));
        // z(.975) + .84 = 2.80 for two tests.
        let expected = ((1.959_96 + 0.84) * error).exp_m1();
        assert!((visible(deviation, 2, 5, 1) - expected).abs() < 2e-5);
    }

    #[test]
    fn a_cell_that_its_requests_make_noisy_has_that_on_top() {
        // Squares .001 and .0004, df 8: .000175. Requests make .0003 of a session's variance in one, .0001 in the other.
        let of = |base: &[f64], new: &[f64], noise: f64| Test {
            pool: 0,
            base: points(base, noise),
            new: points(new, noise),
        };
        let one = of(&[-0.02, -0.01, 0.0, 0.01, 0.02], &[0.10], 3e-4);
        let other = of(&[1.01, 0.99, 1.01, 0.99, 1.0], &[1.01], 1e-4);
        let told = look(&[one, other]);
        for (told, more) in told.iter().zip([1e-4, 0.0]) {
            let expected = ((0.0014 / 8.0 + more) * 1.2_f64).sqrt();
            assert!((told.error.unwrap() - expected).abs() < 1e-12, "{told:?}");
        }
    }

    #[test]
    fn benjamini_hochberg_by_hand() {
        // Limits .01, .02, .03, .04, .05: the fourth holds, so that the third is carried.
        assert_eq!(discoveries(&[0.001, 0.5, 0.038, 0.035, 0.015], 0.05), [true, false, true, true, true]);
        assert_eq!(discoveries(&[0.02, 0.03], 0.02), [false, false]);
        assert_eq!(discoveries(&[], 0.02), [false; 0]);
    }

    #[test]
    fn a_suspect_waits_for_four_more_sessions() {
        let base = [-0.03, 0.03, -0.03, 0.03, 0.0];
        let with = |new: &[f64]| {
            let calm = test(&base, &[0.0]);
            look(&[test(&base, new), calm.clone(), calm.clone(), calm])[0]
        };
        let slow = [0.07, 0.08, 0.07, 0.08, 0.07];
        for n in 1..5 {
            assert_eq!(with(&slow[..n]).call, Call::Suspect, "{n} sessions");
        }
        assert_eq!(with(&slow).call, Call::Regressed);
        assert_eq!(with(&[0.07, 0.0, -0.01, 0.01, 0.0]).call, Call::Pass, "it was chance");
        let more = [&slow[..], &[9.0; 3]].concat();
        assert!((with(&more).change - with(&slow).change).abs() < 1e-12, "the first five count");
    }

    #[test]
    fn what_the_first_look_did_not_suspect_the_second_does_not_find() {
        let base = [-0.03, 0.03, -0.03, 0.03, 0.0];
        let told = look(&[test(&base, &[0.0, 0.2, 0.2, 0.2, 0.2])]);
        assert_eq!(told[0].call, Call::Inconclusive);
    }

    #[test]
    fn small_changes_and_lone_sessions() {
        let sure = [0.0, 0.001, -0.001, 0.0, 0.001];
        assert_eq!(look(&[test(&sure, &[0.04])])[0].call, Call::Pass, "4 % is below the margin, however sure");
        assert_eq!(look(&[test(&sure, &[0.06])])[0].call, Call::Regressed);
        assert_eq!(look(&[test(&sure, &[-0.06])])[0].call, Call::Improved);
        assert_eq!(look(&[test(&[0.0; 5], &[0.06])])[0].call, Call::Regressed, "what never varied");
        assert_eq!(look(&[test(&[0.0; 5], &[0.0])])[0].call, Call::Pass, "what never varied and does not now");
        let lone = look(&[test(&[0.0], &[0.5])])[0];
        assert_eq!((lone.call, lone.interval), (Call::Inconclusive, None), "one against one tells nothing");
    }

    proptest! {
        #[test]
        fn slower_and_faster_are_mirrors(
            tests in prop::collection::vec(
                (0_usize..2, prop::collection::vec(-0.1_f64..0.1, 2..6), prop::collection::vec(-0.3_f64..0.3, 1..7)), 1..12)
        ) {
            let tests: Vec<Test> =
                tests.into_iter().map(|(pool, base, new)| Test { pool, ..test(&base, &new) }).collect();
            let turned = |points: &[Point]| points.iter().map(|point| Point { ln: -point.ln, ..*point }).collect();
            let turned: Vec<Test> = tests
                .iter()
                .map(|test| Test { pool: test.pool, base: turned(&test.base), new: turned(&test.new) })
                .collect();
            for (one, other) in look(&tests).iter().zip(look(&turned)) {
                prop_assert_eq!(one.call == Call::Regressed, other.call == Call::Improved);
                prop_assert!((one.change + other.change).abs() < 1e-12);
            }
        }

        #[test]
        fn the_level_of_a_cell_moves_nothing(
            base in prop::collection::vec(-0.1_f64..0.1, 2..6), new in prop::collection::vec(-0.2_f64..0.2, 1..6), level in -5.0_f64..5.0
        ) {
            let raised = |values: &[f64]| values.iter().map(|value| value + level).collect::<Vec<_>>();
            let (one, other) = (look(&[test(&base, &new)])[0], look(&[test(&raised(&base), &raised(&new))])[0]);
            prop_assert!((one.change - other.change).abs() < 1e-9);
            prop_assert!((one.error.unwrap() - other.error.unwrap()).abs() < 1e-9);
        }
    }
}
