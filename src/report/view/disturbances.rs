//! Effects of the operating system on the load generator, as text: stalls, jumps of the wall clock, the CPU quota, and
//! client overhead.

use super::entry::Entry;
use super::text;
use crate::record::manifest;
use crate::stats::machine::list_shards;
use crate::stats::{CellSummary, Health, OverheadReference, Warning};
use crate::units::timestamp;

/// Suggested fix for a standstill of the only machine.
pub(super) const THIS_MACHINE: &str =
    "run this cell again on a machine that is not stopped, suspended or throttled (check its CPU quota)";

/// Suggested fix for a standstill of one of several machines.
pub(super) const THE_MACHINE: &str =
    "run the plan again on machines that are not stopped, suspended or throttled (check their CPU quotas)";

/// Maximum number of wall-clock jumps that a warning lists.
const LISTED: usize = 3;

/// Returns the suggested fix for a cell that is INVALID because of a standstill.
pub(super) fn hint(health: &Health) -> Option<&'static str> {
    health.is_standstill_excessive.then_some(if health.machines.is_empty() { THIS_MACHINE } else { THE_MACHINE })
}

/// Formats the core count with the quota: `2 cores`, `1 cores, limited by a CPU quota to 0.05`.
pub(super) fn cores(machine: &manifest::Machine) -> String {
    format!("{} cores{}", machine.cores, quota(machine))
}

/// Returns `, limited by a CPU quota to 0.05`, or an empty string without a quota.
pub(super) fn quota(machine: &manifest::Machine) -> String {
    let limited = |cores| format!(", limited by a CPU quota to {}", text::number(cores));
    machine.cpu_quota_cores.map_or_else(String::new, limited)
}

/// Returns the text of a warning, with the measured values if it depends on them.
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

/// Returns rows for the table of measurement conditions, or none if there was no disturbance.
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
