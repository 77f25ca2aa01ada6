//! Whether the latencies of a cell are enough for what the plan requires of them. Numbers are effective sample sizes, see
//! [`super::blocks`].

use super::blocks::TimeBlocks;
use super::latency::Latency;
use super::percentile::{Curve, Observation, min_samples_for};
use crate::matrix::Cell;
use crate::units::Samples;
use std::collections::BTreeMap;

/// n / `n_eff` from which a cell is uneven. Independent requests reach it in 2 % of cells.
const UNEVEN: f64 = 3.0;

/// Number of requests from which a cell can be uneven: with fewer, p95 is one or two of them.
const MIN_UNEVEN: usize = 59;

/// Returns the number of successes that `min_samples` requires.
pub(crate) fn required_samples(samples: Samples) -> usize {
    match samples {
        Samples::Count(count) => count as usize,
        Samples::P99 => min_samples_for(0.99),
    }
}

/// Returns how many of the successes of a latency window count for `min_samples`: all of them, but for `p99` the
/// independent ones that they are worth. `successes` are the start and the response time of each, and the window lasts
/// from `from_ms` to `until_ms`, all in milliseconds from the start of the cell run.
pub(crate) fn count_samples(
    samples: Samples,
    successes: impl Iterator<Item = (f64, f64)>,
    from_ms: f64,
    until_ms: f64,
) -> usize {
    match samples {
        Samples::Count(_) => successes.count(),
        Samples::P99 => {
            let blocks = TimeBlocks::new(from_ms, &BTreeMap::from([(1, until_ms)]));
            let observe =
                |(start_ms, ms)| Observation { block: blocks.index(1, start_ms), ..Observation::independent(ms, true) };
            Curve::new(successes.map(observe)).effective_size(0.99) as usize
        }
    }
}

/// Returns whether a cell has the successes that its plan requires.
pub(super) fn has_min_samples(cell: &Cell, successes: &Latency) -> bool {
    cell.load.min_samples.is_none_or(|samples| {
        let counted = match samples {
            Samples::Count(_) => successes.n,
            Samples::P99 => successes.effective_size(0.99) as usize,
        };
        counted >= required_samples(samples)
    })
}

/// Returns whether the time blocks of a cell differ more than independent requests would.
pub(super) fn is_uneven(latency: &Latency) -> bool {
    let n = latency.observations();
    n >= MIN_UNEVEN && n as f64 / latency.effective_size(0.95) >= UNEVEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn min_samples_of_p99_counts_independent_requests() {
        // The slowest 1 % of 1,000 requests spread over 100 s, or in one second.
        let spread = |i: u32| (f64::from(i) * 100.0, if i % 100 == 99 { 900.0 } else { f64::from(i % 97) });
        let together = |i: u32| (f64::from(i) * 100.0, if i / 10 == 33 { 900.0 } else { f64::from(i % 97) });
        let count =
            |samples, time: &dyn Fn(u32) -> (f64, f64)| count_samples(samples, (0..1_000).map(time), 0.0, 100_000.0);
        assert_eq!((count(Samples::P99, &spread), count(Samples::Count(5), &spread)), (1_000, 1_000));
        assert_eq!(count(Samples::Count(5), &together), 1_000, "a number is a number");
        // r = 1 nine times and .9: v_b = 1e-4, v_0 = .0099 / 1,000; (1.96 / 2.262)^2 = .751.
        assert_eq!(count(Samples::P99, &together), 74);
    }
}
