//! What is reported of caches and tiers against what the simulator, in a process of its own, wrote down
//! that it did: the same requests, as many of them, and times that are never shorter than its own.

use super::scene::{SHORT, Scene, Simulate};
use bedrock_plan::simulator::Truth;
use serde_json::Value;
use std::collections::HashMap;

/// The client's milliseconds have three decimals, the server's microseconds none.
const ROUNDING_MS: f64 = 0.002;

/// What a scene's run and its simulator say.
struct Told {
    records: Vec<Value>,
    rows: Vec<HashMap<String, String>>,
    tiers: Vec<HashMap<String, String>>,
    truth: HashMap<String, Truth>,
    stdout: String,
}

/// Runs `plan` against a simulator with the model of the same plan.
fn run(plan: &str, more: &[&str]) -> Told {
    let scene = Scene::new().plan(&format!("prompts_file = \"prompts.json\"\n{plan}"));
    let prompts = serde_json::json!({
        "small": { "text": "Say hello." },
        "long": { "text": "Some words that are always the same. ".repeat(150) },
    });
    std::fs::write(scene.path("prompts.json"), prompts.to_string()).unwrap();
    let server = Simulate::start(&scene, &["--plan", "plan.toml", "--truth", "truth.csv"]);
    scene.run(0, &[&["--endpoint-url", &server.url, "--include-ramp"], more].concat());
    server.stop();
    scene.forget_stalls();
    let output = scene.expect(0, scene.command(&["report", "results"]));
    let text = std::fs::read_to_string(scene.path("truth.csv")).unwrap();
    let truth = text.lines().filter_map(Truth::parse).map(|truth| (truth.request_id.clone(), truth)).collect();
    let tiers = scene.path("results/tiers.csv");
    let tiers = if tiers.exists() {
        csv::Reader::from_path(tiers).unwrap().deserialize().map(Result::unwrap).collect()
    } else {
        Vec::new()
    };
    let stdout = String::from_utf8(output.stdout).unwrap();
    Told { records: scene.records(), rows: scene.rows(), tiers, truth, stdout }
}

impl Told {
    /// The records of a cell, each with what the server did; priming requests apart.
    fn of<'a>(&'a self, test_id: &'a str, priming: bool) -> Vec<(&'a Value, &'a Truth)> {
        self.records
            .iter()
            .filter(|record| record["test_id"] == test_id && (record["phase"] == "priming") == priming)
            .map(|record| (record, &self.truth[record["request_id"].as_str().unwrap()]))
            .collect()
    }

    /// A number of flex against default. A machine that is too busy for the test makes cells INVALID: then
    /// nothing may be compared, and that must be said.
    fn compared(&self, metric: &str) -> Option<&HashMap<String, String>> {
        let row = self.tiers.iter().find(|row| row["metric"] == metric).unwrap();
        let is_invalid = self.rows.iter().any(|row| row["validity"].starts_with("INVALID"));
        assert_eq!(is_invalid, row["verdict"] == "not_compared", "{row:?}");
        assert_eq!(is_invalid, row["warning"].contains("is INVALID"), "{row:?}");
        (!is_invalid).then_some(row)
    }

    /// The cell's numbers are those of exactly these requests, and none is below the server's.
    fn check_times(&self, row: &HashMap<String, String>, taken: &[(&Value, &Truth)]) {
        let id = &row["test_id"];
        assert_eq!(row["latency_n"], taken.len().to_string(), "{id}");
        let client = sorted(taken.iter().map(|(record, _)| record["response_time_ms"].as_f64().unwrap()));
        let server = sorted(taken.iter().map(|(_, truth)| (truth.replied_us - truth.received_us) as f64 / 1e3));
        for (column, p) in [("success_p50", 0.50), ("success_p95", 0.95), ("success_p99", 0.99)] {
            let reported: f64 = row[column].parse().unwrap();
            assert!((reported - at(&client, p)).abs() < 1e-9, "{id}: {column}");
            assert!(reported >= at(&server, p) - ROUNDING_MS, "{id}: {column} {reported} < {}", at(&server, p));
        }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Nearest rank.
fn at(sorted: &[f64], p: f64) -> f64 {
    sorted[(sorted.len() as f64 * p - 1e-9).ceil() as usize - 1]
}

#[test]
fn percentiles_of_a_tier_cover_only_requests_it_served() {
    let substituted = format!("{SHORT}flex_factor = 4.0\nflex_as_default = 0.2\n");
    let told = run(&substituted, &["--service-tiers", "default,flex", "--test-duration", "2s"]);
    assert_eq!(told.truth.len(), told.records.len());
    for row in &told.rows {
        let asked = row["service_tier"].as_str();
        let load = told.of(&row["test_id"], false);
        let (as_asked, otherwise): (Vec<_>, Vec<_>) =
            load.iter().copied().partition(|(_, truth)| truth.tier.as_deref() == Some(asked));
        assert_eq!(otherwise.is_empty(), asked == "default", "{asked}: a fifth of flex was served as default");
        assert_eq!(row["tier_mismatch"], otherwise.len().to_string(), "{asked}");
        assert_eq!(row["total_requests"], load.len().to_string(), "{asked}");
        assert!(otherwise.iter().all(|(record, _)| record["validity"] == "tier_mismatch"));
        told.check_times(row, &as_asked);
    }
    let Some(p50) = told.compared("p50") else { return };
    let of = |tier: &str| &told.rows.iter().find(|row| row["service_tier"] == tier).unwrap()["p50"];
    assert_eq!((&p50["default_value"], &p50["tier_value"]), (of("default"), of("flex")));
    assert_eq!((p50["verdict"].as_str(), p50["basis"].as_str()), ("slower", "within this session"));
    assert!(told.stdout.contains("x slower at p50 ("), "{}", told.stdout);
}

#[test]
fn tiers_are_compared_over_repetitions() {
    let told = run(
        &format!("{SHORT}flex_factor = 4.0\n"),
        &["--service-tiers", "default,flex", "--repetitions", "3", "--think-time", "0s", "--test-duration", "1500ms"],
    );
    let Some(p50) = told.compared("p50") else { return };
    assert_eq!((p50["verdict"].as_str(), p50["basis"].as_str()), ("slower", "paired t over 3 repetitions"));
    let log_medians = |tier: &str| -> f64 {
        let id = format!("us_{tier}_small_u3");
        let of = |repetition: u64| {
            let records = told.records.iter().filter(|r| r["test_id"] == id.as_str() && r["repetition"] == repetition);
            at(&sorted(records.map(|record| record["response_time_ms"].as_f64().unwrap())), 0.50).ln()
        };
        (1..=3).map(of).sum::<f64>() / 3.0
    };
    let ratio = (log_medians("flex") - log_medians("default")).exp();
    assert!((p50["ratio"].parse::<f64>().unwrap() - ratio).abs() < 1e-3, "{ratio}: {p50:?}");
}

#[test]
fn cold_and_warm_cells_match_the_simulators_cache() {
    let told = run(
        SHORT,
        &["--prompt-sizes", "long", "--cache-modes", "cold,warm", "--test-duration", "2s", "--user-counts", "5"],
    );
    assert_eq!(told.truth.len(), told.records.len());
    assert!(told.tiers.is_empty(), "one tier has nothing to stand against");
    for row in &told.rows {
        let cold = row["cache_mode"] == "cold";
        let (load, priming) = (told.of(&row["test_id"], false), told.of(&row["test_id"], true));
        assert!(load.len() > 20 && load.iter().all(|(_, truth)| (truth.cache_read_tokens == 0) == cold));
        assert_eq!(priming.len(), usize::from(!cold));
        assert!(priming.iter().all(|(_, truth)| truth.cache_read_tokens == 0), "it is what fills the cache");
        let read = |(record, truth): &(&Value, &Truth)| {
            record["cache_read_tokens"].as_u64().unwrap_or(0) == u64::from(truth.cache_read_tokens)
        };
        assert!(load.iter().all(read), "every record says what the simulator did");
        assert_eq!((row["cache_contaminated"].as_str(), row["warm_miss"].as_str()), ("0", "0"));
        assert_eq!(row["cache_read_count"], if cold { "0".into() } else { load.len().to_string() });
        told.check_times(row, &load);
    }
    // The simulator's prefill of 1,388 tokens: what a cold request waits for, and a warm one does not.
    let server_p50 = |mode: &str| {
        let row = told.rows.iter().find(|row| row["cache_mode"] == mode).unwrap();
        let times = told.of(&row["test_id"], false).into_iter();
        at(&sorted(times.map(|(_, truth)| (truth.first_token_us.unwrap() - truth.received_us) as f64 / 1e3)), 0.5)
    };
    assert!(server_p50("cold") > server_p50("warm") + 50.0);
}

#[test]
fn warm_misses_match_the_simulators_cache() {
    // Forgotten after 90 ms, and asked for again after 36 ms and up to 150 ms of thought.
    let forgets = format!("{SHORT}cache_ttl = \"90ms\"\nprefill_per_token = \"0s\"\n");
    let load = ["--user-counts", "1", "--think-time", "0s..150ms", "--test-duration", "2s"];
    let told = run(&forgets, &[&["--prompt-sizes", "long", "--cache-modes", "warm"], &load[..]].concat());
    let row = &told.rows[0];
    let load = told.of(&row["test_id"], false);
    let (read, missed): (Vec<_>, Vec<_>) = load.iter().copied().partition(|(_, truth)| truth.cache_read_tokens > 0);
    assert!(!missed.is_empty(), "{} read", read.len());
    assert_eq!(row["warm_miss"], missed.len().to_string());
    assert!(missed.iter().all(|(record, _)| record["validity"] == "warm_miss"));
    if read.is_empty() {
        assert_eq!(row["latency_n"], "0", "a machine too slow for the test: each was forgotten");
    } else {
        told.check_times(row, &read);
    }
}
