//! One load, driven by one process of the program and by several that share it, meet in a directory and
//! are merged: whether anything is lost or less true by it, and what it costs.

use crate::process::{Finished, finish};
use crate::scenario::{Load, Outcome, PROGRAM, Server, command};
use crate::server::Pace;
use crate::{SPREAD, nearest_rank, print_percentiles};
use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

/// How many processes share the load.
const SHARDS: u32 = 4;

/// Some 650 requests a second: two cores carry server and program.
const LOAD: Load = Load { users: 10_000, spawn_rate: 1_000.0, think_ms: (10_000, 20_000), seconds: 45, stream: false };

/// What came of the load.
struct Shared {
    name: String,
    /// Of all its processes together.
    outcome: Outcome,
    /// Reading all records and writing the report, with the merge where there is one.
    after: Finished,
    /// By how much the last process began after the moment that all had agreed on, milliseconds.
    late_ms: Option<f64>,
}

/// Prints the load as one process and as several; whether all is within bounds.
pub(crate) fn row(dir: &Path) -> bool {
    let all = [alone(dir, SPREAD), shared(dir, SPREAD)];
    println!("{} users as one process and as {SHARDS} shards, merged. Error of the percentiles, ms:\n", LOAD.users);
    println!("| as | requests, served / reported | p50 | p95 | p99 | p99.9 |");
    println!("|---|---|---|---|---|---|");
    let mut good = true;
    for one in &all {
        good &= print_percentiles(&one.name, &one.outcome);
        good &= one.holds_all();
    }
    println!("\nError request by request, ms, and what it costs:\n");
    println!(
        "| as | p50 | p99 | p99.9 | CPU per request, us | memory, MB | afterwards, CPU s | last start late by, ms |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for one in &all {
        one.print();
    }
    for one in &all {
        let validity = &one.outcome.row()["validity"];
        if validity != "ok" {
            println!("\n{}: {validity}", one.name);
        }
    }
    println!();
    good
}

/// One process; its report is written by another, as a merge's is.
fn alone(dir: &Path, pace: Pace) -> Shared {
    let results = dir.join("results");
    let _ = std::fs::remove_dir_all(&results);
    let server = Server::start(dir, pace);
    let process = finish(command(&server, &LOAD, &results, &["--no-report"]));
    let mut report = Command::new(PROGRAM);
    report.arg("report").arg(&results);
    let after = finish(report);
    Shared { name: "1 process".into(), outcome: Outcome::of(server, process, results), after, late_ms: None }
}

/// Several processes at once, and their merge.
fn shared(dir: &Path, pace: Pace) -> Shared {
    let [parts, exchange, results] = ["parts", "exchange", "merged"].map(|name| dir.join(name));
    for old in [&parts, &exchange, &results] {
        let _ = std::fs::remove_dir_all(old);
    }
    let server = Server::start(dir, pace);
    let url = format!("file://{}", exchange.display());
    let run = |index: u32| {
        let shard = format!("{index}/{SHARDS}");
        let meet = ["--exchange", &url, "--shard", &shard, "--barrier-timeout", "1m"];
        finish(command(&server, &LOAD, &parts, &meet))
    };
    let processes: Vec<Finished> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..SHARDS).map(|index| scope.spawn(move || run(index))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a shard ends well")).collect()
    });
    let mut merge = Command::new(PROGRAM);
    merge.args(["merge", &url, "--to"]).arg(&results);
    let after = finish(merge);
    let late_ms = Some(worst_late_ms(&results));
    let outcome = Outcome::of(server, Finished::together(&processes), results);
    Shared { name: format!("{SHARDS} shards"), outcome, after, late_ms }
}

/// From the merged manifest, which keeps how each shard began.
fn worst_late_ms(results: &Path) -> f64 {
    let text = std::fs::read_to_string(results.join("manifest.json")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&text).expect("a manifest that reads");
    let parts = manifest["turns"][0]["parts"].as_array().expect("what each shard did");
    assert_eq!(parts.len(), SHARDS as usize, "every shard has its part in the merged manifest");
    parts.iter().map(|part| part["late_ms"].as_f64().expect("when it began")).fold(0.0, f64::max)
}

impl Shared {
    /// Returns whether both sides have the same requests, each once, and every user has sent one.
    fn holds_all(&self) -> bool {
        let Outcome { truth, client, .. } = &self.outcome;
        let records = self.outcome.records();
        let users: HashSet<u64> = records.iter().filter_map(|record| record["user"].as_u64()).collect();
        records.len() == client.len()
            && client.len() == truth.len()
            && client.keys().all(|id| truth.contains_key(id))
            && users.len() == LOAD.users as usize
    }

    fn print(&self) {
        let errors = self.outcome.errors(|times| times.1);
        let at = |p| format!("{:+.3}", nearest_rank(&errors, p));
        let or_not = |value: Option<f64>, places: usize| value.map_or("-".into(), |value| format!("{value:.places$}"));
        let process = &self.outcome.process;
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            self.name,
            at(0.5),
            at(0.99),
            at(0.999),
            or_not(process.cpu_s.map(|s| s * 1e6 / self.outcome.truth.len() as f64), 0),
            or_not(process.peak.map(|bytes| bytes as f64 / f64::from(1 << 20)), 0),
            or_not(self.after.cpu_s, 2),
            or_not(self.late_ms, 1),
        );
    }
}
