//! Rule F: decides during a cell run whether a share of requests is above or below its bound, and may be asked at any
//! time.
//!
//! A bound L on the quantile p is a bound m = 1 - p on the share of requests that take longer than L. Two models of the
//! requests each yield an e-value: a number that exceeds x with probability at most 1/x, at any time and however often it
//! is computed, if the share is at its bound.
//!
//! - Independent requests, k of n above: `E_fail = B(k+1, n-k+1) (1 - I_m(k+1, n-k+1)) / ((1-m) m^k (1-m)^(n-k))`, the
//!   uniform mixture of the likelihood ratios of all shares above m. `E_pass` has `I_m` in place of `1 - I_m` and `1/m` in
//!   place of `1/(1-m)`. (The beta-binomial confidence sequence of Howard and Ramdas, at one level.)
//! - Time blocks of at least two cycles of a user, whose shares above are independent: with z the share above minus m,
//!   `t = mean(z) sqrt(b) / s` over b blocks and nu = b - 1,
//!   `E_t = (1+4b)^(-1/2) ((1 + t^2/nu) / (1 + t^2/(nu (1+4b))))^((nu+1)/2)`, the ratio of a normal prior with variance 4 of
//!   the standardised effect. If s = 0, it is the limit `(1+4b)^(nu/2)`.
//!
//! A side is decided if the first e-value is at least [`MIN_REQUESTS_E`] and the second at least [`MIN_BLOCKS_E`]: the
//! smaller one of two e-values is valid if either model holds. Together with an interval of 97.5 % at the end
//! ([`FINAL_TAIL`]), a side is wrong with probability at most .025.
//!
//! Whether a request took longer than a level is known as soon as it ends, or at its start plus the level. Only the prefix
//! of starts counts for which it is known, because fast requests end first: see [`Prefix`]. Source: the inference notes,
//! section 7. Knows numbers only.

use statrs::function::beta::{beta_reg, ln_beta};

/// Minimum e-value of independent requests.
pub(crate) const MIN_REQUESTS_E: f64 = 80.0;

/// Minimum e-value of the blocks.
pub(crate) const MIN_BLOCKS_E: f64 = 40.0;

/// Minimum number of blocks.
pub(crate) const MIN_BLOCKS: usize = 4;

/// Minimum length of a block, seconds.
pub(crate) const MIN_BLOCK_S: usize = 5;

/// Distance of the tested level from the bound for `abort_on_fail`, as a fraction of the bound.
pub(crate) const ABORT_GUARD: f64 = 0.2;

/// Probability outside the interval at the end of the cell run on either side, if rule F was applied during it.
pub(crate) const FINAL_TAIL: f64 = 0.0125;

/// Side of the bound that is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The share is below its bound.
    Pass,
    /// The share is above its bound.
    Fail,
}

/// Result of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Pass,
    Fail,
    Undecided,
}

/// Requests of one block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// Number of requests.
    pub(crate) n: u64,
    /// Number of those above the level.
    pub(crate) above: u64,
}

/// Returns the natural logarithm of `E_pass` or `E_fail` for `above` of `n` requests and the bound `m` on their share.
pub(crate) fn ln_requests_e(side: Side, above: u64, n: u64, m: f64) -> f64 {
    let (k, rest) = (above as f64, (n - above) as f64);
    let below = beta_reg(k + 1.0, rest + 1.0, m).clamp(0.0, 1.0);
    let (mass, width) = match side {
        Side::Pass => (below, m),
        Side::Fail => (1.0 - below, 1.0 - m),
    };
    ln_beta(k + 1.0, rest + 1.0) + mass.ln() - width.ln() - k * m.ln() - rest * (1.0 - m).ln()
}

/// Returns the natural logarithm of `E_t`; negative infinity if the mean share is on the other side of the bound `m`, or
/// with fewer than [`MIN_BLOCKS`] blocks that have requests.
pub(crate) fn ln_blocks_e(side: Side, blocks: &[Block], m: f64) -> f64 {
    let z: Vec<f64> =
        blocks.iter().filter(|block| block.n > 0).map(|block| block.above as f64 / block.n as f64 - m).collect();
    let b = z.len() as f64;
    let mean = z.iter().sum::<f64>() / b;
    let is_on_side = match side {
        Side::Pass => mean < 0.0,
        Side::Fail => mean > 0.0,
    };
    if z.len() < MIN_BLOCKS || !is_on_side {
        return f64::NEG_INFINITY;
    }
    let variance = z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / (b - 1.0);
    ln_t_e(mean * mean * b / variance, z.len())
}

/// Returns the natural logarithm of `E_t` for t squared, which is infinite without variance.
fn ln_t_e(t_squared: f64, blocks: usize) -> f64 {
    let (b, nu) = (blocks as f64, blocks as f64 - 1.0);
    let spread = 1.0 + 4.0 * b;
    if t_squared.is_infinite() {
        return nu / 2.0 * spread.ln();
    }
    let ratio = (1.0 + t_squared / nu) / (1.0 + t_squared / (nu * spread));
    b / 2.0 * ratio.ln() - 0.5 * spread.ln()
}

/// Returns whether a side of the bound `m` is decided by the blocks of the prefix, counted at the level of that side.
pub(crate) fn is_decided(side: Side, blocks: &[Block], m: f64) -> bool {
    let (n, above) = blocks.iter().fold((0, 0), |(n, above), block| (n + block.n, above + block.above));
    ln_blocks_e(side, blocks, m) >= MIN_BLOCKS_E.ln() && ln_requests_e(side, above, n, m) >= MIN_REQUESTS_E.ln()
}

/// Decides on the bound `m` from the blocks at the level of PASS, `L (1 - g)`, and at that of FAIL, `L (1 + g)`.
#[cfg_attr(not(test), expect(dead_code, reason = "for ending a cell whose thresholds are decided"))]
pub(crate) fn decide(at_pass_level: &[Block], at_fail_level: &[Block], m: f64) -> Decision {
    if is_decided(Side::Fail, at_fail_level, m) {
        Decision::Fail
    } else if is_decided(Side::Pass, at_pass_level, m) {
        Decision::Pass
    } else {
        Decision::Undecided
    }
}

/// Counts of requests by the second of their start, from which blocks are formed when it is known how long they must be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prefix {
    seconds: Vec<Block>,
}

impl Prefix {
    /// Adds a request by its start in the cell run.
    pub(crate) fn add(&mut self, start_ms: f64, is_above: bool) {
        let second = (start_ms.max(0.0) / 1e3) as usize;
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Block::default());
        }
        let counts = &mut self.seconds[second];
        counts.n += 1;
        counts.above += u64::from(is_above);
    }

    /// Returns how many whole blocks there are between two times of the cell run.
    pub(crate) fn count_blocks(from_ms: f64, until_ms: f64, block_s: usize) -> usize {
        let (from, until) = ((from_ms.max(0.0) / 1e3).ceil() as usize, (until_ms.max(0.0) / 1e3) as usize);
        until.saturating_sub(from) / block_s
    }

    /// Returns the whole blocks of `block_s` seconds between two times of the cell run.
    pub(crate) fn blocks(&self, from_ms: f64, until_ms: f64, block_s: usize) -> Vec<Block> {
        let from = (from_ms.max(0.0) / 1e3).ceil() as usize;
        let sum = |block: usize| {
            let seconds = self.seconds.iter().skip(from + block * block_s).take(block_s);
            seconds.fold(Block::default(), |sum, second| Block { n: sum.n + second.n, above: sum.above + second.above })
        };
        (0..Self::count_blocks(from_ms, until_ms, block_s)).map(sum).collect()
    }
}

/// Returns the length of a block for users with this cycle (response and think time): two cycles, at least
/// [`MIN_BLOCK_S`], in whole seconds.
pub(crate) fn block_s(cycle_ms: f64) -> usize {
    ((2.0 * cycle_ms / 1e3).round() as usize).max(MIN_BLOCK_S)
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{Continuous, StudentsT};

    /// Simpson's rule.
    fn integrate(from: f64, to: f64, f: impl Fn(f64) -> f64) -> f64 {
        const STEPS: usize = 20_000;
        let h = (to - from) / STEPS as f64;
        let weight = |i: usize| {
            if i == 0 || i == STEPS {
                1.0
            } else if i % 2 == 1 {
                4.0
            } else {
                2.0
            }
        };
        (0..=STEPS).map(|i| weight(i) * f(from + h * i as f64)).sum::<f64>() * h / 3.0
    }

    fn binomial(n: u64, k: u64, p: f64) -> f64 {
        let choose = (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product::<f64>();
        choose * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32)
    }

    #[test]
    fn e_values_of_requests_are_mixtures_of_likelihood_ratios() {
        for (above, n, m) in [(0_u64, 20_u64, 0.05), (3, 20, 0.05), (20, 20, 0.3), (7, 50, 0.1), (2, 100, 0.05)] {
            let ratio =
                |share: f64| (share / m).powi(above as i32) * ((1.0 - share) / (1.0 - m)).powi((n - above) as i32);
            let fail = integrate(m, 1.0, ratio) / (1.0 - m);
            let pass = integrate(0.0, m, ratio) / m;
            for (side, expected) in [(Side::Fail, fail), (Side::Pass, pass)] {
                let found = ln_requests_e(side, above, n, m).exp();
                assert!((found / expected - 1.0).abs() < 1e-6, "{side:?} {above}/{n}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn e_values_have_the_mean_one_at_the_bound() {
        for (n, m) in [(12, 0.05), (60, 0.05), (40, 0.5)] {
            for side in [Side::Fail, Side::Pass] {
                let mean: f64 = (0..=n).map(|k| binomial(n, k, m) * ln_requests_e(side, k, n, m).exp()).sum();
                assert!((mean - 1.0).abs() < 1e-9, "{side:?} n = {n}: {mean}");
            }
        }
        for blocks in [4, 8, 30] {
            let t = StudentsT::new(0.0, 1.0, blocks as f64 - 1.0).unwrap();
            // t = tan(x): the tails of few blocks are long.
            let density = |x: f64| t.pdf(x.tan()) * ln_t_e(x.tan().powi(2), blocks).exp() / x.cos().powi(2);
            let end = std::f64::consts::FRAC_PI_2 - 1e-9;
            let mean = integrate(-end, end, density);
            assert!((mean - 1.0).abs() < 1e-4, "{blocks} blocks: {mean}");
        }
    }

    #[test]
    fn e_value_of_blocks_by_hand() {
        let block = |above| Block { n: 10, above };
        // z = .3, .3, .3, .3: the limit without variance, 17^1.5.
        let equal = [block(4); 4];
        assert!((ln_blocks_e(Side::Fail, &equal, 0.1).exp() - 70.092_8).abs() < 1e-3);
        assert!(ln_blocks_e(Side::Pass, &equal, 0.1).is_infinite(), "the other side");
        assert!(ln_blocks_e(Side::Fail, &equal[..3], 0.1).is_infinite(), "three blocks are too few");
        // z = .1, .2, .3, .4: mean .25, s^2 = .05 / 3, t^2 = 15; (6 / (1 + 15/51))^2 / sqrt 17.
        let mixed = [block(2), block(3), block(4), block(5), Block::default()];
        let expected = (6.0_f64 / (1.0 + 15.0 / 51.0)).powi(2) / 17.0_f64.sqrt();
        assert!((ln_blocks_e(Side::Fail, &mixed, 0.1).exp() - expected).abs() < 1e-9);
    }

    #[test]
    fn rule_needs_both_models() {
        let blocks = |n, above| vec![Block { n, above }; 4];
        // 20 of 80 above 5 %, evenly; the same 20 in one block; 1 of 4 in each block.
        assert_eq!(decide(&blocks(20, 5), &blocks(20, 5), 0.05), Decision::Fail);
        let burst = [
            Block { n: 20, above: 20 },
            Block { n: 20, above: 0 },
            Block { n: 20, above: 0 },
            Block { n: 20, above: 0 },
        ];
        assert_eq!(decide(&burst, &burst, 0.05), Decision::Undecided, "the blocks differ");
        assert_eq!(decide(&blocks(4, 1), &blocks(4, 1), 0.05), Decision::Undecided, "too few requests");
        assert_eq!(decide(&blocks(100, 0), &blocks(100, 0), 0.05), Decision::Pass);
        assert_eq!(decide(&blocks(100, 6), &blocks(100, 4), 0.05), Decision::Undecided, "at the bound");
    }

    #[test]
    fn prefix_forms_whole_blocks() {
        let mut prefix = Prefix::default();
        for start_ms in (0..30_000_u32).step_by(500) {
            prefix.add(start_ms.into(), start_ms >= 20_000);
        }
        let block = |n, above| Block { n, above };
        assert_eq!(prefix.blocks(2_100.0, 24_900.0, 5), [block(10, 0), block(10, 0), block(10, 0), block(10, 6)]);
        assert_eq!(Prefix::count_blocks(2_100.0, 22_900.0, 5), 3, "the fourth one lasts until 23 s");
        assert_eq!((block_s(1_000.0), block_s(3_500.0)), (5, 7));
    }
}
