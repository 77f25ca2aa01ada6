//! Reports of a run in progress, and of a run with a simulator at a URL.

use super::scene::{SHORT, Scene, Simulate, exit_code, files, interrupt, wait_for_lines};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn report_of_a_run_in_progress_is_labelled_running() {
    let scene = Scene::new().plan(SHORT);
    let mut command = scene.run_command(&["--test-duration", "60s", "--user-counts", "1,2"]);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 20);
    let outputs = ["junit=j.xml", "markdown=m.md", "json=s.json", "html=r.html", "benchmark=b.json", "emf=e.json"];
    let mut arguments = vec!["report", "results", "--out", "seen"];
    arguments.extend(outputs.iter().flat_map(|output| ["--output", output]));
    // The second cell has no success yet.
    let output = scene.expect(3, scene.command(&arguments));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("RUNNING: in progress, 0 of 2 cells"), "{printed}");
    assert!(!printed.contains("INTERRUPTED") && !printed.contains("the run ended during this cell"), "{printed}");
    let mut labelled = 0;
    for name in files(&scene.path("seen")) {
        if [".html", ".md", ".svg"].iter().any(|end| name.ends_with(end)) {
            let text = text(&scene.path("seen").join(&name));
            assert!(text.contains("RUNNING") && !text.contains("INTERRUPTED"), "{name}");
            labelled += 1;
        }
    }
    assert!(labelled > 5, "{labelled}");
    // An INVALID cell has no points in the benchmark file.
    for name in ["j.xml", "m.md", "s.json", "r.html", "e.json"] {
        assert!(text(&scene.path(name)).contains("in progress, 0 of 2 cells"), "{name}");
    }
    let summary: Value = serde_json::from_str(&text(&scene.path("seen/summary.json"))).unwrap();
    assert_eq!(summary["run"]["interrupted"], json!(false));

    interrupt(&run);
    assert_eq!(exit_code(&mut run), Some(130));
    let output = scene.expect(130, scene.command(&["report", "results", "--out", "seen"]));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("INTERRUPTED") && !printed.contains("RUNNING"), "{printed}");
}

#[test]
fn a_simulator_at_a_url_is_labelled_as_one() {
    let scene = Scene::new().plan(SHORT);
    let server = Simulate::start(&scene, &[]);
    let mut command = scene.run_command(&["--endpoint-url", &server.url, "--model-id", "amazon.nova-2-lite-v1:0"]);
    command.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "k").env("AWS_REGION", "us-east-1");
    let output = scene.expect(0, command);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("SIMULATED: measured against a simulator"), "{printed}");
    assert!(printed.contains("this would have cost") && !printed.contains("NOT AWS"), "{printed}");
    assert_eq!(scene.manifest()["simulator"], json!(concat!("bedrock-plan/", env!("CARGO_PKG_VERSION"))));
    let summary: Value = serde_json::from_str(&text(&scene.path("results/summary.json"))).unwrap();
    assert_eq!((&summary["run"]["simulated"], &summary["run"]["not_aws"]), (&json!(true), &Value::Null));
    assert!(text(&scene.path("results/report.html")).contains("would have cost, USD"));
}

/// With few requests, start-up time of the process resembles lag of the users.
#[test]
fn small_cell_is_not_invalid_for_lack_of_cpu_samples() {
    let scene = Scene::new().plan(SHORT);
    let output = scene.run(0, &["--user-counts", "2", "--requests", "12"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    let summary: Value = serde_json::from_str(&text(&scene.path("results/summary.json"))).unwrap();
    assert_eq!(summary["cells"][0]["requests"]["total_count"], json!(12), "{printed}");
    assert!(!printed.contains("this machine is too slow"), "{printed}");
}
