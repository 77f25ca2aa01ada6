//! One run of what its machines left: records by the time of their end, and of each turn one report that
//! still has every machine's own. Percentiles are never merged: they are taken over all records.
//!
//! A merge is a function of the set of parts: it does not matter in which order, or in how many steps,
//! they come. Knows run directories; not how they got here.

use super::dir::{DirError, JOURNAL, RunDir};
use super::disturbance::Disturbances;
use super::manifest::{Manifest, Second, Shards, TurnEnd, TurnReport};
use super::read::{Of, ReadError, Records};
use super::seen::Seen;
use crate::files::Directory;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// Why parts are not those of one run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    /// They differ where parts of one run agree.
    #[error("shards {one} and {other} are not of one run: {what}")]
    Differ {
        /// An index.
        one: u32,
        /// Another one.
        other: u32,
        /// What differs, with both values.
        what: String,
    },
    /// The same shard twice.
    #[error("shard {0} is there twice")]
    Twice(u32),
    /// Not what a shard leaves.
    #[error("{0} is not the results directory of a shard")]
    NoShard(PathBuf),
    /// Two records of one request.
    #[error("{test_id}: request {seq} (repetition {repetition}) is in the records twice")]
    Overlap {
        /// The cell.
        test_id: String,
        /// Counted from 1.
        repetition: u32,
        /// The record's number.
        seq: u64,
    },
    /// A part that cannot be read.
    #[error("{0}")]
    Read(#[from] ReadError),
}

/// The manifest of all parts together, each of which is what one shard or an earlier merge left.
///
/// # Errors
/// When they are not of one run, or hold one shard twice.
pub(crate) fn manifests(mut parts: Vec<Manifest>) -> Result<Manifest, MergeError> {
    // What may differ between machines (where a value came from, where results went) is the first one's.
    parts.sort_by_key(first);
    let mut parts = parts.into_iter();
    let Some(mut whole) = parts.next() else { unreachable!("nobody merges nothing") };
    for part in parts {
        same_run(&whole, &part)?;
        whole = two(whole, part)?;
    }
    Ok(canonical(whole))
}

/// The lowest index of the shards that are in it.
fn first(manifest: &Manifest) -> u32 {
    manifest.shards.iter().flat_map(|shards| &shards.parts).map(|part| part.index).min().unwrap_or(0)
}

/// Something that parts of one run agree in.
type Fact = (&'static str, fn(&Manifest) -> String);

/// Parts of one run agree in this.
fn same_run(one: &Manifest, other: &Manifest) -> Result<(), MergeError> {
    let count = |manifest: &Manifest| manifest.shards.as_ref().map_or(1, |shards| shards.count).to_string();
    let facts: [Fact; 6] = [
        ("the version of bedrock-plan", |manifest| manifest.tool_version.clone()),
        ("the plan", |manifest| manifest.plan_hash.clone()),
        ("the run", |manifest| manifest.run_id.clone()),
        ("the seed", |manifest| manifest.seed.to_string()),
        ("the endpoint", |manifest| manifest.endpoint.clone()),
        ("the region", |manifest| manifest.region.clone().unwrap_or_else(|| "none".into())),
    ];
    let differing = facts.iter().map(|(what, of)| (*what, of(one), of(other)));
    for (what, ones, others) in differing.chain([("the number of shards", count(one), count(other))]) {
        if ones != others {
            let what = format!("{what} is {ones} in the first and {others} in the second");
            return Err(MergeError::Differ { one: first(one), other: first(other), what });
        }
    }
    Ok(())
}

fn two(mut one: Manifest, other: Manifest) -> Result<Manifest, MergeError> {
    if let (Some(ours), Some(theirs)) = (&mut one.shards, other.shards) {
        if let Some(twice) = theirs.parts.iter().find(|their| ours.parts.iter().any(|our| our.index == their.index)) {
            return Err(MergeError::Twice(twice.index));
        }
        ours.parts.extend(theirs.parts);
    }
    for turn in other.turns {
        one.turns.push(turn);
    }
    // Where lines of one may lack a checksum, lines of both may.
    one.format = one.format.min(other.format);
    one.interrupted |= other.interrupted;
    one.simulator = one.simulator.or(other.simulator);
    one.ended_ms = one.ended_ms.zip(other.ended_ms).map(|(one, other)| one.max(other));
    // The first shard alone asks before the load.
    for (ours, theirs) in one.preflight.iter_mut().zip(other.preflight) {
        if ours.finding.is_none() {
            *ours = theirs;
        }
    }
    // The worst of several machines is what can be promised of all.
    one.calibration = match (one.calibration, other.calibration) {
        (Some(one), Some(other)) if other.worst_ms() > one.worst_ms() => Some(other),
        (one, other) => one.or(other),
    };
    Ok(one)
}

/// The same for every order in which the parts came.
fn canonical(mut whole: Manifest) -> Manifest {
    if let Some(Shards { count, parts, .. }) = whole.shards.take() {
        let shards = whole.shards.insert(Shards::of(count, parts));
        if let Some(first) = shards.parts.first() {
            whole.machine = first.machine.clone();
        }
        // Where a part has no end, neither has the run.
        let ends: Option<Vec<u64>> = shards.parts.iter().map(|part| part.ended_ms).collect();
        whole.ended_ms = ends.and_then(|ends| ends.into_iter().max());
    }
    let mut parts: Vec<TurnReport> = Vec::new();
    for mut turn in std::mem::take(&mut whole.turns) {
        if turn.parts.is_empty() {
            parts.push(turn);
        } else {
            parts.append(&mut turn.parts);
        }
    }
    for place in &whole.order {
        let id = &whole.cells[place.cell].cell.id;
        let of_it = |turn: &TurnReport| {
            turn.test_id == *id && turn.repetition == place.repetition && turn.attempt == place.attempt
        };
        let mut own: Vec<TurnReport> = parts.extract_if(.., |turn| of_it(turn)).collect();
        own.sort_by_key(|part| part.shard);
        whole.turns.extend(together(own));
    }
    whole
}

/// How a turn went on all machines together; nothing if it was nowhere. Its time is each machine's own from its own
/// start, as that of records is, and its load ends with the first of those that had any: one without users, or without
/// requests left to it, ends at once, and takes none from the others.
fn together(parts: Vec<TurnReport>) -> Option<TurnReport> {
    let worst = parts.iter().max_by_key(|part| badness(part.end))?.clone();
    let sum = |of: fn(&TurnReport) -> u64| parts.iter().map(of).sum();
    let total = |of: fn(&TurnReport) -> f64| parts.iter().map(of).sum();
    let started_ms = parts.iter().map(|part| part.started_ms).min().unwrap_or(worst.started_ms);
    let length = |part: &TurnReport| part.ended_ms.saturating_sub(part.started_ms);
    let has_load = |part: &&TurnReport| part.requests > 0 || parts.iter().all(|part| part.requests == 0);
    Some(TurnReport {
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

/// Why the turn ended as it did, with the machine where it is not the reason of all of them.
fn reason(parts: &[TurnReport], worst: &TurnReport) -> Option<String> {
    let reason = worst.reason.as_ref()?;
    match worst.shard.filter(|_| parts.iter().any(|part| part.reason.as_ref() != Some(reason))) {
        Some(shard) => Some(format!("shard {shard}: {reason}")),
        None => Some(reason.clone()),
    }
}

fn badness(end: TurnEnd) -> u8 {
    match end {
        TurnEnd::Finished => 0,
        TurnEnd::FailedEarly => 1,
        TurnEnd::Aborted => 2,
        TurnEnd::OutOfBudget => 3,
        TurnEnd::DailyQuota => 4,
        TurnEnd::LostCredentials => 5,
        TurnEnd::Interrupted => 6,
    }
}

/// Second by second: what was there together, and the worst of what a machine did. CPU time is each machine's own.
fn series(parts: &[TurnReport]) -> Vec<Second> {
    let seconds = parts.iter().map(|part| part.series.len()).max().unwrap_or(0);
    let at = |second: usize| parts.iter().filter_map(move |part| part.series.get(second));
    let together = |second: usize| Second {
        users: at(second).map(|one| one.users).fold(0, u32::saturating_add),
        in_flight: at(second).map(|one| one.in_flight).fold(0, u32::saturating_add),
        cpu_ms: None,
        ticker_ms: at(second).map(|one| one.ticker_ms).fold(0.0, f64::max),
        dropped: at(second).map(|one| one.dropped).fold(0, u32::saturating_add),
    };
    (0..seconds).map(together).collect()
}

/// Where a line of a part's journal is, and what orders it among all.
struct Line {
    timestamp: f64,
    shard: u32,
    part: usize,
    offset: u64,
    length: u64,
}

/// The records of all parts as they stand in the journal of all.
pub(crate) struct Lines(Vec<Line>);

/// Reads the records of all parts, and orders them by the time of their end. Takes some 40 bytes of memory per
/// record.
///
/// # Errors
/// When a part cannot be read, or a request is there twice.
pub(crate) fn lines(parts: &[(PathBuf, Manifest)], whole: &Manifest) -> Result<Lines, MergeError> {
    let mut lines = Vec::new();
    let mut seen = Seen::default();
    for (index, (dir, manifest)) in parts.iter().enumerate() {
        let (mut shard, mut timestamp) = (first(manifest), f64::NEG_INFINITY);
        let mut records = Records::open(dir, whole)?;
        while let Some(entry) = records.next_line() {
            // A line that does not count stays behind the one before it: it is for the report to say so.
            if let Some((of, record)) = entry? {
                timestamp = record.timestamp;
                shard = record.shard.unwrap_or(shard);
                if let Of::Cell(cell) = of
                    && record.phase.is_load()
                    && !seen.insert(cell, &record)
                {
                    let test_id = whole.cells[cell].cell.id.clone();
                    return Err(MergeError::Overlap { test_id, repetition: record.repetition, seq: record.seq });
                }
            }
            let (offset, length) = records.place();
            lines.push(Line { timestamp, shard, part: index, offset, length });
        }
    }
    // Stable: what ended in one microsecond on one machine stays in its order.
    lines.sort_by(|one, other| {
        one.timestamp.total_cmp(&other.timestamp).then(one.shard.cmp(&other.shard)).then(one.offset.cmp(&other.offset))
    });
    Ok(Lines(lines))
}

impl Lines {
    /// Writes the journal of all: each line as it was. Returns how many there are.
    ///
    /// # Errors
    /// When a part cannot be read any more, or the journal cannot be written.
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
        // Relative and mostly by nothing, so that the buffer stays.
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
