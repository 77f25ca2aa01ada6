//! The intended starts of an open loop. They depend only on the arrival rate over time and the seed, never on the service.
//!
//! Let L(t) be the expected number of arrivals until t. The k-th constant arrival is at L(t) = k; the k-th arrival of a
//! Poisson process is at L(t) = the sum of k + 1 exponential gaps of mean 1.

use crate::matrix::{LoadShape, Segment};
use crate::plan::Arrivals;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1};
use std::time::Duration;

/// Streams of the run's seed for arrivals, one per cell run.
const STREAMS: u64 = 1 << 62;

/// Maximum number of remaining arrivals that are counted one by one; for the rest, the expected number is used.
const MAX_COUNTED: usize = 1_000_000;

/// Intended starts relative to the start of the cell run, ascending.
pub(super) struct Schedule {
    segments: Vec<Segment>,
    arrivals: Arrivals,
    rng: ChaCha8Rng,
    /// Index of the current segment, and the expected number of arrivals before it.
    segment: usize,
    before: f64,
    /// Expected number of arrivals before the next one.
    next: f64,
}

impl Schedule {
    pub(super) fn new(shape: &LoadShape, arrivals: Arrivals, seed: u64, place: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAMS | place as u64);
        let mut schedule =
            Self { segments: shape.segments().to_vec(), arrivals, rng, segment: 0, before: 0.0, next: 0.0 };
        if arrivals == Arrivals::Poisson {
            schedule.next = schedule.gap();
        }
        schedule
    }

    /// Returns the number of remaining arrivals before `until`. The time is bounded, also for 10^12 arrivals.
    pub(super) fn count_until(&mut self, until: Duration) -> u64 {
        let drawn = self.by_ref().take(MAX_COUNTED).take_while(|at| *at < until).count();
        if drawn < MAX_COUNTED {
            return drawn as u64;
        }
        let expected: f64 = self.segments.iter().map(|segment| expected_arrivals(segment, until)).sum();
        drawn as u64 + (expected - self.next).max(0.0).ceil() as u64
    }

    fn gap(&mut self) -> f64 {
        match self.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson => Exp1.sample(&mut self.rng),
        }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        loop {
            let segment = self.segments.get(self.segment)?;
            let length = segment.length.as_secs_f64();
            let expected = segment.from.midpoint(segment.to) * length;
            let remaining = self.next - self.before;
            if remaining < expected {
                let at = segment.start
                    + Duration::from_secs_f64(
                        time_of_arrivals(segment.from, segment.to, length, remaining).min(length),
                    );
                self.next += self.gap();
                return Some(at);
            }
            self.before += expected;
            self.segment += 1;
        }
    }
}

/// Returns the expected number of arrivals in a segment before `until`.
fn expected_arrivals(segment: &Segment, until: Duration) -> f64 {
    let passed = until.saturating_sub(segment.start).min(segment.length).as_secs_f64();
    if passed <= 0.0 {
        return 0.0;
    }
    let reached = segment.from + (segment.to - segment.from) * passed / segment.length.as_secs_f64();
    segment.from.midpoint(reached) * passed
}

/// Returns the time of `count` expected arrivals: the root of `from t + (to - from) t^2 / (2 length) = count`.
fn time_of_arrivals(from: f64, to: f64, length: f64, count: f64) -> f64 {
    let slope = (to - from) / length;
    let root = (from * from + 2.0 * slope * count).max(0.0).sqrt();
    // This form of the solution is also exact for a slope of zero.
    if from + root > 0.0 { 2.0 * count / (from + root) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Profile, Stage};

    fn schedule(rate: f64, arrivals: Arrivals, seconds: u64) -> Vec<f64> {
        let shape = LoadShape::from_rate(rate, Duration::from_secs(seconds));
        Schedule::new(&shape, arrivals, 7, 0).map(|at| at.as_secs_f64()).collect()
    }

    #[test]
    fn constant_arrivals_have_equal_gaps() {
        let at = schedule(4.0, Arrivals::Constant, 2);
        assert_eq!(at, [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75]);
    }

    #[test]
    fn poisson_arrivals_have_exponential_gaps() {
        let at = schedule(100.0, Arrivals::Poisson, 100);
        let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // An exponential's standard deviation is its mean.
        assert!((mean * 100.0 - 1.0).abs() < 0.05, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{variance}");
        assert_eq!(at, schedule(100.0, Arrivals::Poisson, 100), "the same seed gives the same arrivals");
    }

    #[test]
    fn remaining_arrivals_are_counted_in_bounded_time() {
        for (rate, first) in [(4.0, 3), (1e9, 5), (1e12, 0)] {
            let shape = LoadShape::from_rate(rate, Duration::from_secs(10));
            let mut schedule = Schedule::new(&shape, Arrivals::Constant, 7, 0);
            let taken = schedule.by_ref().take(first).count() as u64;
            let left = schedule.count_until(Duration::from_secs(2));
            assert_eq!(left, 2 * rate as u64 - taken, "{rate}");
        }
        let shape = LoadShape::from_rate(1e12, Duration::from_secs(10));
        let left = Schedule::new(&shape, Arrivals::Poisson, 7, 0).count_until(Duration::from_secs(2));
        assert!((left as f64 / 2e12 - 1.0).abs() < 1e-6, "{left}");
    }

    #[test]
    fn number_of_arrivals_is_the_area_below_the_rate() {
        let stage = |rate, over, hold| Stage {
            users: None,
            rate: Some(rate),
            over: Duration::from_secs(over),
            hold: Duration::from_secs(hold),
        };
        let stages = vec![stage(10.0, 10, 0), stage(10.0, 0, 5), stage(0.0, 4, 3)];
        let shape = LoadShape::from_profile(&Profile { name: "ramp".into(), stages });
        let at: Vec<f64> = Schedule::new(&shape, Arrivals::Constant, 7, 0).map(|at| at.as_secs_f64()).collect();
        assert_eq!(at.len(), 50 + 50 + 20);
        assert_eq!(at.iter().filter(|at| **at < 5.0).count(), 13, "12.5 expected in the first half of the ramp");
        assert!(at.windows(2).all(|pair| pair[0] <= pair[1]) && *at.last().unwrap() <= 19.0);
    }
}
