//! Stalls of the client: processes that are suspended and continued while they generate load.

#![cfg(unix)]

use super::scene::{Scene, Simulate, files, wait_for_lines};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Three users without think time, so that a request of each is in flight at any time.
const STEADY: &str = r#"
[target]
endpoint = "simulated"
[matrix]
model_ids = ["test.model-v1:0"]
service_tiers = ["default"]
prompt_sizes = ["small"]
user_counts = [3]
[load]
test_duration = "3s"
spawn_rate = 100
think_time = "0s"
cool_down = "0s"
drain = "60s"
seed = 7
[request]
max_tokens = 16
[simulator]
ttft = "200ms"
tpot = "1ms"
"#;

/// Minimum length of a stall that a test caused, in milliseconds.
const SUSPENDED_MS: f64 = 2_500.0;

fn signal(process: &Child, signal: Signal) {
    kill_process(Pid::from_child(process), signal).unwrap();
}

/// Suspends a process for [`SUSPENDED_MS`].
pub(crate) fn suspend(process: &Child) {
    signal(process, Signal::STOP);
    std::thread::sleep(Duration::from_secs_f64(SUSPENDED_MS / 1e3));
    signal(process, Signal::CONT);
}

/// Returns the stalls of a part of a cell run that matter at a p50 below one second: start and end in milliseconds.
pub(crate) fn stalls(part: &Value) -> Vec<(f64, f64)> {
    let number = |stall: &Value, key: &str| stall[key].as_f64().unwrap();
    let listed = part["disturbances"]["stalls"].as_array().map(Vec::as_slice).unwrap_or_default();
    let long = listed.iter().filter(|stall| number(stall, "length_ms") > 50.0);
    long.map(|stall| (number(stall, "from_ms"), number(stall, "from_ms") + number(stall, "length_ms"))).collect()
}

/// Returns whether a request was in flight during one of these stalls, or within the tick before it.
pub(crate) fn overlaps(record: &Value, stalls: &[(f64, f64)]) -> bool {
    let start = record["due_ms"].as_f64().or(record["sent_ms"].as_f64()).unwrap();
    let end = start + record["response_time_ms"].as_f64().unwrap();
    stalls.iter().any(|(from, to)| start < *to && end > from - 10.0)
}

/// Checks that the numbers of the only cell cover exactly the requests outside stalls. Returns the number of excluded ones.
fn check_exclusions(scene: &Scene) -> usize {
    let stalls = stalls(&scene.manifest()["turns"][0]);
    let (stalled, clean): (Vec<Value>, Vec<Value>) =
        scene.records().into_iter().partition(|record| overlaps(record, &stalls));
    let row = &scene.rows()[0];
    assert_eq!(row["client_stalled"], stalled.len().to_string(), "{stalls:?}");
    assert_eq!(row["warnings"].contains("client_stalled"), !stalled.is_empty(), "{}", row["warnings"]);
    let mut times: Vec<f64> = clean
        .iter()
        .filter(|record| record["success"] == true)
        .map(|record| record["response_time_ms"].as_f64().unwrap())
        .collect();
    times.sort_by(f64::total_cmp);
    assert_eq!(row["latency_n"], times.len().to_string());
    if !times.is_empty() {
        let p95 = times[(times.len() as f64 * 0.95 - 1e-9).ceil() as usize - 1];
        assert!((row["success_p95"].parse::<f64>().unwrap() - p95).abs() < 1e-9, "{} {p95}", row["success_p95"]);
    }
    stalled.len()
}

/// Checks that a suspended run exits with code 3, reports the reason, and excludes the delayed requests.
fn check_suspended_run(scene: &Scene, process: Child) {
    let output = process.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{printed}");
    let stalls = stalls(&scene.manifest()["turns"][0]);
    let longest = stalls.iter().map(|(from, to)| to - from).fold(0.0, f64::max);
    assert!(longest > SUSPENDED_MS - 100.0, "{stalls:?}");
    let row = &scene.rows()[0];
    assert!(
        row["validity"].starts_with("INVALID: ") && row["validity"].contains("this machine stood still for"),
        "{row:?}"
    );
    assert!(printed.contains("stood still for"), "{printed}");
    assert!(check_exclusions(scene) > 0);
    assert!(row["success_max_response_time"].parse::<f64>().is_ok_and(|max| max < longest), "{row:?}");
    let warnings: Vec<&str> = row["warnings"].split(';').collect();
    assert!(!warnings.contains(&"stalls"), "the service is not accused: {warnings:?}");
    // Using the files only.
    scene.expect(3, scene.command(&["report", "results", "--out", "again"]));
    for file in files(&scene.path("again")) {
        let read = |dir: &str| std::fs::read(scene.path(dir).join(&file)).unwrap();
        assert!(read("results") == read("again"), "{file}");
    }
}

/// Starts a run that fails if a cell is INVALID, and waits for some records.
fn start(scene: &Scene, server: &Simulate, more: &[&str]) -> Child {
    let always = ["--endpoint-url", &server.url, "--include-ramp", "--on-invalid", "fail"];
    let mut command = scene.run_command(&[&always, more].concat());
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 12);
    process
}

#[test]
fn client_suspended_at_the_end_of_a_cell_makes_it_invalid() {
    let scene = Scene::new().plan(STEADY);
    let server = Simulate::start(&scene, &["--plan", "plan.toml"]);
    let process = start(&scene, &server, &[]);
    suspend(&process);
    check_suspended_run(&scene, process);
    // The planned end of the load was during the suspension.
    let cell_run = &scene.manifest()["turns"][0];
    let load_ms = cell_run["load_ms"].as_f64().unwrap();
    assert!(
        stalls(cell_run).iter().any(|(from, to)| *from < load_ms && *to >= load_ms),
        "{load_ms}: {:?}",
        stalls(cell_run)
    );
}

#[test]
fn client_suspended_within_a_cell_makes_it_invalid() {
    let scene = Scene::new().plan(STEADY);
    let server = Simulate::start(&scene, &["--plan", "plan.toml"]);
    let process = start(&scene, &server, &["--test-duration", "8s"]);
    suspend(&process);
    check_suspended_run(&scene, process);
    let cell_run = &scene.manifest()["turns"][0];
    let (_, to) = stalls(cell_run).into_iter().max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0))).unwrap();
    let sent_after = |record: &Value| record["sent_ms"].as_f64().unwrap() > to;
    assert!(scene.records().iter().any(sent_after), "the load went on after it");
}

#[test]
fn suspended_open_loop_is_invalid() {
    let scene = Scene::new().plan(STEADY);
    let server = Simulate::start(&scene, &["--plan", "plan.toml"]);
    let process = start(&scene, &server, &["--arrival-rates", "20", "--test-duration", "6s"]);
    suspend(&process);
    check_suspended_run(&scene, process);
}

/// Emulates a quota of 5 % of a core: the process runs for 5 ms and is suspended for 95 ms.
#[test]
fn client_with_throttled_cpu_makes_a_cell_invalid() {
    let scene = Scene::new().plan(STEADY);
    let server = Simulate::start(&scene, &["--plan", "plan.toml"]);
    let mut process = start(&scene, &server, &[]);
    let throttled = Instant::now();
    while throttled.elapsed() < Duration::from_secs(4) && process.try_wait().unwrap().is_none() {
        signal(&process, Signal::STOP);
        std::thread::sleep(Duration::from_millis(95));
        signal(&process, Signal::CONT);
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let row = &scene.rows()[0];
    assert!(row["validity"].contains("this machine stood still for"), "{}", row["validity"]);
    assert!(row["validity"].contains(" stalls, the longest of "), "{}", row["validity"]);
    assert!(check_exclusions(&scene) > 0);
}

/// On any machine, only requests during a stall are excluded, and the manifest of a run without a stall mentions none.
#[test]
fn only_requests_during_a_stall_are_excluded() {
    let scene = Scene::new().plan(STEADY);
    scene.run(0, &["--include-ramp"]);
    check_exclusions(&scene);
    let manifest = std::fs::read_to_string(scene.path("results/manifest.json")).unwrap();
    if scene.manifest()["turns"][0].get("disturbances").is_none() {
        assert_eq!(scene.rows()[0]["client_stalled"], "0");
        assert!(!manifest.contains("disturbances"), "{manifest}");
    }
}
