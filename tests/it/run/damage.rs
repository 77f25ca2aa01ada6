//! Damaged files in a results directory: warnings, errors, and no hang.

use super::scene::{SHORT, Scene};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs two cells.
fn two_cells() -> Scene {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--user-counts", "1,2", "--no-report", "--order", "matrix"]);
    scene
}

/// Changes a digit in a record of the first cell. Returns the journal and the changed line.
fn damage(scene: &Scene) -> (String, String) {
    let path = scene.path("results/token_data.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().nth(3).unwrap();
    assert!(line.contains("small_u1\""), "the first record belongs to the first cell: {line}");
    let changed = line.replacen("\"sent_ms\":", "\"sent_ms\":1", 1);
    let text = text.replacen(line, &changed, 1);
    std::fs::write(path, &text).unwrap();
    (text, format!("{changed}\n"))
}

#[test]
fn a_damaged_line_is_reported_and_everything_else_is_rendered() {
    let scene = two_cells();
    let (text, line) = damage(&scene);
    for _ in 0..2 {
        let output = scene.expect(0, scene.command(&["report", "results"]));
        let end = String::from_utf8(output.stdout).unwrap();
        assert!(end.contains("1 line of token_data.jsonl is damaged and not counted"), "{end}");
        assert_eq!(std::fs::read_to_string(scene.path("results/quarantine.jsonl")).unwrap(), line);
    }
    let rows = scene.rows();
    assert!(rows[0]["warnings"].contains("damaged_records"), "{:?}", rows[0]);
    assert!(!rows[1]["warnings"].contains("damaged_records"), "{:?}", rows[1]);
    let counted: usize = rows.iter().map(|row| row["total_requests"].parse::<usize>().unwrap()).sum();
    assert_eq!(counted, text.lines().count() - 1);
    let summary = std::fs::read_to_string(scene.path("results/summary.json")).unwrap();
    assert!(summary.contains("damaged_records") && summary.contains("copied to quarantine.jsonl"), "{summary}");
}

#[test]
fn quarantine_is_written_beside_the_report() {
    let scene = two_cells();
    let (_, line) = damage(&scene);
    scene.expect(0, scene.command(&["report", "results", "--out", "elsewhere"]));
    assert_eq!(std::fs::read_to_string(scene.path("elsewhere/quarantine.jsonl")).unwrap(), line);
    scene.expect(0, scene.command(&["report", "results", "--out", "shared", "--public"]));
    assert!(!scene.path("shared/quarantine.jsonl").exists(), "nothing of it is masked");
    assert!(!scene.path("results/quarantine.jsonl").exists());
    // The report is written even if the quarantine is not.
    std::fs::remove_file(scene.path("elsewhere/quarantine.jsonl")).unwrap();
    std::fs::create_dir(scene.path("elsewhere/quarantine.jsonl")).unwrap();
    let output = scene.expect(0, scene.command(&["report", "results", "--out", "elsewhere"]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("warning: cannot write elsewhere/quarantine.jsonl"), "{stderr}");
}

#[test]
fn cell_with_a_lost_record_is_run_again() {
    let scene = Scene::new().plan(SHORT);
    let cells = ["--user-counts", "1,2", "--order", "matrix", "--requests", "6"];
    scene.run(0, &cells);
    damage(&scene);
    scene.run(0, &[&cells[..], &["--resume"]].concat());
    let rows = scene.rows();
    for row in &rows {
        assert_eq!(row["total_requests"], "6", "{row:?}");
        assert!(!row["warnings"].contains("records"), "{row:?}");
    }
    let attempts = |id: &str| {
        let records = std::fs::read_to_string(scene.path("results/token_data.jsonl")).unwrap();
        records.lines().filter(|line| line.contains(id) && line.contains("\"cell_attempt\":2")).count()
    };
    assert_eq!((attempts("small_u1\""), attempts("small_u2\"")), (6, 0));
}

#[test]
fn implausible_numbers_in_a_manifest_are_errors() {
    let scene = two_cells();
    let path = scene.path("results/manifest.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (key, value) in [("spawn_rate", "1e-300"), ("load_ms", "1e300"), ("ended_ms", "9223372036854775808")] {
        let at = text.find(&format!("\"{key}\": ")).unwrap() + key.len() + 4;
        let end = at + text[at..].find([',', '\n']).unwrap();
        std::fs::write(&path, [&text[..at], value, &text[end..]].concat()).unwrap();
        let output = scene.expect(2, scene.command(&["report", "results"]));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with("error: results/manifest.json: ") && stderr.contains(key), "{stderr}");
    }
}

/// Returns the output of a command that must not block.
fn output_without_waiting(mut command: Command) -> Output {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("the command waits: {command:?}");
        }
        std::thread::yield_now();
    }
    child.wait_with_output().unwrap()
}

#[cfg(unix)]
#[test]
fn fifo_in_place_of_a_file_is_refused() {
    let fifo = |path: &std::path::Path| {
        let _ = std::fs::remove_file(path);
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let refused = |scene: &Scene, arguments: &[&str]| {
        let output = output_without_waiting(scene.command(arguments));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains("regular file") || stderr.contains("No such device"), "{arguments:?}: {stderr}");
    };
    let scene = two_cells();
    let run = ["run", "plan.toml", "--yes", "--results-dir", "results", "--user-counts", "1,2", "--order", "matrix"];
    fifo(&scene.path("results/token_data.jsonl"));
    refused(&scene, &["report", "results"]);
    refused(&scene, &[&run[..], &["--resume"]].concat());
    refused(&scene, &[&run[..], &["--overwrite"]].concat());
    fifo(&scene.path("results/manifest.json"));
    refused(&scene, &["report", "results"]);
    fifo(&scene.path("baseline.json"));
    refused(&scene, &["baseline", "show", "baseline.json"]);
    refused(&scene, &["compare", "results", "--baseline", "baseline.json"]);
    // The same for an exchange of shards.
    let exchange = scene.path("exchange");
    std::fs::create_dir_all(exchange.join("shards/0")).unwrap();
    fifo(&exchange.join("shards/0/shard.json"));
    let output =
        output_without_waiting(scene.command(&["merge", &format!("file://{}", exchange.display()), "--to", "merged"]));
    assert!(!output.status.success());
    std::fs::create_dir_all(scene.path("left")).unwrap();
    fifo(&exchange.join("start.json"));
    let url = format!("file://{}", exchange.display());
    let output = output_without_waiting(
        scene.command(&[&run[..4], &["elsewhere", "--exchange", &url, "--shard", "0/2"]].concat()),
    );
    assert!(!output.status.success());
}
