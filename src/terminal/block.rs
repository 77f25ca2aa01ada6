//! The state of a run as lines. Pure: what is shown can be tested without a terminal.

use std::time::Duration;

/// What a display shows, taken five times a second.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    /// Cells to run, repetitions counted.
    pub(crate) turns: usize,
    /// The running one, from 1; 0 before the first.
    pub(crate) turn: usize,
    /// Its id.
    pub(crate) cell: String,
    /// Since its first start.
    pub(crate) elapsed: Duration,
    /// Its test duration.
    pub(crate) length: Duration,
    /// Users running.
    pub(crate) users: u32,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// Ended so far in this cell, by outcome.
    pub(crate) succeeded: u64,
    /// See `succeeded`.
    pub(crate) throttled: u64,
    /// See `succeeded`.
    pub(crate) failed: u64,
    /// Successes so far, milliseconds.
    pub(crate) p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub(crate) p95_ms: Option<f64>,
}

impl State {
    /// `[3/8] us_flex_small_u20  12s of 60s`, or what a drain is waiting for.
    pub(crate) fn headline(&self) -> String {
        let position = format!("[{}/{}] {}", self.turn, self.turns, self.cell);
        if self.elapsed > self.length {
            format!("{position}  draining, {} in flight", self.in_flight)
        } else {
            format!("{position}  {}s of {}s", self.elapsed.as_secs(), self.length.as_secs_f64().ceil())
        }
    }

    /// `20 users  1204 ok  0 throttled  2 failed  p50 180 ms  p95 240 ms`.
    pub(crate) fn numbers(&self) -> String {
        let mut parts = vec![format!("{} users", self.users), format!("{} ok", self.succeeded)];
        if self.throttled > 0 {
            parts.push(format!("{} throttled", self.throttled));
        }
        if self.failed > 0 {
            parts.push(format!("{} failed", self.failed));
        }
        for (name, value) in [("p50", self.p50_ms), ("p95", self.p95_ms)] {
            if let Some(value) = value {
                parts.push(format!("{name} {value:.0} ms"));
            }
        }
        parts.join("  ")
    }

    /// How much of the running cell's time is over, 0 to 1.
    pub(crate) fn fraction(&self) -> f64 {
        if self.length.is_zero() { 0.0 } else { (self.elapsed.as_secs_f64() / self.length.as_secs_f64()).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_as_a_line() {
        let state = State {
            turns: 8,
            turn: 3,
            cell: "us_flex_small_u20".into(),
            elapsed: Duration::from_millis(12_400),
            length: Duration::from_secs(60),
            users: 20,
            in_flight: 18,
            succeeded: 1_204,
            throttled: 0,
            failed: 2,
            p50_ms: Some(180.2),
            p95_ms: Some(240.0),
        };
        assert_eq!(state.headline(), "[3/8] us_flex_small_u20  12s of 60s");
        assert_eq!(state.numbers(), "20 users  1204 ok  2 failed  p50 180 ms  p95 240 ms");
        let draining = State { elapsed: Duration::from_secs(61), ..state };
        assert_eq!(draining.headline(), "[3/8] us_flex_small_u20  draining, 18 in flight");
    }
}
