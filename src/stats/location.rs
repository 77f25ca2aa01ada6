//! Location of a cell's latencies, by which sessions are compared: the typical time (a trimmed mean of the logarithms,
//! robust to outliers) and p95, over the same population and window as the percentiles.

use super::CellSummary;
use super::percentile::Curve;

/// Fraction trimmed on either side.
const TRIM: f64 = 0.10;

/// Minimum number of requests for a typical time.
pub(crate) const MIN_SAMPLES_TYPICAL: usize = 20;

/// Minimum number of requests for a p95 with a closed upper end (0.95^59 < 5 %).
pub(crate) const MIN_SAMPLES_P95: usize = 59;

/// Location of a cell's latencies in one session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Location {
    /// Number of requests, including censored ones.
    pub(crate) n: usize,
    /// exp of the trimmed mean of ln(time), milliseconds; `None` if there are too few requests, or so many are censored
    /// that it lies beyond the observed times.
    pub(crate) typical_ms: Option<f64>,
    /// 95th percentile by nearest rank, milliseconds; `None` in the same cases.
    pub(crate) p95_ms: Option<f64>,
    /// Standard error of the logarithm of the typical time, from the requests of the session alone.
    pub(crate) typical_error: Option<f64>,
    /// Standard error of the logarithm of p95, from the requests of the session alone.
    pub(crate) p95_error: Option<f64>,
}

impl Location {
    /// Computes the location of a population of times.
    pub(crate) fn from_curve(curve: &Curve) -> Self {
        let n = curve.len();
        let typical = (n >= MIN_SAMPLES_TYPICAL).then(|| typical(curve)).flatten();
        let p95_ms = (n >= MIN_SAMPLES_P95).then(|| curve.at(0.95)).flatten().filter(|ms| *ms > 0.0);
        Self {
            n,
            typical_ms: typical.map(|(ms, _)| ms),
            p95_ms,
            typical_error: typical.map(|(_, error)| error),
            p95_error: p95_ms.and_then(|ms| tail_error(curve, ms)),
        }
    }
}

/// Returns exp of the mean over the middle ranks, and its winsorised standard error: values beyond the ends count as
/// the last rank that is kept. With censored requests the ranks are levels of the Kaplan-Meier curve, which without
/// them equal the ranks.
fn typical(curve: &Curve) -> Option<(f64, f64)> {
    let n = curve.len();
    let cut = (n as f64 * TRIM + 1e-9) as usize;
    let ln = |rank: usize| curve.at(rank as f64 / n as f64).filter(|ms| *ms > 0.0).map(f64::ln);
    let kept: Vec<f64> = (cut + 1..=n - cut).map(ln).collect::<Option<_>>()?;
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    let ends = [*kept.first()?, *kept.last()?];
    let all = || kept.iter().chain(ends.iter().flat_map(|end| std::iter::repeat_n(end, cut)));
    let middle = all().sum::<f64>() / n as f64;
    let variance = all().map(|value| (value - middle).powi(2)).sum::<f64>() / (n - 1) as f64;
    let error = variance.sqrt() / ((1.0 - 2.0 * TRIM) * (n as f64).sqrt());
    Some((mean.exp(), error))
}

/// Returns half of the distance between the percentiles one standard error of the rank below and above. If so many
/// requests are censored that the upper one is not reached, twice the lower half is used.
fn tail_error(curve: &Curve, p95_ms: f64) -> Option<f64> {
    let of_rank = (0.95 * 0.05 / curve.len() as f64).sqrt();
    let low = curve.at(0.95 - of_rank).filter(|low| *low > 0.0)?;
    Some(curve.at(0.95 + of_rank).map_or((p95_ms / low).ln(), |high| (high / low).ln() / 2.0))
}

impl CellSummary {
    /// Computes the location of the latencies.
    pub(crate) fn location(&self) -> Location {
        Location::from_curve(self.latency.curve())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::percentile::Observation;
    use proptest::prelude::*;

    fn curve(times: impl IntoIterator<Item = (f64, bool)>) -> Curve {
        Curve::new(times.into_iter().map(|(ms, event)| Observation::independent(ms, event)))
    }

    #[test]
    fn location_matches_a_calculation_by_hand() {
        // 20 times, two cut off on either side: the geometric mean of the middle 16.
        let middle = [4.0, 9.0].repeat(8);
        let times = [0.001, 1.0].into_iter().chain(middle).chain([1e3, 1e6]);
        let location = Location::from_curve(&curve(times.map(|ms| (ms, true))));
        assert!((location.typical_ms.unwrap() - 6.0).abs() < 1e-9, "{location:?}");
        assert_eq!((location.n, location.p95_ms), (20, None), "no p95 of 20");
        let many = Location::from_curve(&curve((1..=100).map(|ms| (f64::from(ms), true))));
        assert_eq!(many.p95_ms, Some(95.0));
    }

    #[test]
    fn too_few_or_too_censored_samples_have_no_location() {
        let of = |n: u32, whole: u32| Location::from_curve(&curve((0..n).map(|i| (f64::from(i + 1), i < whole))));
        assert_eq!(of(19, 19).typical_ms, None);
        assert!(of(20, 20).typical_ms.is_some());
        assert_eq!((of(58, 58).p95_ms, of(59, 59).p95_ms), (None, Some(57.0)));
        let tail = of(100, 92);
        assert!(tail.typical_ms.is_some() && tail.p95_ms.is_none(), "the last 8 were cut off: {tail:?}");
        assert_eq!(of(100, 80).typical_ms, None, "a tenth may be trimmed, not a fifth");
    }

    /// The standard errors predict how locations of the same service differ.
    #[test]
    fn standard_errors_match_the_observed_variation() {
        use rand::SeedableRng;
        use rand_distr::{Distribution, LogNormal};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        let times = LogNormal::new(5.0, 0.35).unwrap();
        let all: Vec<Location> =
            (0..600).map(|_| Location::from_curve(&curve((0..200).map(|_| (times.sample(&mut rng), true))))).collect();
        let check = |name: &str, figure: &dyn Fn(&Location) -> Option<(f64, f64)>| {
            let all: Vec<(f64, f64)> = all.iter().filter_map(figure).collect();
            let n = all.len() as f64;
            let mean = all.iter().map(|(ms, _)| ms.ln()).sum::<f64>() / n;
            let seen = (all.iter().map(|(ms, _)| (ms.ln() - mean).powi(2)).sum::<f64>() / n).sqrt();
            let expected_error = all.iter().map(|(_, error)| error).sum::<f64>() / n;
            assert!(
                (0.85..1.2).contains(&(expected_error / seen)),
                "{name}: {expected_error} computed, {seen} observed"
            );
        };
        check("typical", &|location| location.typical_ms.zip(location.typical_error));
        check("p95", &|location| location.p95_ms.zip(location.p95_error));
    }

    proptest! {
        #[test]
        fn a_factor_on_all_times_is_the_same_factor_on_both(
            times_us in prop::collection::vec(1_000_u32..100_000_000, 59..200), factor in 2_u32..9
        ) {
            // Times are held in whole microseconds.
            let times: Vec<f64> = times_us.into_iter().map(|us| f64::from(us) / 1e3).collect();
            let factor = f64::from(factor);
            let before = Location::from_curve(&curve(times.iter().map(|ms| (*ms, true))));
            let after = Location::from_curve(&curve(times.iter().map(|ms| (ms * factor, true))));
            for (before, after) in [(before.typical_ms, after.typical_ms), (before.p95_ms, after.p95_ms)] {
                prop_assert!((after.unwrap() / before.unwrap() / factor - 1.0).abs() < 1e-9);
            }
        }
    }
}
