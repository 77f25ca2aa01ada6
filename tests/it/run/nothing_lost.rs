//! The files contain exactly the requests that the server counted: none is lost, none is counted twice.

use super::scene::{SHORT, Scene, Simulate, interrupt, wait_for_lines};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Returns the request ids in a `--truth` file.
fn served(scene: &Scene, file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(scene.path(file)).unwrap();
    text.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect()
}

#[test]
fn each_served_request_is_recorded_once() {
    let scene = Scene::new().plan(SHORT);
    let server = Simulate::start(&scene, &["--plan", "plan.toml", "--truth", "truth.csv"]);
    scene.run(0, &["--endpoint-url", &server.url, "--user-counts", "2,5"]);
    server.stop();

    let served = served(&scene, "truth.csv");
    let records = scene.records();
    let recorded: BTreeSet<&str> = records.iter().map(|record| record["request_id"].as_str().unwrap()).collect();
    assert!(served.len() > 20, "only {} requests", served.len());
    assert_eq!(records.len(), served.len());
    assert_eq!(recorded, served.iter().map(String::as_str).collect());

    let total: usize = scene.rows().iter().map(|row| row["total_requests"].parse::<usize>().unwrap()).sum();
    assert_eq!(total, served.len());
}

#[test]
fn counts_of_a_cell_add_up_with_each_outcome() {
    let faults = r"
[simulator.faults]
throttling = 0.2
internal_server = 0.2
";
    let scene = Scene::new().plan(&format!("{SHORT}{faults}"));
    scene.run(0, &[]);
    let row = &scene.rows()[0];
    let count = |column: &str| row[column].parse::<u64>().unwrap();
    assert!(count("throttled_count") > 0 && count("failure_count") > count("throttled_count"));
    assert_eq!(count("total_requests"), count("success_count") + count("failure_count") + count("censored_count"));
    assert_eq!(count("total_requests"), scene.records().len() as u64);
    assert_eq!(scene.manifest()["turns"][0]["requests"], scene.records().len());
}

#[test]
fn each_start_of_an_open_loop_is_recorded_or_dropped() {
    let faults = r"
[simulator.faults]
throttling = 0.1
reset = 0.1
stream_no_stop = 0.1
stream_stall = 0.1
";
    let scene = Scene::new().plan(&format!("{SHORT}{faults}"));
    let server = Simulate::start(&scene, &["--plan", "plan.toml", "--truth", "truth.csv"]);
    let load = ["--arrival-rates", "200", "--arrivals", "poisson", "--max-in-flight", "20", "--timeout", "500ms"];
    scene.run(0, &[&["--endpoint-url", &server.url, "--api", "converse-stream"], &load[..]].concat());
    server.stop();

    let records = scene.records();
    let mut order: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    order.sort_unstable();
    assert_eq!(order, (0..records.len() as u64).collect::<Vec<_>>(), "each start is there once");
    let cell_run = &scene.manifest()["turns"][0];
    assert_eq!(cell_run["requests"], records.len());
    assert!(cell_run["dropped"].as_u64().unwrap() > 0, "stalls fill the 20 places");
    let row = &scene.rows()[0];
    assert_eq!(row["dropped_count"], cell_run["dropped"].to_string());
    assert_eq!(row["total_requests"], records.len().to_string());
    let count = |column: &str| row[column].parse::<usize>().unwrap();
    assert_eq!(records.len(), count("success_count") + count("failure_count") + count("censored_count"));
    // A request is a success exactly if the server sent the whole reply.
    let answered: BTreeSet<&str> = records
        .iter()
        .filter(|record| record["success"] == true)
        .map(|record| record["request_id"].as_str().unwrap())
        .collect();
    assert_eq!(answered.len(), count("success_count"));
    let served: BTreeSet<String> = served(&scene, "truth.csv").into_iter().collect();
    assert!(answered.iter().all(|id| served.contains(*id)));
}

#[test]
fn an_interrupted_run_drains_reports_and_exits_with_130() {
    let scene = Scene::new().plan(SHORT);
    let mut process = scene.run_command(&["--test-duration", "10m"]).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 20);
    interrupt(&process);
    assert_eq!(process.wait().unwrap().code(), Some(130));

    let manifest = scene.manifest();
    assert_eq!(manifest["interrupted"], true);
    assert_eq!(manifest["turns"][0]["end"], "interrupted");
    let row = &scene.rows()[0];
    assert_eq!(row["total_requests"], scene.records().len().to_string());
    assert_eq!(row["censored_count"], "0", "what was in flight is waited for");
}

#[test]
fn requests_unfinished_after_the_drain_are_censored() {
    let stalled = r"
[simulator.faults]
stall = 1.0
";
    let scene = Scene::new().plan(&format!("{SHORT}{stalled}"));
    scene.run(4, &["--drain", "0s"]);
    let records = scene.records();
    assert_eq!(records.len(), 3);
    for record in &records {
        assert_eq!(record["outcome"], "censored");
        assert!(record["response_time_ms"].as_f64().unwrap() > 900.0, "{record}");
    }
    assert_eq!(scene.rows()[0]["censored_count"], "3");
}

#[test]
fn records_of_a_killed_run_can_be_reported() {
    let scene = Scene::new().plan(SHORT);
    let mut process = scene.run_command(&["--test-duration", "10m"]).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 20);
    process.kill().unwrap();
    process.wait().unwrap();
    let journal = scene.path("results/token_data.jsonl");
    let mut text = std::fs::read_to_string(&journal).unwrap();
    text.push_str("{\"run_id\":\"half a line");
    std::fs::write(&journal, &text).unwrap();

    scene.expect(0, scene.command(&["report", "results"]));
    let whole = text.lines().count() - 1;
    assert_eq!(scene.rows()[0]["total_requests"], whole.to_string());
}

#[test]
fn second_interrupt_abandons_requests_in_flight_and_reports() {
    let stalled = "\n[simulator.faults]\nstall = 0.3\n";
    let scene = Scene::new().plan(&format!("{SHORT}{stalled}"));
    let mut process =
        scene.run_command(&["--test-duration", "10m", "--drain", "10m"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    // Each user sooner or later sends a request that never ends, so only an interrupt ends the run.
    wait_for_lines(&scene.path("results/token_data.jsonl"), 1);
    interrupt(&process);
    while !lines.next().unwrap().unwrap().contains("stopping") {}
    interrupt(&process);
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(process.wait().unwrap().code(), Some(130), "{rest:?}");
    assert_eq!(scene.rows()[0]["total_requests"], scene.records().len().to_string());
}

#[test]
fn failed_requests_are_not_retried_unmeasured() {
    let throttled = "\n[simulator.faults]\nthrottling = 0.5\n";
    let scene = Scene::new().plan(&format!("{SHORT}{throttled}"));
    let server = Simulate::start(&scene, &["--plan", "plan.toml", "--truth", "truth.csv"]);
    scene.run(0, &["--endpoint-url", &server.url]);
    server.stop();
    assert_eq!(served(&scene, "truth.csv").len(), scene.records().len(), "every attempt is a record");
}
