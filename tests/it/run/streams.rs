//! Streams: measured times, and the classes of broken streams.

use super::scene::{SHORT, Scene, Simulate};
use serde_json::Value;
use std::collections::HashMap;

fn number(record: &Value, field: &str) -> f64 {
    record[field].as_f64().unwrap_or_else(|| panic!("no {field} in {record}"))
}

/// Reads `--truth`: request id to (first token, end) in milliseconds after the request was read.
fn truth(scene: &Scene) -> HashMap<String, (f64, f64)> {
    let text = std::fs::read_to_string(scene.path("truth.csv")).unwrap();
    let entry = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let us = |index: usize| fields[index].parse::<f64>().unwrap();
        (fields[0].to_owned(), ((us(2) - us(1)) / 1e3, (us(3) - us(1)) / 1e3))
    };
    text.lines().skip(1).map(entry).collect()
}

#[test]
fn stream_times_match_those_of_the_server() {
    let scene = Scene::new().plan(SHORT);
    let server =
        Simulate::start(&scene, &["--plan", "plan.toml", "--truth", "truth.csv", "--set", "simulator.tpot='10ms'"]);
    scene.run(0, &["--endpoint-url", &server.url, "--api", "converse-stream", "--max-tokens", "40"]);
    server.stop();

    let truth = truth(&scene);
    let records = scene.records();
    assert_eq!(records.len(), truth.len(), "what the server counted");
    for record in &records {
        assert_eq!(record["outcome"], "succeeded", "{record}");
        let (first, _) = truth[record["request_id"].as_str().unwrap()];
        let (ttft, e2e) = (number(record, "ttft_ms"), number(record, "e2e_ms"));
        assert!(ttft >= first, "{record}: the server sent the first token after {first} ms");
        assert!(ttft <= e2e && e2e <= number(record, "response_time_ms"), "{record}");
        assert_eq!(record["ttft_ms"], record["ttfat_ms"], "there is no reasoning here");
        let tokens = number(record, "output_tokens");
        let tpot = (e2e - ttft) / (tokens - 1.0);
        assert!((number(record, "tpot_ms") - tpot).abs() < 0.001, "{record}");
        assert!(number(record, "chunks") >= 2.0 && number(record, "chunks") <= tokens, "{record}");
        assert!(number(record, "chunk_gap_p50_ms") <= number(record, "chunk_gap_max_ms"));
    }
    let row = &scene.rows()[0];
    for column in ["ttft_p50", "ttft_p95", "tpot_p50", "tpot_p95", "output_tokens_per_sec", "server_latency_p50"] {
        assert!(row[column].parse::<f64>().unwrap() > 0.0, "{column}");
    }
    assert_eq!(row["api"], "converse-stream");
}

#[test]
fn stream_with_reasoning_has_two_first_token_times() {
    let model = ["--set", "simulator.reasoning=0.5", "--set", "simulator.tpot='10ms'", "--max-tokens", "40"];
    for (api, streams) in [("converse-stream", true), ("converse", false)] {
        let scene = Scene::new().plan(SHORT);
        scene.run(0, &[&["--api", api], &model[..]].concat());
        assert!(scene.records().iter().all(|record| record["outcome"] == "succeeded"), "{api}");
        // A very short reply may contain no reasoning, or only reasoning.
        for record in scene.records().iter().filter(|record| streams && number(record, "output_tokens") >= 4.0) {
            assert!(number(record, "ttft_ms") < number(record, "ttfat_ms"), "{record}");
            assert!(number(record, "ttfat_ms") <= number(record, "e2e_ms"), "{record}");
        }
        let page = std::fs::read_to_string(scene.path("results/test_us_default_small_u3_report.html")).unwrap();
        assert_eq!(page.contains("Time to first answer token"), streams, "{api}");
    }
}

#[test]
fn both_operations_can_be_compared() {
    let scene =
        Scene::new().plan(&SHORT.replace("service_tiers", "apis = [\"converse\", \"converse-stream\"]\nservice_tiers"));
    scene.run(0, &["--goodput-ttft", "10s"]);
    let rows = scene.rows();
    assert_eq!(rows[0]["test_id"], "converse_us_default_small_u3");
    assert_eq!(rows[1]["test_id"], "converse-stream_us_default_small_u3");
    assert_eq!(rows[0]["ttft_p50"], "", "a whole reply has no first token");
    assert_eq!(rows[0]["goodput"], "", "nor can it meet a limit on it");
    assert!(rows[1]["goodput"].parse::<f64>().unwrap() > 0.0);
}

#[test]
fn broken_stream_has_its_own_class_and_keeps_its_fields() {
    let cases = [
        ("stream_internal_server", "InternalServerException", "failed"),
        ("stream_model_error", "ModelStreamErrorException", "failed"),
        ("stream_validation", "ValidationException", "failed"),
        ("stream_throttling", "ThrottlingException", "throttled"),
        ("stream_service_unavailable", "ServiceUnavailableException", "failed"),
        ("stream_no_stop", "stream_incomplete", "failed"),
        ("stream_no_metadata", "stream_incomplete", "failed"),
        ("stream_truncated", "stream_incomplete", "failed"),
        ("reset_in_body", "stream_incomplete", "failed"),
    ];
    for (fault, class, outcome) in cases {
        let scene = Scene::new().plan(&format!("{SHORT}\n[simulator.faults]\n{fault} = 1.0\n"));
        scene.run(3, &["--api", "converse-stream", "--requests", "3", "--user-counts", "1"]);
        let records = scene.records();
        assert!(!records.is_empty(), "{fault}");
        for record in records {
            assert_eq!(record["error_class"], class, "{fault}: {record}");
            assert_eq!(record["outcome"], outcome, "{fault}: {record}");
            assert_eq!(record["http_status"], 200, "{fault}: the headers were good");
            assert!(record["request_id"].is_string() && number(&record, "chunks") > 0.0, "{fault}: {record}");
            assert!(number(&record, "ttft_ms") >= 10.0, "{fault}: {record}");
        }
    }
}

#[test]
fn timeout_applies_to_the_whole_stream() {
    let scene = Scene::new().plan(&format!("{SHORT}\n[simulator.faults]\nstream_stall = 1.0\n"));
    scene.run(3, &["--api", "converse-stream", "--timeout", "300ms"]);
    for record in scene.records() {
        assert_eq!(record["error_class"], "stream_timeout", "{record}");
        assert!(number(&record, "response_time_ms") >= 300.0, "{record}");
        assert!(number(&record, "chunks") > 0.0 && number(&record, "ttft_ms") < 300.0, "{record}");
    }
    let row = &scene.rows()[0];
    assert!(row["ttft_p50"].parse::<f64>().unwrap() < 300.0, "the first token of a stream that stalled is known");
}
