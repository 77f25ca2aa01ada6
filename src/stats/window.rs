//! The latency window: the requests that measure the steady phase of a cell.

use super::blocks::TimeBlocks;
use super::percentile::nearest_rank;
use super::sample::Sample;
use crate::matrix::Cell;
use crate::record::manifest::{CellRunEnd, CellRunReport};
use crate::record::{ExclusionReason, Outcome};
use std::collections::BTreeMap;

/// Period in which the requests of a cell count for latency. A load profile has no ramp.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    /// Start, milliseconds from that of the cell run: the ramp plus one p95 of the successes, at most half of the test.
    pub(crate) start_ms: f64,
    /// Total length over all cell runs, seconds.
    pub(crate) length_s: f64,
    /// Whether the window starts before half of the test.
    pub(crate) settled: bool,
}

impl Window {
    /// Computes the window of a cell. Throughput counts requests that end in it; latency those that are sent in it.
    pub(super) fn new(cell: &Cell, turns: &[CellRunReport], samples: &[Sample], include_ramp: bool) -> Self {
        // The p95 of requests that waited for this machine, or were blocked, says nothing about how long the cell takes to
        // settle.
        let is_excluded =
            |sample: &Sample| matches!(sample.unfit, Some(ExclusionReason::ClientStalled | ExclusionReason::Blocked));
        let counts = |sample: &&Sample| !sample.is_late && !is_excluded(sample);
        let successes = samples.iter().filter(|sample| sample.outcome == Outcome::Succeeded).filter(counts);
        let times = successes.map(|sample| sample.response_ms).collect();
        let (start_ms, settled) = start(cell, length_ms(cell, turns), times, include_ramp);
        let length_s = turns.iter().map(|turn| (turn.load_ms - start_ms).max(0.0)).sum::<f64>() / 1e3;
        Self { start_ms, length_s, settled }
    }

    /// Sets the time block of every sample of the cell; `load_ms` is the length of the load by repetition.
    pub(super) fn assign_blocks(&self, samples: &mut [Sample], load_ms: &BTreeMap<u32, f64>) {
        let time = TimeBlocks::new(self.start_ms, load_ms);
        for sample in samples {
            sample.block = time.index(sample.repetition, sample.start_ms);
        }
    }

    /// Returns whether a request was sent in the window. With several machines, some continue after the first has
    /// ended; they then apply only a part of the load, so their requests are excluded.
    pub(super) fn contains(&self, sample: &Sample) -> bool {
        sample.start_ms >= self.start_ms && !sample.is_late
    }

    /// Returns whether a request counts for latency: sent inside the window and not excluded.
    pub(super) fn includes(&self, sample: &Sample) -> bool {
        self.contains(sample) && sample.unfit.is_none()
    }

    /// Returns whether a request ended in the window of its cell run.
    pub(super) fn ends_in(&self, sample: &Sample, load_ms: f64) -> bool {
        let ended_ms = sample.start_ms + sample.response_ms;
        sample.outcome != Outcome::Censored && (self.start_ms..=load_ms).contains(&ended_ms)
    }
}

/// Returns the intended length of a cell run: as planned, or as determined by `requests` or `min_samples`.
fn length_ms(cell: &Cell, turns: &[CellRunReport]) -> f64 {
    let planned = crate::units::ms(cell.load.test_duration);
    if cell.load.requests.is_none() && cell.load.min_samples.is_none() {
        return planned;
    }
    let whole = turns.iter().filter(|turn| turn.end != CellRunEnd::FailedEarly);
    whole.map(|turn| turn.load_ms).min_by(f64::total_cmp).unwrap_or(planned)
}

/// Returns the start of the window, milliseconds from the start of the cell run, and whether the cell was steady by
/// then: the ramp plus one p95 of the successes' `times`, at most half of the length of the cell run.
pub(crate) fn start(cell: &Cell, length_ms: f64, mut times: Vec<f64>, include_ramp: bool) -> (f64, bool) {
    if include_ramp || cell.profile.is_some() {
        return (0.0, true);
    }
    times.sort_by(f64::total_cmp);
    let p95 = if times.is_empty() { 0.0 } else { times[nearest_rank(times.len(), 0.95)] };
    let (wanted_ms, half_ms) = (crate::units::ms(cell.ramp()) + p95, length_ms / 2.0);
    (wanted_ms.min(half_ms), wanted_ms <= half_ms)
}
