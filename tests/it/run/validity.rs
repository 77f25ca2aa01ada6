//! Validity of samples: prompt caches and the tier that served the request.

use super::scene::{SHORT, Scene};
use serde_json::Value;

/// Returns a scene with a prompt `long` above the minimum length of a cache entry.
fn scene() -> Scene {
    let scene = Scene::new().plan(&format!("prompts_file = \"prompts.json\"\n{SHORT}"));
    let prompts = serde_json::json!({
        "small": { "text": "Say hello." },
        "long": { "text": "Some words that are always the same. ".repeat(150) },
    });
    std::fs::write(scene.path("prompts.json"), prompts.to_string()).unwrap();
    scene
}

fn reads(record: &Value) -> u64 {
    record["cache_read_tokens"].as_u64().unwrap_or(0)
}

/// Returns the p95 of response times by nearest rank.
fn p95<'a>(records: impl Iterator<Item = &'a Value>) -> f64 {
    let mut times: Vec<f64> = records.map(|record| record["response_time_ms"].as_f64().unwrap()).collect();
    times.sort_by(f64::total_cmp);
    times[(times.len() as f64 * 0.95 - 1e-9).ceil() as usize - 1]
}

#[test]
fn cache_modes_mark_excluded_samples() {
    let scene = scene();
    scene.run(0, &["--prompt-sizes", "long", "--cache-modes", "as_is,cold,warm,explicit", "--include-ramp"]);
    scene.remove_stalls();
    scene.expect(0, scene.command(&["report", "results"]));
    let (records, rows) = (scene.records(), scene.rows());
    for row in &rows {
        let mode = row["cache_mode"].as_str();
        assert_eq!(row["test_id"], format!("{mode}_us_default_long_u3"));
        let (priming, load): (Vec<&Value>, Vec<&Value>) = records
            .iter()
            .filter(|record| record["cache_mode"] == mode)
            .partition(|record| record["phase"] == "priming");
        let primed = usize::from(matches!(mode, "warm" | "explicit"));
        assert_eq!(priming.len(), primed, "{mode}");
        assert_eq!(row["total_requests"], load.len().to_string(), "{mode}: a priming request is in no number");
        assert_eq!(row["latency_n"], load.len().to_string(), "{mode}: all were as they should be");
        assert_eq!((row["cache_contaminated"].as_str(), row["warm_miss"].as_str()), ("0", "0"), "{mode}");
        match mode {
            "cold" => assert!(load.iter().all(|record| reads(record) == 0)),
            "warm" | "explicit" => assert!(load.iter().all(|record| reads(record) > 1_000)),
            _ => {
                assert!(load.iter().filter(|record| reads(record) > 0).count() >= load.len() - 3, "the old tool's way");
            }
        }
        assert_eq!(row["warnings"].contains("cache_reads"), mode == "as_is", "{mode}: {}", row["warnings"]);
        assert!((p95(load.into_iter()) - row["success_p95"].parse::<f64>().unwrap()).abs() < 1e-9, "{mode}");
    }
    assert_eq!(rows.len(), 4);
}

#[test]
fn explicit_cache_works_without_implicit_caching() {
    for (mode, hits) in [("warm", false), ("explicit", true)] {
        let scene = scene();
        scene.run(0, &["--prompt-sizes", "long", "--cache-modes", mode, "--set", "simulator.implicit_cache=false"]);
        let row = &scene.rows()[0];
        assert_eq!(row["warm_miss"] == "0", hits, "{mode}: {}", row["warm_miss"]);
    }
}

#[test]
fn prompt_too_short_for_the_cache_is_a_warm_miss() {
    let scene = scene();
    let output = scene.run(0, &["--cache-modes", "warm"]);
    let row = &scene.rows()[0];
    assert_eq!(row["warm_miss"], row["success_count"], "counted");
    assert_eq!((row["latency_n"].as_str(), row["p50"].as_str()), ("0", ""), "and in no latency");
    let load = scene.records().into_iter().filter(|record| record["phase"] != "priming");
    assert!(load.into_iter().all(|record| record["validity"] == "warm_miss"));
    assert!(String::from_utf8(output.stdout).unwrap().contains("not warm:"));
}

#[test]
fn requests_served_by_another_tier_are_excluded() {
    let scene = scene();
    let substituted = ["--set", "simulator.flex_as_default=0.2", "--set", "simulator.flex_factor=5.0"];
    scene.run(0, &[&["--service-tiers", "flex", "--include-ramp", "--test-duration", "2s"], &substituted[..]].concat());
    scene.remove_stalls();
    scene.expect(0, scene.command(&["report", "results"]));
    let (records, row) = (scene.records(), &scene.rows()[0]);
    let served = |tier: &'static str| records.iter().filter(move |record| record["resolved_service_tier"] == tier);
    let as_default = served("default").count();
    assert!(as_default > 0, "one in five");
    assert!(served("default").all(|record| record["validity"] == "tier_mismatch"));
    assert!(served("flex").all(|record| record.get("validity").is_none()));
    assert_eq!(row["tier_mismatch"], as_default.to_string());
    assert_eq!(row["latency_n"], served("flex").count().to_string());
    assert!((p95(served("flex")) - row["success_p95"].parse::<f64>().unwrap()).abs() < 1e-9);
    assert_eq!(row["total_requests"], records.len().to_string());
    assert!(row["warnings"].contains("tier_mismatch"));
}
