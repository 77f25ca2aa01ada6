//! Shares of requests with their uncertainty: the exact interval of Clopper and Pearson (Biometrika 26, 1934) at the
//! effective sample size of the time blocks. Knows numbers only.

use super::blocks::BlockCounts;
use statrs::distribution::{Beta, ContinuousCDF};

/// Returns the lower end of the interval of a share that leaves `tail` below it; 0 without requests.
pub(crate) fn low(counts: &BlockCounts, tail: f64) -> f64 {
    let n = effective_size(counts);
    1.0 - upper(n - scaled(counts, n, f64::floor), n, tail)
}

/// Returns the upper end of the interval of a share that leaves `tail` above it; 1 without requests.
pub(crate) fn high(counts: &BlockCounts, tail: f64) -> f64 {
    let n = effective_size(counts);
    upper(scaled(counts, n, f64::ceil), n, tail)
}

/// Returns the number of independent requests that the requests are worth.
fn effective_size(counts: &BlockCounts) -> u64 {
    let n = counts.n();
    if n == 0 {
        return 0;
    }
    ((n as f64 / counts.variance_factor_of_share()) as u64).clamp(1, n)
}

/// Returns the number of hits among `n` in proportion to all.
fn scaled(counts: &BlockCounts, n: u64, round: fn(f64) -> f64) -> u64 {
    let (hits, total) = (counts.hits(), counts.n());
    if n == total { hits } else { (round(hits as f64 * n as f64 / total as f64) as u64).min(n) }
}

/// Returns the largest p for which at most `hits` of `n` still have the chance `alpha`: a quantile of
/// Beta(hits + 1, n - hits).
fn upper(hits: u64, n: u64, alpha: f64) -> f64 {
    if hits >= n {
        return 1.0;
    }
    let beta = Beta::new((hits + 1) as f64, (n - hits) as f64).expect("positive shapes");
    beta.inverse_cdf(1.0 - alpha)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Hits as evenly spread over ten blocks as they can be.
    fn even(hits: u64, n: u64) -> BlockCounts {
        let mut counts = BlockCounts::default();
        (0..n).for_each(|i| counts.add((i * 10 / n) as u8, i * hits / n != (i + 1) * hits / n));
        assert_eq!((counts.hits(), counts.n()), (hits, n));
        counts
    }

    #[test]
    fn interval_matches_clopper_pearson() {
        // As R's binom.test gives them.
        for (hits, n, expected_low, expected_high) in [
            (0, 10, 0.0, 0.308_497_1),
            (1, 100, 0.000_253_1, 0.054_459_4),
            (10, 100, 0.049_004_7, 0.176_222_6),
            (50, 100, 0.398_321_1, 0.601_678_9),
            (10, 10, 0.691_502_9, 1.0),
        ] {
            let counts = even(hits, n);
            assert!((low(&counts, 0.025) - expected_low).abs() < 1e-6, "{hits}/{n}: {}", low(&counts, 0.025));
            assert!((high(&counts, 0.025) - expected_high).abs() < 1e-6, "{hits}/{n}: {}", high(&counts, 0.025));
        }
    }

    #[test]
    fn zero_failures_bound_the_failure_rate() {
        // As many as a two-sided interval of p99 takes.
        assert!(high(&even(0, 367), 0.025) > 0.01 && high(&even(0, 368), 0.025) <= 0.01);
        let none = BlockCounts::default();
        assert!((low(&none, 0.025), high(&none, 0.025)) == (0.0, 1.0));
        assert!(high(&even(500, 1_000_000), 0.025) < 0.000_55, "large numbers neither overflow nor vanish");
        assert!(low(&even(999_500, 1_000_000), 0.025) > 0.999_45);
    }

    #[test]
    fn failures_in_one_block_widen_the_interval() {
        let mut burst = BlockCounts::default();
        (0..1_000_u64).for_each(|i| burst.add((i / 100) as u8, (300..400).contains(&i)));
        let apart = even(100, 1_000);
        let width = |counts: &BlockCounts| high(counts, 0.025) - low(counts, 0.025);
        assert!(width(&burst) > 2.5 * width(&apart), "{} {}", width(&burst), width(&apart));
    }

    proptest! {
        #[test]
        fn interval_contains_the_share(requests in prop::collection::vec((0_u8..10, any::<bool>()), 1..400)) {
            let mut counts = BlockCounts::default();
            for (block, hit) in &requests {
                counts.add(*block, *hit);
            }
            let share = counts.hits() as f64 / counts.n() as f64;
            prop_assert!(low(&counts, 0.025) <= share + 1e-9 && share <= high(&counts, 0.025) + 1e-9);
        }
    }
}
