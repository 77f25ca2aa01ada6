//! Names that users and their scripts depend on: journal fields, CSV headers, keys of `summary.json` and of plans, `JUnit`
//! suites and cases, exit codes. A change of these snapshots breaks compatibility; only additions are acceptable.

use crate::run::scene::{SHORT, Scene, exit_code, files, interrupt, wait_for_lines};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// A run with streams, a data set, throttled and censored requests, thresholds, and two tiers to compare.
const STREAMS: &str = r#"
name = "streams"
[target]
endpoint = "simulated"
api = "converse-stream"
[matrix]
model_ids = ["test.model-v1:0"]
service_tiers = ["default", "flex"]
prompt_sizes = ["lines"]
user_counts = [3]
[load]
test_duration = "2s"
spawn_rate = 100
think_time = "10ms"
cool_down = "0s"
drain = "300ms"
seed = 7
[request]
max_tokens = 64
[record]
text = true
[[dataset]]
name = "lines"
file = "lines.jsonl"
[simulator]
ttft = "20ms"
tpot = "1ms"
reasoning = 0.5
cache_min_tokens = 1
flex_as_default = 0.5
[simulator.faults]
throttling = 0.1
stall = 0.03
[[slo]]
name = "gate"
p95 = "60s"
failure_rate = "90%"
requests_per_sec = { min = 0.001 }
"#;

/// A run with an open loop in two stages and a mix of prompts.
const OPEN_LOOP: &str = r#"
name = "open"
[target]
endpoint = "simulated"
[matrix]
model_ids = ["test.model-v1:0"]
service_tiers = ["default"]
prompt_sizes = ["mixed"]
profiles = ["steps"]
[[profile]]
name = "steps"
stages = [{ rate = 20, for = "1s" }, { rate = 40, for = "1s" }]
[[mix]]
name = "mixed"
sizes = { small = 1, medium = 1 }
[load]
cool_down = "0s"
drain = "5s"
seed = 7
[request]
max_tokens = 16
[simulator]
ttft = "20ms"
tpot = "1ms"
"#;

/// Runs both plans in scenes of their own.
fn run_both() -> [Scene; 2] {
    let [streams, open_loop] = [STREAMS, OPEN_LOOP].map(|plan| Scene::new().plan(plan));
    let lines: Vec<String> = (0..50).map(|line| format!("{{\"text\": \"line {line} of a data set\"}}")).collect();
    std::fs::write(streams.path("lines.jsonl"), lines.join("\n")).unwrap();
    for scene in [&streams, &open_loop] {
        // The exit code depends on how busy this machine is.
        let code = scene.run_command(&["--output", "junit=junit.xml"]).output().unwrap().status.code();
        assert!(code.is_some_and(|code| [0, 99].contains(&code)), "{code:?}");
    }
    [streams, open_loop]
}

/// The dotted paths of all keys in a JSON value; `[]` stands for the items of an array.
fn add_paths(value: &Value, prefix: &str, paths: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                paths.insert(format!("{prefix}{key}"));
                add_paths(value, &format!("{prefix}{key}."), paths);
            }
        }
        Value::Array(items) => {
            for item in items {
                add_paths(item, &format!("{}[].", prefix.trim_end_matches('.')), paths);
            }
        }
        _ => {}
    }
}

/// The dotted paths of all properties that a JSON Schema allows; references that are open already are not followed.
fn add_schema_paths(schema: &Value, root: &Value, prefix: &str, open: &mut Vec<String>, paths: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str()
        && !open.iter().any(|one| one == reference)
    {
        open.push(reference.to_owned());
        let target = root.pointer(reference.trim_start_matches('#')).expect(reference);
        add_schema_paths(target, root, prefix, open, paths);
        open.pop();
    }
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        paths.insert(format!("{prefix}{key}"));
        add_schema_paths(property, root, &format!("{prefix}{key}."), open, paths);
    }
    for alternatives in ["anyOf", "oneOf", "allOf"] {
        for alternative in schema[alternatives].as_array().into_iter().flatten() {
            add_schema_paths(alternative, root, prefix, open, paths);
        }
    }
    let below = |mark: &str| format!("{}{mark}.", prefix.trim_end_matches('.'));
    add_object_paths(&schema["items"], root, &below("[]"), open, paths);
    add_object_paths(&schema["additionalProperties"], root, &below(".*"), open, paths);
}

fn add_object_paths(schema: &Value, root: &Value, prefix: &str, open: &mut Vec<String>, paths: &mut BTreeSet<String>) {
    if schema.is_object() {
        add_schema_paths(schema, root, prefix, open, paths);
    }
}

fn schema_paths(arguments: &[&str]) -> BTreeSet<String> {
    let scene = Scene::new();
    let schema: Value = serde_json::from_slice(&scene.expect(0, scene.command(arguments)).stdout).unwrap();
    let mut paths = BTreeSet::new();
    add_schema_paths(&schema, &schema, "", &mut Vec::new(), &mut paths);
    paths
}

fn lines(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

#[test]
fn journal_fields_csv_headers_summary_keys_and_junit_names_are_kept() {
    let scenes = run_both();
    let mut fields = BTreeSet::new();
    let mut headers = BTreeSet::new();
    let mut axes = BTreeSet::new();
    let mut junit = String::new();
    let summary_schema = schema_paths(&["schema", "--of", "summary"]);
    for scene in &scenes {
        for record in scene.records() {
            fields.extend(record.as_object().unwrap().keys().cloned());
        }
        let results = scene.path("results");
        for name in files(&results).iter().filter(|name| Path::new(name).extension() == Some("csv".as_ref())) {
            let text = std::fs::read_to_string(results.join(name)).unwrap();
            // The date of the consolidated file and the id of a cell are not pinned.
            let kind = match name.split_once("consolidated_results_") {
                Some(_) => "consolidated_results_[STARTED].csv",
                None => name.rsplit_once("_u3").map_or(name.as_str(), |(_, kind)| kind),
            };
            headers.insert(format!("{kind}: {}", text.lines().next().unwrap()));
        }
        let mut keys = BTreeSet::new();
        let summary = std::fs::read_to_string(results.join("summary.json")).unwrap();
        add_paths(&serde_json::from_str(&summary).unwrap(), "", &mut keys);
        assert!(keys.len() > 100, "{keys:?}");
        // The schema allows any axis.
        let (of_axes, others): (Vec<_>, Vec<_>) =
            keys.difference(&summary_schema).cloned().partition(|key| key.starts_with("cells[].axes."));
        assert!(others.is_empty(), "not in the schema: {others:?}");
        axes.extend(of_axes);
        let xml = std::fs::read_to_string(scene.path("junit.xml")).unwrap();
        for element in xml.split('<').filter(|element| element.starts_with("test")) {
            let attributes = ["name", "classname", "tests"].iter().filter_map(|key| {
                let (_, value) = element.split_once(&format!(" {key}=\""))?;
                Some(format!(" {key}=\"{}\"", value.split('"').next()?))
            });
            let kind = element.split([' ', '>']).next().unwrap();
            junit += &format!("{kind}{}\n", attributes.collect::<String>());
        }
    }
    insta::assert_snapshot!("journal_fields", lines(&fields));
    insta::assert_snapshot!("csv_headers", lines(&headers));
    insta::assert_snapshot!("summary_axes", lines(&axes));
    insta::assert_snapshot!("junit_names", junit);
}

#[test]
fn keys_of_plans_summaries_and_comparisons_are_kept() {
    insta::assert_snapshot!("plan_keys", lines(&schema_paths(&["schema"])));
    insta::assert_snapshot!("summary_keys", lines(&schema_paths(&["schema", "--of", "summary"])));
    insta::assert_snapshot!("comparison_keys", lines(&schema_paths(&["schema", "--of", "comparison"])));
}

#[test]
fn exit_codes_are_kept() {
    let scene = Scene::new().plan(SHORT);
    let report = |code| scene.expect(code, scene.command(&["report", "results"]));
    scene.run(0, &[]);
    scene.run(2, &[]);
    scene.run(3, &["--overwrite", "--set", "simulator.faults.throttling=1.0"]);
    report(3);
    scene.run(4, &["--overwrite", "--endpoint-url", "http://127.0.0.1:1"]);
    // Whether the verdict is FAIL or INCONCLUSIVE depends on how busy this machine is; both exit with 99.
    std::fs::write(scene.path("plan.toml"), format!("{SHORT}\n[[slo]]\np50 = \"1ms\"\non_inconclusive = \"fail\"\n"))
        .unwrap();
    scene.run(99, &["--overwrite"]);
    report(99);
    std::fs::remove_dir_all(scene.path("results")).unwrap();
    let mut running = scene.run_command(&["--test-duration", "10m"]).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 5);
    interrupt(&running);
    assert_eq!(exit_code(&mut running), Some(130));
}
