//! Shards of a run: the client health of each, and missing shards. Latency is never split by shard.

use super::client::{IDLE_SHARE, UserTimeBalance};
use super::part::Part;
use super::sample::Sample;
use super::stalls::Standstill;
use super::window::Window;
use crate::matrix::{Cell, format_shards};
use crate::record::Phase;
use crate::record::manifest::{CellRunReport, Manifest, ShardPart, Shards};
use crate::result::ClientMeasurements;
use std::collections::BTreeMap;

/// Client health of one shard.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ShardHealth {
    /// From 0.
    pub(crate) shard: u32,
    /// The shard finished every cell run.
    pub(crate) is_whole: bool,
    /// Its requests, ramp and drain included.
    pub(crate) requests: u64,
    /// Largest delay of the load after the barrier by the local clock, milliseconds.
    pub(crate) late_ms: Option<f64>,
    /// Measurements of this shard.
    pub(crate) raw: ClientMeasurements,
    /// Stalls; `None` without.
    pub(crate) standstill: Option<Standstill>,
    /// Balance of the users' time.
    pub(super) balance: UserTimeBalance,
    /// Why the shard makes the cell INVALID; empty if it does not.
    pub(crate) invalid: Vec<String>,
}

impl ShardHealth {
    /// Its users' time that is neither thought nor waited for an answer, 0 to 1 (closed loop).
    pub(crate) fn idle_share(&self) -> Option<f64> {
        self.balance.idle_share()
    }

    /// Returns whether users were idle.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle_share().is_some_and(|share| share > IDLE_SHARE)
    }
}

/// Computes the client health per shard; empty without shards.
pub(super) fn shard_health<'a>(
    cell: &Cell,
    manifest: &Manifest,
    turns: &'a [CellRunReport],
    window: &Window,
    samples: &[Sample],
    limit_ms: f64,
    stall_limit_ms: f64,
) -> Vec<ShardHealth> {
    let Some(shards) = &manifest.shards else { return Vec::new() };
    let mut sent: BTreeMap<u32, Vec<&Sample>> = BTreeMap::new();
    for shard in turns.iter().flat_map(CellRunReport::machines).filter_map(|part| part.shard) {
        sent.entry(shard).or_default();
    }
    for sample in samples {
        if let Some(shard) = sample.shard {
            sent.entry(shard.into()).or_default().push(sample);
        }
    }
    let machine = |(shard, samples): (u32, Vec<&Sample>)| {
        let here = shards.parts.iter().find(|part| part.index == shard);
        let cores = here.map_or(&manifest.machine, |part| &part.machine).allowed_cores();
        let part = |turn: &'a CellRunReport| {
            let report = turn.machines().iter().find(|part| part.shard == Some(shard))?;
            Some(Part { report, until_ms: turn.load_ms })
        };
        let parts: Vec<Part> = turns.iter().filter_map(part).collect();
        let standstill = Standstill::from_parts(&parts, window, stall_limit_ms);
        let raw = ClientMeasurements::new(cores, &parts, window, samples.iter().copied())
            .with_standstill(standstill.as_ref());
        let mut invalid = raw.invalid(limit_ms);
        invalid.extend(standstill.filter(|standstill| standstill.exceeds(window)).map(|standstill| standstill.text()));
        ShardHealth {
            shard,
            is_whole: parts.len() == turns.len(),
            requests: samples.len() as u64,
            late_ms: parts.iter().filter_map(|part| part.report.late_ms).max_by(f64::total_cmp),
            balance: if cell.is_open() {
                UserTimeBalance::default()
            } else {
                UserTimeBalance::new(&parts, samples.iter().copied())
            },
            standstill,
            invalid,
            raw,
        }
    };
    sent.into_iter().map(machine).collect()
}

/// Ends the load of every cell run for all shards when the first one ends: later sends and requests then in flight belong
/// to the drain.
pub(super) fn end_together(turns: &[CellRunReport], samples: &mut [Sample]) {
    for turn in turns.iter().filter(|turn| turn.parts.iter().any(|part| part.load_ms > turn.load_ms)) {
        for sample in samples.iter_mut().filter(|sample| sample.repetition == turn.repetition) {
            sample.is_late = sample.start_ms > turn.load_ms;
            let was_running = sample.phase == Phase::Steady && sample.start_ms + sample.response_ms > turn.load_ms;
            if sample.is_late || was_running {
                sample.phase = Phase::Drain;
            }
        }
    }
}

/// Describes shards without a report of some cell run: `shard 2 of 4 is missing`, or `was cut off` if it left partial
/// results; `None` if all are complete.
pub(super) fn missing_shards(manifest: &Manifest, turns: &[CellRunReport]) -> Option<String> {
    let Shards { count, parts, .. } = manifest.shards.as_ref().filter(|shards| shards.count > 1)?;
    let count = *count;
    let lacks = |turn: &CellRunReport, shard: u32| turn.machines().iter().all(|part| part.shard != Some(shard));
    let missing: Vec<u32> = (0..count).filter(|shard| turns.iter().any(|turn| lacks(turn, *shard))).collect();
    let is_here = |shard: &u32| parts.iter().any(|part| part.index == *shard);
    let what = match (missing.iter().all(is_here), &missing[..]) {
        (_, []) => return None,
        (true, [_]) => "was cut off",
        (true, _) => "were cut off",
        (false, [_]) => "is missing",
        (false, _) => "are missing",
    };
    Some(format!("{} {what}", describe_shards(&missing, count)))
}

/// `shard 2 of 4`, `shards 1 and 3 of 4`, `shards 0, 1, 2 and 9 more of 16`.
pub(crate) fn describe_shards(shards: &[u32], count: u32) -> String {
    format!("{} of {count}", list_shards(shards))
}

/// Lists shards without the total.
pub(crate) fn list_shards(shards: &[u32]) -> String {
    format_shards(shards, 4)
}

/// Returns the verb that follows the list.
pub(crate) fn is_or_are(shards: &[u32]) -> &'static str {
    if shards.len() == 1 { "is" } else { "are" }
}

/// Returns the shards that report an unsynchronised clock.
pub(crate) fn unsynchronised_shards(parts: &[ShardPart]) -> Vec<u32> {
    let is_loose = |part: &&ShardPart| part.clock.is_some_and(|clock| !clock.synchronised);
    parts.iter().filter(is_loose).map(|part| part.index).collect()
}

#[cfg(test)]
mod tests {
    use super::super::collect::tests::{sample, turn};
    use super::*;

    /// A turn of machines whose loads had these lengths, with one user each who thinks half of the time.
    fn merged(lengths_ms: &[f64]) -> CellRunReport {
        let part = |(shard, load_ms): (u32, &f64)| CellRunReport {
            load_ms: *load_ms,
            user_ms: *load_ms,
            think_ms: load_ms / 2.0,
            shard: Some(shard),
            ..turn()
        };
        let load_ms = lengths_ms.iter().copied().fold(f64::INFINITY, f64::min);
        CellRunReport { load_ms, parts: (0..).zip(lengths_ms).map(part).collect(), ..turn() }
    }

    fn sent(shard: u16, start_ms: f64, response_ms: f64) -> Sample {
        Sample { shard: Some(shard), start_ms, response_ms, ..sample() }
    }

    #[test]
    fn load_of_all_shards_ends_with_the_first() {
        let turns = [merged(&[1_000.0, 600.0])];
        let mut samples = [
            sent(0, 100.0, 100.0),
            sent(0, 550.0, 100.0),
            sent(0, 700.0, 100.0),
            sent(1, 599.0, 1.0),
            Sample { phase: Phase::Ramp, ..sent(0, 590.0, 100.0) },
            Sample { phase: Phase::Ramp, ..sent(0, 601.0, 100.0) },
            Sample { repetition: 2, ..sent(0, 700.0, 100.0) },
        ];
        end_together(&turns, &mut samples);
        let flags = samples.map(|sample| (sample.phase, sample.is_late));
        let (ramp, steady, drain) = (Phase::Ramp, Phase::Steady, Phase::Drain);
        let expected = [
            (steady, false),
            (drain, false),
            (drain, true),
            (steady, false),
            (ramp, false),
            (drain, true),
            (steady, false),
        ];
        assert_eq!(flags, expected);
        let alone = [CellRunReport { load_ms: 600.0, ..turn() }];
        let mut samples = [sent(0, 700.0, 100.0)];
        end_together(&alone, &mut samples);
        assert!(!samples[0].is_late, "of one machine nothing is");
    }

    /// Little's law adds up only where each machine's sums are cut at its own end.
    #[test]
    fn idle_users_are_attributed_to_their_shard() {
        let turns = [merged(&[1_000.0, 600.0])];
        // The first waits for 400 of its other 500 ms, all of the second's 300 ms are an answer that lasts longer.
        let samples = [sent(0, 100.0, 100.0), sent(0, 700.0, 400.0), sent(1, 300.0, 500.0)];
        let of = |shard: u16| {
            let part = Part { report: &turns[0].parts[usize::from(shard)], until_ms: turns[0].load_ms };
            UserTimeBalance::new(&[part], samples.iter().filter(|sample| sample.shard == Some(shard)))
        };
        let near = |share: Option<f64>, expected: f64| (share.unwrap() - expected).abs() < 1e-12;
        assert!(near(of(0).idle_share(), 0.1), "{:?}", of(0));
        assert!(near(of(1).idle_share(), 0.0), "{:?}", of(1));
        assert!(near([of(0), of(1)].into_iter().sum::<UserTimeBalance>().idle_share(), 100.0 / 1_600.0));
    }

    #[test]
    fn long_shard_lists_are_abbreviated() {
        assert_eq!(describe_shards(&[2], 4), "shard 2 of 4");
        assert_eq!(describe_shards(&[1, 3], 4), "shards 1 and 3 of 4");
        assert_eq!(describe_shards(&[1, 2, 3, 5], 8), "shards 1, 2, 3 and 5 of 8");
        assert_eq!(describe_shards(&(4..16).collect::<Vec<_>>(), 16), "shards 4, 5, 6 and 9 more of 16");
    }
}
