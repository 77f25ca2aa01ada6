//! Progress output without a terminal.

use super::scene::{SHORT, Scene};

fn stderr(scene: &Scene, more: &[&str]) -> String {
    let mut arguments = vec!["--overwrite"];
    arguments.extend(more);
    String::from_utf8(scene.run(0, &arguments).stderr).unwrap()
}

#[test]
fn without_a_terminal_each_cell_is_logged_in_one_line() {
    let scene = Scene::new().plan(SHORT);
    let printed = stderr(&scene, &["--user-counts", "1,2", "--test-duration", "6s", "--order", "matrix"]);
    assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "{printed:?}");
    let lines: Vec<&str> = printed.lines().filter(|line| line.starts_with('[')).collect();
    let starts = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert!(starts("[1/2] us_default_small_u1: steady, 5s of 6s, ") == 1, "one line every five seconds: {printed}");
    for (place, cell) in [(1, "us_default_small_u1"), (2, "us_default_small_u2")] {
        assert!(lines.contains(&format!("[{place}/2] {cell}").as_str()), "its start: {printed}");
        let done =
            lines.iter().find(|line| line.starts_with(&format!("[{place}/2] {cell}: ")) && line.contains("% failed"));
        assert!(done.is_some_and(|line| line.contains(" requests, 0.0 % failed, p50 ")), "its end: {printed}");
    }
    let requests = scene.records().iter().filter(|record| record["test_id"] == "us_default_small_u2").count();
    assert!(
        printed.contains(&format!("[2/2] us_default_small_u2: {requests} requests")),
        "all requests are counted: {printed}"
    );
}

#[test]
fn quiet_run_prints_only_results() {
    let scene = Scene::new().plan(SHORT);
    let output = scene.run(0, &["--quiet"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(String::from_utf8_lossy(&output.stdout).contains("results: results"));
}

#[test]
fn colours_follow_the_options_and_the_terminal() {
    let scene = Scene::new().plan(SHORT);
    let stdout = |arguments: &[&str], no_color: &str| {
        let mut command = scene.command(arguments);
        command.env("NO_COLOR", no_color);
        String::from_utf8(scene.expect(0, command).stdout).unwrap()
    };
    scene.run(0, &[]);
    assert!(
        stdout(&["report", "results", "--color", "always"], "1").starts_with("\u{1b}[33mSIMULATED"),
        "--color always overrides NO_COLOR"
    );
    for arguments in [vec!["report", "results"], vec!["report", "results", "--color", "never"]] {
        assert!(!stdout(&arguments, "").contains('\u{1b}'), "no terminal, no colours");
    }
    let error = |color| {
        String::from_utf8(scene.expect(2, scene.command(&["run", "--color", color, "--user-counts", "x"])).stderr)
            .unwrap()
    };
    assert!(
        error("always").contains('\u{1b}') && !error("auto").contains('\u{1b}') && !error("never").contains('\u{1b}')
    );
}
