//! The pre-flight: probes before the load, and the consequences of their replies.

use super::scene::{SHORT, Scene, Simulate};
use serde_json::Value;
use std::io::BufRead;

/// Returns the journal lines of the pre-flight, and those of cells.
fn split(scene: &Scene) -> (Vec<Value>, Vec<Value>) {
    scene.records().into_iter().partition(|record| record["phase"] == "preflight")
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const TIERS: [&str; 3] = ["--preflight", "--service-tiers", "default,flex"];
const NO_FLEX: [&str; 2] = ["--set", "simulator.refused_tiers=[\"flex\"]"];

#[test]
fn refused_tier_is_skipped_and_the_others_run() {
    let scene = Scene::new().plan(SHORT);
    // A tier that the user set and the service refuses is a failure of the run.
    let output = scene.run(3, &[&TIERS[..], &NO_FLEX[..], &["--requests", "10", "--user-counts", "2,3"]].concat());
    let (probes, load) = split(&scene);
    let of = |records: &[Value], tier: &str| records.iter().filter(|record| record["service_tier"] == tier).count();
    assert_eq!((of(&probes, "default"), of(&probes, "flex")), (1, 1), "once each, for all user counts");
    assert_eq!((of(&load, "default"), of(&load, "flex")), (20, 0));
    for line in &probes {
        assert!(line.get("test_id").is_none() && line["run_id"].is_string(), "in no cell: {line}");
    }
    assert!(stderr(&output).contains("its 2 cells are excluded: ValidationException"), "{}", stderr(&output));
    let validity = |id: &str| scene.rows().into_iter().find(|row| row["test_id"] == id).unwrap()["validity"].clone();
    assert!(!validity("us_default_small_u2").contains("supported"));
    assert!(validity("us_flex_small_u2").starts_with("unsupported: The provided service tier"));
    for row in scene.rows() {
        let expected = if row["service_tier"] == "flex" { "0" } else { "10" };
        assert_eq!(row["total_requests"], expected, "the pre-flight is in no cell");
    }

    // A finished run is only rendered, without probes; refused cells can be run again.
    let before = scene.records().len();
    scene.run(3, &[&TIERS[..], &NO_FLEX[..], &["--requests", "10", "--user-counts", "2,3", "--resume"]].concat());
    assert_eq!(scene.records().len(), before);
    let again = ["--requests", "10", "--user-counts", "2,3", "--rerun", "failed"];
    scene.run(0, &[&TIERS[..], &again[..]].concat());
    assert!(scene.rows().iter().all(|row| row["total_requests"] == "10" && !row["validity"].contains("supported")));
}

#[test]
fn refused_default_tier_is_reported_without_failure() {
    let scene = Scene::new().plan(&SHORT.replace("service_tiers = [\"default\"]\n", ""));
    let output = scene.run(0, &[&["--preflight", "--requests", "2"], &NO_FLEX[..]].concat());
    assert!(stderr(&output).contains("its cell is excluded: ValidationException"), "{}", stderr(&output));
    scene.expect(0, scene.command(&["report", "results"]));
    let row = scene.rows().into_iter().find(|row| row["service_tier"] == "flex").unwrap();
    assert!(row["validity"].starts_with("unsupported"), "{row:?}");
    // The same list, written by the user.
    let listed = ["--preflight", "--requests", "2", "--service-tiers", "default,priority,flex", "--overwrite"];
    scene.run(3, &[&listed[..], &NO_FLEX[..]].concat());
}

#[test]
fn nothing_runs_without_a_supported_cell_or_with_on_unsupported_stop() {
    let scene = Scene::new().plan(SHORT);
    let stop = ["--on-unsupported", "stop"];
    scene.run(4, &[&TIERS[..], &NO_FLEX[..], &stop[..]].concat());
    let (probes, load) = split(&scene);
    assert_eq!((probes.len(), load.len()), (2, 0));
    scene.expect(4, scene.command(&["report", "results"]));

    let none = ["--set", "simulator.refused_tiers=[\"flex\", \"default\"]", "--overwrite"];
    scene.run(4, &[&TIERS[..], &none[..]].concat());
    assert_eq!(split(&scene).1.len(), 0);
    // With --overwrite, the results would be kept: `run::ends` has a test of that.
    std::fs::remove_dir_all(scene.path("results")).unwrap();
    let unreachable = ["--preflight", "--endpoint-url", "http://127.0.0.1:1"];
    let output = scene.run(4, &unreachable);
    assert_eq!((split(&scene).0.len(), split(&scene).1.len()), (1, 0));
    assert!(stderr(&output).contains("inconclusive: connect"), "{}", stderr(&output));
}

#[test]
fn missing_access_is_reported_at_once_and_throttling_is_ignored() {
    let scene = Scene::new().plan(SHORT);
    let models = ["--preflight", "--model-id", "test.model-v1:0,test.other-v1:0", "--requests", "5"];
    let denied = ["--set", "simulator.denied_models=[\"us.test.other-v1:0\"]"];
    let output = scene.run(3, &[&models[..], &denied[..]].concat());
    assert!(stderr(&output).contains("allow bedrock:InvokeModel"), "{}", stderr(&output));
    let (probes, load) = split(&scene);
    assert_eq!((probes.len(), load.len()), (2, 5), "no request of the denied model is sent");

    for fault in ["throttling", "service_unavailable", "validation"] {
        let always = format!("simulator.faults.{fault}=1.0");
        let output = scene.run(3, &["--preflight", "--requests", "5", "--overwrite", "--set", &always]);
        assert_eq!(split(&scene).1.len(), 5, "{fault}: the cells are run");
        assert!(stderr(&output).contains("inconclusive"), "{}", stderr(&output));
    }
}

#[test]
fn probes_use_the_settings_and_the_budget_of_cells() {
    let scene = Scene::new().plan(SHORT);
    let truth = scene.path("truth.csv");
    let server = Simulate::start(&scene, &["--truth", truth.to_str().unwrap()]);
    let more = ["--preflight", "--api", "converse-stream", "--endpoint-url", &server.url, "--requests", "40"];
    scene.run(3, &[&more[..], &["--model-id", "amazon.nova-pro-v1:0", "--max-requests", "5"]].concat());
    server.stop();
    let served = std::fs::read_to_string(&truth).unwrap();
    assert_eq!(served.lines().skip(1).count(), 5, "it is counted in the budget");
    let (probes, load) = split(&scene);
    assert_eq!((probes.len(), load.len()), (1, 4));
    assert!(probes[0]["ttft_ms"].as_f64().unwrap() > 0.0 && probes[0]["api"] == "converse-stream");
    assert!(probes[0]["output_tokens"].as_u64().unwrap() <= 16);
}

#[test]
fn preflight_only_checks_whether_a_plan_can_run() {
    let scene = Scene::new().plan(SHORT);
    let run = |code: i32, more: &[&str]| {
        let arguments = [&["run", "plan.toml", "--preflight-only"], more].concat();
        String::from_utf8(scene.expect(code, scene.command(&arguments)).stdout).unwrap()
    };
    insta::assert_snapshot!(run(0, &[]), @"us.test.model-v1:0 on default, converse: supported");
    insta::assert_snapshot!(run(3, &[&TIERS[1..], &NO_FLEX[..]].concat()), @"
    us.test.model-v1:0 on default, converse: supported
    us.test.model-v1:0 on flex, converse: its cell is excluded: ValidationException: The provided service tier is not supported for this model (remove the tier from service_tiers, or use the tier `none` for this model)
    ");
    run(4, &[&TIERS[1..], &NO_FLEX[..], &["--on-unsupported", "stop"]].concat());
    run(4, &["--set", "simulator.missing_models=[\"us.test.model-v1:0\"]"]);
    assert!(!scene.path("results").exists() && !scene.path("test_results").exists(), "nothing is written");
}

#[cfg(unix)]
#[test]
fn interrupt_ends_the_preflight() {
    // Accepts a request and never replies.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let scene = Scene::new().plan(SHORT);
    let mut command = scene.run_command(&["--preflight", "--endpoint-url", &url]);
    let mut running = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(running.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("pre-flight: sending")));
    // The message is logged before the probe is sent.
    let (mut stream, _) = server.accept().unwrap();
    std::io::Read::read_exact(&mut stream, &mut [0; 64]).unwrap();
    super::scene::interrupt(&running);
    // The first interrupt waits for requests in flight, which never end here; the second abandons them.
    assert!(lines.any(|line| line.unwrap().contains("stopping")));
    super::scene::interrupt(&running);
    assert_eq!(running.wait().unwrap().code(), Some(130));
    let (probes, load) = split(&scene);
    assert_eq!((probes.len(), load.len()), (1, 0));
    assert_eq!(probes[0]["outcome"], "censored");
}
