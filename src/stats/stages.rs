//! The stages of a load profile, each summarised on its own.

use super::collect::Sample;
use super::latency::{Latency, Population};
use super::summary::Counts;
use crate::matrix::Cell;
use crate::units::ms;

/// One stage of a cell.
#[derive(Debug)]
pub(crate) struct StageSummary {
    /// From the cell's start, milliseconds.
    pub(crate) start_ms: f64,
    /// Milliseconds.
    pub(crate) length_ms: f64,
    /// Users, where the stage is of users.
    pub(crate) users: Option<u32>,
    /// Arrivals per second, where it is of arrivals.
    pub(crate) rate: Option<f64>,
    /// Of the requests that were due in it.
    pub(crate) counts: Counts,
    /// As the cell's.
    pub(crate) latency: Latency,
    /// Requests of any outcome that ended in it, per second.
    pub(crate) requests_per_sec: f64,
}

/// All stages; none for a cell without a profile. Repetitions are pooled.
pub(super) fn summarise_stages(
    cell: &Cell,
    turns: usize,
    samples: &[Sample],
    population: Population,
) -> Vec<StageSummary> {
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
            StageSummary {
                start_ms: span.start,
                length_ms,
                users: stage.users,
                rate: stage.rate,
                counts: Counts::from_samples(due()),
                latency: Latency::from_samples(
                    due().filter(|sample| sample.unfit.is_none() && !sample.is_late),
                    population,
                ),
                requests_per_sec: ended.count() as f64 * 1e3 / (length_ms * turns.max(1) as f64),
            }
        })
        .collect()
}
