//! Ends of runs: exit codes and messages.

use super::scene::{SHORT, Scene, Simulate};
use std::path::Path;

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn cell_is_aborted_when_all_first_requests_are_refused() {
    let scene = Scene::new().plan(&format!("{SHORT}\n[simulator.faults]\naccess_denied = 1.0\n"));
    scene.run(3, &["--test-duration", "10m"]);
    let manifest = scene.manifest();
    assert_eq!(manifest["turns"][0]["end"], "aborted");
    let reason = manifest["turns"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("AccessDeniedException"), "{reason}");
    assert!((5..=8).contains(&scene.records().len()), "{} requests", scene.records().len());
    assert_eq!(scene.rows()[0]["validity"], "aborted");
}

#[test]
fn cell_without_success_is_shown_and_the_run_continues() {
    let scene = Scene::new().plan(&format!("{SHORT}\n[simulator.faults]\ninternal_server = 1.0\n"));
    let output = scene.run(3, &["--user-counts", "1,2"]);
    assert_eq!(scene.manifest()["turns"].as_array().unwrap().len(), 2);
    for row in scene.rows() {
        assert_eq!(row["success_count"], "0");
        assert_eq!(row["p95"], "", "nothing is not zero");
    }
    assert!(String::from_utf8_lossy(&output.stdout).contains("InternalServerException"));
}

#[test]
fn unreachable_endpoint_exits_with_4() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let scene = Scene::new().plan(SHORT);
    scene.run(4, &["--endpoint-url", &url]);
    assert!(scene.records().iter().all(|record| record["error_class"] == "connect"));
}

#[test]
fn without_credentials_nothing_is_sent_or_written() {
    let scene = Scene::new().plan(SHORT);
    let output = scene.run(4, &["--endpoint-url", "aws", "--region", "us-east-1"]);
    insta::assert_snapshot!("no_credentials", stderr(&output));
    assert!(!scene.path("results").exists());
}

#[test]
fn without_a_region_nothing_is_sent_or_written() {
    let scene = Scene::new().plan(SHORT);
    let mut command = scene.run_command(&["--endpoint-url", "aws"]);
    command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
    insta::assert_snapshot!("no_region", stderr(&scene.expect(4, command)));
    assert!(!scene.path("results").exists());
}

#[test]
fn run_without_a_terminal_requires_yes() {
    let scene = Scene::new().plan(SHORT);
    let output = scene.expect(2, scene.command(&["run", "plan.toml", "--results-dir", "results"]));
    assert!(stderr(&output).contains("--yes"), "{}", stderr(&output));
    assert!(!scene.path("results").exists());
}

#[test]
fn existing_results_are_refused_without_overwrite() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &[]);
    let first = scene.manifest()["run_id"].clone();
    std::fs::write(scene.path("results/notes.md"), "mine").unwrap();
    insta::assert_snapshot!("occupied", stderr(&scene.run(2, &[])));
    assert_eq!(scene.manifest()["run_id"], first);
    scene.run(0, &["--overwrite"]);
    assert_ne!(scene.manifest()["run_id"], first);
    assert_eq!(std::fs::read_to_string(scene.path("results/notes.md")).unwrap(), "mine");
    let run_id = scene.manifest()["run_id"].clone();
    assert!(scene.records().iter().all(|record| record["run_id"] == run_id));
}

#[test]
fn results_are_kept_if_the_endpoint_cannot_be_reached() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--requests", "3"]);
    let journal = || std::fs::read(scene.path("results/token_data.jsonl")).unwrap();
    let (before, manifest) = (journal(), scene.manifest());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (port, seen) = super::tls::start(&runtime, &scene.path("untrusted.pem"));
    for (url, reason) in [
        (closed, "the connection could not be opened"),
        (format!("https://localhost:{port}"), "the TLS handshake failed"),
        ("http://no-such-host.invalid".into(), "the name could not be resolved"),
    ] {
        let mut command = scene.run_command(&["--overwrite", "--endpoint-url", &url, "--region", "us-east-1"]);
        command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
        let message = stderr(&scene.expect(4, command));
        let expected = format!("cannot connect to `{url}`, and the earlier results are kept: {reason}");
        assert!(message.contains(&expected), "{message}");
        assert!(journal() == before && scene.manifest() == manifest && scene.path("results/report.html").exists());
    }
    assert!(seen.authorizations.lock().unwrap().is_empty(), "no request is sent to find out");
    // In an empty directory the failed requests are recorded, since no results can be lost.
    scene.run(4, &["--endpoint-url", &format!("https://localhost:{port}"), "--results-dir", "other", "--overwrite"]);
    assert!(scene.path("other/token_data.jsonl").exists());
}

#[test]
fn parent_directories_are_created_and_only_selects_cells() {
    let scene = Scene::new().plan(SHORT);
    let arguments = ["run", "plan.toml", "--yes", "--results-dir", "a/b/c", "--user-counts", "1,2", "--only", "*_u2"];
    scene.expect(0, scene.command(&arguments));
    assert!(scene.path("a/b/c/test_us_default_small_u2_stats.csv").exists());
    assert!(!scene.path("a/b/c/test_us_default_small_u1_stats.csv").exists());
}

#[test]
fn timeout_has_its_own_class() {
    let scene = Scene::new().plan(&format!("{SHORT}\n[simulator.faults]\nstall = 1.0\n"));
    scene.run(4, &["--timeout", "200ms"]);
    for record in scene.records() {
        assert_eq!(record["error_class"], "timeout");
        assert!(record["response_time_ms"].as_f64().unwrap() >= 200.0);
    }
}

#[test]
fn faults_below_http_have_their_own_classes() {
    for (fault, class) in
        [("reset", "reset"), ("reset_in_body", "reset"), ("garbage", "decode"), ("empty_reply", "empty_reply")]
    {
        let scene = Scene::new().plan(&format!("{SHORT}\n[simulator.faults]\n{fault} = 0.5\n"));
        scene.run(0, &[]);
        let records = scene.records();
        let classes: Vec<&str> = records.iter().filter_map(|record| record["error_class"].as_str()).collect();
        assert!(!classes.is_empty() && classes.iter().all(|found| *found == class), "{fault}: {classes:?}");
    }
}

#[test]
fn response_times_of_a_slow_server_are_ordered() {
    let scene = Scene::new().plan(SHORT);
    let server = Simulate::start(&scene, &["--plan", "plan.toml"]);
    scene.run(0, &["--endpoint-url", &server.url, "--include-ramp"]);
    let row = &scene.rows()[0];
    let time = |column: &str| row[column].parse::<f64>().unwrap();
    assert!(
        time("min_response_time") >= 1.0
            && time("min_response_time") <= time("p50")
            && time("p50") <= time("max_response_time")
    );
    assert!(Path::new(&scene.path("results/plan.toml")).exists());
}

#[test]
fn locked_directory_is_refused_even_with_overwrite() {
    let scene = Scene::new().plan(SHORT);
    let mut process = scene.run_command(&["--test-duration", "10m"]).spawn().unwrap();
    super::scene::wait_for_lines(&scene.path("results/token_data.jsonl"), 1);
    let output = scene.run(2, &["--overwrite"]);
    super::scene::interrupt(&process);
    assert_eq!(process.wait().unwrap().code(), Some(130));
    let message = stderr(&output);
    insta::assert_snapshot!("locked", &message[message.find("error:").unwrap()..]);
    assert!(!scene.records().is_empty());
}

#[test]
fn changed_line_of_a_journal_is_quarantined() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &[]);
    let journal = scene.path("results/token_data.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    for (from, to) in [("\"timestamp\"", "\"time\""), ("\"run_id\":\"", "\"run_id\":\"x")] {
        std::fs::write(&journal, text.replacen(from, to, 1)).unwrap();
        let output = scene.expect(0, scene.command(&["report", "results"]));
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.contains("1 line of token_data.jsonl is damaged and not counted"), "{printed}");
        assert!(scene.rows()[0]["warnings"].contains("damaged_records"));
        let quarantined = std::fs::read_to_string(scene.path("results/quarantine.jsonl")).unwrap();
        assert_eq!(quarantined.lines().count(), 1, "{quarantined}");
    }
}
