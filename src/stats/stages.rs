//! Statistics per stage of a load profile.

use super::collect::Sample;
use super::latency::{Latency, Population};
use crate::matrix::Cell;
use crate::result::{Counts, Stage};
use crate::units::ms;

/// Returns all stages; empty for a cell without a profile. Repetitions are pooled.
pub(super) fn summarise_stages(cell: &Cell, turns: usize, samples: &[Sample], population: Population) -> Vec<Stage> {
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
            Stage {
                start_s: span.start / 1e3,
                length_s: length_ms / 1e3,
                users: stage.users,
                arrivals_per_sec: stage.rate,
                counts: Counts::from_samples(due()),
                response_time: Latency::from_samples(
                    due().filter(|sample| sample.unfit.is_none() && !sample.is_late),
                    population,
                )
                .times(&[]),
                requests_per_sec: ended.count() as f64 * 1e3 / (length_ms * turns.max(1) as f64),
            }
        })
        .collect()
}
