//! Invalid or incomplete results directories: messages and partial reports.

use super::scene::{SHORT, Scene};
use std::path::PathBuf;

fn stderr(scene: &Scene, code: i32, dir: &str) -> String {
    let output = scene.expect(code, scene.command(&["report", dir]));
    assert!(output.stdout.is_empty(), "nothing is reported of it");
    String::from_utf8(output.stderr).unwrap()
}

/// Runs two cells. Returns the scene, the manifest and the journal.
fn two_cells() -> (Scene, PathBuf, PathBuf) {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--user-counts", "1,2", "--no-report", "--order", "matrix"]);
    let (manifest, journal) = (scene.path("results/manifest.json"), scene.path("results/token_data.jsonl"));
    (scene, manifest, journal)
}

#[test]
fn invalid_results_directories_are_refused() {
    let scene = Scene::new().plan(SHORT);
    std::fs::create_dir(scene.path("empty")).unwrap();
    let messages = ["nowhere", "empty", "plan.toml"].map(|dir| stderr(&scene, 2, dir));
    insta::assert_snapshot!("no_results_directory", messages.concat());
}

#[test]
fn unusable_manifest_is_reported_with_its_reason() {
    let (scene, manifest, _) = two_cells();
    let text = std::fs::read_to_string(&manifest).unwrap();
    let report_with = |changed: &dyn Fn(&mut serde_json::Value)| {
        let mut tree = serde_json::from_str(&text).unwrap();
        changed(&mut tree);
        std::fs::write(&manifest, serde_json::to_string_pretty(&tree).unwrap()).unwrap();
        stderr(&scene, 2, "results")
    };
    let mut all = report_with(&|tree| {
        tree["format"] = 3.into();
        tree["tool_version"] = "9.9.9".into();
    });
    all += &report_with(&|tree| drop(tree["cells"].as_array_mut().unwrap().pop()));
    all += &report_with(&|tree| {
        tree["cells"].as_array_mut().unwrap().pop();
        tree["order"].as_array_mut().unwrap().pop();
    });
    all += &report_with(&|tree| {
        tree["cells"].as_array_mut().unwrap().pop();
        tree["order"].as_array_mut().unwrap().pop();
        tree["turns"].as_array_mut().unwrap().pop();
    });
    // The line with the first record of the second cell.
    let line = all.lines().last().unwrap().split(':').nth(2).unwrap().to_owned();
    assert!(line.parse::<usize>().is_ok_and(|line| line > 1), "{all}");
    std::fs::write(&manifest, &text[..text.len() / 2]).unwrap();
    let cut = stderr(&scene, 2, "results");
    assert!(cut.starts_with("error: results/manifest.json: EOF while parsing"), "{cut}");
    insta::assert_snapshot!("bad_manifests", all.replace(&format!("jsonl:{line}:"), "jsonl:[line]:"));
}

#[test]
fn incomplete_last_line_is_excluded_and_reported() {
    let (scene, _, journal) = two_cells();
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, &text[..text.len() - 20]).unwrap();
    let output = scene.expect(0, scene.command(&["report", "results"]));
    let end = String::from_utf8(output.stdout).unwrap();
    let note = "The last line of the journal has no end, as a crash leaves it";
    for (name, printed) in [
        ("the end of the run", end),
        ("report.html", std::fs::read_to_string(scene.path("results/report.html")).unwrap()),
        ("summary.md", std::fs::read_to_string(scene.path("results/summary.md")).unwrap()),
        ("summary.json", std::fs::read_to_string(scene.path("results/summary.json")).unwrap()),
    ] {
        assert!(printed.contains(note), "{name}: {printed}");
    }
    let counted: usize = scene.rows().iter().map(|row| row["total_requests"].parse::<usize>().unwrap()).sum();
    assert_eq!(counted, text.lines().count() - 1, "everything before it is used");
}

#[test]
fn missing_records_of_a_cell_cause_a_warning() {
    let (scene, _, journal) = two_cells();
    let text = std::fs::read_to_string(&journal).unwrap();
    let kept: String = text.split_inclusive('\n').filter(|line| !line.contains("small_u2\"")).collect();
    assert!(kept.len() < text.len() && !kept.is_empty());
    std::fs::write(&journal, kept).unwrap();
    // The cell has no success left, which gives exit code 3.
    scene.expect(3, scene.command(&["report", "results"]));
    let rows = scene.rows();
    assert!(rows[1]["warnings"].contains("records_missing") && rows[1]["total_requests"] == "0", "{:?}", rows[1]);
    assert!(!rows[0]["warnings"].contains("records_missing"), "{:?}", rows[0]);
    let summary = std::fs::read_to_string(scene.path("results/summary.md")).unwrap();
    assert!(summary.contains("records missing"), "{summary}");
}
