//! Foreign files are neither replaced nor deleted, no file is written outside the given directory, and names of any length
//! give valid file names.

use super::scene::{SHORT, Scene, files};
use serde_json::Value;
use std::fs;
use std::process::Output;

const FEW: [&str; 4] = ["--requests", "3", "--test-duration", "30s"];

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns all files of a directory with their content.
fn contents(scene: &Scene, dir: &str) -> Vec<(String, Vec<u8>)> {
    let dir = scene.path(dir);
    files(&dir).into_iter().map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}

#[test]
fn run_into_the_working_directory_replaces_no_foreign_file() {
    let scene = Scene::new().plan(SHORT);
    for name in ["report.html", "summary.md", "notes.txt"] {
        fs::write(scene.path(name), "mine").unwrap();
    }
    let before = contents(&scene, "");
    let run = ["run", "plan.toml", "--yes", "--no-preflight", "--results-dir", "."];
    for more in [&[][..], &["--overwrite"], &["--resume-or-start"], &["--no-report"]] {
        let output = scene.expect(2, scene.command(&[&run[..], &FEW, more].concat()));
        let message = stderr(&output);
        assert!(message.contains("`report.html`, `summary.md`, `plan.toml`\n"), "{more:?}: {message}");
        assert!(message.contains("help: move or rename them"), "{message}");
        let after: Vec<_> = contents(&scene, "").into_iter().filter(|(name, _)| name != "token_data.jsonl").collect();
        assert!(after == before, "{more:?}");
    }
}

#[test]
fn foreign_files_in_the_results_directory_survive_an_overwrite() {
    let scene = Scene::new().plan(SHORT);
    let theirs = [
        ".DS_Store",
        "notes.md",
        "run.log",
        "test_mine_stats.csv",
        "consolidated_results_20200101_000000.csv",
        "charts/mine.png",
        "histograms/mine.hlog",
    ];
    for name in theirs {
        let path = scene.path("results").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    scene.run(0, &FEW);
    let first = contents(&scene, "results");
    let again = [&FEW[..], &["--overwrite", "--user-counts", "2"]].concat();
    scene.run(0, &again);
    for name in theirs {
        assert_eq!(fs::read_to_string(scene.path("results").join(name)).unwrap(), "mine", "{name}");
    }
    // Files listed only by the first run are deleted.
    let left = files(&scene.path("results"));
    let of_first = first.iter().filter(|(name, _)| name.contains("_u3")).count();
    assert!(of_first > 3 && !left.iter().any(|name| name.contains("_u3")), "{left:?}");
    // A foreign file with a name that the next run would use is kept.
    fs::write(scene.path("results/test_us_default_small_u3_stats.csv"), "mine").unwrap();
    let before = contents(&scene, "results");
    let output = scene.run(2, &[&FEW[..], &["--overwrite"]].concat());
    assert!(stderr(&output).contains("wrote: `test_us_default_small_u3_stats.csv`\n"), "{}", stderr(&output));
    assert!(contents(&scene, "results") == before);
}

#[test]
fn report_replaces_only_files_of_a_report() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &[&FEW[..], &["--no-report"]].concat());
    for (dir, arguments) in
        [("results", &["report", "results"][..]), ("elsewhere", &["report", "results", "--out", "elsewhere"])]
    {
        fs::create_dir_all(scene.path(dir)).unwrap();
        let own = scene.path(dir).join("summary.md");
        fs::write(&own, "mine").unwrap();
        let before = contents(&scene, dir);
        let message = stderr(&scene.expect(2, scene.command(arguments)));
        assert!(
            message.contains(&format!("`{dir}` contains files that no run of bedrock-plan wrote: `summary.md`")),
            "{message}"
        );
        assert!(contents(&scene, dir) == before);
        fs::remove_file(own).unwrap();
        scene.expect(0, scene.command(arguments));
        // A report may replace its own files, including those with masked names.
        let public = [arguments, &["--public"]].concat();
        for again in [arguments, &public, arguments] {
            scene.expect(0, scene.command(again));
        }
    }
    // A run replaces a report in another directory only with --overwrite.
    let run = ["run", "plan.toml", "--yes", "--no-preflight", "--results-dir", "elsewhere"];
    let message = stderr(&scene.expect(2, scene.command(&[&run[..], &FEW].concat())));
    assert!(message.contains("elsewhere already contains"), "{message}");
    scene.expect(0, scene.command(&[&run[..], &FEW, &["--overwrite"]].concat()));
}

#[test]
fn run_that_cannot_start_deletes_nothing() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &FEW);
    let before = contents(&scene, "results");
    let fails: [(i32, &[&str], &str); 4] = [
        (2, &["--set", "budget.max_output_tokens=1"], "no cell can start, so the existing results are kept"),
        (2, &["--user-counts", "0"], "a user count is `0`"),
        (2, &["--only", "nothing*"], "nothing*"),
        (4, &["--set", "target.endpoint=\"aws\"", "--region", "us-east-1"], "credentials"),
    ];
    for (code, more, expected) in fails {
        let output = scene.run(code, &[&FEW[..], &["--overwrite"], more].concat());
        assert!(stderr(&output).contains(expected), "{more:?}: {}", stderr(&output));
        assert!(contents(&scene, "results") == before, "{more:?}");
    }
}

#[test]
fn cell_id_with_a_path_is_refused() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &[&FEW[..], &["--no-report"]].concat());
    let evil = "x/../../../../evil";
    for name in ["manifest.json", "token_data.jsonl"] {
        let path = scene.path("results").join(name);
        let text = fs::read_to_string(&path).unwrap().replace("us_default_small_u3", evil);
        assert!(text.contains(evil));
        fs::write(path, text).unwrap();
    }
    let before = contents(&scene, "");
    let commands: [&[&str]; 5] = [
        &["report", "results"],
        &["report", "results", "--out", "a/b/c"],
        &["baseline", "add", "results", "--to", "baseline.json"],
        &["run", "plan.toml", "--yes", "--results-dir", "results", "--resume"],
        &["compare", "results", "results"],
    ];
    for arguments in commands {
        let message = stderr(&scene.expect(2, scene.command(arguments)));
        assert!(message.contains("invalid cell id `x/../../../../evil`"), "{arguments:?}: {message}");
    }
    assert!(contents(&scene, "") == before);
}

#[test]
fn names_of_any_length_give_valid_file_names() {
    let long = "n".repeat(215);
    let scene = Scene::new().plan(SHORT);
    let prompts = serde_json::json!({ long.as_str(): { "text": "Say hello." }, "Small": { "text": "a" }, "small": { "text": "b" } });
    fs::write(scene.path("prompts.json"), prompts.to_string()).unwrap();
    let prompts = ["--prompts-file", "prompts.json", "--prompt-sizes"];
    scene.run(0, &[&FEW[..], &prompts, &[&long]].concat());
    scene.expect(0, scene.command(&["report", "results"]));
    let manifest: Value = scene.manifest();
    let id = manifest["cells"][0]["id"].as_str().unwrap();
    assert!(id.starts_with("us_default_nnnn") && id.len() < 110, "{id}");
    assert!(scene.path("results").join(format!("test_{id}_stats_history.csv")).is_file());
    assert_eq!(manifest["cells"][0]["prompt_size"], long.as_str(), "the name itself is kept");

    let output = scene.run(2, &[&FEW[..], &["--overwrite"], &prompts, &["Small,small"]].concat());
    let message = stderr(&output);
    assert!(message.contains("`Small` and `small` differ only in the case of their letters"), "{message}");
    assert!(message.contains("rename one of them"), "{message}");
}

#[test]
fn file_names_of_cells_are_unique() {
    let scene = Scene::new().plan(SHORT);
    let ambiguous = ["--region-prefixes", "us,us_x", "--service-tiers", "default,x_default", "--set"];
    let allowed = "run.allow_unknown=[\"us_x\", \"x_default\"]";
    let output = scene.run(2, &[&FEW[..], &ambiguous, &[allowed]].concat());
    assert!(stderr(&output).contains("two cells have the id `us_x_default_small_u3`"), "{}", stderr(&output));
    assert!(!scene.path("results").exists());
}
