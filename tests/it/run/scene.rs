//! A temporary directory with a plan, and the binary with a clean environment.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A temporary directory with a plan.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
}

/// A plan with one cell that runs for one second.
pub(crate) const SHORT: &str = r#"
[target]
endpoint = "simulated"
[matrix]
model_ids = ["test.model-v1:0"]
service_tiers = ["default"]
prompt_sizes = ["small"]
user_counts = [3]
[load]
test_duration = "1s"
spawn_rate = 100
think_time = "10ms"
cool_down = "0s"
drain = "5s"
seed = 7
[request]
max_tokens = 16
[simulator]
ttft = "20ms"
tpot = "1ms"
"#;

impl Scene {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `plan.toml`.
    pub(crate) fn plan(self, text: &str) -> Self {
        std::fs::write(self.path("plan.toml"), text).unwrap();
        self
    }

    /// Returns a command that runs the binary in this directory, with only `PATH` from the environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        crate::support::command(self.dir.path(), arguments)
    }

    /// Returns `run plan.toml --yes --results-dir results` with further arguments.
    pub(crate) fn run_command(&self, more: &[&str]) -> Command {
        let mut arguments = vec!["run", "plan.toml", "--yes", "--results-dir", "results"];
        // Most tests count requests, so the pre-flight runs only on request.
        if !more.iter().any(|argument| argument.contains("preflight")) {
            arguments.push("--no-preflight");
        }
        arguments.extend(more);
        self.command(&arguments)
    }

    /// Runs the plan and checks the exit code.
    pub(crate) fn run(&self, code: i32, more: &[&str]) -> Output {
        self.expect(code, self.run_command(more))
    }

    /// Runs any command and checks the exit code.
    pub(crate) fn expect(&self, code: i32, mut command: Command) -> Output {
        let output = command.output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// Returns the records of the run in `results`.
    pub(crate) fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("results/token_data.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the manifest of the run in `results`.
    pub(crate) fn manifest(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.path("results/manifest.json")).unwrap()).unwrap()
    }

    /// Removes the stalls of a busy machine from the manifest of the run in `results`, so that the next report excludes
    /// no request for them. For tests that compute their expectation from all records.
    pub(crate) fn remove_stalls(&self) {
        let mut manifest = self.manifest();
        for cell_run in manifest["turns"].as_array_mut().unwrap() {
            cell_run.as_object_mut().unwrap().remove("disturbances");
        }
        std::fs::write(self.path("results/manifest.json"), manifest.to_string()).unwrap();
    }

    /// Returns the rows of the consolidated file, by column.
    pub(crate) fn rows(&self) -> Vec<std::collections::HashMap<String, String>> {
        let file =
            files(&self.path("results")).into_iter().find(|name| name.starts_with("consolidated_results_")).unwrap();
        csv::Reader::from_path(self.path("results").join(file)).unwrap().deserialize().map(Result::unwrap).collect()
    }
}

/// Returns the files below a directory, relative to it, sorted.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    fn walk(base: &Path, dir: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(base, &path, found);
            } else {
                found.push(path.strip_prefix(base).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}

/// `bedrock-plan simulate` in a separate process.
pub(crate) struct Simulate {
    process: Child,
    pub(crate) url: String,
}

impl Simulate {
    /// Starts the simulator and reads its URL.
    pub(crate) fn start(scene: &Scene, arguments: &[&str]) -> Self {
        let mut all = vec!["simulate", "--port", "0"];
        all.extend(arguments);
        let mut process = scene.command(&all).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { url: url.to_owned(), process }
    }

    /// Interrupts the simulator and waits until it has written its log.
    pub(crate) fn stop(mut self) {
        interrupt(&self.process);
        self.process.wait().unwrap();
    }
}

impl Drop for Simulate {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends SIGINT.
pub(crate) fn interrupt(process: &Child) {
    signal(process, "-INT");
}

/// Sends a signal, named as `kill` names it.
pub(crate) fn signal(process: &Child, name: &str) {
    let status = Command::new("kill").args([name, &process.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Returns the exit code of a process, or `None` after killing one that hangs.
pub(crate) fn exit_code(process: &mut Child) -> Option<i32> {
    let began = std::time::Instant::now();
    while began.elapsed() < std::time::Duration::from_secs(60) {
        if let Some(status) = process.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    None
}

/// Waits until a file has at least `lines` lines. If it never has, the test hangs and is killed.
pub(crate) fn wait_for_lines(path: &Path, lines: usize) {
    while std::fs::read_to_string(path).map_or(0, |text| text.lines().count()) < lines {
        std::thread::yield_now();
    }
}
