//! `--resume`: complete cells are not run again, and no request counts twice.

use super::scene::{SHORT, Scene, interrupt, wait_for_lines};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

/// Requests of each cell.
const REQUESTS: usize = 12;

/// Four cells of twelve requests.
fn scene() -> Scene {
    Scene::new().plan(SHORT)
}

const CELLS: [&str; 6] = ["--requests", "12", "--user-counts", "2,3", "--service-tiers", "default,priority"];

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the records of the last attempt at each cell, which are those that count.
fn counted_records(scene: &Scene) -> BTreeMap<String, Vec<Value>> {
    let mut cells: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in scene.records().into_iter().filter(|record| record["phase"] != "preflight") {
        cells.entry(record["test_id"].as_str().unwrap().to_owned()).or_default().push(record);
    }
    let attempt = |record: &Value| record["cell_attempt"].as_u64().unwrap_or(1);
    for records in cells.values_mut() {
        let last = records.iter().map(attempt).max().unwrap();
        records.retain(|record| attempt(record) == last);
    }
    cells
}

/// Asserts that each cell has twelve requests, each once, and that its row contains exactly these.
fn assert_whole(scene: &Scene, moment: &str) {
    let cells = counted_records(scene);
    let rows = scene.rows();
    assert_eq!((cells.len(), rows.len()), (4, 4), "{moment}");
    for row in rows {
        let records = &cells[&row["test_id"]];
        let numbers: BTreeSet<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..REQUESTS as u64).collect(), "{moment}: {}", row["test_id"]);
        assert_eq!(records.len(), REQUESTS, "{moment}: {}", row["test_id"]);
        assert_eq!(row["total_requests"], REQUESTS.to_string(), "{moment}: {}", row["test_id"]);
        let tokens: u64 = records.iter().map(|record| record["output_tokens"].as_u64().unwrap()).sum();
        assert_eq!(row["total_output_tokens"], tokens.to_string(), "{moment}: {}", row["test_id"]);
    }
}

fn file_names(scene: &Scene) -> Vec<String> {
    super::scene::files(&scene.path("results"))
        .into_iter()
        // Whether tiers are compared depends on how busy this machine was.
        .filter(|name| !name.contains("tiers_against_default"))
        .map(|name| if name.starts_with("consolidated_results_") { "consolidated".into() } else { name })
        .collect()
}

#[test]
fn run_killed_at_any_time_is_completed_by_resume() {
    let undisturbed = scene();
    undisturbed.run(0, &CELLS);
    assert_whole(&undisturbed, "undisturbed");
    let files = file_names(&undisturbed);
    let mut rng = ChaCha8Rng::seed_from_u64(std::process::id().into());
    let mut broken = 0;
    for number in 0..20 {
        let scene = scene();
        let lines = rng.random_range(0..4 * REQUESTS);
        // Every second run has a pre-flight.
        let cells = if number % 2 == 0 { CELLS.to_vec() } else { [&CELLS[..], &["--preflight"]].concat() };
        let mut run = scene.run_command(&cells).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for_lines(&scene.path("results/token_data.jsonl"), lines);
        // At any time between two flushes of the journal.
        std::thread::sleep(std::time::Duration::from_micros(rng.random_range(0..30_000)));
        run.kill().unwrap();
        run.wait().unwrap();
        let text = std::fs::read_to_string(scene.path("results/token_data.jsonl")).unwrap_or_default();
        let whole: Vec<&str> = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
        let moment = format!("kill {number}, after {} lines", whole.len());
        scene.run(0, &[&cells[..], &["--resume-or-start"]].concat());
        assert_whole(&scene, &moment);
        assert_eq!(file_names(&scene), files, "{moment}");
        let after = std::fs::read_to_string(scene.path("results/token_data.jsonl")).unwrap();
        assert!(after.starts_with(&whole.concat()), "{moment}: what was recorded stays");
        let load = after.lines().filter(|line| !line.contains("\"preflight\"")).count();
        broken += usize::from(load > 4 * REQUESTS);
    }
    assert!(broken > 0, "some kill was inside a cell");
}

#[test]
fn interrupted_run_resumes_at_its_next_cell() {
    let scene = scene();
    let long = ["--test-duration", "2s", "--user-counts", "2", "--service-tiers", "default,priority,flex"];
    let mut run = scene.run_command(&long).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let ended = |count: usize| {
        let manifest = || std::fs::read_to_string(scene.path("results/manifest.json")).ok();
        manifest()
            .and_then(|text| serde_json::from_str::<Value>(&text).ok())
            .map_or(0, |manifest| manifest["turns"].as_array().unwrap().len())
            >= count
    };
    while !ended(1) {
        std::thread::yield_now();
    }
    let lines = scene.records().len();
    wait_for_lines(&scene.path("results/token_data.jsonl"), lines + 5);
    interrupt(&run);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let before = scene.manifest();
    assert_eq!(before["turns"][1]["end"], "interrupted");
    let output = scene.run(0, &[&long[..], &["--resume"]].concat());
    assert!(
        stderr(&output).contains("1 finished cell runs are kept, 2 are outstanding, 1 of them repeated"),
        "{}",
        stderr(&output)
    );
    let after = scene.manifest();
    assert_eq!((&after["run_id"], &after["seed"]), (&before["run_id"], &before["seed"]));
    assert_eq!(after["turns"][0], before["turns"][0], "the finished one is as it was");
    assert_eq!(after["turns"][1], before["turns"][1], "the aborted cell run is listed too");
    assert_eq!(after["turns"][2]["attempt"], 2);
    assert_eq!(after["interrupted"], false);
    for row in scene.rows() {
        let records = &counted_records(&scene)[&row["test_id"]];
        assert_eq!(row["total_requests"], records.len().to_string());
        assert!(!row["warnings"].contains("interrupted"), "{}", row["warnings"]);
    }
    // The cost of earlier attempts still counts.
    let output = scene.run(0, &[&long[..], &["--resume"]].concat());
    assert!(stderr(&output).is_empty(), "a finished run is rendered again: {}", stderr(&output));
}

#[test]
fn resume_requires_the_same_plan() {
    let scene = scene();
    scene.run(0, &CELLS);
    let records = scene.records().len();
    let mut other = CELLS;
    other[1] = "13";
    let output = scene.run(2, &[&other[..], &["--resume", "--max-tokens", "17", "--seed", "8"]].concat());
    insta::assert_snapshot!("another_plan", stderr(&output));
    let output = scene.run(2, &[&CELLS[..4], &["--resume", "--only", "*u2"]].concat());
    insta::assert_snapshot!("another_selection", stderr(&output));
    assert_eq!(scene.records().len(), records, "nothing was sent");
    let anywhere = ["run", "plan.toml", "--yes", "--resume", "--results-dir", "results/{started}"];
    let output = scene.expect(2, scene.command(&anywhere));
    assert!(stderr(&output).contains("name the run's directory: --results-dir DIR"), "{}", stderr(&output));
}

#[test]
fn resume_without_results_is_refused_except_with_start_if_missing() {
    let scene = scene();
    for flags in [&["--resume"][..], &["--rerun", "failed"]] {
        let output = scene.run(2, &[&CELLS[..], flags].concat());
        assert!(stderr(&output).contains("cannot resume: results contains no run"), "{}", stderr(&output));
        assert!(stderr(&output).contains("--resume-or-start"), "{}", stderr(&output));
        assert!(!scene.path("results").exists(), "nothing was sent or written");
    }
    std::fs::create_dir(scene.path("results")).unwrap();
    std::fs::write(scene.path("results/token_data.jsonl"), "{}\n").unwrap();
    scene.run(2, &[&CELLS[..], &["--resume"]].concat());
    assert_eq!(std::fs::read_to_string(scene.path("results/token_data.jsonl")).unwrap(), "{}\n");
    std::fs::remove_dir_all(scene.path("results")).unwrap();
    let output = scene.run(0, &[&CELLS[..], &["--resume-or-start"]].concat());
    assert!(stderr(&output).contains("results: the directory does not exist; starting a new run"));
    assert_whole(&scene, "afresh");
}

#[test]
fn rerun_failed_runs_failed_cells_again() {
    let refusing = "[simulator.faults]\nvalidation = 1.0\n";
    let scene = Scene::new().plan(&format!("{SHORT}\n{refusing}"));
    scene.run(3, &CELLS);
    assert!(scene.rows().iter().all(|row| row["validity"] == "aborted"));
    let refused = scene.records().len();
    let healed = [&CELLS[..], &["--set", "simulator.faults.validation=0"]].concat();
    scene.run(3, &[&healed[..], &["--resume"]].concat());
    assert_eq!(scene.records().len(), refused, "aborted cells are finished");
    scene.run(3, &[&healed[..], &["--rerun", "us_default_small_u2"]].concat());
    assert_eq!(scene.records().len(), refused + REQUESTS);
    scene.run(0, &[&healed[..], &["--rerun", "failed"]].concat());
    assert_whole(&scene, "rerun");
    assert_eq!(scene.records().len(), refused + 4 * REQUESTS);
}

#[test]
fn records_lost_in_a_power_cut_are_measured_again() {
    let scene = scene();
    scene.run(0, &CELLS);
    let journal = scene.path("results/token_data.jsonl");
    let mut bytes = std::fs::read(&journal).unwrap();
    // A block of zeros in the middle of the file, as after a power cut.
    let from = bytes.len() / 2;
    bytes[from..from + 2_000].fill(0);
    std::fs::write(&journal, &bytes).unwrap();
    scene.run(0, &[&CELLS[..], &["--resume"]].concat());
    assert_whole(&scene, "a hole");
    let aside = std::fs::read(scene.path("results/token_data.damaged.jsonl")).unwrap();
    assert!(bytes.ends_with(&aside) && aside.contains(&0), "unreadable bytes are quarantined");
}
