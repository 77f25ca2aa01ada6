//! Statistics per stage of a load profile.

use super::blocks::TimeBlocks;
use super::latency::{Latency, Population};
use super::sample::Sample;
use crate::matrix::Cell;
use crate::result::{Counts, Stage};
use crate::units::ms;
use std::collections::BTreeMap;

/// Returns all stages; empty for a cell without a profile. Repetitions are pooled.
pub(super) fn summarise_stages(
    cell: &Cell,
    load_ms: &BTreeMap<u32, f64>,
    samples: &[Sample],
    population: Population,
) -> Vec<Stage> {
    let Some(profile) = &cell.profile else { return Vec::new() };
    profile
        .spans()
        .map(|(start, stage)| {
            let span = ms(start)..ms(start + stage.length());
            let due = || samples.iter().filter(|sample| span.contains(&sample.start_ms));
            let ended = samples.iter().filter(|sample| {
                sample.outcome != crate::record::Outcome::Censored
                    && span.contains(&(sample.start_ms + sample.response_ms))
            });
            let length_ms = span.end - span.start;
            let ends = load_ms.iter().map(|(repetition, load_ms)| (*repetition, load_ms.min(span.end)));
            let blocks = TimeBlocks::new(span.start, &ends.collect());
            let measured: Vec<Sample> = due()
                .filter(|sample| sample.unfit.is_none() && !sample.is_late)
                .map(|sample| Sample { block: blocks.index(sample.repetition, sample.start_ms), ..*sample })
                .collect();
            Stage {
                start_s: span.start / 1e3,
                length_s: length_ms / 1e3,
                users: stage.users,
                arrivals_per_sec: stage.rate,
                counts: Counts::from_samples(due()),
                response_time: Latency::from_samples(&measured, population).times(&[]),
                requests_per_sec: ended.count() as f64 * 1e3 / (length_ms * load_ms.len().max(1) as f64),
            }
        })
        .collect()
}
