//! The two-look test. The replicate is the session, not the request: all requests of a session share its hour, and
//! predict nothing about the next session.
//!
//! The first look compares one new session with the baseline, all tests of the comparison together (Benjamini and
//! Hochberg, 1995). Suspect cells are repeated in four more sessions; the second look uses all five. The two looks
//! together flag an unchanged system in at most 5 % of runs, however sessions vary (measured in `bench.rs`).
//! Uses numbers only.

use crate::stats::student;

/// False-discovery rate of the first look.
const Q_FIRST: f64 = 0.006;

/// False-discovery rate of the second look. With .02 and .03, 6 % of unchanged runs are flagged if all cells of a
/// session move together; with these values fewer than 5 %, at the same power of the second look.
const Q_SECOND: f64 = 0.042;

/// A p-value of the first look below this makes a cell suspect.
const SUSPECT: f64 = 0.10;

/// New sessions that the second look uses, including the first one.
pub(crate) const SECOND_LOOK: usize = 5;

/// Smaller changes are irrelevant, ln.
pub(crate) const MARGIN: f64 = 0.048_790_164_169_432; // ln 1.05

/// Minimum number of baseline sessions with which a regression fails the comparison.
pub(crate) const MIN_BASE_SESSIONS: usize = 3;

/// Probability outside an interval on either side.
const TAIL: f64 = 0.05;

/// z for a power of 0.80.
const Z_POWER: f64 = 0.84;

/// One metric of one cell per session.
#[derive(Debug, Clone)]
pub(super) struct Test {
    /// Tests of the same pool share a variance.
    pub(super) pool: usize,
    /// Baseline sessions, at least one.
    pub(super) base: Vec<Point>,
    /// New sessions by start, at least one.
    pub(super) new: Vec<Point>,
}

/// Value of one session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// Logarithm of the metric.
    pub(super) ln: f64,
    /// Variance due to the requests of the session alone.
    pub(super) request_variance: f64,
}

/// Verdict on a metric of a cell, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Slower.
    Regressed,
    /// Possibly slower: repeat the cell.
    Suspect,
    /// Faster.
    Improved,
    /// The data do not decide.
    Inconclusive,
    /// Not slower by 5 % or more.
    Pass,
}

impl Verdict {
    /// All verdicts in order.
    pub(crate) const ALL: [Self; 5] = [Self::Regressed, Self::Suspect, Self::Improved, Self::Inconclusive, Self::Pass];

    /// Returns the name used in result files.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Regressed => "REGRESSED",
            Self::Suspect => "SUSPECT",
            Self::Improved => "IMPROVED",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Pass => "PASS",
        }
    }
}

/// Result of one test.
#[derive(Debug, Clone, Copy)]
pub(super) struct TestResult {
    pub(super) verdict: Verdict,
    /// Change, ln.
    pub(super) change: f64,
    /// Standard error of the change; `None` if neither side has two sessions.
    pub(super) error: Option<f64>,
    /// 90 % confidence interval, ln.
    pub(super) interval: Option<(f64, f64)>,
    /// One-sided p-value of the first look, for slower.
    pub(super) p: Option<f64>,
    /// Number of new sessions used.
    pub(super) sessions: usize,
    /// Standard deviation between sessions, ln.
    pub(super) deviation: Option<f64>,
}

/// Statistics of one test with a given number of new sessions.
#[derive(Debug, Clone, Copy)]
struct Stage {
    change: f64,
    error: f64,
    /// Student's t at `TAIL`.
    t_tail: f64,
    deviation: f64,
    /// One-sided p-value for slower.
    p_slower: f64,
    /// One-sided p-value for faster.
    p_faster: f64,
    tested: bool,
}

/// Runs both looks over all tests of a comparison.
pub(super) fn evaluate(tests: &[Test]) -> Vec<TestResult> {
    let first = compute_stages(tests, 1);
    let now = compute_stages(tests, SECOND_LOOK);
    let slower = significant_tests(tests, &first, &now, |stage| (stage.p_slower, stage.change));
    let faster = significant_tests(tests, &first, &now, |stage| (stage.p_faster, -stage.change));
    let result = |(index, test): (usize, &Test)| {
        let (first, now) = (first[index], now[index]);
        let sessions = test.new.len().min(SECOND_LOOK);
        // Between the looks the verdicts of the first one hold.
        let decided = if sessions == SECOND_LOOK { now } else { first };
        let keeps = decided.tested && decided.change + decided.t_tail * decided.error < MARGIN;
        let verdict = if slower[index] {
            Verdict::Regressed
        } else if faster[index] {
            Verdict::Improved
        } else if keeps {
            Verdict::Pass
        } else if first.tested && first.p_slower < SUSPECT && sessions < SECOND_LOOK {
            Verdict::Suspect
        } else {
            Verdict::Inconclusive
        };
        TestResult {
            verdict,
            change: now.change,
            error: now.tested.then_some(now.error),
            interval: now.tested.then_some((now.change - now.t_tail * now.error, now.change + now.t_tail * now.error)),
            p: first.tested.then_some(first.p_slower),
            sessions,
            deviation: now.tested.then_some(now.deviation),
        }
    };
    tests.iter().enumerate().map(result).collect()
}

/// Returns the smallest change, as a fraction, that a comparison with this number of tests finds with a power of 0.80.
pub(crate) fn minimum_detectable_change(deviation: f64, tests: usize, base: usize, new: usize) -> f64 {
    let z = student::normal_quantile(TAIL / tests.max(1) as f64) + Z_POWER;
    (z * deviation * (1.0 / base as f64 + 1.0 / new as f64).sqrt()).exp_m1()
}

/// Computes the statistics of every test from at most `max_sessions` new sessions.
///
/// The variance is pooled over the tests of a pool. If the request variance of a cell exceeds the average of its pool,
/// as in a cell with a tenth of the requests of the others, the excess is added: otherwise the false-alarm rate of such
/// a cell would be several times the nominal one. The variance is never below the pooled one, because the request
/// variance is itself an estimate.
fn compute_stages(tests: &[Test], max_sessions: usize) -> Vec<Stage> {
    let new = |test: &Test| -> usize { test.new.len().min(max_sessions) };
    let pools = tests.iter().map(|test| test.pool + 1).max().unwrap_or(0);
    let mut pooled = vec![PooledVariance::default(); pools];
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
        let share = |points: &[Point]| pooled[test.pool].variance(mean_request_variance(points)) / points.len() as f64;
        let error = if df == 0 { f64::NAN } else { (share(base) + share(new)).sqrt() };
        // Without any variation the result is certain.
        let p = |change: f64| match change / error {
            t if t.is_nan() => 1.0,
            t if t.is_infinite() => f64::from(u8::from(t < 0.0)),
            t => student::exceeds(t, df),
        };
        let (p_slower, p_faster) = if df == 0 { (1.0, 1.0) } else { (p(change), p(-change)) };
        let deviation = error / (1.0 / base.len() as f64 + 1.0 / new.len() as f64).sqrt();
        Stage { change, error, t_tail: t_tails[test.pool], deviation, p_slower, p_faster, tested: df > 0 }
    };
    tests.iter().map(stage).collect()
}

/// Variation between sessions, pooled over tests.
#[derive(Debug, Clone, Copy, Default)]
struct PooledVariance {
    /// Sum of squared distances from the means.
    squares: f64,
    /// Expected sum from the request variance alone.
    request_squares: f64,
    df: usize,
}

impl PooledVariance {
    fn add(&mut self, points: &[Point]) {
        let mean = mean(points);
        let df = points.len() - 1;
        self.squares += points.iter().map(|point| (point.ln - mean).powi(2)).sum::<f64>();
        self.request_squares += mean_request_variance(points) * df as f64;
        self.df += df;
    }

    /// Returns the variance of a session with the given request variance.
    fn variance(&self, request_variance: f64) -> f64 {
        let df = self.df as f64;
        self.squares / df + (request_variance - self.request_squares / df).max(0.0)
    }
}

/// Returns which tests are significant in one direction at either look. `side` returns the p-value and the change in that
/// direction.
fn significant_tests(tests: &[Test], first: &[Stage], now: &[Stage], side: impl Fn(&Stage) -> (f64, f64)) -> Vec<bool> {
    let at_first: Vec<f64> = first.iter().map(|stage| side(stage).0).collect();
    let found = discoveries(&at_first, Q_FIRST);
    let called: Vec<bool> = first.iter().zip(&found).map(|(stage, found)| *found && side(stage).1 > MARGIN).collect();
    let p = |(index, test): (usize, &Test)| match at_first[index] {
        p if called[index] => p,
        p if p < SUSPECT && test.new.len() >= SECOND_LOOK => side(&now[index]).0,
        // Tests without a second look stay in the family and are no discovery.
        _ => 1.0,
    };
    let at_second: Vec<f64> = tests.iter().enumerate().map(p).collect();
    let found = discoveries(&at_second, Q_SECOND);
    let second = |index: usize| found[index] && tests[index].new.len() >= SECOND_LOOK && side(&now[index]).1 > MARGIN;
    (0..tests.len()).map(|index| called[index] || second(index)).collect()
}

/// Returns which p-values are discoveries at rate `q`, by the step-up procedure of Benjamini and Hochberg.
fn discoveries(p: &[f64], q: f64) -> Vec<bool> {
    let mut sorted = p.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = p.len() as f64;
    let limit = sorted.iter().enumerate().rev().find(|(index, p)| **p <= (index + 1) as f64 * q / n);
    let limit = limit.map_or(-1.0, |(_, p)| *p);
    p.iter().map(|p| *p <= limit).collect()
}

/// Returns the mean logarithm.
pub(super) fn mean(points: &[Point]) -> f64 {
    points.iter().map(|point| point.ln).sum::<f64>() / points.len() as f64
}

/// Returns the mean request variance.
fn mean_request_variance(points: &[Point]) -> f64 {
    points.iter().map(|point| point.request_variance).sum::<f64>() / points.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn test(base: &[f64], new: &[f64]) -> Test {
        Test { pool: 0, base: points(base, 0.0), new: points(new, 0.0) }
    }

    fn points(values: &[f64], request_variance: f64) -> Vec<Point> {
        values.iter().map(|ln| Point { ln: *ln, request_variance }).collect()
    }

    #[test]
    fn two_tests_match_a_calculation_by_hand() {
        // Two cells, five sessions each: squares 0.001 and 0.0004, df 8.
        let one = test(&[-0.02, -0.01, 0.0, 0.01, 0.02], &[0.10]);
        let other = test(&[1.01, 0.99, 1.01, 0.99, 1.0], &[1.01]);
        let results = evaluate(&[one, other]);
        let deviation = (0.0014_f64 / 8.0).sqrt();
        let error = deviation * 1.2_f64.sqrt();
        assert!((results[0].deviation.unwrap() - deviation).abs() < 1e-12);
        assert!((results[0].error.unwrap() - error).abs() < 1e-12);
        // t = 6.90 with 8 degrees of freedom: p = 6.2e-5; 1.860 is t at 5 %.
        assert!((results[0].p.unwrap() - 6.2e-5).abs() < 3e-6, "{:?}", results[0].p);
        let (low, high) = results[0].interval.unwrap();
        assert!((low - (0.1 - 1.8595 * error)).abs() < 1e-5 && (high - (0.1 + 1.8595 * error)).abs() < 1e-5);
        assert_eq!((results[0].verdict, results[1].verdict), (Verdict::Regressed, Verdict::Pass));
        // z(.975) + .84 = 2.80 for two tests.
        let expected = ((1.959_96 + 0.84) * error).exp_m1();
        assert!((minimum_detectable_change(deviation, 2, 5, 1) - expected).abs() < 2e-5);
    }

    #[test]
    fn excess_request_variance_is_added() {
        // Squares .001 and .0004, df 8: .000175. Requests make .0003 of a session's variance in one, .0001 in the other.
        let with_variance = |base: &[f64], new: &[f64], request_variance: f64| Test {
            pool: 0,
            base: points(base, request_variance),
            new: points(new, request_variance),
        };
        let one = with_variance(&[-0.02, -0.01, 0.0, 0.01, 0.02], &[0.10], 3e-4);
        let other = with_variance(&[1.01, 0.99, 1.01, 0.99, 1.0], &[1.01], 1e-4);
        let results = evaluate(&[one, other]);
        for (result, more) in results.iter().zip([1e-4, 0.0]) {
            let expected = ((0.0014 / 8.0 + more) * 1.2_f64).sqrt();
            assert!((result.error.unwrap() - expected).abs() < 1e-12, "{result:?}");
        }
    }

    #[test]
    fn benjamini_hochberg_matches_a_calculation_by_hand() {
        // Limits .01, .02, .03, .04, .05: the fourth holds, so that the third is carried.
        assert_eq!(discoveries(&[0.001, 0.5, 0.038, 0.035, 0.015], 0.05), [true, false, true, true, true]);
        assert_eq!(discoveries(&[0.02, 0.03], 0.02), [false, false]);
        assert_eq!(discoveries(&[], 0.02), [false; 0]);
    }

    #[test]
    fn suspect_cells_need_four_more_sessions() {
        let base = [-0.03, 0.03, -0.03, 0.03, 0.0];
        let with = |new: &[f64]| {
            let calm = test(&base, &[0.0]);
            evaluate(&[test(&base, new), calm.clone(), calm.clone(), calm])[0]
        };
        let slow = [0.07, 0.08, 0.07, 0.08, 0.07];
        for n in 1..5 {
            assert_eq!(with(&slow[..n]).verdict, Verdict::Suspect, "{n} sessions");
        }
        assert_eq!(with(&slow).verdict, Verdict::Regressed);
        assert_eq!(with(&[0.07, 0.0, -0.01, 0.01, 0.0]).verdict, Verdict::Pass, "it was chance");
        let more = [&slow[..], &[9.0; 3]].concat();
        assert!((with(&more).change - with(&slow).change).abs() < 1e-12, "the first five count");
    }

    #[test]
    fn second_look_only_tests_suspects() {
        let base = [-0.03, 0.03, -0.03, 0.03, 0.0];
        let results = evaluate(&[test(&base, &[0.0, 0.2, 0.2, 0.2, 0.2])]);
        assert_eq!(results[0].verdict, Verdict::Inconclusive);
    }

    #[test]
    fn small_changes_pass_and_single_sessions_are_inconclusive() {
        let sure = [0.0, 0.001, -0.001, 0.0, 0.001];
        assert_eq!(
            evaluate(&[test(&sure, &[0.04])])[0].verdict,
            Verdict::Pass,
            "4 % is below the margin, however sure"
        );
        assert_eq!(evaluate(&[test(&sure, &[0.06])])[0].verdict, Verdict::Regressed);
        assert_eq!(evaluate(&[test(&sure, &[-0.06])])[0].verdict, Verdict::Improved);
        assert_eq!(evaluate(&[test(&[0.0; 5], &[0.06])])[0].verdict, Verdict::Regressed, "no variation");
        assert_eq!(evaluate(&[test(&[0.0; 5], &[0.0])])[0].verdict, Verdict::Pass, "no variation and no change");
        let lone = evaluate(&[test(&[0.0], &[0.5])])[0];
        assert_eq!(
            (lone.verdict, lone.interval),
            (Verdict::Inconclusive, None),
            "one session against one is inconclusive"
        );
    }

    proptest! {
        #[test]
        fn slower_and_faster_are_symmetric(
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
            for (one, other) in evaluate(&tests).iter().zip(evaluate(&turned)) {
                prop_assert_eq!(one.verdict == Verdict::Regressed, other.verdict == Verdict::Improved);
                prop_assert!((one.change + other.change).abs() < 1e-12);
            }
        }

        #[test]
        fn level_of_a_cell_does_not_matter(
            base in prop::collection::vec(-0.1_f64..0.1, 2..6), new in prop::collection::vec(-0.2_f64..0.2, 1..6), level in -5.0_f64..5.0
        ) {
            let raised = |values: &[f64]| values.iter().map(|value| value + level).collect::<Vec<_>>();
            let (one, other) = (evaluate(&[test(&base, &new)])[0], evaluate(&[test(&raised(&base), &raised(&new))])[0]);
            prop_assert!((one.change - other.change).abs() < 1e-9);
            prop_assert!((one.error.unwrap() - other.error.unwrap()).abs() < 1e-9);
        }
    }
}
