//! Merges the results of shards into one run: records ordered by their ends, and per cell run one report with those of the
//! shards. Percentiles are computed over all records and never merged.
//!
//! A merge is a function of the set of parts: their order and the number of steps do not matter. Knows run directories, not
//! how they are transferred.

use super::dir::{DirError, JOURNAL, RunDir};
use super::disturbance::Disturbances;
use super::manifest::{CellRunEnd, CellRunReport, Manifest, Second, Shards};
use super::read::{ReadError, RecordOwner, Records};
use super::seen::SeenRequests;
use crate::files::Directory;
use crate::units::explained::Explained;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// Why parts cannot be merged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    /// The parts belong to different runs.
    #[error("shards {one} and {other} belong to different runs: {difference}")]
    DifferentRuns { one: u32, other: u32, difference: String },
    /// Two parts contain the same shard.
    #[error("duplicate shard {0}")]
    DuplicateShard(u32),
    /// The directory does not contain results of a shard.
    #[error("{0} is not the results directory of a shard")]
    NotAShard(PathBuf),
    /// Two parts contain a record of the same request.
    #[error("{test_id}: duplicate record of request {seq} (repetition {repetition})")]
    DuplicateRequest { test_id: String, repetition: u32, seq: u64 },
    /// A part that cannot be read.
    #[error("{0}")]
    Read(#[from] ReadError),
}

impl Explained for MergeError {}

/// Merges manifests, each of which belongs to a shard or to an earlier merge.
///
/// # Errors
/// If they belong to different runs, or two contain the same shard.
pub(crate) fn manifests(mut parts: Vec<Manifest>) -> Result<Manifest, MergeError> {
    // Values that may differ between shards (origins, results directories) are those of the first one.
    parts.sort_by_key(lowest_shard);
    let mut parts = parts.into_iter();
    let Some(mut whole) = parts.next() else { unreachable!("a merge has at least one part") };
    for part in parts {
        check_same_run(&whole, &part)?;
        whole = merge_two(whole, part)?;
    }
    Ok(canonical(whole))
}

/// Returns the lowest index of the included shards.
fn lowest_shard(manifest: &Manifest) -> u32 {
    manifest.shards.iter().flat_map(|shards| &shards.parts).map(|part| part.index).min().unwrap_or(0)
}

/// A value that all parts of a run share.
type Fact = (&'static str, fn(&Manifest) -> String);

/// Requires that two parts belong to the same run.
fn check_same_run(one: &Manifest, other: &Manifest) -> Result<(), MergeError> {
    let count = |manifest: &Manifest| manifest.shards.as_ref().map_or(1, |shards| shards.count).to_string();
    let facts: [Fact; 6] = [
        ("the version of bedrock-plan", |manifest| manifest.tool_version.clone()),
        ("the plan", |manifest| manifest.plan_hash.clone()),
        ("the run", |manifest| manifest.run_id.clone()),
        ("the seed", |manifest| manifest.seed.to_string()),
        ("the endpoint", |manifest| manifest.endpoint.clone()),
        ("the region", |manifest| manifest.region.clone().unwrap_or_else(|| "none".into())),
    ];
    let differing = facts.iter().map(|(name, get)| (*name, get(one), get(other)));
    for (name, ones, others) in differing.chain([("the number of shards", count(one), count(other))]) {
        if ones != others {
            let difference = format!("{name} is `{ones}` in the first and `{others}` in the second");
            return Err(MergeError::DifferentRuns { one: lowest_shard(one), other: lowest_shard(other), difference });
        }
    }
    Ok(())
}

fn merge_two(mut one: Manifest, other: Manifest) -> Result<Manifest, MergeError> {
    if let (Some(ours), Some(theirs)) = (&mut one.shards, other.shards) {
        if let Some(twice) = theirs.parts.iter().find(|their| ours.parts.iter().any(|our| our.index == their.index)) {
            return Err(MergeError::DuplicateShard(twice.index));
        }
        ours.parts.extend(theirs.parts);
    }
    for cell_run in other.planned_runs {
        one.planned_runs.push(cell_run);
    }
    // If lines of one part may lack a checksum, merged lines may, too.
    one.format = one.format.min(other.format);
    one.interrupted |= other.interrupted;
    one.simulator = one.simulator.or(other.simulator);
    one.ended_ms = one.ended_ms.zip(other.ended_ms).map(|(one, other)| one.max(other));
    // Only the first shard runs the pre-flight.
    for (ours, theirs) in one.preflight.iter_mut().zip(other.preflight) {
        if ours.finding.is_none() {
            *ours = theirs;
        }
    }
    // The largest error of the machines applies to all.
    one.calibration = match (one.calibration, other.calibration) {
        (Some(one), Some(other)) if other.worst_ms() > one.worst_ms() => Some(other),
        (one, other) => one.or(other),
    };
    Ok(one)
}

/// Brings a merged manifest into an order that does not depend on that of its parts.
fn canonical(mut whole: Manifest) -> Manifest {
    if let Some(Shards { count, parts, .. }) = whole.shards.take() {
        let shards = whole.shards.insert(Shards::new(count, parts));
        if let Some(first) = shards.parts.first() {
            whole.machine = first.machine.clone();
        }
        // If a part has no end, the run has none.
        let ends: Option<Vec<u64>> = shards.parts.iter().map(|part| part.ended_ms).collect();
        whole.ended_ms = ends.and_then(|ends| ends.into_iter().max());
    }
    let mut parts: HashMap<(String, u32, u32), Vec<CellRunReport>> = HashMap::new();
    for mut cell_run in std::mem::take(&mut whole.planned_runs) {
        let own = std::mem::take(&mut cell_run.parts);
        for part in if own.is_empty() { vec![cell_run] } else { own } {
            parts.entry((part.test_id.clone(), part.repetition, part.attempt)).or_default().push(part);
        }
    }
    for place in &whole.order {
        let id = whole.cells[place.cell].cell.id.clone();
        let mut own = parts.remove(&(id, place.repetition, place.attempt)).unwrap_or_default();
        own.sort_by_key(|part| part.shard);
        whole.planned_runs.extend(merge_reports(own));
    }
    whole
}

/// Merges the reports of a cell run on all shards; `None` without reports. Times count from the start of each shard, like
/// those of records. The load ends with that of the first shard with requests: a shard without users or requests ends at
/// once and shortens nothing.
fn merge_reports(parts: Vec<CellRunReport>) -> Option<CellRunReport> {
    let worst = parts.iter().max_by_key(|part| severity(part.end))?.clone();
    let sum = |get: fn(&CellRunReport) -> u64| parts.iter().map(get).sum();
    let total = |get: fn(&CellRunReport) -> f64| parts.iter().map(get).sum();
    let started_ms = parts.iter().map(|part| part.started_ms).min().unwrap_or(worst.started_ms);
    let length = |part: &CellRunReport| part.ended_ms.saturating_sub(part.started_ms);
    let has_load = |part: &&CellRunReport| part.requests > 0 || parts.iter().all(|part| part.requests == 0);
    Some(CellRunReport {
        started_ms,
        ended_ms: started_ms + parts.iter().map(length).max().unwrap_or(0),
        load_ms: parts.iter().filter(has_load).map(|part| part.load_ms).fold(f64::INFINITY, f64::min),
        reason: reason(&parts, &worst),
        requests: sum(|part| part.requests),
        connections_opened: sum(|part| part.connections_opened),
        connections_reused: sum(|part| part.connections_reused),
        dropped: sum(|part| part.dropped),
        starts_waited: parts.iter().filter_map(|part| part.starts_waited).reduce(|one, other| one + other),
        user_ms: total(|part| part.user_ms),
        think_ms: total(|part| part.think_ms),
        series: series(&parts),
        shard: None,
        late_ms: None,
        disturbances: Disturbances::default(),
        parts,
        ..worst
    })
}

/// Returns the reason of the end, with the shard unless all shards share it.
fn reason(parts: &[CellRunReport], worst: &CellRunReport) -> Option<String> {
    let reason = worst.reason.as_ref()?;
    match worst.shard.filter(|_| parts.iter().any(|part| part.reason.as_ref() != Some(reason))) {
        Some(shard) => Some(format!("shard {shard}: {reason}")),
        None => Some(reason.clone()),
    }
}

fn severity(end: CellRunEnd) -> u8 {
    match end {
        CellRunEnd::Finished => 0,
        CellRunEnd::FailedEarly => 1,
        CellRunEnd::Aborted => 2,
        CellRunEnd::OutOfBudget => 3,
        CellRunEnd::DailyQuota => 4,
        CellRunEnd::LostCredentials => 5,
        CellRunEnd::Interrupted => 6,
    }
}

/// Merges the samples per second: sums over shards, and the maximum lateness. CPU time stays with each shard.
fn series(parts: &[CellRunReport]) -> Vec<Second> {
    let seconds = parts.iter().map(|part| part.series.len()).max().unwrap_or(0);
    let at = |second: usize| parts.iter().filter_map(move |part| part.series.get(second));
    let merged = |second: usize| Second {
        users: at(second).map(|one| one.users).fold(0, u32::saturating_add),
        in_flight: at(second).map(|one| one.in_flight).fold(0, u32::saturating_add),
        cpu_ms: None,
        ticker_ms: at(second).map(|one| one.ticker_ms).fold(0.0, f64::max),
        dropped: at(second).map(|one| one.dropped).fold(0, u32::saturating_add),
    };
    (0..seconds).map(merged).collect()
}

/// The position of a line in the journal of a part, and its sort key.
struct Line {
    timestamp: f64,
    shard: u32,
    part: usize,
    offset: u64,
    length: u64,
}

/// The lines of all parts in the order of the merged journal.
pub(crate) struct Lines(Vec<Line>);

/// Reads the records of all parts and orders them by their ends. Takes about 40 bytes of memory per record.
///
/// # Errors
/// If a part cannot be read, or two parts contain the same request.
pub(crate) fn lines(parts: &[(PathBuf, Manifest)], whole: &Manifest) -> Result<Lines, MergeError> {
    let mut lines = Vec::new();
    let mut seen = SeenRequests::default();
    for (index, (dir, manifest)) in parts.iter().enumerate() {
        let (mut shard, mut timestamp) = (lowest_shard(manifest), f64::NEG_INFINITY);
        let mut records = Records::open(dir, whole)?;
        while let Some(entry) = records.next_line() {
            // A line that does not count stays after the previous one: the report counts it.
            if let Some((owner, record)) = entry? {
                timestamp = record.timestamp;
                shard = record.shard.unwrap_or(shard);
                if let RecordOwner::Cell(cell) = owner
                    && record.phase.is_load()
                    && !seen.insert(cell, &record)
                {
                    let test_id = whole.cells[cell].cell.id.clone();
                    return Err(MergeError::DuplicateRequest {
                        test_id,
                        repetition: record.repetition,
                        seq: record.seq,
                    });
                }
            }
            let (offset, length) = records.place();
            lines.push(Line { timestamp, shard, part: index, offset, length });
        }
    }
    // Stable: requests of one machine that end in the same microsecond keep their order.
    lines.sort_by(|one, other| {
        one.timestamp.total_cmp(&other.timestamp).then(one.shard.cmp(&other.shard)).then(one.offset.cmp(&other.offset))
    });
    Ok(Lines(lines))
}

impl Lines {
    /// Writes the merged journal with unchanged lines. Returns their number.
    ///
    /// # Errors
    /// If a part can no longer be read, or the journal cannot be written.
    pub(crate) fn write(&self, parts: &[(PathBuf, Manifest)], to: &mut RunDir) -> Result<u64, DirError> {
        let path = to.path.join(JOURNAL);
        write(parts, &self.0, &mut to.journal).map_err(|source| DirError::Io { path, source })?;
        Ok(self.0.len() as u64)
    }
}

fn write(parts: &[(PathBuf, Manifest)], lines: &[Line], journal: &mut File) -> io::Result<()> {
    let open = |(dir, _): &(PathBuf, Manifest)| {
        Ok::<_, io::Error>(BufReader::with_capacity(1 << 18, Directory::open(dir)?.read(JOURNAL)?))
    };
    let mut readers = parts.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let mut at = vec![0_u64; parts.len()];
    let mut out = BufWriter::with_capacity(1 << 18, &mut *journal);
    for line in lines {
        let reader = &mut readers[line.part];
        // Mostly a seek by zero, which keeps the buffer.
        reader.seek_relative(line.offset as i64 - at[line.part] as i64)?;
        let copied = io::copy(&mut reader.take(line.length), &mut out)?;
        if copied < line.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at[line.part] = line.offset + line.length;
    }
    out.flush()?;
    drop(out);
    journal.sync_data()?;
    journal.seek(SeekFrom::End(0)).map(drop)
}

#[cfg(test)]
mod tests;
