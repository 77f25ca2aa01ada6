//! The open loop's intended starts, fixed up front: the course of a cell's rate and a seed give them,
//! and nothing that the service does moves them.
//!
//! With L(t) the number of arrivals expected until t, the k-th constant arrival is at L(t) = k, and
//! the k-th of a Poisson process at L(t) = the sum of k + 1 exponential gaps of mean 1.

use crate::matrix::{LoadShape, Segment};
use crate::plan::Arrivals;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1};
use std::time::Duration;

/// The streams of the run's seed from which arrivals are drawn, one per turn.
const STREAMS: u64 = 1 << 62;

/// Of the arrivals that nobody starts any more so many are drawn to be counted; of the rest the number is expected.
const DRAWN: usize = 1_000_000;

/// Intended starts, counted from a turn's start, ascending.
pub(super) struct Schedule {
    pieces: Vec<Segment>,
    arrivals: Arrivals,
    rng: ChaCha8Rng,
    /// The piece that is being walked, and how many arrivals were expected before it.
    piece: usize,
    before: f64,
    /// How many arrivals are expected before the next one.
    next: f64,
}

impl Schedule {
    pub(super) fn new(shape: &LoadShape, arrivals: Arrivals, seed: u64, turn: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAMS | turn as u64);
        let mut schedule = Self { pieces: shape.segments().to_vec(), arrivals, rng, piece: 0, before: 0.0, next: 0.0 };
        if arrivals == Arrivals::Poisson {
            schedule.next = schedule.gap();
        }
        schedule
    }

    /// How many of those that are left are intended before `until`. Takes no longer for 10^12 than for a million.
    pub(super) fn count_until(&mut self, until: Duration) -> u64 {
        let drawn = self.by_ref().take(DRAWN).take_while(|at| *at < until).count();
        if drawn < DRAWN {
            return drawn as u64;
        }
        let expected: f64 = self.pieces.iter().map(|piece| expected(piece, until)).sum();
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
            let piece = self.pieces.get(self.piece)?;
            let length = piece.length.as_secs_f64();
            let expected = piece.from.midpoint(piece.to) * length;
            let wanted = self.next - self.before;
            if wanted < expected {
                let at = piece.start + Duration::from_secs_f64(reach(piece.from, piece.to, length, wanted).min(length));
                self.next += self.gap();
                return Some(at);
            }
            self.before += expected;
            self.piece += 1;
        }
    }
}

/// How many arrivals a piece brings before `until`.
fn expected(piece: &Segment, until: Duration) -> f64 {
    let passed = until.saturating_sub(piece.start).min(piece.length).as_secs_f64();
    if passed <= 0.0 {
        return 0.0;
    }
    let reached = piece.from + (piece.to - piece.from) * passed / piece.length.as_secs_f64();
    piece.from.midpoint(reached) * passed
}

/// When `wanted` arrivals are expected: the root of `from t + (to - from) t^2 / (2 length) = wanted`.
fn reach(from: f64, to: f64, length: f64, wanted: f64) -> f64 {
    let slope = (to - from) / length;
    let root = (from * from + 2.0 * slope * wanted).max(0.0).sqrt();
    // This form of the quadratic's solution is exact for a slope of zero too.
    if from + root > 0.0 { 2.0 * wanted / (from + root) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Profile, Stage};

    fn schedule(rate: f64, arrivals: Arrivals, seconds: u64) -> Vec<f64> {
        let course = LoadShape::from_rate(rate, Duration::from_secs(seconds));
        Schedule::new(&course, arrivals, 7, 0).map(|at| at.as_secs_f64()).collect()
    }

    #[test]
    fn constant_arrivals_are_even() {
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
        assert_eq!(at, schedule(100.0, Arrivals::Poisson, 100), "a seed repeats itself");
    }

    #[test]
    fn arrivals_that_nobody_starts_are_counted_without_drawing_each() {
        for (rate, first) in [(4.0, 3), (1e9, 5), (1e12, 0)] {
            let course = LoadShape::from_rate(rate, Duration::from_secs(10));
            let mut schedule = Schedule::new(&course, Arrivals::Constant, 7, 0);
            let taken = schedule.by_ref().take(first).count() as u64;
            let left = schedule.count_until(Duration::from_secs(2));
            assert_eq!(left, 2 * rate as u64 - taken, "{rate}");
        }
        let course = LoadShape::from_rate(1e12, Duration::from_secs(10));
        let left = Schedule::new(&course, Arrivals::Poisson, 7, 0).count_until(Duration::from_secs(2));
        assert!((left as f64 / 2e12 - 1.0).abs() < 1e-6, "{left}");
    }

    #[test]
    fn a_ramp_of_arrivals_brings_the_area_below_it() {
        let stage = |rate, over, hold| Stage {
            users: None,
            rate: Some(rate),
            over: Duration::from_secs(over),
            hold: Duration::from_secs(hold),
        };
        let stages = vec![stage(10.0, 10, 0), stage(10.0, 0, 5), stage(0.0, 4, 3)];
        let course = LoadShape::from_profile(&Profile { name: "ramp".into(), stages });
        let at: Vec<f64> = Schedule::new(&course, Arrivals::Constant, 7, 0).map(|at| at.as_secs_f64()).collect();
        assert_eq!(at.len(), 50 + 50 + 20);
        assert_eq!(at.iter().filter(|at| **at < 5.0).count(), 13, "12.5 expected in the first half of the ramp");
        assert!(at.windows(2).all(|pair| pair[0] <= pair[1]) && *at.last().unwrap() <= 19.0);
    }
}
