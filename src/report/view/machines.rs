//! The machines of a run that several made: which of them are here, how far apart they began, and what each did
//! to the numbers of a cell.

use super::{disturbances, text};
use crate::record::manifest::{CellRunReport, Manifest, ShardPart};
use crate::stats::machine::{describe_shards, is_or_are, list_shards, unsynchronised_shards};
use crate::stats::{CellSummary, ShardHealth, Summary};
use serde::Serialize;

/// Machines that begin further apart than this make a load that is not whole for as long, milliseconds.
const FAR_MS: f64 = 1_000.0;

/// All of them.
#[derive(Debug, Serialize)]
pub(crate) struct MachinesView {
    /// How many there were to be.
    pub(crate) count: u32,
    /// All of them are here, and each came to its end.
    pub(crate) complete: bool,
    /// Those that are not here.
    pub(crate) missing: Vec<u32>,
    /// How far apart they began a cell at worst, each by its own clock.
    pub(crate) start_skew_ms: Option<f64>,
    /// `3 of 4`.
    pub(crate) shown: String,
    /// By their index, those that are missing too.
    pub(crate) rows: Vec<MachineRow>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub(crate) struct MachineRow {
    /// From 0.
    pub(crate) shard: u32,
    /// `ok`, `bad` where it is missing or did not come to its end.
    pub(crate) level: &'static str,
    /// What it is, where it is here.
    #[serde(skip)]
    pub(crate) part: Option<ShardPart>,
    /// Its name.
    pub(crate) host: String,
    /// `linux on x86_64, 2 cores`.
    pub(crate) kind: String,
    /// Whether something keeps its clock in step, and how far it is off at most.
    pub(crate) clock: String,
    /// Its requests in all cells.
    pub(crate) requests: u64,
    /// The same for people.
    pub(crate) shown_requests: String,
    /// By how much it began late at worst, milliseconds.
    pub(crate) late_ms: Option<f64>,
    /// The same for people.
    pub(crate) late: String,
    /// How it ended.
    pub(crate) end: String,
}

/// What one of them did to a cell, as people read it.
#[derive(Debug, Serialize)]
pub(crate) struct MachineHealthRow {
    /// From 0.
    pub(crate) shard: u32,
    /// Its name.
    pub(crate) host: String,
    /// Of the cell.
    pub(crate) requests: String,
    /// Milliseconds.
    pub(crate) late: String,
    /// Milliseconds.
    pub(crate) lag_p99: String,
    /// Milliseconds.
    pub(crate) ticker: String,
    /// Of its cores.
    pub(crate) cpu: String,
    /// Of its users' time; empty in an open loop.
    pub(crate) idle: String,
    /// `pass` or `fail`.
    pub(crate) state: &'static str,
    /// `ok`, or what is wrong.
    pub(crate) verdict: String,
}

/// Nothing where one machine made the run.
pub(super) fn view(manifest: &Manifest, summary: &Summary) -> Option<MachinesView> {
    let shards = manifest.shards.as_ref()?;
    let missing = shards.missing();
    Some(MachinesView {
        count: shards.count,
        complete: shards.complete,
        start_skew_ms: manifest.last_reports().iter().filter_map(CellRunReport::start_skew_ms).max_by(f64::total_cmp),
        shown: shards.shown(),
        missing,
        rows: (0..shards.count)
            .map(|shard| {
                let part = shards.parts.iter().find(|part| part.index == shard);
                let cells = summary.cells.iter().flat_map(|cell| &cell.health.machines);
                row(shard, part, cells.filter(|machine| machine.shard == shard))
            })
            .collect(),
    })
}

fn row<'a>(shard: u32, part: Option<&ShardPart>, cells: impl Iterator<Item = &'a ShardHealth> + Clone) -> MachineRow {
    let requests = cells.clone().map(|machine| machine.requests).sum();
    let late_ms = cells.filter_map(|machine| machine.late_ms).max_by(f64::total_cmp);
    let (end, is_good) = end(part);
    MachineRow {
        shard,
        level: if is_good { "ok" } else { "bad" },
        host: part.map_or_else(|| text::NOTHING.into(), |part| part.host.clone()),
        kind: part.map_or_else(|| text::NOTHING.into(), kind),
        clock: part.map_or_else(|| text::NOTHING.into(), clock),
        requests,
        shown_requests: part.map_or_else(|| text::NOTHING.into(), |_| text::thousands(requests as f64, 0)),
        late: text::ms_or_nothing(late_ms),
        late_ms,
        end,
        part: part.cloned(),
    }
}

fn kind(part: &ShardPart) -> String {
    let machine = &part.machine;
    let quota = disturbances::quota(machine);
    format!(
        "{} on {}, {} {}{quota}",
        machine.os,
        machine.arch,
        machine.cores,
        if machine.cores == 1 { "core" } else { "cores" }
    )
}

fn clock(part: &ShardPart) -> String {
    match part.clock {
        None => "not known".into(),
        Some(clock) if clock.synchronised => {
            format!("synchronised, off by {} ms at most", text::ms(clock.max_error_ms))
        }
        Some(_) => "not synchronised".into(),
    }
}

/// How a machine ended, and whether that is its plan's end.
fn end(part: Option<&ShardPart>) -> (String, bool) {
    let Some(part) = part else { return ("missing".into(), false) };
    let how = match (part.ended_ms, part.interrupted) {
        (None, _) => "killed",
        (_, true) => "interrupted",
        _ => "finished",
    };
    match &part.reason {
        Some(reason) if how == "finished" => (reason.clone(), false),
        Some(reason) => (format!("{how}: {reason}"), false),
        None => (how.into(), how == "finished"),
    }
}

/// What holds for the whole run: how it was made, and what is wrong with that.
pub(super) fn notes(manifest: &Manifest, machines: Option<&MachinesView>) -> Vec<String> {
    let (Some(machines), Some(shards)) = (machines, &manifest.shards) else { return Vec::new() };
    let mut notes = vec![format!("{} machines made these numbers{}", machines.shown, apart(machines, &shards.parts))];
    let missing = &machines.missing;
    if !missing.is_empty() {
        notes.push(format!(
            "{} {} missing: the load was another than the plan's, and no verdict is given on what {} not there for",
            describe_shards(missing, machines.count),
            is_or_are(missing),
            if missing.len() == 1 { "it was" } else { "they were" },
        ));
    }
    let loose = unsynchronised_shards(&shards.parts);
    if !loose.is_empty() {
        notes.push(format!(
            "{} not synchronised: how far apart the machines began is not known, and times of day are theirs",
            clocks(&loose)
        ));
    }
    if machines.start_skew_ms.is_some_and(|skew| skew > FAR_MS) {
        notes.push(
            "machines began more than 1 s apart: for so long at both ends of a cell the load was not whole".into(),
        );
    }
    notes
}

/// `the clock of shard 2 is`.
fn clocks(shards: &[u32]) -> String {
    let noun = if shards.len() == 1 { "clock" } else { "clocks" };
    format!("the {noun} of {} {}", list_shards(shards), is_or_are(shards))
}

/// How far apart they began, and what that is worth; of clocks that are not synchronised more is said elsewhere.
fn apart(machines: &MachinesView, parts: &[ShardPart]) -> String {
    let Some(skew) = machines.start_skew_ms else { return String::new() };
    let began = format!(", and began within {} ms of each other by their own clocks", text::ms(skew));
    let silent: Vec<u32> = parts.iter().filter(|part| part.clock.is_none()).map(|part| part.index).collect();
    if !silent.is_empty() {
        return format!("{began}; how far {} off is not known", clocks(&silent));
    }
    let errors = parts.iter().filter_map(|part| part.clock).map(|clock| clock.max_error_ms);
    match errors.max_by(f64::total_cmp) {
        Some(error) if unsynchronised_shards(parts).is_empty() => {
            format!("{began}, each of which is off by {} ms at most", text::ms(error))
        }
        _ => began,
    }
}

/// What each machine did to a cell, those that are missing too; empty where one machine made the run, or nothing ran.
pub(super) fn of_cell(manifest: &Manifest, summary: &CellSummary) -> Vec<MachineHealthRow> {
    let Some(shards) = manifest.shards.as_ref().filter(|_| !summary.health.machines.is_empty()) else {
        return Vec::new();
    };
    let row = |shard: u32| {
        let part = shards.parts.iter().find(|part| part.index == shard);
        let machine = summary.health.machines.iter().find(|machine| machine.shard == shard);
        let shown = |number: fn(&ShardHealth) -> Option<f64>| text::ms_or_nothing(machine.and_then(number));
        let share = |share: fn(&ShardHealth) -> Option<f64>| text::percent(machine.and_then(share));
        let (state, verdict) = match machine {
            Some(machine) if !machine.is_whole => ("fail", "did not finish this cell".into()),
            Some(machine) if !machine.invalid.is_empty() => ("fail", machine.invalid.join("; ")),
            Some(_) => ("pass", "ok".into()),
            None => ("fail", "missing".into()),
        };
        MachineHealthRow {
            shard,
            host: part.map_or_else(|| text::NOTHING.into(), |part| part.host.clone()),
            requests: machine
                .map_or_else(|| text::NOTHING.into(), |machine| text::thousands(machine.requests as f64, 0)),
            late: shown(|machine| machine.late_ms),
            lag_p99: shown(|machine| machine.raw.send_lag_p99_ms),
            ticker: shown(|machine| machine.raw.ticker_worst_ms),
            cpu: share(|machine| machine.raw.cpu_share),
            idle: if summary.cell.is_open() { String::new() } else { share(ShardHealth::idle_share) },
            state,
            verdict,
        }
    };
    (0..shards.count).map(row).collect()
}
