//! Several processes as the shards of one run.

use crate::run::scene::{Scene, Simulate};
use bedrock_plan::simulator::Truth;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A plan with two cells of seven users.
pub(super) const USERS: &str = r#"
[matrix]
model_ids = ["test.model-v1:0"]
service_tiers = ["default", "flex"]
prompt_sizes = ["small"]
user_counts = [7]
[load]
test_duration = "1500ms"
spawn_rate = 100
think_time = "10ms..50ms"
cool_down = "0s"
drain = "5s"
seed = 7
[request]
max_tokens = 16
[simulator]
ttft = "20ms"
tpot = "1ms"
"#;

/// A simulator, and a directory for shards and their exchange.
pub(super) struct Machines {
    pub(super) scene: Scene,
    server: Option<Simulate>,
}

impl Machines {
    /// Creates a scene with a plan and starts its simulator as a separate process.
    pub(super) fn new(plan: &str) -> Self {
        let scene = Scene::new().plan(plan);
        let server = Some(Simulate::start(&scene, &["--plan", "plan.toml", "--truth", "truth.csv"]));
        Self { scene, server }
    }

    pub(super) fn exchange(&self) -> String {
        format!("file://{}", self.scene.path("exchange").display())
    }

    /// Returns the command `run` against the simulator, with further arguments.
    pub(super) fn command(&self, results: &str, more: &[&str]) -> Command {
        let url = self.server.as_ref().map_or("", |server| server.url.as_str());
        let mut all = vec!["run", "plan.toml", "--yes", "--quiet", "--endpoint-url", url, "--results-dir", results];
        all.extend(more);
        self.scene.command(&all)
    }

    /// Starts one shard.
    pub(super) fn shard(&self, index: u32, count: u32, more: &[&str]) -> Child {
        let (exchange, shard) = (self.exchange(), format!("{index}/{count}"));
        let mut all = vec!["--exchange", exchange.as_str(), "--shard", shard.as_str()];
        all.extend(more);
        self.command("results", &all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs all shards to their end and checks the exit codes. Returns their output.
    pub(super) fn run(&self, count: u32, code: i32, more: &[&str]) -> Vec<String> {
        let running: Vec<Child> = (0..count).map(|index| self.shard(index, count, more)).collect();
        running.into_iter().map(|shard| wait_for_exit(shard, code)).collect()
    }

    /// Merges the exchange into a directory.
    pub(super) fn merge(&self, to: &str, more: &[&str]) -> Output {
        let exchange = self.exchange();
        let mut all = vec!["merge", exchange.as_str(), "--to", to];
        all.extend(more);
        self.scene.command(&all).output().unwrap()
    }

    /// Returns the results directory of a shard.
    pub(super) fn shard_results(&self, index: u32, count: u32) -> PathBuf {
        self.scene.path(&format!("results/shard_{index}_of_{count}"))
    }

    /// Stops the simulator. Returns the ids of all requests it served.
    pub(super) fn truth(&mut self) -> BTreeSet<String> {
        if let Some(server) = self.server.take() {
            server.stop();
        }
        let text = std::fs::read_to_string(self.scene.path("truth.csv")).unwrap();
        text.lines().filter_map(Truth::parse).map(|truth| truth.request_id).collect()
    }

    /// Reads a JSON file of the scene.
    pub(super) fn json(&self, name: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.scene.path(name)).unwrap()).unwrap()
    }

    /// Reads the records of a results directory.
    pub(super) fn records(&self, results: &str) -> Vec<Value> {
        records(&self.scene.path(results))
    }
}

/// Reads the records of a results directory.
pub(super) fn records(results: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(results.join("token_data.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for the end of a process and checks the exit code. Returns its output.
pub(super) fn wait_for_exit(process: Child, code: i32) -> String {
    let output = process.wait_with_output().unwrap();
    let text = output_text(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

pub(super) fn output_text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Waits until a condition holds. If it never does, the test hangs and is killed.
pub(super) fn wait_until(is: impl Fn() -> bool) {
    while !is() {
        std::thread::yield_now();
    }
}

/// Returns the distinct values of a function of each record.
pub(super) fn set<T: Ord>(records: &[Value], value: impl Fn(&Value) -> T) -> BTreeSet<T> {
    records.iter().map(value).collect()
}

/// Returns the request id of a record.
pub(super) fn id(record: &Value) -> String {
    record["request_id"].as_str().unwrap_or_default().to_owned()
}
