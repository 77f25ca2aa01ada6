//! Checks of this machine: calibration, INVALID cells, open files.

use super::scene::{SHORT, Scene};
use serde_json::Value;

#[test]
fn a_calibration_compares_both_accounts_request_by_request() {
    let scene = Scene::new().plan(SHORT);
    let output =
        scene.expect(0, scene.command(&["calibrate", "plan.toml", "--format", "json", "--api", "converse-stream"]));
    let calibration: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(calibration["load"], "3 users, converse-stream");
    assert!(calibration["requests"].as_u64().unwrap() > 100, "{calibration}");
    assert_eq!(calibration["unmatched"], 0, "{calibration}");
    // Both use the same kind of clock, and a client cannot receive a reply before it is sent.
    assert!(calibration["paired"]["p50_ms"].as_f64().unwrap() > 0.0, "{calibration}");
    assert!(calibration["ttft"]["p50_ms"].as_f64().unwrap() > 0.0, "{calibration}");
    let percentiles = calibration["percentiles"].as_array().unwrap();
    assert!(percentiles.iter().any(|error| error["p"] == 50.0), "{calibration}");
    assert!(percentiles.iter().all(|error| error["server_ms"].as_f64().unwrap() >= 20.0), "{calibration}");
}

#[test]
fn run_records_its_calibration() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--calibrate"]);
    assert!(scene.manifest()["calibration"]["requests"].as_u64().unwrap() > 100);
    let page = std::fs::read_to_string(scene.path("results/test_us_default_small_u3_report.html")).unwrap();
    assert!(
        page.contains("On this machine, at this load (3 users, converse), these numbers are off by at most"),
        "{page}"
    );
    let text = scene.expect(0, scene.command(&["report", "results"])).stdout;
    assert!(String::from_utf8(text).unwrap().contains("these numbers are off by at most"));
}

#[test]
fn invalid_cell_fails_the_run_with_on_invalid_fail() {
    for (wish, code) in [("warn", 0), ("fail", 3)] {
        let scene = Scene::new().plan(SHORT);
        scene.run(0, &["--test-duration", "3s"]);
        let before = scene.rows()[0]["validity"].clone();
        assert!(!before.contains("CPU"), "{before}");
        // A busy machine cannot be produced reliably, but its trace in the manifest can.
        let mut manifest = scene.manifest();
        manifest["plan"]["run"]["on_invalid"] = wish.into();
        for second in manifest["turns"][0]["series"].as_array_mut().unwrap() {
            second["cpu_ms"] = 1e9.into();
        }
        std::fs::write(scene.path("results/manifest.json"), manifest.to_string()).unwrap();
        scene.expect(code, scene.command(&["report", "results"]));
        let validity = scene.rows()[0]["validity"].clone();
        // A busy test machine may add another reason.
        let mut reasons = validity.strip_prefix("INVALID: ").unwrap_or_default().split("; ");
        assert!(reasons.any(|reason| reason.starts_with("CPU ") && reason.ends_with("> 80 %")), "{validity}");
    }
}

#[cfg(unix)]
#[test]
fn low_limit_of_open_files_is_reported_before_the_start() {
    let scene = Scene::new().plan(SHORT);
    let limited = |limit: &str, users: &str| {
        let binary = env!("CARGO_BIN_EXE_bedrock-plan");
        let mut command = std::process::Command::new("sh");
        let run = format!(
            "{limit}; exec {binary} run plan.toml --yes --results-dir results --spawn-rate 1000 --user-counts {users}"
        );
        command.args(["-c", &run]).current_dir(scene.path(""));
        command
    };
    let output = scene.expect(2, limited("ulimit -Sn 100; ulimit -Hn 256", "300"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("300 users need 664 open files; this process may open 256"), "{stderr}");
    assert!(stderr.contains("ulimit -n 664"), "{stderr}");
    assert!(!scene.path("results").exists());
    // A soft limit is raised.
    scene.expect(0, limited("ulimit -Sn 70", "50"));
    assert_eq!(scene.rows()[0]["failure_count"], "0");
}
