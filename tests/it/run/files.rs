//! The files of a run, and that repeated reports are byte-identical.

use super::scene::{SHORT, Scene, files};

#[test]
fn all_files_of_the_previous_tool_are_written() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &[]);
    let found: Vec<String> =
        files(&scene.path("results"))
            .into_iter()
            .map(|name| {
                if name.starts_with("consolidated_results_") { "consolidated_results_[time].csv".into() } else { name }
            })
            .collect();
    insta::assert_snapshot!(found.join("\n"), @r"
    charts/avg_latency_by_config.png
    charts/avg_latency_by_config.svg
    charts/latency_by_load.png
    charts/latency_by_load.svg
    charts/latency_by_prompt_size.png
    charts/latency_by_prompt_size.svg
    charts/latency_heatmap.png
    charts/latency_heatmap.svg
    charts/output_tokens.png
    charts/output_tokens.svg
    charts/p50_p95_comparison.png
    charts/p50_p95_comparison.svg
    charts/percentiles.png
    charts/percentiles.svg
    charts/throughput_comparison.png
    charts/throughput_comparison.svg
    charts/timeline.png
    charts/timeline.svg
    consolidated_results_[time].csv
    histograms/us_default_small_u3.hlog
    manifest.json
    plan.toml
    report.html
    summary.json
    summary.md
    test_us_default_small_u3_failures.csv
    test_us_default_small_u3_report.html
    test_us_default_small_u3_stats.csv
    test_us_default_small_u3_stats_history.csv
    token_data.jsonl
    ");
}

/// The plan is that of the run, independent of the flags of the report.
#[test]
fn report_restores_the_plan_but_replaces_no_foreign_plan() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &[]);
    let plan = |dir: &str| std::fs::read_to_string(scene.path(dir).join("plan.toml")).unwrap();
    let first = plan("results");
    std::fs::remove_file(scene.path("results/plan.toml")).unwrap();
    scene.expect(0, scene.command(&["report", "results", "--include-failures"]));
    assert_eq!(plan("results"), first);
    // The same in another directory, repeatedly; a run may replace that report and its plan.
    for _ in 0..2 {
        scene.expect(0, scene.command(&["report", "results", "--out", "again"]));
        assert_eq!(plan("again"), first);
    }
    scene.expect(0, scene.command(&["run", "plan.toml", "--yes", "--results-dir", "again", "--overwrite"]));
    assert_ne!(plan("again"), first, "it names its run");
    // In a directory with a foreign plan.
    std::fs::create_dir(scene.path("mine")).unwrap();
    std::fs::write(scene.path("mine/plan.toml"), SHORT).unwrap();
    for _ in 0..2 {
        let output = scene.expect(0, scene.command(&["report", "results", "--out", "mine"]));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("plan.toml stays: no run of bedrock-plan wrote it"), "{stderr}");
        assert_eq!(plan("mine"), SHORT);
    }
    scene.expect(0, scene.command(&["report", "results", "--out", "shared", "--public"]));
    assert!(!scene.path("shared/plan.toml").exists());
}

#[test]
fn repeated_report_is_identical_and_sends_no_request() {
    let scene = Scene::new().plan(&format!("{SHORT}\n[simulator.faults]\nthrottling = 0.3\n"));
    scene.run(0, &[]);
    scene.expect(0, scene.command(&["report", "results", "--out", "again"]));
    let rendered = files(&scene.path("again"));
    assert!(rendered.len() >= 10, "{rendered:?}");
    for name in rendered {
        let (first, again) = (scene.path("results").join(&name), scene.path("again").join(&name));
        assert!(std::fs::read(first).unwrap() == std::fs::read(again).unwrap(), "{name} differs");
    }
}

#[test]
fn report_options_select_other_samples_of_the_records() {
    let scene = Scene::new().plan(&format!("{SHORT}\n[simulator.faults]\nvalidation = 0.3\n"));
    scene.run(0, &[]);
    scene.remove_stalls();
    scene.expect(0, scene.command(&["report", "results"]));
    let plain = scene.rows()[0]["latency_n"].parse::<u64>().unwrap();
    scene.expect(0, scene.command(&["report", "results", "--include-failures", "--include-ramp"]));
    let pooled = scene.rows()[0]["latency_n"].parse::<u64>().unwrap();
    assert!(pooled > plain, "{pooled} > {plain}");
    assert_eq!(pooled, scene.records().len() as u64);
}

#[test]
fn no_report_stops_after_writing_the_journal() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--no-report"]);
    assert_eq!(files(&scene.path("results")), ["manifest.json", "plan.toml", "token_data.jsonl"]);
    std::fs::rename(scene.path("results"), scene.path("moved")).unwrap();
    scene.expect(0, scene.command(&["report", "moved"]));
    assert!(files(&scene.path("moved")).len() > 10);
}

#[test]
fn plan_in_the_results_directory_can_be_run() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--user-counts", "1,2"]);
    let before = scene.manifest();
    scene.expect(0, scene.command(&["run", "results/plan.toml", "--yes", "--results-dir", "second"]));
    let after: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(scene.path("second/manifest.json")).unwrap()).unwrap();
    assert_eq!(before["plan_hash"], after["plan_hash"]);
    assert_eq!(before["cells"], after["cells"]);
    assert_eq!(before["order"], after["order"], "the seed is in the plan");
}

#[test]
fn histograms_are_readable_in_python() {
    if !crate::support::python_has("hdrh") {
        return;
    }
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--include-ramp"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/run/hlog_reader.py");
    let log = scene.path("results/histograms/us_default_small_u3.hlog");
    let output = std::process::Command::new("python3").arg(script).arg(log).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut lines = printed.lines();
    assert_eq!(lines.next(), Some("us_default_small_u3"));
    let row = &scene.rows()[0];
    assert_eq!(lines.next().unwrap(), row["success_count"]);
    let mut times: Vec<f64> =
        scene.records().iter().map(|record| record["response_time_ms"].as_f64().unwrap()).collect();
    times.sort_by(f64::total_cmp);
    for (line, p) in lines.zip([0.5, 0.95, 0.99, 1.0]) {
        let read_ms: f64 = line.parse().unwrap();
        // HdrHistogram rounds the rank to nearest, bedrock-plan rounds up; it keeps three significant digits.
        let rank = ((times.len() as f64 * p + 0.5) as usize).clamp(1, times.len()) - 1;
        assert!((read_ms - times[rank]).abs() <= times[rank] * 0.002, "p{p}: {read_ms} and {}", times[rank]);
    }
}
