//! Faults of the machine: a full disk, a removed directory, a clock that is set back, expired credentials, signals.

use super::faults::row;
use super::scene::{SHORT, Scene, wait_for_lines};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender, channel};

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_ends_the_run_with_an_error() {
    let scene = Scene::new().plan(SHORT);
    // A limit on the file size stands for a full disk.
    let run = scene.run_command(&["--test-duration", "10m"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 256; exec \"$0\" \"$@\""]).arg(run.get_program()).args(run.get_args());
    limited.current_dir(scene.path("")).env_clear().env("HOME", scene.path("")).stdin(Stdio::null());
    let output = scene.expect(1, limited);
    assert!(stderr(&output).contains("File too large"), "{}", stderr(&output));
    assert!(stderr(&output).contains("token_data.jsonl"), "{}", stderr(&output));
    row("a full disk", "(ends the run, exit 1)", None, 0);
}

#[cfg(target_os = "linux")]
#[test]
fn simulator_with_an_unwritable_truth_file_ends() {
    let scene = Scene::new().plan(SHORT);
    // Every write to this device fails with ENOSPC.
    let mut command = scene.command(&["simulate", "--port", "0", "--truth", "/dev/full"]);
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().rsplit(' ').next().unwrap();
    scene.run_command(&["--endpoint-url", url, "--requests", "1"]).output().unwrap();
    assert_eq!(super::scene::exit_code(&mut server), Some(2));
    let mut message = String::new();
    std::io::Read::read_to_string(&mut server.stderr.take().unwrap(), &mut message).unwrap();
    assert!(message.contains("cannot write /dev/full"), "{message}");
}

#[test]
fn removed_results_directory_is_reported() {
    let scene = Scene::new().plan(SHORT);
    let running = scene.run_command(&["--test-duration", "10m"]).stderr(Stdio::piped()).spawn();
    let running = running.unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 5);
    fs::remove_dir_all(scene.path("results")).unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let message = "cannot write results/token_data.jsonl: it was removed or replaced during the run";
    assert!(stderr(&output).contains(message), "{}", stderr(&output));
    row("the directory is removed", "(ends the run, exit 1)", None, 0);
}

#[test]
fn unwritable_journal_is_reported_before_any_request() {
    let scene = Scene::new().plan(SHORT);
    fs::create_dir_all(scene.path("results/token_data.jsonl")).unwrap();
    let output = scene.run(2, &[]);
    assert!(stderr(&output).contains("cannot write results/token_data.jsonl"), "{}", stderr(&output));
    assert!(!scene.path("results/manifest.json").exists());
    row("the journal cannot be written", "(does not start, exit 2)", Some(0), 0);
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
        // Read once per second: the library parses the file into static memory without a lock.
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
    // The clock was set back: the end of the run is before its start.
    let manifest = scene.manifest();
    assert!(manifest["ended_ms"].as_u64().unwrap() < manifest["started_ms"].as_u64().unwrap());
    let jumps = manifest["turns"][0]["disturbances"]["clock_jumps"].as_array().unwrap();
    assert_eq!(jumps.len(), 1, "{jumps:?}");
    assert!((jumps[0]["by_ms"].as_f64().unwrap() + 10_800_000.0).abs() < 1_000.0, "{jumps:?}");
    assert!(scene.rows()[0]["warnings"].contains("clock_jump"), "{}", scene.rows()[0]["warnings"]);
}

/// Configures a program that provides credentials, as `aws sso` and other helpers do.
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

/// Provides a key that the SDK renews after one second, and counts the calls.
#[cfg(unix)]
const SHORT_LIVED: &str = r#"echo x >> calls
echo "{\"Version\":1,\"AccessKeyId\":\"AKIDAKIDAKID\",\"SecretAccessKey\":\"the-secret\",\"SessionToken\":\"the-token\",\"Expiration\":\"$(date -u -d '+11 seconds' +%Y-%m-%dT%H:%M:%SZ)\"}""#;

#[cfg(target_os = "linux")]
#[test]
fn credentials_are_renewed_during_a_run() {
    let (port, received) = super::wire::listen();
    let scene = Scene::new().plan(SHORT);
    let config = helper(&scene, SHORT_LIVED);
    let url = format!("http://127.0.0.1:{port}");
    let mut command = scene.run_command(&["--endpoint-url", &url, "--test-duration", "4s"]);
    command.env("AWS_CONFIG_FILE", &config);
    scene.expect(0, command);
    assert!(fs::read_to_string(scene.path("calls")).unwrap().lines().count() >= 2, "the credentials were renewed");
    assert!(received.try_iter().all(|(head, _)| head.contains("x-amz-security-token: the-token")));
    assert!(scene.records().iter().all(|record| record["success"] == true));
}

#[cfg(target_os = "linux")]
#[test]
fn run_starts_after_credentials_are_available() {
    let (port, _heard) = super::wire::listen();
    let scene = Scene::new().plan(SHORT);
    // The helper delays the first request, as a user at a login prompt does.
    let config =
        helper(&scene, &format!("if [ ! -e answered ]; then sleep 1.2; date +%s%3N > answered; fi\n{SHORT_LIVED}"));
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
    let (port, received) = super::wire::listen();
    let scene = Scene::new().plan(SHORT);
    let config = helper(&scene, &format!("if [ -e gone ]; then echo 'session expired' >&2; exit 1; fi\n{SHORT_LIVED}"));
    let url = format!("http://127.0.0.1:{port}");
    let more = ["--endpoint-url", &url, "--user-counts", "2,3", "--requests", "300", "--test-duration", "10m"];
    // The credentials must be missing for ten seconds.
    let mut command = scene.run_command(&[&more[..], &["--think-time", "150ms"]].concat());
    command.env("AWS_CONFIG_FILE", &config);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 20);
    fs::write(scene.path("gone"), "").unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("the credentials are lost") && stdout.contains("--resume"), "{stdout}");
    assert_eq!(scene.manifest()["turns"][0]["end"], "lost_credentials");
    let (well, ill): (Vec<_>, Vec<_>) = scene.records().into_iter().partition(|record| record["success"] == true);
    assert!(ill.iter().all(|record| record["error_class"] == "credentials"));
    row("lost credentials", "credentials", None, ill.len());
    row("signed before the loss", "(a success)", Some(received.try_iter().count() as u64), well.len());
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

/// Starts a server that reports each request and replies to one request per message.
#[cfg(unix)]
fn hold_replies() -> (String, Sender<()>, Receiver<()>) {
    let (answers, hold) = channel::<()>();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, arrived) = channel();
    let hold = std::sync::Arc::new(std::sync::Mutex::new(hold));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (sender, hold) = (sender.clone(), std::sync::Arc::clone(&hold));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut writer = stream;
                while super::faults::read_request(&mut reader).is_some() {
                    sender.send(()).unwrap();
                    // One reply per message of the test.
                    if hold.lock().unwrap().recv().is_err() {
                        return;
                    }
                    let _ = writer.write_all(&super::faults::good_reply());
                }
            });
        }
    });
    (url, answers, arrived)
}

/// Returns the timer of the connection to a port from the kernel's table: its kind and hundredths of a second.
#[cfg(target_os = "linux")]
fn timer(port: u16) -> Option<(String, u64)> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let peer = format!("0100007F:{port:04X}");
    let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut timers = columns.filter(|columns| columns[2] == peer && columns[3] == "01").map(|columns| columns[5]);
    let (kind, when) = timers.next()?.split_once(':')?;
    Some((kind.to_owned(), u64::from_str_radix(when, 16).ok()?))
}

/// Without probes, a vanished peer would be noticed only by the timeout of the request, after 14 minutes.
#[cfg(target_os = "linux")]
#[test]
fn idle_connection_is_probed_after_a_minute() {
    let (url, _answers, arrived) = hold_replies();
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    let scene = Scene::new().plan(SHORT);
    let mut running = scene.run_command(&["--endpoint-url", &url, "--test-duration", "10m"]).spawn().unwrap();
    arrived.recv().unwrap();
    // Until the request is acknowledged, the retransmission timer runs.
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

/// CI systems send SIGTERM, and SIGKILL ten seconds later. Requests that ended before are on disk.
#[cfg(unix)]
#[test]
fn sigkill_after_sigterm_loses_no_ended_request() {
    let (url, answers, arrived) = hold_replies();
    let scene = Scene::new().plan(SHORT);
    let more = ["--endpoint-url", &url, "--user-counts", "20", "--test-duration", "10m", "--drain", "10m"];
    let mut running = scene.run_command(&more).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
    (0..20).for_each(|_| arrived.recv().unwrap());
    let status = std::process::Command::new("kill").args(["-TERM", &running.id().to_string()]).status().unwrap();
    assert!(status.success());
    while !lines.next().unwrap().unwrap().contains("stopping") {}
    (0..19).for_each(|_| answers.send(()).unwrap());
    // The twentieth reply is never sent, so that the run is still draining when it is killed.
    wait_for_lines(&scene.path("results/token_data.jsonl"), 19);
    running.kill().unwrap();
    running.wait().unwrap();
    scene.expect(0, scene.command(&["report", "results"]));
    assert_eq!(scene.rows()[0]["total_requests"], "19");
    row("SIGTERM, then SIGKILL", "(all ended requests)", Some(19), scene.records().len());
}

#[cfg(unix)]
#[test]
fn sigterm_during_the_last_requests_lets_them_end() {
    let (url, answers, arrived) = hold_replies();
    let scene = Scene::new().plan(SHORT);
    let more = ["--endpoint-url", &url, "--requests", "3", "--test-duration", "10m", "--drain", "10m"];
    let mut running = scene.run_command(&more).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
    // All requests are in flight.
    (0..3).for_each(|_| arrived.recv().unwrap());
    super::scene::interrupt(&running);
    while !lines.next().unwrap().unwrap().contains("stopping") {}
    (0..3).for_each(|_| answers.send(()).unwrap());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
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
