//! What signals do to a run: the first drains it, whichever it is, and the last ends the process at once.

use super::scene::{SHORT, Scene, exit_code, interrupt, pipe, signal, wait_for_lines};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

const LONG: [&str; 2] = ["--test-duration", "10m"];

/// A command below another one that becomes it.
fn below(outer: &[&str], inner: &Command) -> Command {
    let mut command = Command::new(outer[0]);
    command.args(&outer[1..]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(inner.get_current_dir().unwrap()).stdin(Stdio::null());
    command
}

#[cfg(target_os = "linux")]
#[test]
fn a_terminal_that_is_closed_drains_the_run_like_sigterm() {
    let scene = Scene::new().plan(SHORT);
    // Also where the tests themselves run below `nohup`.
    let mut running = below(&["env", "--default-signal=HUP"], &scene.run_command(&LONG)).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 5);
    signal(&running, "-HUP");
    assert_eq!(exit_code(&mut running), Some(130));
    assert_eq!(scene.manifest()["turns"][0]["end"], "interrupted");
    assert_eq!(scene.rows()[0]["total_requests"], scene.records().len().to_string());
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_below_nohup_outlives_its_terminal() {
    let scene = Scene::new().plan(SHORT);
    let command = scene.run_command(&["--requests", "60", "--test-duration", "10m"]);
    let mut running = below(&["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""], &command).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 5);
    signal(&running, "-HUP");
    assert_eq!(exit_code(&mut running), Some(0));
    assert_eq!(scene.records().len(), 60);
}

#[test]
fn ctrl_c_ends_a_report_that_is_drawn_at_once() {
    let scene = Scene::new().plan(SHORT);
    // Nobody reads this file, so that who writes it never ends.
    pipe(&scene.path("results/summary.json.part"));
    let mut running = scene.run_command(&["--requests", "5"]).spawn().unwrap();
    while !std::fs::read_to_string(scene.path("results/manifest.json")).is_ok_and(|text| {
        text.contains("\"ended_ms\": ")
            && serde_json::from_str::<serde_json::Value>(&text).unwrap()["ended_ms"].is_u64()
    }) {
        std::thread::yield_now();
    }
    interrupt(&running);
    assert_eq!(exit_code(&mut running), Some(130));
    assert_eq!(scene.records().len(), 5);
}

#[test]
fn a_third_ctrl_c_waits_for_nothing() {
    let scene = Scene::new().plan(SHORT);
    let journal = scene.path("results/token_data.jsonl");
    pipe(&journal);
    let _held = std::fs::File::options().read(true).write(true).open(&journal).unwrap();
    let load = ["--user-counts", "20", "--think-time", "0"];
    let mut running = scene.run_command(&[&LONG[..], &load[..]].concat()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("the disk is slow")));
    interrupt(&running);
    assert!(lines.any(|line| line.contains("stopping")));
    interrupt(&running);
    assert!(lines.any(|line| line.contains("abandoning")));
    interrupt(&running);
    let rest: Vec<String> = lines.collect();
    assert_eq!(exit_code(&mut running), Some(130));
    // The second one would have ended it too, but only after it had waited for the disk once more.
    assert!(!rest.iter().any(|line| line.contains("interrupted before")), "{rest:?}");
}
