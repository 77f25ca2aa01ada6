//! Thresholds: verdicts, exit codes, and cells that are stopped early.

use super::scene::{SHORT, Scene, files};
use std::collections::HashMap;

/// Returns the rows of `slo.csv`, by column.
fn verdicts(scene: &Scene) -> Vec<HashMap<String, String>> {
    csv::Reader::from_path(scene.path("results/slo.csv")).unwrap().deserialize().map(Result::unwrap).collect()
}

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns a plan that runs for one second, with a threshold.
fn plan(slo: &str) -> String {
    format!("{SHORT}\n[[slo]]\nname = \"gate\"\n{slo}\n")
}

/// Removes the client health of this machine from a run and reports again, so that no cell is INVALID by accident.
fn calm_report(scene: &Scene, code: i32) -> String {
    let mut manifest = scene.manifest();
    for cell_run in manifest["turns"].as_array_mut().unwrap() {
        cell_run.as_object_mut().unwrap().remove("disturbances");
        for second in cell_run["series"].as_array_mut().unwrap() {
            second["cpu_ms"] = 1.into();
        }
    }
    // The records are changed here, and lines of this format version have no checksum.
    manifest["format"] = 1.into();
    std::fs::write(scene.path("results/manifest.json"), manifest.to_string()).unwrap();
    let quiet = |mut record: serde_json::Value| {
        record.as_object_mut().unwrap().remove("crc");
        record["send_lag_ms"] = 0.1.into();
        format!("{record}\n")
    };
    let journal: String = scene.records().into_iter().map(quiet).collect();
    std::fs::write(scene.path("results/token_data.jsonl"), journal).unwrap();
    stdout(&scene.expect(code, scene.command(&["report", "results"])))
}

/// Runs a plan with any exit code; the tests check the exit code of [`calm_report`].
fn run(scene: &Scene, more: &[&str]) {
    let output = scene.run_command(more).output().unwrap();
    assert!([0, 99].contains(&output.status.code().unwrap()), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn met_thresholds_pass_and_show_bound_and_interval() {
    let scene = Scene::new().plan(&plan(
        "p50 = \"60s\"\nfailure_rate = \"50%\"\nrequests_per_sec = { min = 1 }\ngoodput = { min = 1, e2e = \"60s\" }",
    ));
    run(&scene, &["--test-duration", "3s"]);
    let shown = calm_report(&scene, 0);
    let rows = verdicts(&scene);
    assert_eq!(rows.len(), 4);
    for row in &rows {
        assert_eq!(row["verdict"], "PASS", "{row:?}");
        let number = |column: &str| row[column].parse::<f64>().unwrap();
        assert!(number("low") <= number("value") && number("value") <= number("high"), "{row:?}");
        let kept =
            if row["relation"] == "<=" { number("high") <= number("bound") } else { number("low") >= number("bound") };
        assert!(kept, "{row:?}");
    }
    assert!((rows[0]["value"].parse::<f64>().unwrap() - scene.rows()[0]["p50"].parse::<f64>().unwrap()).abs() < 0.001);
    assert_eq!(scene.rows()[0]["slo"], "PASS");
    assert!(shown.contains("thresholds: 0 FAIL, 0 INCONCLUSIVE, 4 PASS"), "{shown}");
    let page = std::fs::read_to_string(scene.path("results/test_us_default_small_u3_report.html")).unwrap();
    assert!(page.contains("<h2>Thresholds</h2>") && page.contains("&lt;= 60,000 ms"), "{page}");
}

#[test]
fn failed_thresholds_exit_with_99_in_run_and_report() {
    let scene = Scene::new().plan(&plan("p50 = \"1ms\"\nfailure_rate = \"50%\""));
    run(&scene, &["--test-duration", "3s"]);
    let shown = calm_report(&scene, 99);
    let (fail, pass) = (shown.find(" FAIL  ").unwrap(), shown.find(" PASS  ").unwrap());
    assert!(fail < pass && shown.contains("1 FAIL"), "failures first: {shown}");
    assert_eq!(scene.rows()[0]["slo"], "FAIL");
    let again = scene.expect(99, scene.command(&["report", "results", "--out", "again"]));
    assert!(stdout(&again).contains("<= 1.00 ms"), "{}", stdout(&again));
    assert!(files(&scene.path("again")).contains(&"slo.csv".to_owned()));
    scene.run(0, &["--no-report", "--overwrite", "--test-duration", "3s"]);
    assert!(!scene.path("results/slo.csv").exists(), "removed with what else an earlier run wrote");
}

#[test]
fn too_few_samples_are_inconclusive_and_on_inconclusive_decides() {
    for (wish, code) in [("pass", 0), ("fail", 99)] {
        let scene = Scene::new().plan(&plan(&format!("p99 = \"60s\"\non_inconclusive = \"{wish}\"")));
        run(&scene, &["--requests", "20"]);
        calm_report(&scene, code);
        let rows = verdicts(&scene);
        assert_eq!(rows[0]["verdict"], "INCONCLUSIVE");
        assert!(rows[0]["reason"].starts_with("too few requests: ") && rows[0]["reason"].ends_with("; p99 needs 368"));
        assert_eq!(rows[0]["high"], "", "the interval is open above");
        assert_eq!(scene.rows()[0]["slo"], "INCONCLUSIVE");
    }
}

#[test]
fn invalid_cell_is_inconclusive() {
    let scene = Scene::new().plan(&plan("p50 = \"1ms\""));
    run(&scene, &["--test-duration", "3s"]);
    calm_report(&scene, 99);
    let mut manifest = scene.manifest();
    for second in manifest["turns"][0]["series"].as_array_mut().unwrap() {
        second["cpu_ms"] = 1e9.into();
    }
    std::fs::write(scene.path("results/manifest.json"), manifest.to_string()).unwrap();
    scene.expect(0, scene.command(&["report", "results"]));
    let rows = verdicts(&scene);
    assert_eq!(rows[0]["verdict"], "INCONCLUSIVE");
    assert!(rows[0]["reason"].starts_with("INVALID: CPU"), "{rows:?}");
}

#[test]
fn cell_that_can_no_longer_pass_is_stopped() {
    let slo = "p50 = \"60s\"\nfailure_rate = \"1%\"\nabort_on_fail = true";
    let scene = Scene::new().plan(&format!("{}[simulator.faults]\ninternal_server = 0.5\n", plan(slo)));
    run(&scene, &["--test-duration", "10m", "--user-counts", "3,4", "--repetitions", "2"]);
    let shown = calm_report(&scene, 99);
    let manifest = scene.manifest();
    let cell_runs = manifest["turns"].as_array().unwrap();
    assert_eq!(cell_runs.len(), 4, "the other cells go on");
    for cell_run in cell_runs {
        assert_eq!(cell_run["end"], "failed_early");
        assert_eq!(cell_run["failed"], serde_json::json!({ "slo": 0, "metric": "failure_rate" }));
        assert!(
            cell_run["reason"].as_str().unwrap().contains("failure_rate of gate can no longer be met"),
            "{cell_run}"
        );
        let sent = cell_run["requests"].as_u64().unwrap();
        assert_eq!(cell_run["repetition"] == 1, sent > 0, "{cell_run}");
        assert!(cell_run["load_ms"].as_f64().unwrap() < 300_000.0, "ended long before 10 minutes: {cell_run}");
    }
    for row in verdicts(&scene).iter().filter(|row| row["metric"] == "failure_rate") {
        assert_eq!(row["verdict"], "FAIL");
        assert!(row["reason"].starts_with("ended early: "), "{row:?}");
    }
    assert!(scene.rows().iter().all(|row| row["warnings"].contains("failed_early")));
    assert!(shown.contains("ended early"), "{shown}");
}

#[test]
fn slow_cell_is_stopped_by_its_percentile() {
    let slo = "p95 = \"5ms\"\nabort_on_fail = true";
    let scene = Scene::new().plan(&plan(slo));
    run(&scene, &["--test-duration", "10m", "--user-counts", "10", "--spawn-rate", "1000"]);
    calm_report(&scene, 99);
    assert_eq!(scene.manifest()["turns"][0]["failed"]["metric"], "p95");
    let rows = verdicts(&scene);
    assert_eq!((rows[0]["verdict"].as_str(), rows[0]["metric"].as_str()), ("FAIL", "p95"));
}

#[test]
fn validity_of_a_cell_takes_precedence_over_its_verdict() {
    let slo = "p50 = \"1ms\"\nfailure_rate = \"1%\"";
    let scene = Scene::new().plan(&format!("{}[simulator.faults]\ninternal_server = 1.0\n", plan(slo)));
    scene.run(3, &["--test-duration", "3s"]);
    calm_report(&scene, 3);
    let rows = verdicts(&scene);
    assert_eq!(rows[0]["verdict"], "INCONCLUSIVE", "no time was measured: {rows:?}");
    assert_eq!(rows[1]["verdict"], "FAIL", "failures are data: {rows:?}");
    let refused = Scene::new().plan(&format!("{}[simulator.faults]\naccess_denied = 1.0\n", plan(slo)));
    refused.run(3, &["--test-duration", "3s"]);
    for row in verdicts(&refused) {
        assert_eq!(row["verdict"], "INCONCLUSIVE");
        assert!(row["reason"].contains("aborted"), "{row:?}");
    }
}

#[test]
fn thresholds_do_not_change_hashes_and_skipped_cells_do_not_fail() {
    let scene = Scene::new().plan(&plan("when = { users = 5 }\np50 = \"1ms\""));
    scene.run(0, &["--user-counts", "3,5", "--only", "*_u3"]);
    let with = scene.manifest();
    assert!(!scene.path("results/slo.csv").exists());
    assert_eq!(scene.rows()[0]["slo"], "");
    let without = Scene::new().plan(SHORT);
    without.run(0, &["--user-counts", "3,5", "--only", "*_u3"]);
    assert_eq!(with["plan_hash"], without.manifest()["plan_hash"]);
}

#[test]
fn shipped_gate_plan_passes_and_fails_as_documented() {
    let gate = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/plans/gate.toml")).unwrap();
    let scene = Scene::new().plan(&gate);
    run(&scene, &[]);
    assert!(calm_report(&scene, 0).contains("0 FAIL, 0 INCONCLUSIVE, 11 PASS"));
    run(&scene, &["--overwrite", "--set", "simulator.ttft=300ms"]);
    calm_report(&scene, 99);
    let broken = verdicts(&scene).into_iter().filter(|row| row["verdict"] == "FAIL").map(|row| row["metric"].clone());
    assert!(broken.collect::<Vec<_>>().contains(&"ttft_p95".to_owned()));
    assert_eq!(scene.rows()[0]["slo"], "FAIL");
}

#[test]
fn run_and_report_have_the_same_exit_code() {
    // The run fails on any machine: the verdict is either INCONCLUSIVE or FAIL.
    let scene = Scene::new().plan(&plan("p50 = \"1ms\"\non_inconclusive = \"fail\""));
    let output = scene.run(99, &["--test-duration", "3s"]);
    assert!(stdout(&output).contains("<= 1.00 ms"), "{}", stdout(&output));
}

#[test]
fn threshold_with_missing_records_is_inconclusive() {
    let scene = Scene::new().plan(&plan("p50 = \"60s\""));
    run(&scene, &["--requests", "60", "--user-counts", "6"]);
    calm_report(&scene, 0);
    assert_eq!(verdicts(&scene)[0]["verdict"], "PASS");
    let journal = scene.path("results/token_data.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let kept: Vec<&str> = text.split_inclusive('\n').skip(1).collect();
    std::fs::write(&journal, kept.concat()).unwrap();
    calm_report(&scene, 0);
    assert!(scene.rows()[0]["warnings"].contains("records_missing"));
    let row = verdicts(&scene).remove(0);
    assert_eq!(row["verdict"], "INCONCLUSIVE", "{row:?}");
    assert!(row["reason"].contains("some of its records are missing from the journal"), "{row:?}");
}
