//! What the machine does to a run: a disk that is full or gone, a clock that is set back, credentials that
//! expire, a kill that follows a polite word.

use super::faults::row;
use super::scene::{SHORT, Scene, wait_for_lines};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender, channel};

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_ends_the_run_with_an_error() {
    let scene = Scene::new().plan(SHORT);
    // A file that may grow no further stands for a disk that is full.
    let run = scene.run_command(&["--test-duration", "10m"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 256; exec \"$0\" \"$@\""]).arg(run.get_program()).args(run.get_args());
    limited.current_dir(scene.path("")).env_clear().env("HOME", scene.path("")).stdin(Stdio::null());
    let output = scene.expect(1, limited);
    assert!(said(&output).contains("File too large"), "{}", said(&output));
    assert!(said(&output).contains("token_data.jsonl"), "{}", said(&output));
    row("a full disk", "(ends the run, exit 1)", None, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn simulator_with_an_unwritable_truth_file_ends() {
    let scene = Scene::new().plan(SHORT);
    // Every write to this device answers that there is no space left.
    let mut command = scene.command(&["simulate", "--port", "0", "--truth", "/dev/full"]);
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().rsplit(' ').next().unwrap();
    scene.run_command(&["--endpoint-url", url, "--requests", "1"]).output().unwrap();
    assert_eq!(super::scene::exit_code(&mut server), Some(2));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut server.stderr.take().unwrap(), &mut said).unwrap();
    assert!(said.contains("cannot write /dev/full"), "{said}");
}

#[test]
fn removed_results_directory_is_reported() {
    let scene = Scene::new().plan(SHORT);
    let running = scene.run_command(&["--test-duration", "10m"]).stderr(Stdio::piped()).spawn();
    let running = running.unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 5);
    fs::remove_dir_all(scene.path("results")).unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let message = "cannot write results/token_data.jsonl: it was removed or replaced during the run";
    assert!(said(&output).contains(message), "{}", said(&output));
    row("the directory is removed", "(ends the run, exit 1)", None, 0);
}

#[test]
fn unwritable_journal_is_reported_before_any_request() {
    let scene = Scene::new().plan(SHORT);
    fs::create_dir_all(scene.path("results/token_data.jsonl")).unwrap();
    let output = scene.run(2, &[]);
    assert!(said(&output).contains("cannot write results/token_data.jsonl"), "{}", said(&output));
    assert!(!scene.path("results/manifest.json").exists());
    row("the journal cannot be written", "(does not begin, exit 2)", Some(0), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn clock_set_back_does_not_change_records() {
    let known = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"];
    let library =
        known.iter().map(|dir| format!("{dir}/faketime/libfaketime.so.1")).find(|path| fs::exists(path).unwrap());
    let Some(library) = library else {
        eprintln!("skipped: libfaketime is not installed");
        return;
    };
    let scene = Scene::new().plan(SHORT);
    let clock = scene.path("clock");
    fs::write(&clock, "+0").unwrap();
    let mut command = scene.run_command(&["--requests", "200", "--test-duration", "10m"]);
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        // Read once per second: the library parses its file into static memory, which two threads spoil for each other.
        .env("FAKETIME_CACHE_DURATION", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let mut running = command.stderr(Stdio::piped()).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 50);
    fs::write(&clock, "-3h").unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(0));
    let records = scene.records();
    assert_eq!(records.len(), 200);
    let number = |record: &serde_json::Value, key: &str| record[key].as_f64().unwrap();
    let times: Vec<f64> = records.iter().map(|record| number(record, "timestamp")).collect();
    let span =
        times.iter().copied().fold(f64::NEG_INFINITY, f64::max) - times.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(span < 3_600.0, "one clock for all: {span}");
    assert!(records.iter().all(|record| number(record, "response_time_ms") >= 20.0));
    row("the clock is set back", "(a success)", Some(200), records.len());
    // The clock really went back: the run ended before it began.
    let manifest = scene.manifest();
    assert!(manifest["ended_ms"].as_u64().unwrap() < manifest["started_ms"].as_u64().unwrap());
    let jumps = manifest["turns"][0]["disturbances"]["clock_jumps"].as_array().unwrap();
    assert_eq!(jumps.len(), 1, "{jumps:?}");
    assert!((jumps[0]["by_ms"].as_f64().unwrap() + 10_800_000.0).abs() < 1_000.0, "{jumps:?}");
    assert!(scene.rows()[0]["warnings"].contains("clock_jump"), "{}", scene.rows()[0]["warnings"]);
}

/// Credentials that a program hands out, as `aws sso` and other helpers do.
#[cfg(unix)]
fn helper(scene: &Scene, script: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let program = scene.path("helper.sh");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = scene.path("config");
    fs::write(&config, format!("[default]\nregion = us-east-1\ncredential_process = {}\n", program.display())).unwrap();
    config
}

/// Hands out a key that the SDK renews after a second, and counts how often it was asked.
#[cfg(unix)]
const HAND_OUT: &str = r#"echo x >> asked
echo "{\"Version\":1,\"AccessKeyId\":\"AKIDAKIDAKID\",\"SecretAccessKey\":\"the-secret\",\"SessionToken\":\"the-token\",\"Expiration\":\"$(date -u -d '+11 seconds' +%Y-%m-%dT%H:%M:%SZ)\"}""#;

#[cfg(target_os = "linux")]
#[test]
fn credentials_are_renewed_during_a_run() {
    let (port, heard) = super::wire::listen();
    let scene = Scene::new().plan(SHORT);
    let config = helper(&scene, HAND_OUT);
    let url = format!("http://127.0.0.1:{port}");
    let mut command = scene.run_command(&["--endpoint-url", &url, "--test-duration", "4s"]);
    command.env("AWS_CONFIG_FILE", &config);
    scene.expect(0, command);
    assert!(fs::read_to_string(scene.path("asked")).unwrap().lines().count() >= 2, "it was asked again");
    assert!(heard.try_iter().all(|(head, _)| head.contains("x-amz-security-token: the-token")));
    assert!(scene.records().iter().all(|record| record["success"] == true));
}

#[cfg(target_os = "linux")]
#[test]
fn run_starts_after_credentials_are_available() {
    let (port, _heard) = super::wire::listen();
    let scene = Scene::new().plan(SHORT);
    // Like a person at a prompt, the helper takes its time before anything can be sent.
    let config =
        helper(&scene, &format!("if [ ! -e answered ]; then sleep 1.2; date +%s%3N > answered; fi\n{HAND_OUT}"));
    let url = format!("http://127.0.0.1:{port}");
    let mut command = scene.run_command(&["--endpoint-url", &url, "--requests", "3"]);
    command.env("AWS_CONFIG_FILE", &config);
    scene.expect(0, command);
    let answered: u64 = fs::read_to_string(scene.path("answered")).unwrap().trim().parse().unwrap();
    let started = scene.manifest()["started_ms"].as_u64().unwrap();
    assert!(started >= answered, "started at {started}, the last thing before it ended at {answered}");
}

#[cfg(target_os = "linux")]
#[test]
fn lost_credentials_end_the_run_which_can_be_resumed() {
    let (port, heard) = super::wire::listen();
    let scene = Scene::new().plan(SHORT);
    let config = helper(&scene, &format!("if [ -e gone ]; then echo 'session expired' >&2; exit 1; fi\n{HAND_OUT}"));
    let url = format!("http://127.0.0.1:{port}");
    let more = ["--endpoint-url", &url, "--user-counts", "2,3", "--requests", "300", "--test-duration", "10m"];
    // The loss has to last for ten seconds.
    let mut command = scene.run_command(&[&more[..], &["--think-time", "150ms"]].concat());
    command.env("AWS_CONFIG_FILE", &config);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 20);
    fs::write(scene.path("gone"), "").unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("the credentials are lost") && stdout.contains("--resume"), "{stdout}");
    assert_eq!(scene.manifest()["turns"][0]["end"], "lost_credentials");
    let (well, ill): (Vec<_>, Vec<_>) = scene.records().into_iter().partition(|record| record["success"] == true);
    assert!(ill.iter().all(|record| record["error_class"] == "credentials"));
    row("credentials that are gone", "credentials", None, ill.len());
    row("what they had signed before", "(a success)", Some(heard.try_iter().count() as u64), well.len());
    for file in super::scene::files(&scene.path("results")) {
        let bytes = fs::read(scene.path("results").join(&file)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in ["the-secret", "the-token", "AKIDAKIDAKID"] {
            assert!(!text.contains(secret), "{secret} in {file}");
        }
    }

    fs::remove_file(scene.path("gone")).unwrap();
    let mut command = scene.run_command(&[&more[..], &["--think-time", "150ms", "--resume"]].concat());
    command.env("AWS_CONFIG_FILE", &config);
    scene.expect(0, command);
    assert!(scene.rows().iter().all(|row| row["total_requests"] == "300" && row["failure_count"] == "0"));
}

/// A server that answers one request for each word; it says when one arrives.
#[cfg(unix)]
fn holding() -> (String, Sender<()>, Receiver<()>) {
    let (answers, hold) = channel::<()>();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, arrived) = channel();
    let hold = std::sync::Arc::new(std::sync::Mutex::new(hold));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (told, hold) = (told.clone(), std::sync::Arc::clone(&hold));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut writer = stream;
                while super::faults::read_request(&mut reader).is_some() {
                    told.send(()).unwrap();
                    // One answer for each word from the test.
                    if hold.lock().unwrap().recv().is_err() {
                        return;
                    }
                    let _ = writer.write_all(&super::faults::well());
                }
            });
        }
    });
    (url, answers, arrived)
}

/// The keep-alive timer of the connection to a port, as the kernel's table shows it: its kind and hundredths of a second.
#[cfg(target_os = "linux")]
fn timer(port: u16) -> Option<(String, u64)> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let peer = format!("0100007F:{port:04X}");
    let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut timers = columns.filter(|columns| columns[2] == peer && columns[3] == "01").map(|columns| columns[5]);
    let (kind, when) = timers.next()?.split_once(':')?;
    Some((kind.to_owned(), u64::from_str_radix(when, 16).ok()?))
}

/// A peer that vanishes says nothing: without probes it would be noticed by the request's timeout, after 14 minutes.
#[cfg(target_os = "linux")]
#[test]
fn idle_connection_is_probed_after_a_minute() {
    let (url, _answers, arrived) = holding();
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    let scene = Scene::new().plan(SHORT);
    let mut running = scene.run_command(&["--endpoint-url", &url, "--test-duration", "10m"]).spawn().unwrap();
    arrived.recv().unwrap();
    // Until the request itself is acknowledged another timer runs.
    let began = std::time::Instant::now();
    let mut found = timer(port);
    while found.as_ref().is_none_or(|(kind, _)| kind != "02") && began.elapsed().as_secs() < 10 {
        found = timer(port);
    }
    running.kill().unwrap();
    running.wait().unwrap();
    let (kind, when) = found.unwrap();
    assert_eq!(kind, "02", "the keep-alive timer runs");
    assert!(when <= 6_000, "{when} hundredths of a second");
}

/// What a CI does: a polite word, and a kill ten seconds later. Whatever had ended by then is on the disk.
#[cfg(unix)]
#[test]
fn sigkill_after_sigterm_loses_no_ended_request() {
    let (url, answers, arrived) = holding();
    let scene = Scene::new().plan(SHORT);
    let more = ["--endpoint-url", &url, "--user-counts", "20", "--test-duration", "10m", "--drain", "10m"];
    let mut running = scene.run_command(&more).stderr(Stdio::piped()).spawn().unwrap();
    let mut heard = BufReader::new(running.stderr.take().unwrap()).lines();
    (0..20).for_each(|_| arrived.recv().unwrap());
    let polite = std::process::Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap();
    assert!(polite.success());
    while !heard.next().unwrap().unwrap().contains("stopping") {}
    (0..19).for_each(|_| answers.send(()).unwrap());
    // The twentieth never comes, so that the run is still waiting when it is killed.
    wait_for_lines(&scene.path("results/token_data.jsonl"), 19);
    running.kill().unwrap();
    running.wait().unwrap();
    scene.expect(0, scene.command(&["report", "results"]));
    assert_eq!(scene.rows()[0]["total_requests"], "19");
    row("SIGTERM, then SIGKILL", "(all that had ended)", Some(19), scene.records().len());
}

#[cfg(unix)]
#[test]
fn sigterm_during_the_last_requests_lets_them_end() {
    let (url, answers, arrived) = holding();
    let scene = Scene::new().plan(SHORT);
    let more = ["--endpoint-url", &url, "--requests", "3", "--test-duration", "10m", "--drain", "10m"];
    let mut running = scene.run_command(&more).stderr(Stdio::piped()).spawn().unwrap();
    let mut heard = BufReader::new(running.stderr.take().unwrap()).lines();
    // All that were asked for are on their way.
    (0..3).for_each(|_| arrived.recv().unwrap());
    super::scene::interrupt(&running);
    while !heard.next().unwrap().unwrap().contains("stopping") {}
    (0..3).for_each(|_| answers.send(()).unwrap());
    let rest: Vec<String> = heard.map_while(Result::ok).collect();
    assert_eq!(running.wait().unwrap().code(), Some(0), "{rest:?}");
    scene.run(0, &[&more[..], &["--resume"]].concat());
    assert_eq!(scene.records().len(), 3);
}

#[test]
fn text_is_recorded_only_on_request_and_files_are_private() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--requests", "5"]);
    let has_text =
        |record: &serde_json::Value| record.get("prompt_text").is_some() || record.get("reply_text").is_some();
    assert!(!scene.records().iter().any(has_text));
    #[cfg(unix)]
    for file in super::scene::files(&scene.path("results")) {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(scene.path("results").join(&file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} is {mode:o}");
    }
    for api in ["converse", "converse-stream"] {
        scene.run(0, &["--requests", "5", "--overwrite", "--record-text", "--api", api]);
        for record in scene.records() {
            assert!(record["prompt_text"].as_str().unwrap().contains("cloud computing"), "{record}");
            assert!(!record["reply_text"].as_str().unwrap().is_empty(), "{record}");
        }
    }
}
