//! Ten equal-time blocks of a cell, and the number of independent requests that its requests are worth.
//!
//! A service has states that last for seconds: a busy node, a quota window. Requests that meet the same state are not
//! independent, and an interval that assumes they are is too narrow. The measured time of a cell is therefore split into
//! B = 10 blocks of equal time. For a share p of n requests, with `r_j` the share in block j:
//!
//! - `v_0 = p (1 - p) / n` is the variance of independent requests,
//! - `v_b = var(r_1, ..., r_B) / B` is the variance that the blocks show,
//! - `n_eff = n` if `v_b <= v_0`, else `n (v_0 / v_b) (z / t)^2` with `z` = 1.96 and `t` = 2.262, the 97.5 % quantiles of
//!   the normal distribution and of Student's t with B - 1 degrees of freedom.
//!
//! For the quantile `q_p`, `r_j` is the share of the requests of block j that took at most `q_p`. Source: the method of
//! batch means (Conway 1963; Law and Kelton), applied to indicators; coverage is simulated in `bench_verdicts`. Blocks
//! without requests are left out, and B is then the number of the others. This module must not know records or cells.

use super::confidence::TAIL;
use super::student;
use std::collections::BTreeMap;

/// Number of blocks.
pub(crate) const BLOCKS: usize = 10;

/// The measured time of a cell, all repetitions one after the other, in [`BLOCKS`] parts of equal length.
#[derive(Debug, Clone)]
pub(crate) struct TimeBlocks {
    from_ms: f64,
    /// By repetition: the sum of the lengths of the earlier ones and its own length, milliseconds.
    spans: BTreeMap<u32, (f64, f64)>,
    length_ms: f64,
}

impl TimeBlocks {
    /// Splits the time from `from_ms` to the end of each repetition, `until_ms`; both are milliseconds from the start of
    /// the repetition.
    pub(crate) fn new(from_ms: f64, until_ms: &BTreeMap<u32, f64>) -> Self {
        let mut length_ms = 0.0;
        let mut spans = BTreeMap::new();
        for (repetition, until_ms) in until_ms {
            let own_ms = (until_ms - from_ms).max(0.0);
            spans.insert(*repetition, (length_ms, own_ms));
            length_ms += own_ms;
        }
        Self { from_ms, spans, length_ms }
    }

    /// Returns the block of a time of a repetition, from 0; times outside of the repetition are in its first or last
    /// block. Without any measured time there is one block.
    pub(crate) fn index(&self, repetition: u32, at_ms: f64) -> u8 {
        let Some((before_ms, own_ms)) = self.spans.get(&repetition).filter(|_| self.length_ms > 0.0) else { return 0 };
        let at_ms = before_ms + (at_ms - self.from_ms).clamp(0.0, *own_ms);
        ((at_ms / self.length_ms * BLOCKS as f64) as usize).min(BLOCKS - 1) as u8
    }

    /// Returns the total length, seconds.
    pub(crate) fn length_s(&self) -> f64 {
        self.length_ms / 1e3
    }
}

/// Counts of the requests of each block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BlockCounts([(u64, u64); BLOCKS]);

impl BlockCounts {
    /// Adds a request of a block.
    pub(crate) fn add(&mut self, block: u8, hit: bool) {
        let (n, hits) = &mut self.0[usize::from(block).min(BLOCKS - 1)];
        *n += 1;
        *hits += u64::from(hit);
    }

    /// Returns the number of requests.
    pub(crate) fn n(&self) -> u64 {
        self.0.iter().map(|(n, _)| n).sum()
    }

    /// Returns the number of hits.
    pub(crate) fn hits(&self) -> u64 {
        self.0.iter().map(|(_, hits)| hits).sum()
    }

    /// Returns n / `n_eff` (1 or more) of the level `p` of a quantile.
    pub(crate) fn variance_factor(&self, p: f64) -> f64 {
        self.factor(p * (1.0 - p) / self.n() as f64)
    }

    /// Returns n / `n_eff` (1 or more) of the share of hits. The share is estimated, so that its variance has n - 1 in place
    /// of n: otherwise a single hit would differ from chance.
    pub(crate) fn variance_factor_of_share(&self) -> f64 {
        let n = self.n() as f64;
        let share = self.hits() as f64 / n;
        self.factor(share * (1.0 - share) / (n - 1.0))
    }

    /// Returns n / `n_eff` if independent requests would have the variance `independent`.
    fn factor(&self, independent: f64) -> f64 {
        let shares: Vec<f64> =
            self.0.iter().filter(|(n, _)| *n > 0).map(|(n, hits)| *hits as f64 / *n as f64).collect();
        if shares.len() < 2 {
            return 1.0;
        }
        let blocks = shares.len() as f64;
        let mean = shares.iter().sum::<f64>() / blocks;
        let by_blocks = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / (blocks - 1.0) / blocks;
        // Equal variances must not differ by a rounding error.
        if by_blocks <= independent * (1.0 + 1e-9) || independent <= 0.0 {
            return 1.0;
        }
        let t = student::quantile(shares.len() - 1, TAIL);
        by_blocks / independent * (t / student::normal_quantile(TAIL)).powi(2)
    }
}

/// Returns the mean of an amount per second over the blocks, and half the width of its interval that misses with `tail`
/// on either side (Student's t with 9 degrees of freedom). `events` are a block and its amount.
pub(crate) fn mean_per_second(length_s: f64, events: impl Iterator<Item = (u8, f64)>, tail: f64) -> (f64, f64) {
    let mut sums = [0.0; BLOCKS];
    for (block, amount) in events {
        sums[usize::from(block).min(BLOCKS - 1)] += amount;
    }
    let block_s = length_s / BLOCKS as f64;
    student::mean(&sums.map(|sum| sum / block_s), tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn counts(blocks: &[(u64, u64)]) -> BlockCounts {
        let mut counts = BlockCounts::default();
        counts.0[..blocks.len()].copy_from_slice(blocks);
        counts
    }

    #[test]
    fn blocks_have_equal_time_over_all_repetitions() {
        // Windows of 9 s and 1 s after 1 s of ramp.
        let blocks = TimeBlocks::new(1_000.0, &BTreeMap::from([(1, 10_000.0), (2, 2_000.0)]));
        let at = |repetition, at_ms| blocks.index(repetition, at_ms);
        assert_eq!([at(1, 1_000.0), at(1, 1_999.0), at(1, 2_000.0), at(1, 9_999.0)], [0, 0, 1, 8]);
        assert_eq!([at(2, 1_000.0), at(2, 2_000.0)], [9, 9], "the second repetition follows the first");
        assert_eq!([at(1, 0.0), at(2, 60_000.0), at(3, 5_000.0)], [0, 9, 0], "times outside");
        assert_eq!(TimeBlocks::new(5.0, &BTreeMap::from([(1, 5.0)])).index(1, 5.0), 0, "no time, one block");
    }

    #[test]
    fn variance_factor_matches_a_calculation_by_hand() {
        // Shares 0 and 1 in turn: var = 10/9 * 1/4, v_b = 1/36, v_0 = 1/4 / 100.
        let alternating = counts(&[(10, 0), (10, 10)].repeat(5));
        let expected = (1.0 / 36.0) / (0.25 / 100.0) * (2.262_157 / 1.959_964_f64).powi(2);
        assert!((alternating.variance_factor(0.5) - expected).abs() < 1e-4, "{}", alternating.variance_factor(0.5));
        let even = counts(&[(10, 5); 10]);
        assert!((even.variance_factor(0.5) - 1.0).abs() < 1e-12, "equal shares");
        assert!((counts(&[(100, 7)]).variance_factor(0.07) - 1.0).abs() < 1e-12, "one block shows no variance");
        // Two blocks with 0 of 50 and 50 of 50: var = 1/2, v_b = 1/4, t_1 = 12.706.
        let two = counts(&[(50, 0), (50, 50)]).variance_factor(0.5);
        assert!((two - 100.0 * (12.706_2 / 1.959_964_f64).powi(2)).abs() < 0.1, "{two}");
    }

    #[test]
    fn independent_requests_are_mostly_worth_their_number() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        for (p, n) in [(0.5, 400_u32), (0.95, 400), (0.99, 2_000)] {
            let factor = |rng: &mut ChaCha8Rng| {
                let mut counts = BlockCounts::default();
                (0..n).for_each(|_| counts.add(rng.random_range(0..BLOCKS as u8), rng.random_bool(p)));
                counts.variance_factor(p)
            };
            let factors: Vec<f64> = (0..400).map(|_| factor(&mut rng)).collect();
            let equal = factors.iter().filter(|factor| **factor <= 1.0).count();
            // P(chi-squared with 9 degrees of freedom < 9) = .56
            assert!((190..260).contains(&equal), "p = {p}: {equal} of 400 have n_eff = n");
            let uneven = factors.iter().filter(|factor| **factor >= 3.0).count();
            assert!(uneven <= 20, "p = {p}: {uneven} of 400 have n_eff <= n / 3");
        }
    }

    #[test]
    fn means_per_second_by_hand() {
        // 1 per second in the first of ten seconds, 2 in the second, ...: mean 5.5, variance 55/6.
        let events = (0..10_u8).flat_map(|block| (0..=block).map(move |_| (block, 1.0)));
        let (mean, half) = mean_per_second(10.0, events, TAIL);
        assert!((mean - 5.5).abs() < 1e-12);
        assert!((half - 2.262_157 * (55.0_f64 / 6.0 / 10.0).sqrt()).abs() < 1e-5, "{half}");
    }

    proptest! {
        #[test]
        fn effective_size_is_at_most_the_number(
            blocks in prop::collection::vec((1_u64..500, 0.0_f64..=1.0), 1..=10), p in 0.001_f64..0.999
        ) {
            let blocks: Vec<(u64, u64)> = blocks.into_iter().map(|(n, share)| (n, (n as f64 * share) as u64)).collect();
            let factor = counts(&blocks).variance_factor(p);
            prop_assert!(factor >= 1.0 && factor.is_finite(), "{factor}");
        }
    }
}
