//! A disk that stands still: a pipe in the journal's place that nobody reads.

use super::scene::{SHORT, Scene, exit_code, interrupt, pipe};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

/// The journal as a pipe, held open.
fn stuck(journal: &Path) -> File {
    pipe(journal);
    File::options().read(true).write(true).open(journal).unwrap()
}

#[test]
fn a_disk_that_stands_still_is_reported_and_a_second_ctrl_c_ends_the_run() {
    let scene = Scene::new().plan(SHORT);
    let journal = scene.path("results/token_data.jsonl");
    let held = stuck(&journal);
    let load = ["--test-duration", "10m", "--user-counts", "20", "--think-time", "0"];
    let mut running = scene.run_command(&load).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("the disk is slow") && line.contains("MiB of records wait")));
    interrupt(&running);
    assert!(lines.any(|line| line.contains("stopping")));
    interrupt(&running);
    let rest: Vec<String> = lines.collect();
    assert_eq!(exit_code(&mut running), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("interrupted before the disk took the last")), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("`bedrock-plan report results` renders what is written")), "{rest:?}");
    let mut written = String::new();
    let mut reader = File::open(&journal).unwrap();
    drop(held);
    reader.read_to_string(&mut written).unwrap();
    let whole = written.rfind('\n').unwrap();
    assert!(written[..whole].lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[test]
fn a_simulator_whose_truth_cannot_be_written_ends() {
    let scene = Scene::new().plan(SHORT);
    // Every write to this device answers that there is no space left.
    let mut command = scene.command(&["simulate", "--port", "0", "--truth", "/dev/full"]);
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().rsplit(' ').next().unwrap();
    scene.run_command(&["--endpoint-url", url, "--requests", "1"]).output().unwrap();
    assert_eq!(exit_code(&mut server), Some(2));
    let mut said = String::new();
    server.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("cannot write /dev/full"), "{said}");
}

#[test]
fn starts_wait_for_a_disk_that_is_too_slow_and_the_cell_is_invalid() {
    // Records of half a megabyte: 64 MiB are 130 of them.
    let text = "many words of a long prompt ".repeat(20_000);
    let scene = Scene::new().plan(&SHORT.replace("\"small\"", "\"long\""));
    let prompts = serde_json::json!({ "long": { "text": text } });
    fs::write(scene.path("prompts.json"), prompts.to_string()).unwrap();
    let journal = scene.path("results/token_data.jsonl");
    let held = stuck(&journal);
    let load = ["--test-duration", "10m", "--user-counts", "4", "--think-time", "0", "--requests", "160"];
    let more = ["--prompts-file", "prompts.json", "--record-text", "--no-report"];
    let mut running = scene.run_command(&[&load[..], &more[..]].concat()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("the disk is too slow") && line.contains("the cell is INVALID")));
    // From now on the disk works.
    let mut reader = File::open(&journal).unwrap();
    drop(held);
    let written = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    let rest: Vec<String> = lines.collect();
    assert_eq!(exit_code(&mut running), Some(0), "{rest:?}");
    fs::remove_file(&journal).unwrap();
    fs::write(&journal, written.join().unwrap()).unwrap();

    assert_eq!(scene.records().len(), 160, "nothing is lost");
    assert!(scene.manifest()["turns"][0]["starts_waited"].as_u64().unwrap() > 0);
    scene.expect(0, scene.command(&["report", "results"]));
    let validity = &scene.rows()[0]["validity"];
    assert!(validity.contains("INVALID") && validity.contains("waited for the disk"), "{validity}");
}
