//! What the operating system did to the load generator, as people read it: stalls, jumps of the wall clock, the CPU
//! quota, and the time that only the client saw.

use super::cell::Entry;
use super::text;
use crate::record::manifest;
use crate::stats::machine::list_shards;
use crate::stats::{CellSummary, Health, OverheadReference, Warning};
use crate::units::timestamp;

/// What to do about a machine that stood still.
pub(super) const THIS_MACHINE: &str =
    "run this cell again on a machine that is not stopped, suspended or throttled (check its CPU quota)";

/// As above, of several machines.
pub(super) const THE_MACHINE: &str =
    "run the plan again on machines that are not stopped, suspended or throttled (check their CPU quotas)";

/// Jumps of the wall clock that are listed in a warning.
const LISTED: usize = 3;

/// What to do about a cell that is INVALID since a machine stood still.
pub(super) fn hint(health: &Health) -> Option<&'static str> {
    health.is_standstill_excessive.then_some(if health.machines.is_empty() { THIS_MACHINE } else { THE_MACHINE })
}

/// `2 cores`, `1 cores, limited by a CPU quota to 0.05`.
pub(super) fn cores(machine: &manifest::Machine) -> String {
    format!("{} cores{}", machine.cores, quota(machine))
}

/// `, limited by a CPU quota to 0.05`; empty without a quota.
pub(super) fn quota(machine: &manifest::Machine) -> String {
    let limited = |cores| format!(", limited by a CPU quota to {}", text::number(cores));
    machine.cpu_quota_cores.map_or_else(String::new, limited)
}

/// The text of a warning that depends on what happened.
pub(super) fn warning(warning: Warning, summary: &CellSummary) -> String {
    match warning {
        Warning::ClientStalled => stalled(summary),
        Warning::ClockJump => jumped(&summary.health),
        Warning::ClientOverhead => overhead(summary).unwrap_or_else(|| warning.text().into()),
        _ => warning.text().into(),
    }
}

fn stalled(summary: &CellSummary) -> String {
    let n = summary.client_stalled;
    let requests = if n == 1 { "1 request was".into() } else { format!("{} requests were", count(n)) };
    let excluded = if n == 1 { "it is" } else { "they are" };
    let shards: Vec<u32> = summary
        .health
        .machines
        .iter()
        .filter(|machine| machine.standstill.is_some())
        .map(|machine| machine.shard)
        .collect();
    let who = match (&summary.health.standstill, &shards[..]) {
        (Some(standstill), _) => format!("this machine {}", standstill.text()),
        (None, []) => "this machine stood still".into(),
        (None, shards) => format!("{} stood still", list_shards(shards)),
    };
    format!("client stalled: {requests} in flight while {who}; {excluded} counted, and excluded from these latencies")
}

fn jumped(health: &Health) -> String {
    let jump = |(shard, at_ms, by_ms): &(Option<u32>, u64, f64)| {
        let of = shard.map_or_else(String::new, |shard| format!(" on shard {shard}"));
        let sign = if *by_ms < 0.0 { "-" } else { "+" };
        format!("by {sign}{} s at {}{of}", text::thousands(by_ms.abs() / 1e3, 1), timestamp::iso(*at_ms))
    };
    let mut jumps: Vec<String> = health.clock_jumps.iter().take(LISTED).map(jump).collect();
    if health.clock_jumps.len() > LISTED {
        jumps.push(format!("{} more times", count((health.clock_jumps.len() - LISTED) as u64)));
    }
    format!(
        "clock jump: the wall clock jumped {}; latencies are not affected, and times in the files follow the clock as it was at the start of the run",
        jumps.join(", ")
    )
}

fn overhead(summary: &CellSummary) -> Option<String> {
    let growth = summary.overhead.as_ref()?;
    let (from, to) = (text::ms(growth.from_ms), text::ms(growth.to_ms));
    let grew = match &growth.against {
        OverheadReference::FirstHalf => {
            format!("grew from {from} ms in the first half of the window to {to} ms in the second")
        }
        OverheadReference::LowestLoad(id) => format!("is {to} ms, and {from} ms in `{id}`, whose load is lower"),
    };
    Some(format!(
        "client overhead: p95 of our time minus the service's own latencyMs {grew}; this machine or the network added it, not the service"
    ))
}

/// Rows of the table of how a cell was measured; none if nothing happened.
pub(super) fn entries(health: &Health) -> Vec<Entry> {
    let own =
        health.standstill.iter().map(|standstill| Entry::new("stalls", format!("this machine {}", standstill.text())));
    let of_machines = health.machines.iter().filter_map(|machine| {
        let text = machine.standstill.as_ref()?.text();
        Some(Entry::new("stalls", format!("shard {} {text}", machine.shard)))
    });
    own.chain(of_machines).collect()
}

fn count(n: u64) -> String {
    text::thousands(n as f64, 0)
}
