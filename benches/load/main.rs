//! How far the reported numbers are from a known truth. `cargo bench` runs it.
//!
//! A server of its own (std only, a thread per connection, in a process of its own) answers in known
//! times and writes down what it did; `bedrock-plan` runs against it; the two are compared, as
//! percentiles and request by request. Exits 1 where a count differs or a percentile is off by more
//! than 1 ms.

#![allow(clippy::print_stdout)]

mod server;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

/// What a percentile may be off.
const LIMIT_MS: f64 = 1.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(position) = arguments.iter().position(|argument| argument == "--serve") {
        server::serve(Path::new(&arguments[position + 1]));
        return ExitCode::SUCCESS;
    }
    let users = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(90);
    if accuracy(users) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One closed-loop run with think time; true if everything is within its limit.
fn accuracy(users: u32) -> bool {
    let dir = std::env::temp_dir().join(format!("bedrock-plan-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a temporary directory");
    let truth_file = dir.join("truth.csv");
    let mut server = Server::start(&truth_file);
    let results = dir.join("results");
    let status = Command::new(env!("CARGO_BIN_EXE_bedrock-plan"))
        .args(["run", "--yes", "--endpoint-url", &server.url, "--region", "us-east-1", "--include-ramp"])
        .args(["--service-tiers", "default", "--prompt-sizes", "small", "--test-duration", "20s", "--spawn-rate"])
        .args([(users / 2).max(10).to_string(), "--user-counts".into(), users.to_string()])
        .arg("--results-dir")
        .arg(&results)
        .env("AWS_ACCESS_KEY_ID", "bench")
        .env("AWS_SECRET_ACCESS_KEY", "bench")
        .stdout(Stdio::null())
        .status()
        .expect("bedrock-plan runs");
    assert!(status.success(), "bedrock-plan failed: {status}");
    server.stop();

    let truth = read_truth(&truth_file);
    let reported = read_row(&results);
    let errors = paired_errors(&results, &truth);
    let mut true_ms: Vec<f64> = truth.values().copied().collect();
    true_ms.sort_by(f64::total_cmp);

    let mut good = reported["total_requests"] == true_ms.len().to_string();
    println!(
        "{users} users, {} requests counted by the server, {} reported",
        true_ms.len(),
        reported["total_requests"]
    );
    println!("| percentile | server, ms | reported, ms | error, ms |");
    println!("|---|---|---|---|");
    for (name, p) in [("p50", 0.50), ("p95", 0.95), ("p99", 0.99)] {
        let told: f64 = reported[name].parse().expect("a number");
        let truth = nearest_rank(&true_ms, p);
        let error = told - truth;
        good &= error.abs() <= LIMIT_MS;
        println!("| {name} | {truth:.3} | {told:.3} | {error:+.3} |");
    }
    let at = |p| nearest_rank(&errors, p);
    println!("request by request: p50 {:+.3} ms, p99 {:+.3} ms, max {:+.3} ms", at(0.50), at(0.99), at(1.0));
    std::fs::remove_dir_all(&dir).expect("the temporary directory goes");
    good
}

struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start(truth: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .arg("--serve")
            .arg(truth)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("the server's address");
        Self { process, url: line.trim().to_owned() }
    }

    /// Its standard input closes: it writes what it did and ends.
    fn stop(&mut self) {
        drop(self.process.stdin.take());
        self.process.wait().expect("the server ends");
    }
}

/// Request id to milliseconds.
fn read_truth(file: &Path) -> HashMap<String, f64> {
    let text = std::fs::read_to_string(file).expect("the server's account");
    let entry = |line: &str| line.split_once(',').map(|(id, ms)| (id.to_owned(), ms.parse().expect("a number")));
    text.lines().filter_map(entry).collect()
}

/// The only row of the consolidated file, by column.
fn read_row(results: &Path) -> HashMap<String, String> {
    let file = std::fs::read_dir(results)
        .expect("results")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.to_string_lossy().contains("consolidated_results_"))
        .expect("a consolidated file");
    csv::Reader::from_path(file).expect("a CSV").deserialize().next().expect("a row").expect("a row that reads")
}

/// Reported minus true, ascending.
fn paired_errors(results: &Path, truth: &HashMap<String, f64>) -> Vec<f64> {
    let text = std::fs::read_to_string(results.join("token_data.jsonl")).expect("the journal");
    let mut errors: Vec<f64> = text
        .lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("a record");
            let id = record["request_id"].as_str().expect("a request id");
            record["response_time_ms"].as_f64().expect("a number") - truth[id]
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    errors
}

fn nearest_rank(sorted: &[f64], p: f64) -> f64 {
    sorted[((sorted.len() as f64 * p).ceil() as usize).clamp(1, sorted.len()) - 1]
}
