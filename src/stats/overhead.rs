//! Client overhead: service time minus the reported `latencyMs`. If it grows within a cell or with the load, this machine
//! or the network added the time.

use super::latency::{Latency, Metric, Population};
use super::sample::Sample;
use super::window::Window;
use crate::result::{Percentile, Quality};
use std::collections::BTreeMap;

/// Growth below this is never reported, milliseconds,
const LEAST_MS: f64 = 50.0;

/// nor is growth below this share of the cell's p50.
const LEAST_SHARE: f64 = 0.05;

/// A p95 of the overhead that is larger than another one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OverheadGrowth {
    /// p95 of the reference, milliseconds.
    pub(crate) from_ms: f64,
    /// p95 of the cell, milliseconds.
    pub(crate) to_ms: f64,
    pub(crate) against: OverheadReference,
}

/// Reference of a growing overhead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OverheadReference {
    /// The first half of the latency window; the larger one is that of the second half.
    FirstHalf,
    /// The cell with the lowest load among those that differ in load alone, by its id.
    LowestLoad(String),
}

/// Compares the halves of the latency window of each repetition.
pub(super) fn between_halves(
    window: &Window,
    load_ms: &BTreeMap<u32, f64>,
    samples: &[Sample],
    p50_ms: Option<f64>,
) -> Option<OverheadGrowth> {
    let is_second = |sample: &&Sample| {
        let load_ms = load_ms.get(&sample.repetition).copied().unwrap_or(0.0);
        sample.start_ms >= window.start_ms.midpoint(load_ms)
    };
    let taken = || samples.iter().filter(|sample| window.includes(sample));
    let first = p95(taken().filter(|sample| !is_second(sample)))?;
    let second = p95(taken().filter(is_second))?;
    growth(first, second, p50_ms, OverheadReference::FirstHalf)
}

/// The p95 of the overhead, where the sample allows an interval with both ends.
pub(super) fn p95<'a>(samples: impl Iterator<Item = &'a Sample>) -> Option<Percentile> {
    let overhead = Latency::for_metric(samples, Population::Successes, Metric::BeyondServer);
    overhead.percentile(0.95).filter(|percentile| percentile.quality == Quality::Ok)
}

/// The growth from one p95 to another: it must matter, and their 95 % intervals must not overlap.
pub(super) fn growth(
    from: Percentile,
    to: Percentile,
    p50_ms: Option<f64>,
    against: OverheadReference,
) -> Option<OverheadGrowth> {
    let least_ms = LEAST_MS.max(LEAST_SHARE * p50_ms?);
    let is_sure = to.low_ms? > from.high_ms?;
    let growth = OverheadGrowth { from_ms: from.value_ms, to_ms: to.value_ms, against };
    (is_sure && to.value_ms - from.value_ms > least_ms).then_some(growth)
}

#[cfg(test)]
mod tests {
    use super::super::collect::tests::sample;
    use super::*;

    /// 20 requests per second for 20 s, of which the service says 200 ms; the client saw `beyond` more.
    fn samples(beyond_ms: impl Fn(u32) -> f64) -> Vec<Sample> {
        let sent = |n: u32| {
            let service_ms = 200.0 + beyond_ms(n);
            let (start_ms, server_ms) = (f64::from(n) * 50.0, Some(200.0));
            Sample { start_ms, response_ms: service_ms, service_ms, server_ms, ..sample() }
        };
        (0..400).map(sent).collect()
    }

    fn halves(samples: &[Sample]) -> Option<OverheadGrowth> {
        let window = Window { start_ms: 0.0, length_s: 20.0, settled: true };
        between_halves(&window, &BTreeMap::from([(1, 20_000.0)]), samples, Some(210.0))
    }

    #[test]
    fn growing_overhead_is_found() {
        let grown = halves(&samples(|n| if n < 200 { 5.0 + f64::from(n % 7) } else { 80.0 + f64::from(n % 7) }));
        assert_eq!(grown, Some(OverheadGrowth { from_ms: 11.0, to_ms: 86.0, against: OverheadReference::FirstHalf }));
        assert_eq!(halves(&samples(|n| 5.0 + f64::from(n % 7))), None, "nothing grew");
        assert_eq!(halves(&samples(|n| if n < 200 { 80.0 } else { 5.0 })), None, "it shrank");
        assert_eq!(halves(&samples(|n| if n < 200 { 5.0 } else { 50.0 })), None, "too little to matter");
        assert_eq!(halves(&samples(|n| if n == 390 { 900.0 } else { 5.0 })), None, "one request is no p95");
        let few: Vec<Sample> = samples(|n| if n < 200 { 5.0 } else { 500.0 }).into_iter().step_by(10).collect();
        assert_eq!(halves(&few), None, "a p95 of 20 requests has no interval");
        let silent: Vec<Sample> = samples(|n| if n < 200 { 5.0 } else { 500.0 })
            .into_iter()
            .map(|s| Sample { server_ms: None, ..s })
            .collect();
        assert_eq!(halves(&silent), None, "the service reports no latency");
    }

    #[test]
    fn stalled_requests_do_not_count_as_overhead() {
        let mut samples = samples(|n| if n < 200 { 5.0 } else { 500.0 });
        samples[200..].iter_mut().for_each(|sample| sample.unfit = Some(crate::record::ExclusionReason::ClientStalled));
        assert_eq!(halves(&samples), None);
    }
}
