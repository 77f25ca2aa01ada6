//! Whether requests are good: within every limit of `[goodput]`.

use super::sample::Sample;
use crate::matrix::Cell;
use crate::plan::{Api, Goodput};
use crate::record::{ExclusionReason, Outcome};

/// Returns whether limits are set that can be met: a reply that is not streamed has no first token.
pub(super) fn has_goodput(cell: &Cell, goodput: &Goodput) -> bool {
    let of_streams = goodput.ttft.is_some() || goodput.tpot.is_some();
    !goodput.is_unset() && (cell.api == Api::ConverseStream || !of_streams)
}

/// Returns whether a request met every limit. The delay of a late start is included.
pub(super) fn is_good(sample: &Sample, goodput: &Goodput) -> bool {
    let late_ms = sample.response_ms - sample.service_ms;
    let meets = |limit: Option<std::time::Duration>, ms: Option<f64>| match (limit, ms) {
        (None, _) => true,
        (Some(limit), Some(ms)) => ms <= crate::units::ms(limit),
        (Some(_), None) => false,
    };
    let from_start = |ms: f64| ms + late_ms;
    // A reply of one token has no time per token, and breaks no limit on it.
    let tpot = sample.tpot_ms.or((sample.ttft_ms.is_some() && sample.output_tokens == Some(1)).then_some(0.0));
    sample.outcome == Outcome::Succeeded
        && sample.unfit != Some(ExclusionReason::Blocked)
        && meets(goodput.ttft, sample.ttft_ms.map(from_start))
        && meets(goodput.tpot, tpot)
        && meets(goodput.e2e, Some(sample.e2e_ms.map_or(sample.response_ms, from_start)))
}
