//! How far the reported numbers are from a known truth, and what the program costs beside a bare loop
//! over the SDK. `cargo bench` runs all of it, some twelve minutes; `cargo bench -- accuracy` a part.
//!
//! Server, program and bare loop are processes of their own. The server (std only) answers in known
//! times and writes down what it did with each request. Prints Markdown; exits 1 where a count
//! differs, a percentile is off by more than 1 ms or 0.5 %, or a start is lost.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bare;
mod process;
mod scenario;
mod server;
mod shards;

use scenario::{Load, Outcome, Times, bare as run_bare, tool as run_tool};
use server::Pace;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// 200 to 250 ms.
const SPREAD: Pace = Pace { base_us: 200_000, spread_us: 50_000 };
const FIXED: Pace = Pace { base_us: 200_000, spread_us: 0 };
/// 50 ms.
const QUICK: Pace = Pace { base_us: 50_000, spread_us: 0 };
const AT_ONCE: Pace = Pace { base_us: 0, spread_us: 0 };

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("--serve") => {
            let number = |index: usize| arguments[index].parse().expect("a number");
            server::serve(Path::new(&arguments[1]), Pace { base_us: number(2), spread_us: number(3) });
            return ExitCode::SUCCESS;
        }
        Some("--bare") => {
            bare::run(&arguments[1], &Load::parse(&arguments[3..]), Path::new(&arguments[2]));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == name);
    let dir = Scratch::new();
    let mut good = true;
    if wanted("accuracy") {
        good &= accuracy(&dir.0);
    }
    if wanted("arrivals") {
        good &= arrivals(&dir.0);
    }
    if wanted("shards") {
        good &= shards::row(&dir.0);
    }
    if wanted("cost") {
        cost(&dir.0);
    }
    if wanted("report") {
        report(&dir.0);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A directory that goes with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("bedrock-plan-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Users, users started per second, think time, seconds, streams, the server's pace.
fn loads() -> Vec<(Load, Pace)> {
    let load = |users: u32, spawn_rate: f64, think_ms, seconds, stream, pace| {
        (Load { users, spawn_rate, think_ms, seconds, stream }, pace)
    };
    vec![
        load(90, 45.0, (1_000, 2_000), 25, false, FIXED),
        load(1_000, 500.0, (1_000, 2_000), 25, false, SPREAD),
        load(5_000, 1_000.0, (5_000, 10_000), 30, false, SPREAD),
        load(10_000, 1_000.0, (10_000, 20_000), 45, false, SPREAD),
        load(90, 45.0, (1_000, 2_000), 25, true, SPREAD),
        load(1_000, 500.0, (1_000, 2_000), 25, true, SPREAD),
    ]
}

fn accuracy(dir: &Path) -> bool {
    println!("Error of the reported percentiles, ms (reported - true):\n");
    println!("| load | requests, served / reported | p50 | p95 | p99 | p99.9 |");
    println!("|---|---|---|---|---|---|");
    let mut good = true;
    let mut paired = Vec::new();
    for (load, pace) in loads() {
        let name = format!("{} users, {}", load.users, if load.stream { "streams" } else { "whole replies" });
        let tool = run_tool(dir, &load, pace, &[]);
        good &= print_percentiles(&name, &tool);
        let bare = run_bare(dir, &load, pace);
        paired.push((name, load.stream, tool, bare));
    }
    println!("\nError request by request, ms (client - server; this program, then the bare loop):\n");
    println!("| load | p50 | p99 | p99.9 | max |");
    println!("|---|---|---|---|---|");
    for (name, stream, tool, bare) in &paired {
        print_paired(name, tool, bare, |times| times.1);
        if *stream {
            print_paired(&format!("{name}, first delta"), tool, bare, |times| times.0);
        }
    }
    println!();
    good
}

/// Requests on both sides, and the errors of the reported percentiles. Returns whether all is within bounds.
fn print_percentiles(name: &str, tool: &Outcome) -> bool {
    let row = tool.row();
    let truth = tool.true_ms();
    let mut good = row["total_requests"] == truth.len().to_string();
    let errors: Vec<String> = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)]
        .iter()
        .map(|(column, p)| {
            // Fewer than ten samples above a percentile tell nothing about it.
            if (truth.len() as f64 * (1.0 - p)) < 10.0 {
                return "-".into();
            }
            let true_ms = nearest_rank(&truth, *p);
            let error = row[*column].parse::<f64>().expect("a number") - true_ms;
            good &= error.abs() <= f64::max(1.0, true_ms * 0.005);
            format!("{error:+.3}")
        })
        .collect();
    println!("| {name} | {} / {} | {} |", truth.len(), row["total_requests"], errors.join(" | "));
    good
}

fn print_paired(name: &str, tool: &Outcome, bare: &Outcome, of: fn(&Times) -> f64) {
    let (tool, bare) = (tool.errors(of), bare.errors(of));
    let cell = |p| format!("{:+.3} / {:+.3}", nearest_rank(&tool, p), nearest_rank(&bare, p));
    println!("| {name} | {} | {} | {} | {} |", cell(0.50), cell(0.99), cell(0.999), cell(1.0));
}

/// Starts of an open loop: how late, and whether all there.
fn arrivals(dir: &Path) -> bool {
    let (rate, seconds) = (500, 20);
    let load = Load { users: 0, spawn_rate: 1.0, think_ms: (0, 0), seconds, stream: false };
    let outcome = run_tool(dir, &load, FIXED, &["--arrival-rates", &rate.to_string()]);
    let records = outcome.records();
    let mut late: Vec<f64> = records.iter().map(|record| record["send_lag_ms"].as_f64().expect("a number")).collect();
    late.sort_by(f64::total_cmp);
    let at = |p| nearest_rank(&late, p);
    let dropped = outcome.row()["dropped_count"].clone();
    println!(
        "Starts of an open loop, {rate} arrivals/s for {seconds} s: {} of {} started, {dropped} dropped;",
        records.len(),
        rate * seconds
    );
    println!("late by p50 {:.3} ms, p95 {:.3} ms, p99 {:.3} ms, max {:.3} ms\n", at(0.5), at(0.95), at(0.99), at(1.0));
    records.len() as u64 == rate * seconds
}

/// CPU, throughput and memory compared with the bare loop: medians of three alternating runs each.
fn cost(dir: &Path) {
    let quiet = ["--no-report"];
    println!("| cost | this program | bare loop | ratio |");
    println!("|---|---|---|---|");
    let load = |users: u32, stream| Load { users, spawn_rate: f64::from(users), think_ms: (0, 0), seconds: 10, stream };
    let cpu = |outcome: &Outcome| outcome.process.cpu_s.map(|s| s * 1e6 / outcome.truth.len() as f64);
    // Whole processes: the share of constant work (start, ticker) decreases with the number of requests.
    for (name, load, pace) in [
        ("some 450/s", load(90, false), FIXED),
        ("some 1,800/s", load(90, false), QUICK),
        ("streams of 23 events, some 500/s", load(600, true), QUICK),
    ] {
        let (tool, bare) = pairs(|| cpu(&run_tool(dir, &load, pace, &quiet)), || cpu(&run_bare(dir, &load, pace)));
        print_cost(&format!("CPU per request, us ({name})"), tool, bare);
    }
    let load = Load { users: 64, spawn_rate: 6_400.0, think_ms: (0, 0), seconds: 8, stream: false };
    let rate = |outcome: &Outcome| Some(outcome.truth.len() as f64 / 8.0);
    let (tool, bare) = pairs(|| rate(&run_tool(dir, &load, AT_ONCE, &quiet)), || rate(&run_bare(dir, &load, AT_ONCE)));
    print_cost("requests/s at zero latency (64 users)", tool, bare);
    let long = Pace { base_us: 14_000_000, spread_us: 0 };
    let load = |users| Load { users, spawn_rate: 1_000.0, think_ms: (0, 0), seconds: 12, stream: false };
    let peak = |outcome: Outcome| outcome.process.peak.map(|bytes| bytes as f64 / 1024.0);
    let per_request = |many: Option<f64>, one: Option<f64>| Some((many? - one?) / 10_000.0);
    let (tool, bare) = pairs(
        || per_request(peak(run_tool(dir, &load(10_000), long, &quiet)), peak(run_tool(dir, &load(1), long, &quiet))),
        || per_request(peak(run_bare(dir, &load(10_000), long)), peak(run_bare(dir, &load(1), long))),
    );
    print_cost("memory per request in flight, KB (10,000)", tool, bare);
    println!();
}

/// Medians of three alternating runs each.
fn pairs(tool: impl Fn() -> Option<f64>, bare: impl Fn() -> Option<f64>) -> (Option<f64>, Option<f64>) {
    let (mut tools, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        tools.extend(tool());
        bares.extend(bare());
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    (median(tools), median(bares))
}

fn print_cost(name: &str, tool: Option<f64>, bare: Option<f64>) {
    match (tool, bare) {
        (Some(tool), Some(bare)) => println!("| {name} | {tool:.1} | {bare:.1} | {:.2} |", tool / bare),
        _ => println!("| {name} | not known on this system | | |"),
    }
}

/// Time and memory to report a million records.
fn report(dir: &Path) {
    let load = Load { users: 50, spawn_rate: 500.0, think_ms: (0, 0), seconds: 3, stream: false };
    let outcome = run_tool(dir, &load, Pace { base_us: 20_000, spread_us: 5_000 }, &["--no-report"]);
    let journal = outcome.results.join("token_data.jsonl");
    let text = std::fs::read_to_string(&journal).expect("the journal");
    let million: String = text.lines().cycle().take(1_000_000).flat_map(|line| [line, "\n"]).collect();
    std::fs::write(&journal, million).expect("a larger journal");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bedrock-plan"));
    command.arg("report").arg(&outcome.results);
    let finished = process::finish(command);
    let peak = finished.peak.map_or_else(|| "?".into(), |bytes| format!("{} MB", bytes >> 20));
    println!(
        "Report of 1,000,000 records, everything read, summarised and drawn: {:.1} s, {peak}",
        finished.took.as_secs_f64()
    );
}

fn nearest_rank(sorted: &[f64], p: f64) -> f64 {
    sorted[((sorted.len() as f64 * p - 1e-9).ceil() as usize).clamp(1, sorted.len()) - 1]
}
