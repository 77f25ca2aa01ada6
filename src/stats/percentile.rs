//! Percentiles with their uncertainty. Formulas and thresholds are those of the measurement notes:
//! nearest rank over raw values, Kaplan-Meier where requests were cut off, order statistics for the
//! interval. This module must not know records or cells.

use crate::result::{Percentile, Quality};
use statrs::distribution::{Binomial, DiscreteCDF};

/// Probability outside a 95 % interval on either side.
pub(crate) const TAIL: f64 = 0.025;

/// One observation: a time, and whether the request ended then (`event`) or was censored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Observation {
    /// Milliseconds.
    pub(crate) ms: f64,
    /// False if the request was censored: its true time is longer.
    pub(crate) event: bool,
}

/// Empirical distribution of a population.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// In ascending order; at equal times events come first (a censored request lasted at least as long).
    sorted: Vec<Observation>,
    /// Survival after each observation; empty without censored requests.
    survival: Vec<f64>,
    /// Effective sample size: the equivalent number of independent observations.
    effective: f64,
}

impl Curve {
    /// Creates a curve. `in_order` is the population in the order of the starts, which gives the autocorrelation.
    pub(crate) fn new(in_order: Vec<Observation>) -> Self {
        let effective = effective_size(&in_order);
        let mut sorted = in_order;
        sorted.sort_by(by_time);
        Self::from_sorted(sorted, effective)
    }

    /// Combines the curves of independent populations.
    pub(super) fn pooled<'a>(curves: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let effective = curves.clone().map(|curve| curve.effective).sum();
        let mut sorted: Vec<Observation> = curves.flat_map(|curve| &curve.sorted).copied().collect();
        // Merges the sorted runs.
        sorted.sort_by(by_time);
        Self::from_sorted(sorted, effective)
    }

    fn from_sorted(sorted: Vec<Observation>, effective: f64) -> Self {
        let survival = if sorted.iter().all(|observation| observation.event) { Vec::new() } else { survival(&sorted) };
        Self { sorted, survival, effective }
    }

    /// Returns the number of observations.
    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Returns the value at `p` without its interval, which is cheap; the largest observed time if `p` is not reached.
    pub(crate) fn value(&self, p: f64) -> Option<f64> {
        let largest = self.sorted.last()?.ms;
        Some(self.at(p).unwrap_or(largest))
    }

    /// Returns the value at `p`, its interval and its quality; `None` without observations.
    pub(crate) fn percentile(&self, p: f64) -> Option<Percentile> {
        let largest = self.sorted.last()?.ms;
        let reached = self.at(p);
        let (low_ms, high_ms) = self.interval(p, TAIL);
        let quality = match reached {
            None => Quality::Censored,
            Some(_) => quality(self.sorted.len(), p),
        };
        Some(Percentile { p, value_ms: reached.unwrap_or(largest), low_ms, high_ms, quality })
    }

    /// Returns the histogram of the uncensored times up to `top_ms`: the count per bin of equal width, and the number
    /// of longer times.
    pub(crate) fn bins(&self, top_ms: f64, bins: usize) -> (Vec<usize>, usize) {
        let (mut counts, mut beyond) = (vec![0; bins], 0);
        for observation in self.sorted.iter().filter(|observation| observation.event) {
            match counts.get_mut((observation.ms / top_ms * bins as f64) as usize) {
                Some(count) => *count += 1,
                None => beyond += 1,
            }
        }
        (counts, beyond)
    }

    /// Returns the lower end of the interval of `p`, milliseconds; the largest observed time if the curve ends below
    /// that level; `None` if the end is open.
    pub(crate) fn at_least(&self, p: f64) -> Option<f64> {
        let largest = self.sorted.last()?.ms;
        let rank = self.ranks(p, TAIL).0?;
        Some(self.at(rank as f64 / self.sorted.len() as f64).unwrap_or(largest))
    }

    /// Returns the smallest time by which the fraction `p` has ended: nearest rank, or the Kaplan-Meier quantile.
    pub(super) fn at(&self, p: f64) -> Option<f64> {
        let n = self.sorted.len();
        if self.survival.is_empty() {
            return self.sorted.get(nearest_rank(n, p)).map(|observation| observation.ms);
        }
        // The survival is a product of many factors: a rounding error must not move the quantile.
        let index = self.survival.partition_point(|left| *left > 1.0 - p + 1e-9);
        self.sorted.get(index).map(|observation| observation.ms)
    }

    /// Returns the ends of the interval of `p` with at most `tail` probability outside on either side, milliseconds;
    /// `None` is an open end.
    pub(crate) fn interval(&self, p: f64, tail: f64) -> (Option<f64>, Option<f64>) {
        let n = self.sorted.len() as f64;
        let (low, high) = self.ranks(p, tail);
        (low.and_then(|rank| self.at(rank as f64 / n)), high.and_then(|rank| self.at(rank as f64 / n)))
    }

    /// Returns the ranks of the interval's ends, widened for autocorrelation.
    fn ranks(&self, p: f64, tail: f64) -> (Option<usize>, Option<usize>) {
        let n = self.sorted.len();
        let effective = self.effective.floor().max(1.0) as usize;
        let (low, high) = order_statistics(effective, p, tail);
        if effective >= n {
            return (low, high);
        }
        let scale = n as f64 / self.effective;
        (
            low.map(|rank| ((rank as f64 * scale).floor() as usize).clamp(1, n)),
            high.map(|rank| ((rank as f64 * scale).ceil() as usize).clamp(1, n)),
        )
    }
}

/// Orders by time; at equal times events come first, because a censored request lasted at least as long.
fn by_time(a: &Observation, b: &Observation) -> std::cmp::Ordering {
    a.ms.total_cmp(&b.ms).then(b.event.cmp(&a.event))
}

/// Returns the index of x_(ceil(n p)) among n > 0 ascending values, robust to `0.95 * 20 = 19.000000000000004`.
pub(super) fn nearest_rank(n: usize, p: f64) -> usize {
    ((n as f64 * p - 1e-9).ceil() as usize).clamp(1, n) - 1
}

/// Returns the Kaplan-Meier survival S = prod(1 - `1/n_i`) over the events, where `n_i` requests are still running.
fn survival(sorted: &[Observation]) -> Vec<f64> {
    let n = sorted.len();
    let mut left = 1.0;
    sorted
        .iter()
        .enumerate()
        .map(|(index, observation)| {
            if observation.event {
                left *= 1.0 - 1.0 / (n - index) as f64;
            }
            left
        })
        .collect()
}

/// Returns n (1 - r1) / (1 + r1) if the lag-1 autocorrelation r1 of the start-ordered series is positive, n otherwise.
fn effective_size(in_order: &[Observation]) -> f64 {
    let n = in_order.len() as f64;
    if in_order.len() < 3 {
        return n;
    }
    let mean = in_order.iter().map(|observation| observation.ms).sum::<f64>() / n;
    let variance: f64 = in_order.iter().map(|observation| (observation.ms - mean).powi(2)).sum();
    let lagged: f64 = in_order.windows(2).map(|pair| (pair[0].ms - mean) * (pair[1].ms - mean)).sum();
    let r1 = if variance > 0.0 { lagged / variance } else { 0.0 };
    if r1 > 0.0 { n * (1.0 - r1) / (1.0 + r1) } else { n }
}

/// Returns the order-statistics interval: j the largest rank with BinomCDF(j-1; n, p) <= `tail`, k the smallest
/// with BinomCDF(k-1; n, p) >= 1 - `tail`. `None` is an open end.
fn order_statistics(n: usize, p: f64, tail: f64) -> (Option<usize>, Option<usize>) {
    let binomial = Binomial::new(p, n as u64).expect("a probability");
    let low = binomial.inverse_cdf(tail) as usize;
    let high = binomial.inverse_cdf(1.0 - tail) as usize + 1;
    ((low > 0).then_some(low), (high <= n).then_some(high))
}

/// Returns the smallest n at which the interval of `p` has both ends. The upper end exists if `p^n <= TAIL`, the lower
/// one if `(1 - p)^n <= TAIL`.
pub(crate) fn min_samples_for(p: f64) -> usize {
    smallest_n(p.max(1.0 - p), TAIL)
}

/// Returns the smallest n with `base^n <= tail`.
fn smallest_n(base: f64, tail: f64) -> usize {
    (tail.ln() / base.ln()).ceil() as usize
}

/// Returns the quality of a percentile of n observations: two-sided from the first n at which the interval has both
/// ends, one-sided from the first n with `p^n <= 5 %`. For p99 that is 368 and 299, for p95 72 and 59.
fn quality(n: usize, p: f64) -> Quality {
    if n >= min_samples_for(p) {
        Quality::Ok
    } else if n >= smallest_n(p, 0.05) {
        Quality::OneSided
    } else {
        Quality::TooFew
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(values: impl IntoIterator<Item = f64>) -> Vec<Observation> {
        values.into_iter().map(|ms| Observation { ms, event: true }).collect()
    }

    #[test]
    fn percentiles_match_reference_vectors() {
        assert_eq!(order_statistics(300, 0.50, TAIL), (Some(133), Some(168)));
        assert_eq!(order_statistics(300, 0.95, TAIL), (Some(277), Some(293)));
        assert_eq!(order_statistics(300, 0.99, TAIL).1, None);
        assert_eq!(order_statistics(1000, 0.50, TAIL), (Some(469), Some(532)));
        assert_eq!(order_statistics(1000, 0.95, TAIL), (Some(936), Some(964)));
        assert_eq!(order_statistics(1000, 0.99, TAIL), (Some(983), Some(997)));
    }

    #[test]
    fn quality_depends_on_the_sample_size() {
        let of = |n, p| quality(n, p);
        assert_eq!(
            (of(368, 0.99), of(367, 0.99), of(299, 0.99), of(298, 0.99)),
            (Quality::Ok, Quality::OneSided, Quality::OneSided, Quality::TooFew)
        );
        assert_eq!(
            (of(72, 0.95), of(71, 0.95), of(59, 0.95), of(58, 0.95)),
            (Quality::Ok, Quality::OneSided, Quality::OneSided, Quality::TooFew)
        );
    }

    #[test]
    fn minimum_sample_is_the_first_with_both_ends() {
        for p in [0.001, 0.01, 0.05, 0.3, 0.5, 0.9, 0.95, 0.99, 0.995] {
            let n = min_samples_for(p);
            let ends = |n| order_statistics(n, p, TAIL);
            assert!(matches!(ends(n), (Some(_), Some(_))), "{p}: {n} {:?}", ends(n));
            assert!(!matches!(ends(n - 1), (Some(_), Some(_))), "{p}: {} {:?}", n - 1, ends(n - 1));
        }
        assert_eq!(
            (min_samples_for(0.999), min_samples_for(0.9999), min_samples_for(0.99999)),
            (3_688, 36_887, 368_887)
        );
    }

    #[test]
    fn nearest_rank() {
        let curve = Curve::new(events((1..=20).map(f64::from)));
        let at = |p| curve.percentile(p).unwrap().value_ms;
        assert_eq!((at(0.5), at(0.95), at(0.99), at(1.0)), (10.0, 19.0, 20.0, 20.0));
    }

    #[test]
    fn kaplan_meier_matches_a_calculation_by_hand() {
        // 10, 20+, 30, 40+, 50: S after 10 is 4/5, after 30 is 4/5 * 2/3 = 8/15, after 50 is 0.
        let observe = |ms, event| Observation { ms, event };
        let curve = Curve::new(vec![
            observe(50.0, true),
            observe(10.0, true),
            observe(20.0, false),
            observe(30.0, true),
            observe(40.0, false),
        ]);
        let at = |p| curve.percentile(p).unwrap().value_ms;
        assert_eq!((at(0.20), at(0.21), at(0.46), at(0.47), at(0.99)), (10.0, 30.0, 30.0, 50.0, 50.0));
    }

    #[test]
    fn percentile_beyond_the_maximum_is_censored() {
        let mut observations = events([10.0, 20.0, 30.0]);
        observations.push(Observation { ms: 40.0, event: false });
        let p95 = Curve::new(observations).percentile(0.95).unwrap();
        assert_eq!((p95.value_ms, p95.quality, p95.high_ms), (40.0, Quality::Censored, None));
    }

    #[test]
    fn correlated_samples_have_wider_intervals() {
        let plain: Vec<f64> = (0..1000_u32).map(|i| f64::from(i.wrapping_mul(2_654_435_761) >> 12)).collect();
        let mut trend = plain.clone();
        trend.sort_by(f64::total_cmp);
        let width = |values: Vec<f64>| {
            let p50 = Curve::new(events(values)).percentile(0.5).unwrap();
            p50.high_ms.unwrap_or(f64::INFINITY) - p50.low_ms.unwrap_or(0.0)
        };
        assert!(width(trend) > 2.0 * width(plain));
    }

    proptest! {
        #[test]
        fn without_cut_offs_kaplan_meier_is_nearest_rank(values in prop::collection::vec(0.0_f64..1e6, 1..300), p in 0.01_f64..0.999) {
            let plain = Curve::new(events(values.clone()));
            let mut product = plain.clone();
            product.survival = survival(&product.sorted);
            prop_assert_eq!(plain.at(p), product.at(p));
        }

        #[test]
        fn order_of_the_sample_does_not_matter(mut values in prop::collection::vec(0.0_f64..1e6, 1..200), p in 0.01_f64..1.0) {
            let forward = Curve::new(events(values.clone())).percentile(p).unwrap().value_ms;
            values.reverse();
            let backward = Curve::new(events(values)).percentile(p).unwrap().value_ms;
            prop_assert_eq!(forward.to_bits(), backward.to_bits());
        }
    }
}
