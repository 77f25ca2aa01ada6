//! `summary.json` against its published schema, and templates of the user.

use super::scene::{SHORT, Scene, files};
use std::process::Command;

#[test]
fn summary_conforms_to_its_schema() {
    if !crate::support::python_has("jsonschema") {
        return;
    }
    let plan = format!(
        "{SHORT}\n[simulator.faults]\nthrottling = 0.2\n[[slo]]\np95 = \"1ms\"\nfailure_rate = \"50%\"\n\
         requests_per_sec = {{ min = 1 }}\n"
    );
    let scene = Scene::new().plan(&plan);
    // The verdicts depend on how busy this machine is.
    let more = ["--api", "converse-stream", "--service-tiers", "default,flex"];
    assert!(scene.run_command(&more).status().unwrap().code().is_some_and(|code| [0, 99].contains(&code)));
    let schema = scene.expect(0, scene.command(&["schema", "--of", "summary"])).stdout;
    std::fs::write(scene.path("schema.json"), &schema).unwrap();
    // Unknown keys are forbidden, so that no key is added without the schema.
    let script = "
import json, jsonschema, sys
schema, summary = (json.load(open(name)) for name in sys.argv[1:])
def close(node):
    if isinstance(node, dict):
        if 'properties' in node: node['additionalProperties'] = False
        for value in node.values(): close(value)
    elif isinstance(node, list):
        for value in node: close(value)
close(schema)
jsonschema.Draft7Validator.check_schema(schema)
jsonschema.Draft7Validator(schema).validate(summary)
assert sum(summary['verdicts'].values()) == len(summary['thresholds']) == 6, summary['verdicts']
";
    let output = Command::new("python3")
        .args(["-c", script])
        .args([scene.path("schema.json"), scene.path("results/summary.json")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn edited_templates_are_used() {
    let scene = Scene::new().plan(SHORT);
    scene.expect(0, scene.command(&["templates", "mine"]));
    scene.run(0, &["--templates", "mine"]);
    let page = "results/test_us_default_small_u3_report.html";
    let first = std::fs::read(scene.path(page)).unwrap();
    scene.expect(0, scene.command(&["report", "results", "--out", "again"]));
    assert!(first == std::fs::read(scene.path("again").join("test_us_default_small_u3_report.html")).unwrap());

    std::fs::write(scene.path("mine/summary.md"), "mine: {{ run.name }}").unwrap();
    let stdout = scene.expect(0, scene.command(&["templates", "mine"])).stdout;
    assert!(String::from_utf8(stdout).unwrap().contains("summary.md: kept"), "existing files are not replaced");
    scene.expect(0, scene.command(&["report", "results", "--templates", "mine"]));
    assert_eq!(std::fs::read_to_string(scene.path("results/summary.md")).unwrap(), "mine: plan");
}

#[test]
fn broken_template_is_reported_and_other_files_are_written() {
    let scene = Scene::new().plan(SHORT);
    let stderr =
        |code, arguments: &[&str]| String::from_utf8(scene.expect(code, scene.command(arguments)).stderr).unwrap();
    scene.expect(0, scene.command(&["templates", "mine"]));
    std::fs::write(scene.path("mine/summary.md"), "# {{ run.name }}\n{% for cell in cells %}\n").unwrap();
    let mut messages = stderr(2, &["run", "plan.toml", "--yes", "--templates", "mine"]);
    assert!(!scene.path("test_results").exists(), "a run does not begin with it");
    scene.run(0, &["--no-report"]);
    messages += &stderr(1, &["report", "results", "--templates", "mine"]);
    let written = files(&scene.path("results"));
    assert!(written.iter().any(|name| name.ends_with("_report.html")), "{written:?}");
    assert!(!written.iter().any(|name| name == "summary.md"), "{written:?}");
    std::fs::create_dir(scene.path("empty")).unwrap();
    messages += &stderr(2, &["report", "results", "--templates", "empty"]);
    messages += &stderr(2, &["report", "results", "--templates", "missing"]);
    insta::assert_snapshot!("broken_templates", messages);
}

#[test]
fn public_report_contains_no_account() {
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6";
    let scene = Scene::new().plan(SHORT);
    let models = format!("{arn},test.model-v1:0");
    scene.run(0, &["--model-id", &models, "--region-prefixes", "none", "--no-report"]);
    let output = scene.expect(0, scene.command(&["report", "results", "--public", "--out", "shared"]));
    let has_account = |bytes: &[u8]| {
        ["123456789012", "a1b2c3d4e5f6"].iter().any(|secret| String::from_utf8_lossy(bytes).contains(secret))
    };
    assert!(has_account(&std::fs::read(scene.path("results/manifest.json")).unwrap()), "the run itself keeps it");
    assert!(!has_account(&output.stdout), "{}", String::from_utf8_lossy(&output.stdout));
    let shared = files(&scene.path("shared"));
    assert!(shared.len() > 10, "{shared:?}");
    for name in shared {
        assert!(
            !has_account(name.as_bytes()) && !has_account(&std::fs::read(scene.path("shared").join(&name)).unwrap()),
            "{name}"
        );
    }
}
