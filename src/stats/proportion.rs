//! Shares of requests with their uncertainty, from counters alone. The interval is the exact one of
//! Clopper and Pearson (Biometrika 26, 1934), the same binomial that the intervals of percentiles are
//! read from; autocorrelation widens it as it does those. Knows numbers only.

use statrs::distribution::{Beta, ContinuousCDF};

/// Counters of a sequence of yes/no observations.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    n: u64,
    hits: u64,
    /// Pairs of neighbours that are both hits.
    pairs: u64,
    first: bool,
    last: bool,
}

impl Tally {
    /// Adds an observation.
    pub(crate) fn add(&mut self, hit: bool) {
        if self.n == 0 {
            self.first = hit;
        }
        self.n += 1;
        self.hits += u64::from(hit);
        self.pairs += u64::from(hit && self.last);
        self.last = hit;
    }

    /// Returns the number of observations.
    pub(crate) fn n(&self) -> u64 {
        self.n
    }

    /// Returns the number of hits.
    pub(crate) fn hits(&self) -> u64 {
        self.hits
    }

    /// The lower end of the interval that leaves `alpha` below it; 0 without answers.
    pub(crate) fn low(&self, alpha: f64) -> f64 {
        let n = self.effective();
        1.0 - upper(n - scaled(self.hits, n, self.n, f64::floor), n, alpha)
    }

    /// The upper end of the interval that leaves `alpha` above it; 1 without answers.
    pub(crate) fn high(&self, alpha: f64) -> f64 {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Hits as far apart as they can be.
    fn tally(hits: u64, n: u64) -> Tally {
        let mut tally = Tally::default();
        (0..n).for_each(|i| tally.add(i * hits / n != (i + 1) * hits / n));
        assert_eq!((tally.hits(), tally.n()), (hits, n));
        tally
    }

    #[test]
    fn interval_matches_clopper_pearson() {
        // As R's binom.test gives them.
        for (hits, n, low, high) in [
            (0, 10, 0.0, 0.308_497_1),
            (5, 10, 0.187_086_0, 0.812_914_0),
            (1, 100, 0.000_253_1, 0.054_459_4),
            (10, 100, 0.049_004_7, 0.176_222_6),
            (10, 10, 0.691_502_9, 1.0),
        ] {
            let tally = tally(hits, n);
            assert!((tally.low(0.025) - low).abs() < 1e-6, "{hits}/{n}: {}", tally.low(0.025));
            assert!((tally.high(0.025) - high).abs() < 1e-6, "{hits}/{n}: {}", tally.high(0.025));
        }
    }

    #[test]
    fn zero_failures_bound_the_failure_rate() {
        // As many as a two-sided interval of p99 takes.
        assert!(tally(0, 367).high(0.025) > 0.01 && tally(0, 368).high(0.025) <= 0.01);
        assert!((tally(0, 0).low(0.025), tally(0, 0).high(0.025)) == (0.0, 1.0));
        assert!(tally(500, 1_000_000).high(0.025) < 0.000_55, "large numbers neither overflow nor vanish");
        assert!(tally(999_500, 1_000_000).low(0.025) > 0.999_45);
    }

    #[test]
    fn autocorrelation_reduces_the_effective_size() {
        let mut bursts = Tally::default();
        (0..1_000).for_each(|i| bursts.add(i % 200 < 20));
        let apart = tally(100, 1_000);
        assert!(bursts.effective() < 100, "{}", bursts.effective());
        assert!(bursts.high(0.025) - bursts.low(0.025) > 2.5 * (apart.high(0.025) - apart.low(0.025)));
    }

    /// By the definition: the lag-1 autocorrelation of zeros and ones.
    #[test]
    fn counters_yield_the_autocorrelation() {
        let answers: Vec<bool> = (0..500_u32).map(|i| i % 50 < 9 || i % 11 == 3).collect();
        let mut tally = Tally::default();
        for hit in &answers {
            tally.add(*hit);
        }
        let series: Vec<f64> = answers.iter().map(|hit| f64::from(u8::from(*hit))).collect();
        let mean = series.iter().sum::<f64>() / 500.0;
        let variance: f64 = series.iter().map(|x| (x - mean).powi(2)).sum();
        let lagged: f64 = series.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
        let r1 = lagged / variance;
        assert!(r1 > 0.1);
        assert_eq!(tally.effective(), (500.0 * (1.0 - r1) / (1.0 + r1)) as u64);
    }
}
