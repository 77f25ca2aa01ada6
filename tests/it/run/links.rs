//! Contents of a results directory are untrusted: links are not followed, and files are readable only by their owner.

use super::scene::{SHORT, Scene, files};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Output;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns a finished run and a foreign directory with one file.
fn run_and_victim() -> Scene {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--requests", "3", "--test-duration", "30s"]);
    fs::create_dir(scene.path("own")).unwrap();
    fs::write(scene.path("own/notes.txt"), "mine").unwrap();
    scene
}

fn assert_untouched(scene: &Scene) {
    assert_eq!(files(&scene.path("own")), ["notes.txt"]);
    assert_eq!(fs::read_to_string(scene.path("own/notes.txt")).unwrap(), "mine");
}

#[test]
fn links_at_report_paths_are_not_followed() {
    let scene = run_and_victim();
    // Earlier versions wrote to this name and renamed the file.
    for name in ["report.html.part", "manifest.json.part", "charts/timeline.svg.part"] {
        symlink(scene.path("own/notes.txt"), scene.path("results").join(name)).unwrap();
    }
    fs::remove_file(scene.path("results/summary.md")).unwrap();
    symlink(scene.path("own/notes.txt"), scene.path("results/summary.md")).unwrap();
    scene.expect(0, scene.command(&["report", "results"]));
    assert_untouched(&scene);
    assert!(fs::symlink_metadata(scene.path("results/summary.md")).unwrap().is_file(), "the link is replaced");

    for folder in ["charts", "histograms"] {
        let original = scene.path("results").join(folder);
        fs::rename(&original, scene.path("aside")).unwrap();
        symlink(scene.path("own"), &original).unwrap();
        let output = scene.command(&["report", "results"]).output().unwrap();
        assert!(stderr(&output).contains(&format!("`{folder}` is a symbolic link")), "{}", stderr(&output));
        assert_ne!(output.status.code(), Some(0));
        assert_untouched(&scene);
        fs::remove_file(&original).unwrap();
        fs::rename(scene.path("aside"), &original).unwrap();
    }
}

#[test]
fn linked_journal_or_manifest_is_refused() {
    let scene = run_and_victim();
    for name in ["token_data.jsonl", "manifest.json"] {
        let (original, aside) = (scene.path("results").join(name), scene.path("own").join(name));
        fs::rename(&original, &aside).unwrap();
        let before = fs::read(&aside).unwrap();
        symlink(&aside, &original).unwrap();
        let commands: [&[&str]; 3] = [
            &["report", "results"],
            &["run", "plan.toml", "--yes", "--results-dir", "results", "--overwrite"],
            &["run", "plan.toml", "--yes", "--results-dir", "results", "--resume"],
        ];
        for arguments in commands {
            let output = scene.expect(2, scene.command(arguments));
            let message = format!("`{name}` is a symbolic link");
            assert!(stderr(&output).contains(&message), "{arguments:?}: {}", stderr(&output));
        }
        assert!(fs::read(&aside).unwrap() == before, "{name} is neither truncated nor deleted");
        fs::remove_file(&original).unwrap();
        fs::rename(&aside, &original).unwrap();
    }
    // No command waits for a pipe.
    fs::remove_file(scene.path("results/token_data.jsonl")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(scene.path("results/token_data.jsonl")).status().unwrap();
    assert!(made.success());
    let output = scene.expect(2, scene.command(&["report", "results"]));
    assert!(stderr(&output).contains("not a regular file"), "{}", stderr(&output));
}

#[test]
fn the_results_directory_itself_may_be_a_link() {
    let scene = Scene::new().plan(SHORT);
    fs::create_dir(scene.path("disk")).unwrap();
    symlink(scene.path("disk"), scene.path("results")).unwrap();
    scene.run(0, &["--requests", "3", "--test-duration", "30s"]);
    scene.run(0, &["--requests", "3", "--test-duration", "30s", "--overwrite"]);
    scene.expect(0, scene.command(&["report", "results"]));
    assert!(scene.path("disk/report.html").is_file() && scene.path("disk/charts").is_dir());
}

/// Returns the files below a directory that others may read, and the directories that others may enter.
pub(crate) fn readable_by_others(dir: &Path) -> Vec<String> {
    let mut open = vec![dir.to_owned()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        let metadata = fs::metadata(&path).unwrap();
        if metadata.permissions().mode() & 0o077 != 0 {
            found.push(path.display().to_string());
        }
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn only_files_named_by_the_user_follow_the_umask() {
    let scene = Scene::new().plan(SHORT);
    fs::write(scene.path("ordinary"), "").unwrap();
    let mode = |name: &str| fs::metadata(scene.path(name)).unwrap().permissions().mode();
    scene.run(0, &["--requests", "3", "--test-duration", "30s", "--output", "junit=new/junit.xml"]);
    scene.expect(0, scene.command(&["report", "results", "--out", "elsewhere"]));
    scene.expect(0, scene.command(&["baseline", "add", "results", "--to", "baseline.json"]));
    for dir in ["results", "elsewhere"] {
        assert_eq!(readable_by_others(&scene.path(dir)), Vec::<String>::new());
    }
    for file in ["new/junit.xml", "baseline.json"] {
        assert_eq!(mode(file), mode("ordinary"), "{file}");
    }
}
