//! Seconds and requests that a plan will take, before it runs. Knows plan and matrix.

use crate::matrix::Cell;
use crate::plan::Plan;
use serde::Serialize;

/// What a request is assumed to take before anything is known, seconds.
const ASSUMED_LATENCY_S: f64 = 1.0;

/// Before anything is sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Estimate {
    /// Cells times repetitions.
    #[serde(skip)]
    pub(crate) turns: usize,
    /// Test durations and cool-downs, with every request answered at once.
    pub(crate) seconds: f64,
    /// The same with every drain and every `min_samples` at its bound.
    pub(crate) seconds_at_most: f64,
    /// If a request takes a second: users x time / (latency + think time), or arrivals x time.
    pub(crate) requests: u64,
}

/// Estimates the cells of a plan.
pub(crate) fn estimate(cells: &[Cell], plan: &Plan) -> Estimate {
    let repetitions = f64::from(plan.load.repetitions);
    let turns = cells.len() * plan.load.repetitions as usize;
    let load: f64 = cells.iter().map(|cell| cell.length().as_secs_f64()).sum::<f64>() * repetitions;
    let drains: f64 =
        cells.iter().map(|cell| cell.load.drain.min(cell.request.timeout).as_secs_f64()).sum::<f64>() * repetitions;
    let extensions: f64 =
        cells.iter().map(|cell| cell.longest().saturating_sub(cell.length()).as_secs_f64()).sum::<f64>() * repetitions;
    let pauses = turns.saturating_sub(1) as f64 * plan.load.cool_down.as_secs_f64();
    let requests: f64 = cells.iter().map(requests).sum::<f64>() * repetitions;
    Estimate {
        turns,
        seconds: load + pauses,
        seconds_at_most: load + pauses + drains + extensions,
        requests: requests.round() as u64,
    }
}

fn requests(cell: &Cell) -> f64 {
    let cycle = ASSUMED_LATENCY_S + cell.load.think_time.mean().as_secs_f64();
    let level_s: f64 =
        cell.course().pieces().iter().map(|piece| piece.from.midpoint(piece.to) * piece.length.as_secs_f64()).sum();
    let requests = if cell.is_open() { level_s } else { level_s / cycle };
    cell.load.requests.map_or(requests, |most| requests.min(most as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_matrix_takes_some_27_minutes() {
        let plan = crate::plan::tests::plan();
        let estimate = estimate(&crate::matrix::expand(&plan), &plan);
        assert_eq!(estimate.turns, 27);
        assert!((estimate.seconds - (27.0 * 60.0 + 26.0 * 2.0)).abs() < 1e-9, "{estimate:?}");
        assert!((estimate.seconds_at_most - estimate.seconds - 27.0 * 60.0).abs() < 1e-9, "{estimate:?}");
        assert!(estimate.requests > 30_000 && estimate.requests < 40_000, "{estimate:?}");
    }
}
