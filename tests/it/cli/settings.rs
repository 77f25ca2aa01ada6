//! Each setting: its key, flags, variables, and the precedence of the layers. The names are listed here so that none can
//! be removed by mistake.

use crate::support::command;
use serde_json::{Value, json};
use std::path::Path;

struct Row {
    key: &'static str,
    flags: &'static [&'static str],
    environment: &'static [&'static str],
    default: Value,
    /// Text in a plan, and the resulting value.
    file: (&'static str, Value),
    /// Text in the environment, and the resulting value.
    env: (&'static str, Value),
    /// Text of a flag, and the resulting value.
    flag: (&'static str, Value),
}

#[allow(clippy::too_many_lines)] // one row per setting
fn rows() -> Vec<Row> {
    let row =
        |key, flags, environment, default, file, env, flag| Row { key, flags, environment, default, file, env, flag };
    vec![
        row(
            "matrix.model_ids",
            &["--model-id", "--base-model-id"],
            &["BASE_MODEL_ID", "BEDROCK_PLAN_MODEL_ID", "BEDROCK_PLAN_BASE_MODEL_ID"],
            json!(["amazon.nova-premier-v1:0"]),
            ("[\"a\"]", json!(["a"])),
            ("b, c", json!(["b", "c"])),
            ("d", json!(["d"])),
        ),
        row(
            "results_dir",
            &["--results-dir"],
            &["RESULTS_DIR", "BEDROCK_PLAN_RESULTS_DIR"],
            json!("test_results"),
            ("\"a\"", json!("a")),
            ("b", json!("b")),
            ("c/{name}", json!("c/{name}")),
        ),
        row(
            "matrix.region_prefixes",
            &["--region-prefixes"],
            &["REGION_PREFIXES", "REGION_PREFIX", "BEDROCK_PLAN_REGION_PREFIXES"],
            json!(["us"]),
            ("[\"eu\"]", json!(["eu"])),
            ("apac,jp", json!(["apac", "jp"])),
            ("none", json!(["none"])),
        ),
        row(
            "matrix.service_tiers",
            &["--service-tiers"],
            &["SERVICE_TIERS", "SERVICE_TIER", "BEDROCK_PLAN_SERVICE_TIERS"],
            json!(["default", "priority", "flex"]),
            ("[\"flex\"]", json!(["flex"])),
            ("priority", json!(["priority"])),
            ("none,reserved", json!(["none", "reserved"])),
        ),
        row(
            "matrix.prompt_sizes",
            &["--prompt-sizes"],
            &["PROMPT_SIZES", "PROMPT_SIZE", "BEDROCK_PLAN_PROMPT_SIZES"],
            json!(["small", "medium", "large"]),
            ("[\"small\"]", json!(["small"])),
            ("medium", json!(["medium"])),
            ("large,small", json!(["large", "small"])),
        ),
        row(
            "matrix.user_counts",
            &["--user-counts"],
            &["USER_COUNTS", "BEDROCK_PLAN_USER_COUNTS"],
            json!([30, 60, 90]),
            ("[1]", json!([1])),
            ("2,3", json!([2, 3])),
            ("4", json!([4])),
        ),
        row(
            "load.test_duration",
            &["--test-duration"],
            &["TEST_DURATION", "BEDROCK_PLAN_TEST_DURATION"],
            json!("1m"),
            ("\"2m\"", json!("2m")),
            ("180", json!("3m")),
            ("1h30m", json!("1h30m")),
        ),
        row(
            "load.spawn_rate",
            &["--spawn-rate"],
            &["SPAWN_RATE", "BEDROCK_PLAN_SPAWN_RATE"],
            json!(10.0),
            ("20", json!(20.0)),
            ("2.5", json!(2.5)),
            ("40", json!(40.0)),
        ),
        row(
            "request.max_tokens",
            &["--max-tokens"],
            &["MAX_TOKENS", "BEDROCK_PLAN_MAX_TOKENS"],
            json!(4096),
            ("1", json!(1)),
            ("2", json!(2)),
            ("3", json!(3)),
        ),
        row(
            "report.include_failures",
            &["--include-failures"],
            &["INCLUDE_FAILURES", "BEDROCK_PLAN_INCLUDE_FAILURES"],
            json!(false),
            ("true", json!(true)),
            ("FALSE", json!(false)),
            ("1", json!(true)),
        ),
        row(
            "load.think_time",
            &["--think-time"],
            &["BEDROCK_PLAN_THINK_TIME"],
            json!("1s..2s"),
            ("\"500ms\"", json!("500ms")),
            ("1..3", json!("1s..3s")),
            ("0s", json!("0s")),
        ),
        row(
            "load.cool_down",
            &["--cool-down"],
            &["BEDROCK_PLAN_COOL_DOWN"],
            json!("2s"),
            ("\"1s\"", json!("1s")),
            ("0", json!("0s")),
            ("5s", json!("5s")),
        ),
        row(
            "load.drain",
            &["--drain"],
            &["BEDROCK_PLAN_DRAIN"],
            json!("1m"),
            ("\"1s\"", json!("1s")),
            ("2", json!("2s")),
            ("0s", json!("0s")),
        ),
        row(
            "load.order",
            &["--order"],
            &["BEDROCK_PLAN_ORDER"],
            json!("blocked"),
            ("\"matrix\"", json!("matrix")),
            ("random", json!("random")),
            ("blocked", json!("blocked")),
        ),
        row(
            "load.seed",
            &["--seed"],
            &["BEDROCK_PLAN_SEED"],
            Value::Null,
            ("1", json!(1)),
            ("2", json!(2)),
            ("3", json!(3)),
        ),
        row(
            "load.repetitions",
            &["--repetitions"],
            &["BEDROCK_PLAN_REPETITIONS"],
            json!(1),
            ("2", json!(2)),
            ("3", json!(3)),
            ("4", json!(4)),
        ),
        row(
            "request.timeout",
            &["--timeout"],
            &["BEDROCK_PLAN_TIMEOUT"],
            json!("14m"),
            ("\"1s\"", json!("1s")),
            ("2", json!("2s")),
            ("300ms", json!("300ms")),
        ),
        row(
            "request.temperature",
            &["--temperature"],
            &["BEDROCK_PLAN_TEMPERATURE"],
            json!("none"),
            ("0.5", json!(0.5)),
            ("none", json!("none")),
            ("1", json!(1.0)),
        ),
        row(
            "request.top_p",
            &["--top-p"],
            &["BEDROCK_PLAN_TOP_P"],
            json!("none"),
            ("0.5", json!(0.5)),
            ("0.9", json!(0.9)),
            ("none", json!("none")),
        ),
        row(
            "report.include_ramp",
            &["--include-ramp"],
            &["BEDROCK_PLAN_INCLUDE_RAMP"],
            json!(false),
            ("true", json!(true)),
            ("0", json!(false)),
            ("true", json!(true)),
        ),
        row(
            "target.region",
            &["--region"],
            &["AWS_REGION", "AWS_DEFAULT_REGION", "BEDROCK_PLAN_REGION"],
            Value::Null,
            ("\"a\"", json!("a")),
            ("b", json!("b")),
            ("c", json!("c")),
        ),
        row(
            "target.profile",
            &["--profile"],
            &["AWS_PROFILE", "BEDROCK_PLAN_PROFILE"],
            Value::Null,
            ("\"a\"", json!("a")),
            ("b", json!("b")),
            ("c", json!("c")),
        ),
        row(
            "target.endpoint",
            &["--endpoint-url"],
            &["BEDROCK_PLAN_ENDPOINT_URL"],
            json!("aws"),
            ("\"http://a\"", json!("http://a")),
            ("http://b", json!("http://b")),
            ("simulated", json!("simulated")),
        ),
    ]
}

struct Show<'a> {
    dir: &'a Path,
    plan: bool,
    env: Vec<(String, &'a str)>,
    flags: Vec<String>,
}

impl Show<'_> {
    /// The value of a key and its origin.
    fn get(&self, key: &str) -> (Value, Value) {
        let mut command = command(self.dir, &["show", "--format", "json"]);
        if self.plan {
            command.arg("plan.toml");
        }
        let output = command.args(&self.flags).envs(self.env.clone()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{key} {:?} {:?}: {error}", self.env, self.flags);
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        let value = key.split('.').fold(&shown["plan"], |inner, part| &inner[part]);
        (value.clone(), shown["origin"][key].clone())
    }
}

#[test]
fn each_setting_has_its_names_and_layers_have_precedence() {
    let dir = tempfile::tempdir().unwrap();
    for row in rows() {
        let (table, leaf) = row.key.split_once('.').unwrap_or(("", row.key));
        let header = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
        std::fs::write(dir.path().join("plan.toml"), format!("{header}{leaf} = {}\n", row.file.0)).unwrap();
        let line = if table.is_empty() { 1 } else { 2 };
        let show = |plan, env: &[(&str, &'static str)], flags: &[String]| {
            let env = env.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
            Show { dir: dir.path(), plan, env, flags: flags.to_vec() }.get(row.key)
        };
        let (value, origin) = show(false, &[], &[]);
        assert_eq!(value, row.default, "{}", row.key);
        assert!(origin.is_null() || origin == json!({"layer": "default"}), "{} {origin}", row.key);

        assert_eq!(
            show(true, &[], &[]),
            (row.file.1.clone(), json!({"layer": "file", "name": format!("plan.toml:{line}")})),
            "{}",
            row.key
        );

        let full = format!("BEDROCK_PLAN_{}", row.key.to_uppercase().replace('.', "__"));
        for name in row.environment.iter().copied().chain([full.as_str()]) {
            assert_eq!(
                show(true, &[(name, row.env.0)], &[]),
                (row.env.1.clone(), json!({"layer": "env", "name": name})),
                "{name}"
            );
            assert_eq!(show(true, &[(name, " ")], &[]).0, row.file.1, "{name}: an empty variable counts as unset");
        }
        for flag in row.flags {
            let expected = (row.flag.1.clone(), json!({"layer": "flag", "name": flag}));
            assert_eq!(
                show(true, &[(row.environment[0], row.env.0)], &[format!("{flag}={}", row.flag.0)]),
                expected,
                "{flag}"
            );
        }
        let set = format!("{}={}", row.key, row.flag.0);
        assert_eq!(
            show(true, &[(row.environment[0], row.env.0)], &["--set".into(), set]).0,
            row.flag.1,
            "--set {}",
            row.key
        );
    }
}

#[test]
fn prompts_file_is_relative_to_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let prompts = r#"{"small": {"text": "hi"}, "medium": {"text": "hi"}, "large": {"text": "hi"}}"#;
    std::fs::create_dir(root.join("plans")).unwrap();
    for name in ["plans/mine.json", "mine.json", "prompts.json"] {
        std::fs::write(root.join(name), prompts).unwrap();
    }
    std::fs::write(root.join("plans/plan.toml"), "prompts_file = \"mine.json\"\n").unwrap();
    let show = |plan: &[&str], env: &[(&str, &str)], flags: &[&str]| {
        let mut arguments = vec!["show", "--format", "json"];
        arguments.extend(plan);
        arguments.extend(flags);
        let output = command(&root, &arguments).envs(env.iter().copied()).output().unwrap();
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        shown["plan"]["prompts_file"].as_str().unwrap().to_owned()
    };
    let at = |name: &str| root.join(name).to_string_lossy().into_owned();
    assert_eq!(show(&[], &[], &[]), at("prompts.json"));
    assert_eq!(show(&["plans/plan.toml"], &[], &[]), at("plans/mine.json"));
    assert_eq!(show(&["plans/plan.toml"], &[("PROMPTS_FILE", "mine.json")], &[]), at("mine.json"));
    assert_eq!(
        show(&["plans/plan.toml"], &[("PROMPTS_FILE", "nix.json")], &["--prompts-file", "mine.json"]),
        at("mine.json")
    );
}

#[test]
fn every_plan_key_can_be_set_by_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let show = |env: &[(&str, &'static str)], flags: &[&str], key| {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let flags = flags.iter().map(ToString::to_string).collect();
        Show { dir: dir.path(), plan: false, env, flags }.get(key)
    };
    let env = [("BEDROCK_PLAN_SIMULATOR__CAPACITY", "40")];
    assert_eq!(show(&env, &[], "simulator.capacity").0, json!(40));
    assert_eq!(show(&env, &["--set", "simulator.capacity=50"], "simulator.capacity").0, json!(50));
    assert_eq!(show(&[], &["--set", "simulator.faults.stall=0.25"], "simulator.faults.stall").0, json!(0.25));
    assert_eq!(show(&[], &["--set", "simulator.ttft=90ms"], "simulator.ttft").0, json!("90ms"));
    assert_eq!(show(&[], &["--set", "matrix.user_counts=[7, 8]"], "matrix.user_counts").0, json!([7, 8]));
    assert_eq!(show(&[("BEDROCK_PLAN_NAME", "nightly")], &[], "name").0, json!("nightly"));
    assert_eq!(show(&[("BEDROCK_PLAN_SIMULATED", "true")], &[], "target.endpoint").0, json!("simulated"));
    assert_eq!(
        show(&[], &["--simulated"], "target.endpoint"),
        (json!("simulated"), json!({"layer": "flag", "name": "--simulated"}))
    );
}

#[test]
fn aws_variables_keep_the_sdks_precedence_below_our_own() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plan.toml"), "[target]\nendpoint = \"http://plan\"\n").unwrap();
    let show = |plan, env: &[(&str, &'static str)], key| {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Show { dir: dir.path(), plan, env, flags: vec![] }.get(key)
    };
    assert_eq!(show(false, &[("AWS_REGION", "a"), ("AWS_DEFAULT_REGION", "b")], "target.region").0, json!("a"));
    assert_eq!(show(false, &[("AWS_REGION", "a"), ("BEDROCK_PLAN_REGION", "b")], "target.region").0, json!("b"));
    let both = [("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "http://a"), ("AWS_ENDPOINT_URL", "http://b")];
    let origin = json!({"layer": "env", "name": "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"});
    assert_eq!(show(false, &both, "target.endpoint"), (json!("http://a"), origin));
    assert_eq!(show(true, &both, "target.endpoint").0, json!("http://a"), "variables override a plan");
    let ours = [both[0], ("BEDROCK_PLAN_ENDPOINT_URL", "http://c")];
    assert_eq!(show(true, &ours, "target.endpoint").0, json!("http://c"));
}
