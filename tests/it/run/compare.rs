//! Baselines and comparisons: files, output and exit codes.

use super::scene::Scene;
use super::sessions::{
    add_client_lag, baseline, calm, change, clear_client_health, json_of, session, slow_flex, template_run,
};
use crate::support::shown;

/// Returns the output and exit code of a command, with hashes of cells redacted.
fn shown_command(scene: &Scene, arguments: &[&str]) -> String {
    shown(&scene.path(""), &scene.command(arguments).output().unwrap())
}

fn compare(scene: &Scene, dirs: &[&str]) -> String {
    shown_command(scene, &[&["compare", "--baseline", "baseline.json"], dirs].concat())
}

#[test]
fn unchanged_run_passes_against_a_small_baseline() {
    let scene = template_run();
    baseline(&scene);
    let text = std::fs::read_to_string(scene.path("baseline.json")).unwrap();
    assert_eq!(text.lines().count(), 5 + 2 + 2 + 5 * 4, "{text}");
    let file = json_of(&scene.path("baseline.json"));
    assert_eq!(file["cells"][0]["asked"]["endpoint"], "simulated");
    assert_eq!(file["sessions"][0]["cells"][1]["typical_ms"], 159.3);
    insta::assert_snapshot!("baseline_show", shown_command(&scene, &["baseline", "show", "baseline.json"]));
    session(&scene, "calm", 24 * 9, calm(2));
    insta::assert_snapshot!("compare_unchanged", compare(&scene, &["calm"]));
}

#[test]
fn slower_tier_is_reported_as_regressed() {
    let scene = template_run();
    baseline(&scene);
    session(&scene, "slow", 24 * 9, slow_flex(2, 1.15));
    let text = compare(&scene, &["slow"]);
    assert!(text.starts_with("exit code: 99") && text.matches(" REGRESSED\n").count() == 2, "{text}");
    insta::assert_snapshot!("compare_regressed", text);
    session(&scene, "fast", 24 * 9, slow_flex(2, 0.8));
    let text = compare(&scene, &["fast"]);
    assert!(text.starts_with("exit code: 0") && text.contains("IMPROVED"), "{text}");
}

#[test]
fn suspect_is_repeated_with_the_printed_commands() {
    let scene = template_run();
    baseline(&scene);
    session(&scene, "new 0", 24 * 9, slow_flex(0, 1.055));
    let text = compare(&scene, &["new 0"]);
    assert!(text.starts_with("exit code: 0"), "{text}");
    insta::assert_snapshot!("compare_suspect", text);
    for day in 1..5 {
        session(&scene, &format!("new {day}"), 24 * (9 + day), slow_flex(day, 1.055));
    }
    let text = compare(&scene, &["new 0", "new 1", "new 2", "new 3", "new 4"]);
    assert!(text.starts_with("exit code: 99"), "{text}");
    insta::assert_snapshot!("compare_second_look", text);
}

#[test]
fn two_runs_are_compared_without_a_verdict() {
    let scene = template_run();
    session(&scene, "monday", 0, calm(0));
    session(&scene, "tuesday", 24, slow_flex(0, 1.5));
    insta::assert_snapshot!("compare_two_runs", shown_command(&scene, &["compare", "monday", "tuesday"]));
    insta::assert_snapshot!("compare_one_run", shown_command(&scene, &["compare", "monday"]));
}

#[test]
fn session_is_added_once_and_can_be_removed() {
    let scene = template_run();
    baseline(&scene);
    let before = std::fs::read_to_string(scene.path("baseline.json")).unwrap();
    insta::assert_snapshot!(
        "baseline_twice",
        shown_command(&scene, &["baseline", "add", "b1", "--to", "baseline.json"])
    );
    insta::assert_snapshot!(
        "baseline_no_such_session",
        shown_command(&scene, &["baseline", "remove", "run-b9", "--from", "baseline.json"])
    );
    scene.expect(0, scene.command(&["baseline", "remove", "run-b1", "--from", "baseline.json"]));
    let without = json_of(&scene.path("baseline.json"));
    assert_eq!(without["sessions"].as_array().unwrap().len(), 4);
    scene.expect(0, scene.command(&["baseline", "add", "b1", "--to", "baseline.json"]));
    assert_eq!(std::fs::read_to_string(scene.path("baseline.json")).unwrap(), before, "in its old place");
    session(&scene, "near", 24 * 4, calm(0));
    insta::assert_snapshot!(
        "baseline_too_close",
        shown_command(&scene, &["baseline", "add", "near", "--to", "baseline.json"])
    );
}

#[test]
fn invalid_baselines_are_reported() {
    let scene = template_run();
    baseline(&scene);
    session(&scene, "calm", 24 * 9, calm(2));
    let good = std::fs::read_to_string(scene.path("baseline.json")).unwrap();
    let cases = [
        ("damaged", good[..good.len() / 2].to_owned()),
        ("empty", String::new()),
        ("newer", good.replace("\"format\": 1", "\"format\": 2")),
        ("no_session", "{\"format\": 1, \"cells\": [], \"sessions\": []}".into()),
    ];
    for (name, text) in cases {
        std::fs::write(scene.path("baseline.json"), text).unwrap();
        insta::assert_snapshot!(format!("baseline_{name}"), compare(&scene, &["calm"]));
        if name != "no_session" {
            let before = std::fs::read(scene.path("baseline.json")).unwrap();
            scene.expect(2, scene.command(&["baseline", "add", "calm", "--to", "baseline.json"]));
            assert_eq!(std::fs::read(scene.path("baseline.json")).unwrap(), before, "it is not replaced");
        }
    }
    std::fs::remove_file(scene.path("baseline.json")).unwrap();
    insta::assert_snapshot!("baseline_missing", compare(&scene, &["calm"]));
    insta::assert_snapshot!("compare_no_run", shown_command(&scene, &["compare", "b0", "nowhere"]));
}

#[test]
fn incomplete_cells_of_a_candidate_are_not_compared() {
    let scene = template_run();
    baseline(&scene);
    session(&scene, "cut", 24 * 9, slow_flex(2, 2.0));
    change(&scene, "cut", |manifest| {
        manifest["interrupted"] = true.into();
        for cell_run in manifest["turns"].as_array_mut().unwrap() {
            if cell_run["test_id"].as_str().unwrap().contains("flex") {
                cell_run["end"] = "interrupted".into();
            }
        }
    });
    insta::assert_snapshot!("compare_interrupted", compare(&scene, &["cut"]));
    session(&scene, "busy", 24 * 9, slow_flex(2, 2.0));
    add_client_lag(&scene, "busy");
    insta::assert_snapshot!("compare_invalid", compare(&scene, &["busy"]));
    insta::assert_snapshot!(
        "baseline_nothing_to_add",
        shown_command(&scene, &["baseline", "add", "busy", "--to", "other.json"])
    );
    assert!(!scene.path("other.json").exists());
}

#[test]
fn unmatched_cells_are_listed_with_their_differences() {
    let scene = template_run();
    baseline(&scene);
    scene.run(0, &["--overwrite", "--service-tiers", "default,flex", "--max-tokens", "24"]);
    session(&scene, "longer", 24 * 9, calm(2));
    insta::assert_snapshot!("compare_nothing_in_common", compare(&scene, &["longer"]));
    scene.run(0, &["--overwrite", "--service-tiers", "default,priority"]);
    session(&scene, "other", 24 * 9, calm(2));
    insta::assert_snapshot!("compare_cells_lacking", compare(&scene, &["other"]));
}

/// Two equal tiers whose times hardly vary and are long compared with the overhead of this machine.
const STEADY: &str = r#"
[target]
endpoint = "simulated"
[matrix]
model_ids = ["test.model-v1:0"]
service_tiers = ["default", "flex"]
prompt_sizes = ["small"]
user_counts = [30]
[load]
test_duration = "2s"
spawn_rate = 1000
think_time = "0s"
cool_down = "0s"
drain = "5s"
seed = 7
[request]
max_tokens = 16
[simulator]
ttft = "500ms"
ttft_sigma = 0.02
tpot = "1ms"
flex_factor = 1.0
"#;

#[test]
fn sessions_of_the_simulator_unchanged_and_with_a_slower_flex() {
    let scene = Scene::new().plan(STEADY);
    let run = |name: &str, more: &[&str]| {
        let arguments = [&["run", "plan.toml", "--yes", "--results-dir", name], more].concat();
        scene.expect(0, scene.command(&arguments));
        clear_client_health(&scene, name);
    };
    let names = ["b0", "b1", "b2", "b3", "b4"];
    for name in names {
        run(name, &[]);
    }
    let add = [&["baseline", "add"], &names[..], &["--to", "baseline.json"]].concat();
    let stderr = scene.expect(0, scene.command(&add)).stderr;
    assert_eq!(String::from_utf8(stderr).unwrap().matches("starts less than one hour from").count(), 4);

    run("unchanged", &[]);
    scene.expect(0, scene.command(&["compare", "--baseline", "baseline.json", "unchanged"]));
    run("slower", &["--set", "simulator.flex_factor=1.15"]);
    let mut command = scene.command(&["compare", "--baseline", "baseline.json", "slower", "--format", "json"]);
    let output = command.output().unwrap();
    let comparison: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(99), "{comparison:#}");
    for row in comparison["rows"].as_array().unwrap() {
        let (is_flex, regressed) = (row["test_id"] == "us_flex_small_u30", row["verdict"] == "REGRESSED");
        assert!(is_flex || !regressed, "{row:#}");
        // p95 of a hundred requests varies too much on a busy machine.
        if is_flex && row["metric"] == "typical" {
            assert!(regressed && (0.10..0.20).contains(&row["change_share"].as_f64().unwrap()), "{row:#}");
        }
    }
    // The printed commands work: the resolved plan has the same cells.
    let again = ["run", "slower/plan.toml", "--yes", "--results-dir", "again", "--only", "us_flex_small_u30"];
    scene.expect(0, scene.command(&again));
    let hash =
        |name: &str, cell: usize| json_of(&scene.path(name).join("manifest.json"))["cells"][cell]["cell_hash"].clone();
    assert_eq!(hash("again", 0), hash("slower", 1));
}
