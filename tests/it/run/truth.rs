//! Reported caches and tiers compared with the log of a simulator in a separate process: the same requests, equal counts,
//! and times that are never shorter than those of the simulator.

use super::scene::{SHORT, Scene, Simulate};
use bedrock_plan::simulator::Truth;
use serde_json::Value;
use std::collections::HashMap;

/// Both sides round their times to microseconds.
const ROUNDING_MS: f64 = 0.002;

/// The results of a run and the log of its simulator.
struct Observation {
    records: Vec<Value>,
    rows: Vec<HashMap<String, String>>,
    tiers: Vec<HashMap<String, String>>,
    truth: HashMap<String, Truth>,
    stdout: String,
}

/// Runs `plan` against a simulator with the settings of the same plan.
fn run(plan: &str, more: &[&str]) -> Observation {
    let scene = Scene::new().plan(&format!("prompts_file = \"prompts.json\"\n{plan}"));
    let prompts = serde_json::json!({
        "small": { "text": "Say hello." },
        "long": { "text": "Some words that are always the same. ".repeat(150) },
    });
    std::fs::write(scene.path("prompts.json"), prompts.to_string()).unwrap();
    let server = Simulate::start(&scene, &["--plan", "plan.toml", "--truth", "truth.csv"]);
    scene.run(0, &[&["--endpoint-url", &server.url, "--include-ramp"], more].concat());
    server.stop();
    scene.remove_stalls();
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
    Observation { records: scene.records(), rows: scene.rows(), tiers, truth, stdout }
}

impl Observation {
    /// Returns the records of a cell with the server's log entry: either its load or its priming requests.
    fn requests<'a>(&'a self, test_id: &'a str, priming: bool) -> Vec<(&'a Value, &'a Truth)> {
        self.records
            .iter()
            .filter(|record| record["test_id"] == test_id && (record["phase"] == "priming") == priming)
            .map(|record| (record, &self.truth[record["request_id"].as_str().unwrap()]))
            .collect()
    }

    /// Returns the comparison of flex with default for a metric. If this machine is too busy, cells are INVALID: then no
    /// comparison may be reported, and a warning must state the reason.
    fn tier_row(&self, metric: &str) -> Option<&HashMap<String, String>> {
        let row = self.tiers.iter().find(|row| row["metric"] == metric).unwrap();
        let is_invalid = self.rows.iter().any(|row| row["validity"].starts_with("INVALID"));
        assert_eq!(is_invalid, row["verdict"] == "not_compared", "{row:?}");
        assert_eq!(is_invalid, row["warning"].contains("is INVALID"), "{row:?}");
        (!is_invalid).then_some(row)
    }

    /// Checks that the numbers of the cell cover exactly these requests, and that none is below the server's.
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

/// Returns a percentile by nearest rank.
fn at(sorted: &[f64], p: f64) -> f64 {
    sorted[(sorted.len() as f64 * p - 1e-9).ceil() as usize - 1]
}

#[test]
fn percentiles_of_a_tier_cover_only_requests_it_served() {
    let substituted = format!("{SHORT}flex_factor = 4.0\nflex_as_default = 0.2\n");
    let observed = run(&substituted, &["--service-tiers", "default,flex", "--test-duration", "2s"]);
    assert_eq!(observed.truth.len(), observed.records.len());
    for row in &observed.rows {
        let requested = row["service_tier"].as_str();
        let load = observed.requests(&row["test_id"], false);
        let (as_requested, otherwise): (Vec<_>, Vec<_>) =
            load.iter().copied().partition(|(_, truth)| truth.tier.as_deref() == Some(requested));
        assert_eq!(otherwise.is_empty(), requested == "default", "{requested}: a fifth of flex was served as default");
        assert_eq!(row["tier_mismatch"], otherwise.len().to_string(), "{requested}");
        assert_eq!(row["total_requests"], load.len().to_string(), "{requested}");
        assert!(otherwise.iter().all(|(record, _)| record["validity"] == "tier_mismatch"));
        observed.check_times(row, &as_requested);
    }
    let Some(p50) = observed.tier_row("p50") else { return };
    let p50_of = |tier: &str| &observed.rows.iter().find(|row| row["service_tier"] == tier).unwrap()["p50"];
    assert_eq!((&p50["default_value"], &p50["tier_value"]), (p50_of("default"), p50_of("flex")));
    assert_eq!((p50["verdict"].as_str(), p50["basis"].as_str()), ("slower", "within this session"));
    assert!(observed.stdout.contains("x slower at p50 ("), "{}", observed.stdout);
}

#[test]
fn tiers_are_compared_over_repetitions() {
    let observed = run(
        &format!("{SHORT}flex_factor = 4.0\n"),
        &["--service-tiers", "default,flex", "--repetitions", "3", "--think-time", "0s", "--test-duration", "1500ms"],
    );
    let Some(p50) = observed.tier_row("p50") else { return };
    assert_eq!((p50["verdict"].as_str(), p50["basis"].as_str()), ("slower", "paired t over 3 repetitions"));
    let log_medians = |tier: &str| -> f64 {
        let id = format!("us_{tier}_small_u3");
        let log_median = |repetition: u64| {
            let records =
                observed.records.iter().filter(|r| r["test_id"] == id.as_str() && r["repetition"] == repetition);
            at(&sorted(records.map(|record| record["response_time_ms"].as_f64().unwrap())), 0.50).ln()
        };
        (1..=3).map(log_median).sum::<f64>() / 3.0
    };
    let ratio = (log_medians("flex") - log_medians("default")).exp();
    assert!((p50["ratio"].parse::<f64>().unwrap() - ratio).abs() < 1e-3, "{ratio}: {p50:?}");
}

#[test]
fn cold_and_warm_cells_match_the_simulators_cache() {
    let observed = run(
        SHORT,
        &["--prompt-sizes", "long", "--cache-modes", "cold,warm", "--test-duration", "2s", "--user-counts", "5"],
    );
    assert_eq!(observed.truth.len(), observed.records.len());
    assert!(observed.tiers.is_empty(), "a single tier is not compared");
    for row in &observed.rows {
        let cold = row["cache_mode"] == "cold";
        let (load, priming) = (observed.requests(&row["test_id"], false), observed.requests(&row["test_id"], true));
        assert!(load.len() > 20 && load.iter().all(|(_, truth)| (truth.cache_read_tokens == 0) == cold));
        assert_eq!(priming.len(), usize::from(!cold));
        assert!(priming.iter().all(|(_, truth)| truth.cache_read_tokens == 0), "the priming request fills the cache");
        let read = |(record, truth): &(&Value, &Truth)| {
            record["cache_read_tokens"].as_u64().unwrap_or(0) == u64::from(truth.cache_read_tokens)
        };
        assert!(load.iter().all(read), "every record has the cache reads of the simulator");
        assert_eq!((row["cache_contaminated"].as_str(), row["warm_miss"].as_str()), ("0", "0"));
        assert_eq!(row["cache_read_count"], if cold { "0".into() } else { load.len().to_string() });
        observed.check_times(row, &load);
    }
    // The prefill of 1,388 tokens delays cold requests, but not warm ones.
    let server_p50 = |mode: &str| {
        let row = observed.rows.iter().find(|row| row["cache_mode"] == mode).unwrap();
        let times = observed.requests(&row["test_id"], false).into_iter();
        at(&sorted(times.map(|(_, truth)| (truth.first_token_us.unwrap() - truth.received_us) as f64 / 1e3)), 0.5)
    };
    assert!(server_p50("cold") > server_p50("warm") + 50.0);
}

#[test]
fn warm_misses_match_the_simulators_cache() {
    // The cache expires after 90 ms; requests follow each other after 36 ms and up to 150 ms of think time.
    let forgets = format!("{SHORT}cache_ttl = \"90ms\"\nprefill_per_token = \"0s\"\n");
    let load = ["--user-counts", "1", "--think-time", "0s..150ms", "--test-duration", "2s"];
    let observed = run(&forgets, &[&["--prompt-sizes", "long", "--cache-modes", "warm"], &load[..]].concat());
    let row = &observed.rows[0];
    let load = observed.requests(&row["test_id"], false);
    let (read, missed): (Vec<_>, Vec<_>) = load.iter().copied().partition(|(_, truth)| truth.cache_read_tokens > 0);
    assert!(!missed.is_empty(), "{} read", read.len());
    assert_eq!(row["warm_miss"], missed.len().to_string());
    assert!(missed.iter().all(|(record, _)| record["validity"] == "warm_miss"));
    if read.is_empty() {
        assert_eq!(row["latency_n"], "0", "the machine is too slow for the test: every entry expired");
    } else {
        observed.check_times(row, &read);
    }
}
