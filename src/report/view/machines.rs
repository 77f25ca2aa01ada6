//! The machines of a sharded run: which are present, how far apart they started, and the client health of each per
//! cell.

use super::{disturbances, text};
use crate::record::manifest::{CellRunReport, Manifest, ShardPart};
use crate::result::{Machine, Shards};
use crate::stats::machine::{describe_shards, is_or_are, list_shards, unsynchronised_shards};
use crate::stats::{CellSummary, ShardHealth, Summary};
use serde::Serialize;

/// Start skew above which the load is considered incomplete at both ends of a cell, milliseconds.
const FAR_MS: f64 = 1_000.0;

/// All machines of a run.
#[derive(Debug, Serialize)]
pub(crate) struct MachinesView {
    /// The machines that are present.
    pub(crate) shards: Shards,
    /// Machines present, for example `3 of 4`.
    pub(crate) shown: String,
    /// One row per machine in index order, including missing ones.
    pub(crate) rows: Vec<MachineRow>,
}

/// One machine of a run, formatted.
#[derive(Debug, Serialize)]
pub(crate) struct MachineRow {
    /// Index, from 0.
    pub(crate) shard: u32,
    /// `ok`, or `bad` if the machine is missing or did not finish.
    pub(crate) level: &'static str,
    /// Host name.
    pub(crate) host: String,
    /// For example `linux on x86_64, 2 cores`.
    pub(crate) kind: String,
    /// Clock synchronisation state and maximum clock error.
    pub(crate) clock: String,
    /// Requests in all cells.
    pub(crate) requests: String,
    /// Largest start delay, milliseconds.
    pub(crate) late: String,
    /// How its part of the run ended.
    pub(crate) end: String,
}

/// Client health of one machine in one cell, formatted.
#[derive(Debug, Serialize)]
pub(crate) struct MachineHealthRow {
    /// Index, from 0.
    pub(crate) shard: u32,
    /// Host name.
    pub(crate) host: String,
    /// Requests of the machine in the cell.
    pub(crate) requests: String,
    /// Start delay, milliseconds.
    pub(crate) late: String,
    /// p99 of the send lag, milliseconds.
    pub(crate) lag_p99: String,
    /// Largest delay of the ticker, milliseconds.
    pub(crate) ticker: String,
    /// Percentage of the machine's cores.
    pub(crate) cpu: String,
    /// Idle percentage of the users' time; empty in an open loop.
    pub(crate) idle: String,
    /// `pass` or `fail`.
    pub(crate) state: &'static str,
    /// `ok`, or the problem.
    pub(crate) verdict: String,
}

/// Returns the machines of a run, or `None` if one machine made it.
pub(super) fn view(manifest: &Manifest, summary: &Summary) -> Option<MachinesView> {
    let shards = manifest.shards.as_ref()?;
    let cells = |shard: u32| {
        let machines = summary.cells.iter().flat_map(|cell| &cell.health.machines);
        machines.filter(move |machine| machine.shard == shard)
    };
    let part = |shard: u32| shards.parts.iter().find(|part| part.index == shard);
    let parts: Vec<Machine> = (0..shards.count).filter_map(part).map(|part| machine(part, cells(part.index))).collect();
    let row = |shard: u32| {
        let found = part(shard).zip(parts.iter().find(|machine| machine.shard == shard));
        found.map_or_else(|| missing(shard), |(part, machine)| row(part, machine))
    };
    Some(MachinesView {
        shown: shards.shown(),
        rows: (0..shards.count).map(row).collect(),
        shards: Shards {
            count: shards.count,
            complete: shards.complete,
            missing: shards.missing(),
            start_skew_ms: manifest
                .last_reports()
                .iter()
                .filter_map(CellRunReport::start_skew_ms)
                .max_by(f64::total_cmp),
            parts,
        },
    })
}

fn machine<'a>(part: &ShardPart, cells: impl Iterator<Item = &'a ShardHealth> + Clone) -> Machine {
    Machine {
        shard: part.index,
        host: part.host.clone(),
        os: part.machine.os.clone(),
        arch: part.machine.arch.clone(),
        cores: part.machine.cores,
        cpu_quota_cores: part.machine.cpu_quota_cores,
        clock_synchronised: part.clock.map(|clock| clock.synchronised),
        clock_max_error_ms: part.clock.filter(|clock| clock.synchronised).map(|clock| clock.max_error_ms),
        late_ms: cells.clone().filter_map(|machine| machine.late_ms).max_by(f64::total_cmp),
        requests: cells.map(|machine| machine.requests).sum(),
        end: end(part).0,
    }
}

fn row(part: &ShardPart, machine: &Machine) -> MachineRow {
    MachineRow {
        shard: machine.shard,
        level: if end(part).1 { "ok" } else { "bad" },
        host: machine.host.clone(),
        kind: kind(part),
        clock: clock(part),
        requests: text::thousands(machine.requests as f64, 0),
        late: text::ms_or_nothing(machine.late_ms),
        end: machine.end.clone(),
    }
}

fn missing(shard: u32) -> MachineRow {
    let nothing = || text::NOTHING.to_owned();
    MachineRow {
        shard,
        level: "bad",
        host: nothing(),
        kind: nothing(),
        clock: nothing(),
        requests: nothing(),
        late: nothing(),
        end: "missing".into(),
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

/// Returns how a machine ended, and whether it completed its part of the plan.
fn end(part: &ShardPart) -> (String, bool) {
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

/// Returns notes on the whole run: how many machines made it, and the problems with that.
pub(super) fn notes(manifest: &Manifest, machines: Option<&MachinesView>) -> Vec<String> {
    let (Some(machines), Some(shards)) = (machines, &manifest.shards) else { return Vec::new() };
    let mut notes = vec![format!("{} machines made these numbers{}", machines.shown, apart(machines, &shards.parts))];
    let missing = &machines.shards.missing;
    if !missing.is_empty() {
        notes.push(format!(
            "{} {} missing: the load differed from the plan's, and no verdict is given for cells that {} absent from",
            describe_shards(missing, machines.shards.count),
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
    if machines.shards.start_skew_ms.is_some_and(|skew| skew > FAR_MS) {
        notes.push(
            "machines began more than 1 s apart: for so long at both ends of a cell the load was not whole".into(),
        );
    }
    notes
}

/// Returns a subject with its verb: `the clock of shard 2 is`.
fn clocks(shards: &[u32]) -> String {
    let noun = if shards.len() == 1 { "clock" } else { "clocks" };
    format!("the {noun} of {} {}", list_shards(shards), is_or_are(shards))
}

/// Returns how far apart the machines started, with the clock error. Another note covers unsynchronised clocks in
/// detail.
fn apart(machines: &MachinesView, parts: &[ShardPart]) -> String {
    let Some(skew) = machines.shards.start_skew_ms else { return String::new() };
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

/// Returns the client health of each machine in a cell, including missing machines. The list is empty if one machine
/// made the run or nothing ran.
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
