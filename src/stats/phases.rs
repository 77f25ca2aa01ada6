//! Statistics of a cell by the phase in which requests were sent.

use super::latency::{Latency, Population};
use super::sample::Sample;
use crate::record::Phase;
use crate::result::Counts;

/// One phase of a cell.
#[derive(Debug)]
pub(crate) struct PhaseSummary {
    pub(crate) phase: Phase,
    /// Of the requests that were sent in it.
    pub(crate) counts: Counts,
    /// As the cell's.
    pub(crate) latency: Latency,
}

/// The phases in which anything was sent, in their order.
pub(super) fn summarise_phases(samples: &[Sample], population: Population) -> Vec<PhaseSummary> {
    [Phase::Ramp, Phase::Steady, Phase::Drain]
        .into_iter()
        .map(|phase| {
            let of_it = || samples.iter().filter(move |sample| sample.phase == phase);
            let latency = Latency::from_samples(of_it().filter(|sample| sample.unfit.is_none()), population);
            PhaseSummary { phase, counts: Counts::from_samples(of_it()), latency }
        })
        .filter(|phase| phase.counts.total > 0)
        .collect()
}
