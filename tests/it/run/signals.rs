//! Signals during a run: the first drains it, the third ends the process immediately.

use super::scene::{SHORT, Scene, exit_code, interrupt, signal, wait_for_lines};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const LONG: [&str; 2] = ["--test-duration", "10m"];

/// Returns a command that is started by another one which then executes it.
fn wrapped(outer: &[&str], inner: &Command) -> Command {
    let mut command = Command::new(outer[0]);
    command.args(&outer[1..]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(inner.get_current_dir().unwrap()).stdin(Stdio::null());
    command
}

#[test]
fn sighup_drains_the_run_like_sigterm() {
    let scene = Scene::new().plan(SHORT);
    // Also if the tests themselves run under `nohup`.
    let mut running = wrapped(&["env", "--default-signal=HUP"], &scene.run_command(&LONG)).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 5);
    signal(&running, "-HUP");
    assert_eq!(exit_code(&mut running), Some(130));
    assert_eq!(scene.manifest()["turns"][0]["end"], "interrupted");
    assert_eq!(scene.rows()[0]["total_requests"], scene.records().len().to_string());
}

#[test]
fn run_under_nohup_ignores_sighup() {
    let scene = Scene::new().plan(SHORT);
    let command = scene.run_command(&["--requests", "60", "--test-duration", "10m"]);
    let mut running = wrapped(&["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""], &command).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 5);
    signal(&running, "-HUP");
    assert_eq!(exit_code(&mut running), Some(0));
    assert_eq!(scene.records().len(), 60);
}

/// Returns a full pipe: a process that writes to it blocks.
fn full_pipe(scene: &Scene) -> std::fs::File {
    let path = scene.path("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut pipe = std::fs::File::options().read(true).write(true).open(path).unwrap();
    pipe.write_all(&vec![b'.'; 65_536]).unwrap();
    pipe
}

/// Waits until only the report remains to be written.
fn wait_for_the_report(scene: &Scene) {
    while !scene.path("results/summary.json").exists() {
        std::thread::yield_now();
    }
}

#[test]
fn interrupt_ends_a_report_immediately() {
    let scene = Scene::new().plan(SHORT);
    let mut command = scene.run_command(&["--requests", "5", "--test-duration", "10m"]);
    let mut running = command.stdout(full_pipe(&scene)).spawn().unwrap();
    wait_for_the_report(&scene);
    interrupt(&running);
    assert_eq!(exit_code(&mut running), Some(130));
    assert_eq!(scene.records().len(), 5);
}

#[test]
fn third_interrupt_ends_the_process_immediately() {
    let stalled = "\n[simulator.faults]\nstall = 0.3\n";
    let scene = Scene::new().plan(&format!("{SHORT}{stalled}"));
    let mut command = scene.run_command(&["--test-duration", "10m", "--drain", "10m"]);
    let mut running = command.stdout(full_pipe(&scene)).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines().map_while(Result::ok);
    wait_for_lines(&scene.path("results/token_data.jsonl"), 1);
    interrupt(&running);
    assert!(lines.any(|line| line.contains("stopping")));
    interrupt(&running);
    assert!(lines.any(|line| line.contains("abandoning")));
    wait_for_the_report(&scene);
    interrupt(&running);
    assert_eq!(exit_code(&mut running), Some(130));
    assert!(scene.records().iter().any(|record| record["outcome"] == "censored"));
}
