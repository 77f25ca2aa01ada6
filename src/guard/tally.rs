//! Shares of requests with their uncertainty, from counters alone. The interval is the exact one of
//! Clopper and Pearson (Biometrika 26, 1934), the same binomial that the intervals of percentiles are
//! read from; autocorrelation widens it as it does those. Knows numbers only.

use statrs::distribution::{Beta, ContinuousCDF};

/// Counters of a sequence of yes/no observations.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    n: u64,
    hits: u64,
    /// Pairs of neighbours that are both hits.
    pairs: u64,
    first: bool,
    last: bool,
}

impl Tally {
    /// Adds an observation.
    pub(super) fn add(&mut self, hit: bool) {
        if self.n == 0 {
            self.first = hit;
        }
        self.n += 1;
        self.hits += u64::from(hit);
        self.pairs += u64::from(hit && self.last);
        self.last = hit;
    }

    /// Returns the number of observations.
    pub(super) fn n(&self) -> u64 {
        self.n
    }

    /// Returns the number of hits.
    pub(super) fn hits(&self) -> u64 {
        self.hits
    }

    /// The lower end of the interval that leaves `alpha` below it; 0 without answers.
    pub(super) fn low(&self, alpha: f64) -> f64 {
        let n = self.effective();
        1.0 - upper(n - scaled(self.hits, n, self.n, f64::floor), n, alpha)
    }

    /// The upper end of the interval that leaves `alpha` above it; 1 without answers.
    #[allow(dead_code)]
    pub(super) fn high(&self, alpha: f64) -> f64 {
        let n = self.effective();
        upper(scaled(self.hits, n, self.n, f64::ceil), n, alpha)
    }

    /// How many independent answers they are worth: n (1 - r1) / (1 + r1) where the lag-1
    /// autocorrelation is positive, as throttling in bursts makes it.
    fn effective(&self) -> u64 {
        let (n, hits) = (self.n as f64, self.hits as f64);
        if self.n < 3 {
            return self.n;
        }
        let mean = hits / n;
        let variance = hits - n * mean * mean;
        let ends = f64::from(u8::from(self.first)) + f64::from(u8::from(self.last));
        let lagged = self.pairs as f64 - mean * (2.0 * hits - ends) + (n - 1.0) * mean * mean;
        let r1 = if variance > 1e-9 { lagged / variance } else { 0.0 };
        if r1 > 0.0 { ((n * (1.0 - r1) / (1.0 + r1)) as u64).clamp(1, self.n) } else { self.n }
    }
}

/// Returns the number of hits among `n` in proportion to `hits` of `total`.
fn scaled(hits: u64, n: u64, total: u64, round: fn(f64) -> f64) -> u64 {
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
