//! `--output` and GitHub's step summary: files are valid for other tools, and an invalid path is refused before the run.

use super::scene::{SHORT, Scene, files};
use super::sessions::{baseline, json_of, session, slow_flex, template_run};
use crate::support::{python_has, shown};
use std::path::Path;
use std::process::Command;

/// Runs a Python script with a file as its argument.
fn python(script: &str, file: &Path) -> String {
    let output = Command::new("python3").args(["-c", script]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

const JUNIT: &str = "
import junitparser, sys
xml = junitparser.JUnitXml.fromfile(sys.argv[1])
kinds = [type(result).__name__ for suite in xml for case in suite for result in case.result]
cases = [case for suite in xml for case in suite]
assert all(case.name and case.classname for case in cases)
assert (xml.tests, xml.failures, xml.skipped) == (len(cases), kinds.count('Failure'), kinds.count('Skipped'))
print(len(list(xml)), xml.tests, xml.failures, xml.errors, xml.skipped)
";

/// Validates a file for github-action-benchmark, by its documentation.
const BENCHMARK: &str = r#"
import json, jsonschema, sys
schema = {"type": "array", "items": {"type": "object", "required": ["name", "unit", "value"],
  "additionalProperties": False, "properties": {"name": {"type": "string", "minLength": 1}, "unit": {"type": "string"},
  "value": {"type": "number"}, "range": {"type": "string"}, "extra": {"type": "string"}}}}
points = json.load(open(sys.argv[1]))
jsonschema.validate(points, schema)
assert len({point["name"] for point in points}) == len(points)
"#;

/// Validates a file for `CloudWatch`, by the embedded metric format; each metric and dimension must have a value.
const EMF: &str = r#"
import json, jsonschema, sys
name = {"type": "string", "minLength": 1, "maxLength": 1024}
units = ["Seconds", "Microseconds", "Milliseconds", "Bytes", "Percent", "Count", "Count/Second", "None"]
schema = {"type": "object", "required": ["_aws"], "properties": {"_aws": {"type": "object",
  "required": ["Timestamp", "CloudWatchMetrics"], "properties": {"Timestamp": {"type": "integer", "minimum": 1},
  "CloudWatchMetrics": {"type": "array", "items": {"type": "object", "required": ["Namespace", "Dimensions", "Metrics"],
    "additionalProperties": False, "properties": {"Namespace": name,
    "Dimensions": {"type": "array", "minItems": 1, "items": {"type": "array", "minItems": 1, "maxItems": 30, "items": name}},
    "Metrics": {"type": "array", "maxItems": 100, "items": {"type": "object", "required": ["Name"],
      "additionalProperties": False, "properties": {"Name": name, "Unit": {"enum": units}}}}}}}}}}}
lines = open(sys.argv[1]).read().splitlines()
assert lines
for line in lines:
    entry = json.loads(line)
    jsonschema.validate(entry, schema)
    for directive in entry["_aws"]["CloudWatchMetrics"]:
        assert all(isinstance(entry[metric["Name"]], (int, float)) for metric in directive["Metrics"])
        assert all(isinstance(entry[key], str) for keys in directive["Dimensions"] for key in keys)
print(len(lines))
"#;

/// Returns `--output` arguments for these kinds, into `ci/`.
fn outputs(kinds: &[&str]) -> Vec<String> {
    kinds.iter().flat_map(|kind| ["--output".to_owned(), format!("{kind}=ci/{kind}")]).collect()
}

const KINDS: [&str; 6] = ["junit", "markdown", "json", "html", "benchmark", "emf"];

#[test]
fn outputs_of_a_run_are_valid() {
    // A busy machine makes a cell INVALID and its verdicts INCONCLUSIVE, which fails too.
    let plan = format!(
        "{SHORT}\n[[slo]]\nname = \"gate\"\np50 = \"1ms\"\nfailure_rate = \"50%\"\np99 = \"60s\"\n\
         on_inconclusive = \"fail\"\n"
    );
    let scene = Scene::new().plan(&plan);
    let arguments = outputs(&KINDS);
    let mut command = scene.run_command(&["--service-tiers", "default,flex"]);
    std::fs::write(scene.path("step.md"), "before\n").unwrap();
    command.args(&arguments).env("GITHUB_STEP_SUMMARY", scene.path("step.md"));
    scene.expect(99, command);
    for (kind, name) in [("markdown", "summary.md"), ("json", "summary.json"), ("html", "report.html")] {
        let (output, written) = (scene.path("ci").join(kind), scene.path("results").join(name));
        assert!(std::fs::read(output).unwrap() == std::fs::read(written).unwrap(), "{kind}");
    }
    let step = std::fs::read_to_string(scene.path("step.md")).unwrap();
    let summary = std::fs::read_to_string(scene.path("results/summary.md")).unwrap();
    assert_eq!(step, format!("before\n{summary}\n"), "appended to the existing text");
    if python_has("junitparser") {
        let counts = python(JUNIT, &scene.path("ci/junit"));
        assert!(counts.starts_with("1 6 "), "one context, two cells, three bounds each: {counts}");
    }
    if python_has("jsonschema") {
        python(BENCHMARK, &scene.path("ci/benchmark"));
        assert_eq!(python(EMF, &scene.path("ci/emf")), "2");
    }
    // A report writes the files again and truncates a longer one.
    std::fs::write(scene.path("ci/junit"), "x".repeat(100_000)).unwrap();
    scene.expect(99, scene.command(&["report", "results", "--output", "junit=ci/junit"]));
    let xml = std::fs::read_to_string(scene.path("ci/junit")).unwrap();
    assert!(xml.starts_with("<?xml") && xml.ends_with("</testsuites>\n"), "{xml}");
}

#[test]
fn outputs_of_a_comparison_are_valid() {
    let scene = template_run();
    baseline(&scene);
    session(&scene, "slow", 24 * 9, slow_flex(2, 1.15));
    let arguments = outputs(&KINDS);
    let mut command = scene.command(&["compare", "--baseline", "baseline.json", "slow"]);
    command.args(&arguments).env("GITHUB_STEP_SUMMARY", scene.path("step.md"));
    let table = scene.expect(99, command).stdout;
    assert!(String::from_utf8(table).unwrap().contains("2 REGRESSED"));
    let step = std::fs::read_to_string(scene.path("step.md")).unwrap();
    assert_eq!(step, format!("{}\n", std::fs::read_to_string(scene.path("ci/markdown")).unwrap()));
    assert!(step.contains("| **REGRESSED** | us_flex_small_u3 | typical |"), "{step}");
    let page = std::fs::read_to_string(scene.path("ci/html")).unwrap();
    assert_eq!(page.matches("circle class=\"base\" cx").count(), 1 + 4 * 5, "every session of the baseline is drawn");
    for (format, kind) in [("json", "json"), ("markdown", "markdown")] {
        let output =
            scene.expect(99, scene.command(&["compare", "--baseline", "baseline.json", "slow", "--format", format]));
        assert_eq!(output.stdout, std::fs::read(scene.path("ci").join(kind)).unwrap());
    }
    assert_eq!(json_of(&scene.path("ci/json"))["fails"], true);
    if python_has("junitparser") {
        assert_eq!(python(JUNIT, &scene.path("ci/junit")), "1 4 2 0 0");
    }
    if python_has("jsonschema") {
        python(BENCHMARK, &scene.path("ci/benchmark"));
        assert_eq!(python(EMF, &scene.path("ci/emf")), "2");
        let schema = scene.expect(0, scene.command(&["schema", "--of", "comparison"])).stdout;
        std::fs::write(scene.path("schema.json"), schema).unwrap();
        let script = "
import json, jsonschema, os, sys
schema = json.load(open(os.path.join(sys.argv[1], 'schema.json')))
jsonschema.Draft7Validator.check_schema(schema)
jsonschema.Draft7Validator(schema).validate(json.load(open(os.path.join(sys.argv[1], 'ci/json'))))
";
        python(script, &scene.path(""));
    }
}

#[test]
fn invalid_output_path_is_refused_before_the_run() {
    let scene = Scene::new().plan(SHORT);
    std::fs::write(scene.path("file"), "").unwrap();
    let shown_run = |arguments: &[&str]| shown(&scene.path(""), &scene.run_command(arguments).output().unwrap());
    insta::assert_snapshot!(
        "output_bad_path",
        shown_run(&["--output", "json=a.json", "--output", "junit=file/junit.xml"])
    );
    insta::assert_snapshot!("output_unknown_kind", shown_run(&["--output", "xml=a.xml"]));
    insta::assert_snapshot!("output_without_a_file", shown_run(&["--output", "junit"]));
    let mut command = scene.run_command(&[]);
    command.env("GITHUB_STEP_SUMMARY", scene.path("file/step.md"));
    scene.expect(2, command);
    scene.expect(2, scene.run_command(&["--output", "json=a.json", "--prompts-file", "nowhere.json"]));
    assert!(!scene.path("results").exists(), "nothing was sent");
    assert_eq!(files(&scene.path("")), ["file", "plan.toml"], "and no empty file stays behind");
}
