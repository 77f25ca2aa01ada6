//! One load against one fresh server, driven by the program under test or by the bare loop; and what
//! both sides say of it.

use crate::process::{Finished, finish};
use crate::server::Pace;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_bedrock-plan");

/// A closed load.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) users: u32,
    pub(crate) spawn_rate: f64,
    /// Uniform between these; 0, 0 is none.
    pub(crate) think_ms: (u64, u64),
    pub(crate) seconds: u64,
    pub(crate) stream: bool,
}

impl Load {
    /// As arguments of this program.
    fn words(&self) -> Vec<String> {
        let (low, high) = self.think_ms;
        vec![
            self.users.to_string(),
            self.spawn_rate.to_string(),
            low.to_string(),
            high.to_string(),
            self.seconds.to_string(),
            self.stream.to_string(),
        ]
    }

    /// Reads what [`Self::words`] wrote.
    pub(crate) fn parse(words: &[String]) -> Self {
        let number = |index: usize| words[index].parse::<f64>().expect("a number");
        Self {
            users: number(0) as u32,
            spawn_rate: number(1),
            think_ms: (number(2) as u64, number(3) as u64),
            seconds: number(4) as u64,
            stream: words[5] == "true",
        }
    }
}

/// Milliseconds to the first delta and to the end.
pub(crate) type Times = (f64, f64);

/// The measurements of a load.
pub(crate) struct Outcome {
    /// Times measured by the server, by request id.
    pub(crate) truth: HashMap<String, Times>,
    /// Times measured by the client, by request id.
    pub(crate) client: HashMap<String, Times>,
    /// The client's process.
    pub(crate) process: Finished,
    /// Results directory of the program under test.
    pub(crate) results: PathBuf,
}

impl Outcome {
    /// Stops the server and reads the results of a run that has ended.
    pub(crate) fn of(server: Server, process: Finished, results: PathBuf) -> Self {
        let mut outcome = Self { truth: server.stop(), client: HashMap::new(), process, results };
        outcome.client = outcome.records().iter().map(request_times).collect();
        outcome
    }

    /// Returns the differences client minus server, ascending, of first deltas or of whole replies.
    pub(crate) fn errors(&self, of: fn(&Times) -> f64) -> Vec<f64> {
        let mut errors: Vec<f64> = self
            .client
            .iter()
            .map(|(id, client)| of(client) - of(self.truth.get(id).expect("the server knows it")))
            .collect();
        errors.sort_by(f64::total_cmp);
        errors
    }

    /// The truth, ascending.
    pub(crate) fn true_ms(&self) -> Vec<f64> {
        let mut times: Vec<f64> = self.truth.values().map(|times| times.1).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// Returns the only row of the consolidated file, by column.
    pub(crate) fn row(&self) -> HashMap<String, String> {
        let file = std::fs::read_dir(&self.results)
            .expect("results")
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .find(|path| path.to_string_lossy().contains("consolidated_results_"))
            .expect("a consolidated file");
        csv::Reader::from_path(file).expect("a CSV").deserialize().next().expect("a row").expect("a row that reads")
    }

    /// Returns the records of the program under test.
    pub(crate) fn records(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.results.join("token_data.jsonl")).expect("the journal");
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
    }
}

/// Runs the program under test with further arguments.
pub(crate) fn tool(dir: &Path, load: &Load, pace: Pace, more: &[&str]) -> Outcome {
    let results = dir.join("results");
    let _ = std::fs::remove_dir_all(&results);
    let server = Server::start(dir, pace);
    let process = finish(command(&server, load, &results, more));
    Outcome::of(server, process, results)
}

/// Returns a command that runs a load with the program and further arguments.
pub(crate) fn command(server: &Server, load: &Load, results: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(["run", "--yes", "--endpoint-url", &server.url, "--region", "us-east-1"])
        // Both sides count only the load, and all of it.
        .args(["--no-preflight", "--include-ramp"])
        .args(["--service-tiers", "default", "--prompt-sizes", "small", "--percentiles", "99.9"])
        .args(["--api", if load.stream { "converse-stream" } else { "converse" }])
        .args(["--test-duration", &format!("{}s", load.seconds), "--spawn-rate", &load.spawn_rate.to_string()])
        .args(["--think-time", &format!("{}ms..{}ms", load.think_ms.0, load.think_ms.1)])
        .arg("--results-dir")
        .arg(results)
        .args(more)
        .env("AWS_ACCESS_KEY_ID", "bench")
        .env("AWS_SECRET_ACCESS_KEY", "bench");
    if !more.contains(&"--arrival-rates") {
        command.args(["--user-counts", &load.users.to_string()]);
    }
    command
}

/// Returns the request id and the times of a record.
fn request_times(record: &serde_json::Value) -> (String, Times) {
    let number = |field: &str| record[field].as_f64();
    let whole = number("service_time_ms").or(number("response_time_ms")).expect("a time");
    let id = record["request_id"].as_str().unwrap_or_else(|| panic!("no reply: {record}")).to_owned();
    (id, (number("ttft_ms").unwrap_or(whole), whole))
}

/// The bare loop.
pub(crate) fn bare(dir: &Path, load: &Load, pace: Pace) -> Outcome {
    let server = Server::start(dir, pace);
    let out = dir.join("bare.csv");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--bare", &server.url]).arg(&out).args(load.words());
    let process = finish(command);
    let truth = server.stop();
    Outcome { truth, client: read(&out), process, results: PathBuf::new() }
}

/// `id,first_us,whole_us`.
fn read(file: &Path) -> HashMap<String, Times> {
    let text = std::fs::read_to_string(file).expect("an account");
    let entry = |line: &str| {
        let mut fields = line.split(',');
        let id = fields.next().expect("an id").to_owned();
        let mut ms = || fields.next().expect("a time").parse::<f64>().expect("a number") / 1e3;
        (id, (ms(), ms()))
    };
    text.lines().map(entry).collect()
}

/// The server's process.
pub(crate) struct Server {
    process: Child,
    url: String,
    truth: PathBuf,
}

impl Server {
    pub(crate) fn start(dir: &Path, pace: Pace) -> Self {
        let truth = dir.join("truth.csv");
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .arg("--serve")
            .arg(&truth)
            .args([pace.base_us.to_string(), pace.spread_us.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("the server's address");
        Self { process, url: line.trim().to_owned(), truth }
    }

    /// Its standard input closes: it writes what it did and ends.
    fn stop(mut self) -> HashMap<String, Times> {
        drop(self.process.stdin.take());
        self.process.wait().expect("the server ends");
        read(&self.truth)
    }
}
