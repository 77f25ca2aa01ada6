//! Likely mistakes in input: encodings, durations, names, missing or empty files, paths with a tilde, repeated flags.

use crate::support::{command, shown};
use serde_json::Value;
use std::path::Path;
use std::process::Output;

/// Runs the binary in a directory.
fn run_in(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().unwrap()
}

/// The resolved plan, as `show --format json` prints it.
fn resolved(dir: &Path, arguments: &[&str]) -> Value {
    let output = run_in(dir, &[&["show", "--format", "json"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", shown(dir, &output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs the binary in a directory and returns what it prints, with the expected exit code checked.
fn refused(dir: &Path, arguments: &[&str]) -> String {
    let output = run_in(dir, arguments);
    assert_eq!(output.status.code(), Some(2), "{}", shown(dir, &output));
    shown(dir, &output)
}

fn write(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
    std::fs::write(dir.join(name), bytes).unwrap();
}

#[test]
fn byte_order_mark_is_skipped_in_each_input_file() {
    let dir = tempfile::tempdir().unwrap();
    let bom = |text: &str| format!("\u{feff}{text}");
    write(dir.path(), "base.toml", bom("[load]\ndrain = \"7s\"\n"));
    write(
        dir.path(),
        "plan.toml",
        bom(
            "extends = \"base.toml\"\n[matrix]\nprompt_sizes = [\"own\", \"lines\", \"file\"]\n[[dataset]]\nname = \"lines\"\nfile = \"lines.jsonl\"\n",
        ),
    );
    write(dir.path(), "prompts.json", bom("{\"own\": {\"text\": \"hi\"}, \"file\": {\"file\": \"text.txt\"}}"));
    write(dir.path(), "lines.jsonl", bom("{\"text\": \"a\"}\n{\"text\": \"b\"}\n"));
    write(dir.path(), "text.txt", bom("hello"));
    let shown = resolved(dir.path(), &["plan.toml"]);
    assert_eq!(shown["plan"]["load"]["drain"], "7s");
    assert_eq!(shown["plan"]["matrix"]["prompt_sizes"].as_array().unwrap().len(), 3);
}

#[test]
fn other_encodings_are_reported_by_name() {
    let utf16 = |text: &str| -> Vec<u8> {
        [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
    };
    let cases: [(&str, Vec<u8>, &str); 4] = [
        ("prompts.json", utf16("{\"small\": {\"text\": \"hi\"}}"), "UTF-16 (little endian)"),
        ("prompts.json", b"{\n\"small\": {\"text\": \"gr\xfcn\"}}".to_vec(), "byte 0xfc in line 2"),
        ("plan.toml", utf16("[load]\n"), "UTF-16 (little endian)"),
        ("plan.toml", b"name = \"gr\xfcn\"\n".to_vec(), "byte 0xfc in line 1"),
    ];
    for (name, bytes, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "plan.toml", "[matrix]\nprompt_sizes = [\"small\"]\n");
        write(dir.path(), name, bytes);
        let text = refused(dir.path(), &["show", "plan.toml"]);
        assert!(text.contains(expected) && text.contains("save it as UTF-8"), "{name}: {text}");
    }
}

#[test]
fn messages_name_no_rust_type() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "prompts.json",
        "{\"a\": 5, \"b\": {\"messages\": [7]}, \"c\": {\"generate\": 3}, \"d\": {\"dataset\": \"d.jsonl\"}}",
    );
    write(dir.path(), "d.jsonl", "5\n{\"messages\": [\"x\"]}\n");
    let lists = "profile = [5]\noverride = [5]\nmix = [5]\ndataset = [5]\nslo = [5]\n[prices]\nrows = [5]\n[matrix]\nexclude = [5]\nzip = [5]\nadd = [5]\n";
    write(dir.path(), "plan.toml", lists);
    let text = refused(dir.path(), &["show", "plan.toml"]) + &refused(dir.path(), &["show"]);
    assert!(!text.contains("expected struct") && !text.contains("expected enum"), "{text}");
    insta::assert_snapshot!("values_of_the_wrong_shape", text);
}

#[test]
fn number_without_a_unit_is_in_seconds() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "plan.toml",
        "[load]\ntest_duration = 90\ndrain = \"60\"\nthink_time = 0.5\n[request]\ntimeout = 1.5\n[[slo]]\np95 = 2.5\n[[override]]\nwhen = { service_tier = \"flex\" }\ntimeout = 30\n",
    );
    let plan = &resolved(dir.path(), &["plan.toml", "--cool-down", "3"])["plan"];
    let load = &plan["load"];
    assert_eq!(
        [&load["test_duration"], &load["drain"], &load["think_time"], &load["cool_down"]],
        ["1m30s", "1m", "500ms", "3s"]
    );
    assert_eq!(plan["request"]["timeout"], "1s500ms");
    assert_eq!(plan["slo"][0]["p95"], "2s500ms");
    let day = resolved(dir.path(), &["--test-duration", "1d"]);
    assert_eq!(day["plan"]["load"]["test_duration"], "24h");
}

#[test]
fn limit_that_probably_means_milliseconds_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "plan.toml", "[[slo]]\np95 = 800\n[[slo]]\ngoodput = { min = 1, ttft = 800 }\n");
    insta::assert_snapshot!("limits_without_a_unit", refused(dir.path(), &["show", "plan.toml"]));
}

#[test]
fn unknown_tiers_and_prefixes_are_sent_with_a_warning_and_misspelt_ones_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let output = run_in(dir.path(), &["show", "--service-tiers", "default,turbo", "--region-prefixes", "mx"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("warning: `turbo` is not a known service tier"), "{text}");
    assert!(text.contains("warning: `mx` is not a known region prefix"), "{text}");
    let allowed = ["--service-tiers", "flx", "--region-prefixes", "uk", "--allow-unknown", "flx,uk"];
    let shown = resolved(dir.path(), &allowed);
    assert_eq!(
        (&shown["plan"]["matrix"]["service_tiers"][0], shown["warnings"].as_array().unwrap().len()),
        (&"flx".into(), 0)
    );
}

#[test]
fn missing_or_empty_plan_is_reported_with_nearby_plans() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["nova.toml", "plans/nova-pro.toml", "plans/other.toml", "Cargo.toml"] {
        write(dir.path(), name, "schema = 1\n");
    }
    write(dir.path(), "empty.toml", "# nothing yet\n");
    insta::assert_snapshot!(
        "missing_plan_beside_others",
        refused(dir.path(), &["run", "nvoa.toml", "--simulated", "--yes"])
    );
    insta::assert_snapshot!("empty_plan", refused(dir.path(), &["run", "empty.toml", "--simulated", "--yes"]));
    assert!(!dir.path().join("test_results").exists(), "nothing ran");
}

#[test]
fn tilde_expands_to_the_home_directory() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "home/p.json", "{\"own\": {\"text\": \"hi\"}}");
    write(dir.path(), "home/base.toml", "[load]\ndrain = \"7s\"\n");
    write(
        dir.path(),
        "plan.toml",
        "extends = \"~/base.toml\"\nprompts_file = \"~/p.json\"\nresults_dir = \"~/results\"\n[target]\nendpoint = \"simulated\"\n[matrix]\nprompt_sizes = [\"own\"]\nservice_tiers = [\"default\"]\nuser_counts = [1]\n[load]\nrequests = 1\nthink_time = 0\n",
    );
    let run = |arguments: &[&str]| {
        let mut command = command(dir.path(), arguments);
        command.env("HOME", dir.path().join("home")).output().unwrap()
    };
    let output = run(&["run", "plan.toml", "--yes", "--no-preflight", "--output=junit=~/junit.xml"]);
    assert_eq!(output.status.code(), Some(0), "{}", shown(dir.path(), &output));
    assert!(dir.path().join("home/results/manifest.json").is_file());
    assert!(dir.path().join("home/junit.xml").is_file());
    assert!(!dir.path().join("~").exists());
    write(dir.path(), "plan.toml", "results_dir = \"~ada/results\"\nprompts_file = \"~ada/p.json\"\n");
    insta::assert_snapshot!("home_of_another_user", refused(dir.path(), &["show", "plan.toml"]));
}

#[test]
fn printed_plan_has_file_paths_relative_to_the_plan() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "prompts/p.json", "{\"own\": {\"text\": \"hi\"}}");
    write(dir.path(), "prompts/lines.jsonl", "{\"text\": \"a\"}\n");
    let plan = "prompts_file = \"../prompts/p.json\"\n[target]\nendpoint = \"simulated\"\n[matrix]\nprompt_sizes = [\"own\", \"lines\"]\nservice_tiers = [\"default\"]\nuser_counts = [1]\n[load]\nrequests = 1\nthink_time = 0\n[[dataset]]\nname = \"lines\"\nfile = \"../prompts/lines.jsonl\"\n";
    write(dir.path(), "plans/plan.toml", plan);
    let output = run_in(dir.path(), &["show", "plans/plan.toml", "--format", "toml"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("prompts_file = \"../prompts/p.json\"") && text.contains("file = \"../prompts/lines.jsonl\""),
        "{text}"
    );
    // The plan in the results directory can be run.
    let run = ["run", "plans/plan.toml", "--yes", "--no-preflight", "--results-dir", "a/b"];
    assert_eq!(run_in(dir.path(), &run).status.code(), Some(0));
    let kept = std::fs::read_to_string(dir.path().join("a/b/plan.toml")).unwrap();
    assert!(kept.contains("prompts_file = \"../../prompts/p.json\""), "{kept}");
    assert_eq!(resolved(dir.path(), &["a/b/plan.toml"])["cells"].as_array().unwrap().len(), 2);
}

#[test]
fn last_value_of_a_repeated_flag_wins() {
    let dir = tempfile::tempdir().unwrap();
    let plan = |arguments: &[&str]| resolved(dir.path(), arguments)["plan"].clone();
    assert_eq!(plan(&["--user-counts", "3", "--user-counts", "4"])["matrix"]["user_counts"], serde_json::json!([4]));
    let models = |arguments: &[&str]| plan(arguments)["matrix"]["model_ids"][0].as_str().unwrap().to_owned();
    assert_eq!(models(&["--model-id", "a.x", "--base-model-id", "b.x"]), "b.x");
    assert_eq!(models(&["--base-model-id", "b.x", "--model-id", "a.x"]), "a.x");
    assert_eq!(plan(&["--set", "simulator.capacity=4", "--set", "simulator.capacity=5"])["simulator"]["capacity"], 5);
    assert_eq!(
        run_in(dir.path(), &["show", "--quiet", "--quiet", "--format", "json", "--format", "toml"]).status.code(),
        Some(0)
    );
    insta::assert_snapshot!(
        "two_names_of_one_setting",
        refused(dir.path(), &["show", "--drain", "5s", "--set", "load.drain=\"6s\""])
    );
}

#[test]
fn misspelt_subcommand_gets_a_suggestion() {
    let dir = tempfile::tempdir().unwrap();
    for (wrong, right) in [("rnu", "run"), ("shwo", "show"), ("reprot", "report"), ("mrege", "merge")] {
        let text = refused(dir.path(), &[wrong]);
        assert!(text.contains(&format!("'{right}'")), "{wrong}: {text}");
    }
}

#[test]
fn each_only_pattern_must_match_a_cell() {
    let dir = tempfile::tempdir().unwrap();
    let text = refused(dir.path(), &["show", "--only", "us_flex_*", "--only", "us_felx_*"]);
    assert!(text.contains("no cell matches `us_felx_*`") && !text.contains("us_flex_*`"), "{text}");
}

#[test]
fn aws_variables_do_not_override_a_simulated_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "plan.toml", "[target]\nendpoint = \"simulated\"\n");
    let mut show = command(dir.path(), &["show", "plan.toml", "--format", "json"]);
    let output = show.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").output().unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["plan"]["target"]["endpoint"], "simulated");
}
