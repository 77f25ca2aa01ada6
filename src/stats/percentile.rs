//! Percentiles with their uncertainty. Formulas and thresholds are those of the measurement and inference notes: nearest
//! rank over raw values, Kaplan-Meier where requests were cut off, order statistics of the effective sample size (see
//! [`super::blocks`]) for the interval. This module must not know records or cells.

use super::blocks::BlockCounts;
use super::confidence::TAIL;
use super::repetitions::{self, LnInterval};
use crate::result::{Percentile, Quality};
use statrs::distribution::{Binomial, DiscreteCDF};

/// One observation: a time, and whether the request ended then (`event`) or was censored.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Observation {
    /// Milliseconds.
    pub(crate) ms: f64,
    /// False if the request was censored: its true time is longer.
    pub(crate) event: bool,
    /// Time block of its start, from 0.
    pub(crate) block: u8,
    /// Repetition of its cell.
    pub(crate) repetition: u16,
}

impl Observation {
    /// Creates an observation of a population without time blocks: its observations count as independent.
    pub(crate) fn independent(ms: f64, event: bool) -> Self {
        Self { ms, event, ..Self::default() }
    }
}

/// An observation in eight bytes, ordered by time; at equal times events come first, because a censored request lasted at
/// least as long. From the most significant bit: 40 bits of microseconds, offset so that negative times sort; censored;
/// seven bits of the block; the repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Packed(u64);

impl Packed {
    /// Microseconds that are zero in the first field.
    const OFFSET: i64 = 1 << 39;

    fn new(observation: Observation) -> Self {
        let us = microseconds(observation.ms).clamp(-Self::OFFSET, Self::OFFSET - 1) + Self::OFFSET;
        let flags = u64::from(!observation.event) << 7 | u64::from(observation.block & 0x7f);
        Self((us as u64) << 24 | flags << 16 | u64::from(observation.repetition))
    }

    /// Milliseconds.
    fn ms(self) -> f64 {
        ((self.0 >> 24) as i64 - Self::OFFSET) as f64 / 1e3
    }

    fn event(self) -> bool {
        self.0 & 1 << 23 == 0
    }

    fn block(self) -> u8 {
        (self.0 >> 16) as u8 & 0x7f
    }

    fn repetition(self) -> u16 {
        self.0 as u16
    }
}

/// Rounds to microseconds, the precision of records.
pub(super) fn microseconds(ms: f64) -> i64 {
    (ms * 1e3).round() as i64
}

/// Empirical distribution of a population.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// In ascending order.
    sorted: Vec<Packed>,
    /// Survival after each observation; empty without censored requests.
    survival: Vec<f64>,
    /// Distinct repetitions, in ascending order.
    repetitions: Vec<u16>,
}

impl Curve {
    /// Creates the curve of a population.
    pub(crate) fn new(observations: impl IntoIterator<Item = Observation>) -> Self {
        let mut repetitions: Vec<u16> = Vec::new();
        let pack = |observation: Observation| {
            if let Err(index) = repetitions.binary_search(&observation.repetition) {
                repetitions.insert(index, observation.repetition);
            }
            Packed::new(observation)
        };
        let mut sorted: Vec<Packed> = observations.into_iter().map(pack).collect();
        sorted.sort_unstable();
        sorted.shrink_to_fit();
        Self::from_sorted(sorted, repetitions)
    }

    /// Combines the curves of independent populations. Their repetitions are not those of one population.
    pub(super) fn pooled<'a>(curves: impl Iterator<Item = &'a Self>) -> Self {
        let mut sorted: Vec<Packed> = curves.flat_map(|curve| &curve.sorted).copied().collect();
        // A stable sort merges sorted runs.
        sorted.sort();
        Self::from_sorted(sorted, Vec::new())
    }

    fn from_sorted(sorted: Vec<Packed>, repetitions: Vec<u16>) -> Self {
        let survival =
            if sorted.iter().all(|observation| observation.event()) { Vec::new() } else { survival(&sorted) };
        Self { sorted, survival, repetitions }
    }

    /// Returns the number of observations.
    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Returns the value at `p` without its interval, which is cheap; the largest observed time if `p` is not reached.
    pub(crate) fn value(&self, p: f64) -> Option<f64> {
        let largest = self.sorted.last()?.ms();
        Some(self.at(p).unwrap_or(largest))
    }

    /// Returns the value at `p`, its interval and its quality; `None` without observations.
    pub(crate) fn percentile(&self, p: f64) -> Option<Percentile> {
        let largest = self.sorted.last()?.ms();
        let reached = self.at(p);
        let n_eff = self.effective_size(p);
        let (low_ms, high_ms) = self.interval_of(p, TAIL, n_eff);
        let quality = match reached {
            None => Quality::Censored,
            Some(_) => quality(n_eff as usize, p),
        };
        Some(Percentile { p, value_ms: reached.unwrap_or(largest), low_ms, high_ms, n_eff, quality })
    }

    /// Returns the number of independent observations that the observations are worth at the quantile `p`; their number
    /// if the time blocks vary no more than chance allows.
    pub(crate) fn effective_size(&self, p: f64) -> f64 {
        let quantile_ms = self.at(p).unwrap_or(f64::INFINITY);
        let mut counts = BlockCounts::default();
        for observation in &self.sorted {
            let is_within = observation.ms() <= quantile_ms;
            // Whether a request that was cut off before the quantile would have ended by it is not known.
            if observation.event() || !is_within {
                counts.add(observation.block(), is_within);
            }
        }
        self.sorted.len() as f64 / counts.variance_factor(p)
    }

    /// Returns the histogram of the uncensored times up to `top_ms`: the count per bin of equal width, and the number
    /// of longer times.
    pub(crate) fn bins(&self, top_ms: f64, bins: usize) -> (Vec<usize>, usize) {
        let (mut counts, mut beyond) = (vec![0; bins], 0);
        for observation in self.sorted.iter().filter(|observation| observation.event()) {
            match counts.get_mut((observation.ms() / top_ms * bins as f64) as usize) {
                Some(count) => *count += 1,
                None => beyond += 1,
            }
        }
        (counts, beyond)
    }

    /// Returns the ends of the interval of `p` as [`Self::interval`] does, but with the largest observed time as the
    /// lower end if the curve ends below that level: the true end is not smaller.
    pub(crate) fn bounds(&self, p: f64, tail: f64) -> (Option<f64>, Option<f64>) {
        let n_eff = self.effective_size(p);
        let (low, high) = self.interval_of(p, tail, n_eff);
        let has_rank = self.ranks(p, tail, n_eff).0.is_some();
        let largest = self.sorted.last().map(|observation| observation.ms());
        (low.or(largest.filter(|_| has_rank)), high)
    }

    /// Returns the smallest time by which the fraction `p` has ended: nearest rank, or the Kaplan-Meier quantile.
    pub(super) fn at(&self, p: f64) -> Option<f64> {
        let n = self.sorted.len();
        if self.survival.is_empty() {
            return self.sorted.get(nearest_rank(n, p)).map(|observation| observation.ms());
        }
        first_below(&self.survival, p).and_then(|index| self.sorted.get(index)).map(|observation| observation.ms())
    }

    /// Returns the ends of the interval of `p` with at most `tail` probability outside on either side, milliseconds;
    /// `None` is an open end. With three or more repetitions it is the wider one of the interval of time blocks and that
    /// of the repetitions' quantiles.
    pub(crate) fn interval(&self, p: f64, tail: f64) -> (Option<f64>, Option<f64>) {
        self.interval_of(p, tail, self.effective_size(p))
    }

    fn interval_of(&self, p: f64, tail: f64, n_eff: f64) -> (Option<f64>, Option<f64>) {
        let n = self.sorted.len() as f64;
        let (low, high) = self.ranks(p, tail, n_eff);
        let by_blocks = (low.and_then(|rank| self.at(rank as f64 / n)), high.and_then(|rank| self.at(rank as f64 / n)));
        match (by_blocks, self.at(p), self.interval_of_repetitions(p, tail)) {
            ((Some(low), Some(high)), Some(value), Some(by_repetitions)) => by_repetitions.wider(low, high, value),
            _ => by_blocks,
        }
    }

    /// Returns Student's interval of the repetitions' quantiles; `None` with fewer than three repetitions.
    fn interval_of_repetitions(&self, p: f64, tail: f64) -> Option<LnInterval> {
        if self.repetitions.len() < repetitions::LEAST {
            return None;
        }
        let mut parts: Vec<Vec<Packed>> = vec![Vec::new(); self.repetitions.len()];
        for observation in &self.sorted {
            if let Ok(index) = self.repetitions.binary_search(&observation.repetition()) {
                parts[index].push(*observation);
            }
        }
        let quantiles: Option<Vec<f64>> = parts.iter().map(|part| quantile_of_sorted(part, p)).collect();
        LnInterval::new(&quantiles?, tail)
    }

    /// Returns the ranks of the interval's ends: those of the effective sample size, scaled outward to the number of
    /// observations.
    fn ranks(&self, p: f64, tail: f64, n_eff: f64) -> (Option<usize>, Option<usize>) {
        let n = self.sorted.len();
        let effective = n_eff.floor().max(1.0) as usize;
        let (low, high) = order_statistics(effective, p, tail);
        if effective >= n {
            return (low, high);
        }
        let scale = n as f64 / n_eff;
        // The estimate has the rank ceil(n p): a few effective observations must not exclude it.
        let estimate = nearest_rank(n, p) + 1;
        (
            low.map(|rank| ((rank as f64 * scale).floor() as usize).clamp(1, n).min(estimate)),
            high.map(|rank| ((rank as f64 * scale).ceil() as usize).clamp(1, n).max(estimate)),
        )
    }
}

/// Returns the quantile of a part of a sorted population; `None` if it is not reached.
fn quantile_of_sorted(sorted: &[Packed], p: f64) -> Option<f64> {
    if sorted.iter().all(|observation| observation.event()) {
        return sorted.get(nearest_rank(sorted.len().max(1), p)).map(|observation| observation.ms());
    }
    first_below(&survival(sorted), p).and_then(|index| sorted.get(index)).map(|observation| observation.ms())
}

/// Returns the first index at which the survival has fallen to 1 - `p`.
fn first_below(survival: &[f64], p: f64) -> Option<usize> {
    // The survival is a product of many factors: a rounding error must not move the quantile.
    let index = survival.partition_point(|left| *left > 1.0 - p + 1e-9);
    (index < survival.len()).then_some(index)
}

/// Returns the index of x_(ceil(n p)) among n > 0 ascending values, robust to `0.95 * 20 = 19.000000000000004`.
pub(super) fn nearest_rank(n: usize, p: f64) -> usize {
    ((n as f64 * p - 1e-9).ceil() as usize).clamp(1, n) - 1
}

/// Returns the Kaplan-Meier survival S = prod(1 - `1/n_i`) over the events, where `n_i` requests are still running.
fn survival(sorted: &[Packed]) -> Vec<f64> {
    let n = sorted.len();
    let mut left = 1.0;
    sorted
        .iter()
        .enumerate()
        .map(|(index, observation)| {
            if observation.event() {
                left *= 1.0 - 1.0 / (n - index) as f64;
            }
            left
        })
        .collect()
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

/// Returns the quality of a percentile of n independent observations: two-sided from the first n at which the interval has both
/// ends, one-sided from the first n with `p^n <= 5 %`. For p99 that is 368 and 299, for p95 72 and 59.
pub(super) fn quality(n: usize, p: f64) -> Quality {
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
        values.into_iter().map(|ms| Observation::independent(ms, true)).collect()
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
        let observe = Observation::independent;
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
        observations.push(Observation::independent(40.0, false));
        let p95 = Curve::new(observations).percentile(0.95).unwrap();
        assert_eq!((p95.value_ms, p95.quality, p95.high_ms), (40.0, Quality::Censored, None));
    }

    /// Observations in the order of their starts, in ten blocks.
    fn in_blocks(values: &[f64]) -> Vec<Observation> {
        let block = |index: usize| (index * 10 / values.len()) as u8;
        let observe =
            |(index, ms): (usize, &f64)| Observation { block: block(index), ..Observation::independent(*ms, true) };
        values.iter().enumerate().map(observe).collect()
    }

    #[test]
    fn states_that_last_widen_the_interval_and_lower_the_quality() {
        let plain: Vec<f64> = (0..1000_u32).map(|i| f64::from(i.wrapping_mul(2_654_435_761) >> 12)).collect();
        let mut trend = plain.clone();
        trend.sort_by(f64::total_cmp);
        let of = |values: &[f64], p| Curve::new(in_blocks(values)).percentile(p).unwrap();
        let width = |values| of(values, 0.5).high_ms.unwrap_or(f64::INFINITY) - of(values, 0.5).low_ms.unwrap_or(0.0);
        assert!(width(&trend) > 2.0 * width(&plain));
        // Half of the blocks are below the median: var = 5/18, v_b = 1/36, v_0 = 1/4000.
        let expected = 1_000.0 / ((1.0 / 36.0) / (0.25 / 1_000.0) * (2.262_157 / 1.959_964_f64).powi(2));
        assert!((of(&trend, 0.5).n_eff - expected).abs() < 0.01, "{:?}", of(&trend, 0.5));
        // The slowest 5 % in one block: 1,000 requests are worth fewer than the 72 that p95 takes.
        assert_eq!((of(&plain, 0.95).quality, of(&trend, 0.95).quality), (Quality::Ok, Quality::TooFew));
    }

    #[test]
    fn high_percentiles_of_many_requests_have_their_ranks_at_once() {
        // P(at most k of 10^7 requests above p99.999) is nearly Poisson with mean 100, whose ends are 81 and 120.
        let n = 10_000_000;
        let (low, high) = order_statistics(n, 0.999_99, TAIL);
        let above = |rank: Option<usize>| n - rank.unwrap();
        assert!((119..=121).contains(&above(low)) && (80..=82).contains(&above(high)), "{low:?} {high:?}");
        assert_eq!(min_samples_for(0.999_999), 3_688_878);
        let (low, high) = order_statistics(n, 0.5, TAIL);
        let half = 1.96 * (n as f64 / 4.0).sqrt();
        for (rank, expected) in [(low, 5e6 - half), (high, 5e6 + half)] {
            assert!((rank.unwrap() as f64 - expected).abs() < 5.0, "{rank:?}, not {expected}");
        }
    }

    #[test]
    fn with_three_repetitions_that_differ_the_interval_is_that_of_the_repetitions() {
        let observe = |factor: f64, repetition: u16| {
            (0..200_u32).map(move |i| Observation {
                ms: factor * (1_000.0 + f64::from(i)),
                event: true,
                block: (i % 10) as u8,
                repetition,
            })
        };
        let of = |factors: &[f64]| {
            let all = factors.iter().zip(1..).flat_map(|(factor, repetition)| observe(*factor, repetition));
            let p50 = Curve::new(all).percentile(0.5).unwrap();
            (p50.low_ms.unwrap(), p50.value_ms, p50.high_ms.unwrap())
        };
        // The medians are 1,099 times 1, 1.2 and 1.44: the mean of ln is ln 1.2, its error ln 1.2 / sqrt 3.
        let (low, value, high) = of(&[1.0, 1.2, 1.44]);
        let half = 4.302_65 * 1.2_f64.ln() / 3.0_f64.sqrt();
        let expected = |end: f64| 1_099.0 * (1.2_f64.ln() + end * half).exp();
        assert!((low - expected(-1.0)).abs() < 0.1 && (high - expected(1.0)).abs() < 0.1, "{low} {value} {high}");
        // Equal repetitions have no error of their own: the interval of the requests is the wider one.
        let (low, _, high) = of(&[1.0, 1.0, 1.0]);
        assert!(high - low > 10.0, "{low} {high}");
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

        #[test]
        fn interval_contains_the_estimate(
            values in prop::collection::vec((1.0_f64..1e4, 0_u8..10, 1_u16..5, prop::bool::weighted(0.9)), 1..300),
            p in 0.01_f64..0.999
        ) {
            let observe = |(ms, block, repetition, event)| Observation { ms, event, block, repetition };
            let curve = Curve::new(values.into_iter().map(observe));
            let percentile = curve.percentile(p).unwrap();
            prop_assert!(percentile.n_eff > 0.0 && percentile.n_eff <= curve.len() as f64);
            if percentile.quality != Quality::Censored {
                prop_assert!(percentile.low_ms.is_none_or(|low| low <= percentile.value_ms), "{percentile:?}");
                prop_assert!(percentile.high_ms.is_none_or(|high| high >= percentile.value_ms), "{percentile:?}");
            }
        }
    }
}
