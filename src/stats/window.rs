//! The latency window: which requests say something about the settled cell. Computed here alone.

use super::collect::Sample;
use super::percentile::{Curve, Observation};
use crate::matrix::Cell;
use crate::record::Outcome;
use crate::record::manifest::TurnReport;

/// From when on a cell's requests count for latency, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    /// From a turn's start, milliseconds: the ramp and one p95 of the successes, at most half of the test.
    pub(crate) start_ms: f64,
    /// Over all turns, seconds.
    pub(crate) length_s: f64,
    /// The cut at half of the test did not bite.
    pub(crate) settled: bool,
}

impl Window {
    /// The window of a cell. Throughput counts ends inside it; latency takes what was sent in it.
    pub(super) fn of(cell: &Cell, turns: &[TurnReport], samples: &[Sample], include_ramp: bool) -> Self {
        let half_ms = crate::units::ms(cell.load.test_duration) / 2.0;
        let settle_ms = p95_of_successes(samples);
        let wanted_ms = crate::units::ms(cell.ramp()) + settle_ms;
        let (start_ms, settled) =
            if include_ramp { (0.0, true) } else { (wanted_ms.min(half_ms), wanted_ms <= half_ms) };
        let length_s = turns.iter().map(|turn| (turn.load_ms - start_ms).max(0.0)).sum::<f64>() / 1e3;
        Self { start_ms, length_s, settled }
    }

    /// Whether a request was sent inside the window; nothing is ever sent after its end.
    pub(super) fn takes(&self, sample: &Sample) -> bool {
        sample.sent_ms >= self.start_ms
    }

    /// Whether a request ended inside the window of its turn.
    pub(super) fn ends_in(&self, sample: &Sample, load_ms: f64) -> bool {
        let ended_ms = sample.sent_ms + sample.response_ms;
        sample.outcome != Outcome::Censored && (self.start_ms..=load_ms).contains(&ended_ms)
    }
}

fn p95_of_successes(samples: &[Sample]) -> f64 {
    let successes = samples.iter().filter(|sample| sample.outcome == Outcome::Succeeded);
    let observed = successes.map(|sample| Observation { ms: sample.response_ms, event: true }).collect();
    Curve::new(observed).value(0.95).unwrap_or(0.0)
}
