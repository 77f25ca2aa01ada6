//! Open loops, load profiles, and the end of a cell.

use super::scene::{SHORT, Scene};

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

#[test]
fn open_loop_starts_at_its_intended_times() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--arrival-rates", "20", "--test-duration", "2s"]);
    let records = scene.records();
    assert_eq!(records.len(), 40, "20 per second for 2 seconds");
    let mut due: Vec<f64> = records.iter().map(|record| record["due_ms"].as_f64().unwrap()).collect();
    due.sort_by(f64::total_cmp);
    for (index, due) in due.iter().enumerate() {
        assert!((due - index as f64 * 50.0).abs() < 0.002, "{due}");
    }
    for record in &records {
        let field = |name: &str| record[name].as_f64().unwrap();
        assert!(field("sent_ms") >= field("due_ms"), "{record}");
        assert!((field("sent_ms") - field("due_ms") - field("send_lag_ms")).abs() < 0.002, "{record}");
        let response = field("send_lag_ms") + field("service_time_ms");
        assert!((field("response_time_ms") - response).abs() < 0.002, "{record}");
        assert!(record.get("user").is_none() && record.get("users").is_none(), "{record}");
        assert_eq!(record["arrival_rate"], 20.0);
    }
    let row = &scene.rows()[0];
    assert_eq!(row["test_id"], "us_default_small_r20");
    assert_eq!((row["arrival_rate"].as_str(), row["users"].as_str()), ("20", ""));
    assert!(number(&row["p50"]) >= number(&row["service_p50"]));
}

#[test]
fn poisson_arrivals_repeat_with_the_seed() {
    let due = |seed: &str| {
        let scene = Scene::new().plan(SHORT);
        scene.run(0, &["--arrival-rates", "50", "--arrivals", "poisson", "--seed", seed]);
        let mut due: Vec<String> = scene.records().iter().map(|record| record["due_ms"].to_string()).collect();
        due.sort();
        due
    };
    let first = due("7");
    assert!(first.len() > 20, "{first:?}");
    assert_eq!(first, due("7"));
    assert_ne!(first, due("8"));
}

#[test]
fn starts_above_max_in_flight_are_dropped_and_counted() {
    let slow = SHORT.replace("ttft = \"20ms\"", "ttft = \"3s\"");
    let scene = Scene::new().plan(&slow);
    scene.run(0, &["--arrival-rates", "50", "--max-in-flight", "5", "--test-duration", "2s"]);
    let row = &scene.rows()[0];
    assert_eq!(scene.records().len(), 5, "nothing ends before the last start");
    assert_eq!(row["dropped_count"], "95");
    assert!(row["warnings"].contains("dropped_starts"), "{}", row["warnings"]);
    let series = scene.manifest()["turns"][0]["series"].clone();
    let dropped: u64 = series.as_array().unwrap().iter().filter_map(|second| second["dropped"].as_u64()).sum();
    assert_eq!(dropped, 95);
}

#[test]
fn unreachable_rate_ends_with_its_cell() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--arrival-rates", "1e6", "--max-in-flight", "5"]);
    let started = scene.records().len() as u64;
    assert!(started >= 5);
    let dropped: u64 = scene.rows()[0]["dropped_count"].parse().unwrap();
    assert_eq!(started + dropped, 1_000_000, "every arrival of the second is counted");
}

#[cfg(unix)]
#[test]
fn overdue_starts_at_the_end_are_dropped_and_counted() {
    use super::scene::{signal, wait_for_lines};
    let scene = Scene::new().plan(SHORT);
    let load = ["--arrival-rates", "50", "--test-duration", "2s"];
    let mut running = scene.run_command(&load).spawn().unwrap();
    wait_for_lines(&scene.path("results/token_data.jsonl"), 5);
    signal(&running, "-STOP");
    // After the end of the cell.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    signal(&running, "-CONT");
    assert_eq!(running.wait().unwrap().code(), Some(0));
    let dropped: usize = scene.rows()[0]["dropped_count"].parse().unwrap();
    assert!(dropped > 0, "nothing starts after the end");
    assert_eq!(scene.records().len() + dropped, 100);
}

/// Starts a server that replies after 20 ms and stalls for one second of every two.
fn freezing() -> String {
    format!("{SHORT}\ncapacity = 0\nfreeze_every = \"2s\"\nfreeze_for = \"1s\"\n")
}

#[test]
fn open_loop_measures_a_frozen_server() {
    let scene = Scene::new().plan(&freezing());
    scene.run(0, &["--arrival-rates", "50", "--test-duration", "6s"]);
    let records = scene.records();
    assert_eq!(records.len(), 300);
    // A short stall of this machine during a freeze would exclude the delayed requests.
    scene.remove_stalls();
    scene.expect(0, scene.command(&["report", "results"]));
    // Two freezes begin and end inside the test; each holds a second's worth of starts, whose waits
    // are spread evenly from 0 to 1 s: half of those 100 wait for half a second or longer.
    let waited = |ms: f64| records.iter().filter(|record| record["response_time_ms"].as_f64().unwrap() >= ms).count();
    assert!(waited(500.0) >= 45, "only {} requests waited for 500 ms", waited(500.0));
    assert!(number(&scene.rows()[0]["p95"]) > 500.0);
}

#[test]
fn closed_loop_warns_of_coordinated_omission() {
    let scene = Scene::new().plan(&freezing());
    scene.run(0, &["--user-counts", "5", "--test-duration", "6s"]);
    let row = &scene.rows()[0];
    assert!(number(&row["p50"]) < 500.0, "the five that were caught are few among many");
    assert!(row["warnings"].split(';').any(|warning| warning == "stalls"), "{}", row["warnings"]);

    let steady = Scene::new().plan(SHORT);
    steady.run(0, &["--user-counts", "5", "--test-duration", "3s"]);
    assert!(!steady.rows()[0]["warnings"].contains("stalls"), "{}", steady.rows()[0]["warnings"]);
}

#[test]
fn cell_ends_after_the_number_of_requests() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--requests", "17", "--user-counts", "4", "--test-duration", "10m"]);
    assert_eq!(scene.records().len(), 17);
    let manifest = scene.manifest();
    assert_eq!(manifest["turns"][0]["end"], "finished");
    assert_eq!(manifest["turns"][0]["requests"], 17);
}

#[test]
fn cell_is_extended_until_it_has_its_samples() {
    let scene = Scene::new().plan(SHORT);
    scene.run(0, &["--min-samples", "p99", "--test-duration", "1s", "--max-duration", "10m"]);
    let row = &scene.rows()[0];
    assert!(number(&row["latency_n"]) >= 368.0, "{}", row["latency_n"]);
    assert_eq!(row["p99_quality"], "ok");
    assert!(scene.manifest()["turns"][0]["load_ms"].as_f64().unwrap() > 1_000.0);

    let capped = Scene::new().plan(SHORT);
    capped.run(0, &["--min-samples", "100000", "--test-duration", "1s", "--max-duration", "2s"]);
    assert!(capped.rows()[0]["warnings"].contains("too_few_samples"));
    let load_ms = capped.manifest()["turns"][0]["load_ms"].as_f64().unwrap();
    assert!((load_ms - 2_000.0).abs() < 1e-6, "{load_ms}");
}

const PROFILES: &str = r#"
[[profile]]
name = "spike"
stages = [{ users = 2, for = "1s" }, { users = 8, over = "500ms", for = "500ms" }, { users = 1, for = "500ms" }]
[[profile]]
name = "waves"
stages = [{ rate = 10, for = "1s" }, { rate = 30, over = "1s" }]
"#;

#[test]
fn each_stage_of_a_profile_is_summarised() {
    let plan = SHORT.replace("user_counts = [3]", "profiles = [\"spike\", \"waves\"]");
    let scene = Scene::new().plan(&format!("{plan}{PROFILES}"));
    scene.run(0, &[]);
    let text = std::fs::read_to_string(scene.path("results/stages.csv")).unwrap();
    let stages: Vec<std::collections::HashMap<String, String>> =
        csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect();
    let ids: Vec<(&str, &str)> = stages.iter().map(|row| (row["test_id"].as_str(), row["stage"].as_str())).collect();
    let (spike, waves) = ("us_default_small_spike", "us_default_small_waves");
    assert_eq!(ids, [(spike, "1"), (spike, "2"), (spike, "3"), (waves, "1"), (waves, "2")]);
    for row in scene.rows() {
        let of_stages = stages.iter().filter(|stage| stage["test_id"] == row["test_id"]);
        let sum: f64 = of_stages.map(|stage| number(&stage["total_requests"])).sum();
        assert!(
            (number(&row["total_requests"]) - sum).abs() < 0.5,
            "{}: every request is due in one stage",
            row["test_id"]
        );
    }
    // 10 in the first second; a ramp from 10 to 30 per second adds 20 in the second one.
    assert_eq!((stages[3]["total_requests"].as_str(), stages[4]["total_requests"].as_str()), ("10", "20"));
    let users = |cell_run: &serde_json::Value| {
        cell_run["series"].as_array().unwrap().iter().map(|second| second["users"].as_u64().unwrap()).max()
    };
    let manifest = scene.manifest();
    let cell_runs = manifest["turns"].as_array().unwrap();
    let of = |id: &str| cell_runs.iter().find(|cell_run| cell_run["test_id"] == id).unwrap();
    assert_eq!(users(of(waves)), Some(0));
    let first = scene
        .records()
        .iter()
        .filter(|record| record["test_id"] == spike)
        .map(|record| record["user"].as_u64().unwrap())
        .max();
    assert_eq!(first, Some(7), "eight users joined");
}

#[test]
fn repeated_report_is_byte_identical() {
    let plan = SHORT.replace("user_counts = [3]", "profiles = [\"waves\"]\napis = [\"converse-stream\"]");
    let scene = Scene::new().plan(&format!("{plan}{PROFILES}"));
    scene.run(0, &["--percentiles", "90,99.5"]);
    scene.expect(0, scene.command(&["report", "results", "--out", "again"]));
    for file in super::scene::files(&scene.path("again")) {
        let read = |dir: &str| std::fs::read(scene.path(dir).join(&file)).unwrap();
        assert!(read("results") == read("again"), "{file}");
    }
    assert!(scene.path("again/histograms/us_default_small_waves.hlog").is_file());
    assert!(scene.rows()[0].contains_key("p99.5"));
}

#[test]
fn later_layer_replaces_a_mutually_exclusive_key() {
    let plan = SHORT.replace("user_counts = [3]", "arrival_rates = [5]");
    let scene = Scene::new().plan(&plan);
    let ids = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = scene.command(&[&["show", "plan.toml", "--format", "json"], arguments].concat());
        let output = scene.expect(0, {
            command.envs(variables.iter().copied());
            command
        });
        let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        shown["cells"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cell| cell["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&[], &[]), ["us_default_small_r5"]);
    assert_eq!(ids(&[], &[("USER_COUNTS", "4")]), ["us_default_small_u4"]);
    assert_eq!(ids(&["--arrival-rates", "0.5"], &[("USER_COUNTS", "4")]), ["us_default_small_r0.5"]);
    assert_eq!(ids(&["--apis", "converse-stream"], &[("BEDROCK_PLAN_API", "converse")]), ["us_default_small_r5"]);
}
