//! Contents of replies and classes of failures: blocked replies, absent or implausible figures, service faults with a wrong
//! status, keep-alive races, and daily quotas.

use super::faults::{event, http, stream};
use super::scene::{SHORT, Scene};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Starts a server that replies with the bytes returned for the number and head of a request. Returns its URL.
fn serve(answer: impl Fn(u64, &str) -> Vec<u8> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (answer, number) = (Arc::new(answer), Arc::new(AtomicU64::new(0)));
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (answer, number) = (Arc::clone(&answer), Arc::clone(&number));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(connection.try_clone().unwrap());
                let mut writer = connection;
                while let Some(head) = head(&mut reader) {
                    let bytes = answer(number.fetch_add(1, Ordering::Relaxed), &head);
                    if writer.write_all(&bytes).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// Reads a whole request. Returns its head in lower case, or `None` at the end of the connection.
fn head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length: usize = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
    reader.read_exact(&mut vec![0; length]).ok()?;
    Some(head)
}

const USAGE: &str = r#""usage":{"inputTokens":7,"outputTokens":3,"totalTokens":10},"metrics":{"latencyMs":1}"#;

/// Returns a reply with this text, stop reason and further members, as JSON or as a stream.
fn reply(api: &str, text: &str, stop_reason: &str, members: &str) -> Vec<u8> {
    if api == "converse" {
        let content = if text.is_empty() { String::new() } else { format!(r#"{{"text":"{text}"}}"#) };
        let comma = if members.is_empty() { "" } else { "," };
        let body = format!(
            r#"{{"output":{{"message":{{"role":"assistant","content":[{content}]}}}},"stopReason":"{stop_reason}"{comma}{members}}}"#
        );
        return http(200, "content-type: application/json\r\n", body.as_bytes());
    }
    let mut frames = vec![event("messageStart", r#"{"role":"assistant"}"#)];
    if !text.is_empty() {
        let delta = format!(r#"{{"contentBlockIndex":0,"delta":{{"text":"{text}"}}}}"#);
        frames.push(event("contentBlockDelta", &delta));
    }
    frames.push(event("messageStop", &format!(r#"{{"stopReason":"{stop_reason}"}}"#)));
    frames.push(event("metadata", &format!("{{{members}}}")));
    stream(&frames, true)
}

fn refusal(status: u16, kind: &str, message: &str) -> Vec<u8> {
    let kind = if kind.is_empty() { String::new() } else { format!("x-amzn-ErrorType: {kind}\r\n") };
    http(
        status,
        &format!("content-type: application/json\r\n{kind}"),
        format!(r#"{{"message":"{message}"}}"#).as_bytes(),
    )
}

fn run(plan: &str, code: i32, url: &str, more: &[&str]) -> Scene {
    let scene = Scene::new().plan(plan);
    let fixed = ["--endpoint-url", url, "--test-duration", "10m", "--think-time", "0s", "--include-ramp"];
    scene.run(code, &[&fixed[..], more].concat());
    scene
}

fn summary(scene: &Scene) -> Value {
    serde_json::from_str(&std::fs::read_to_string(scene.path("results/summary.json")).unwrap()).unwrap()
}

#[test]
fn blocked_replies_are_successes_excluded_from_latencies() {
    const REASONS: [&str; 4] = ["guardrail_intervened", "content_filtered", "refusal", "malformed_tool_use"];
    for api in ["converse", "converse-stream"] {
        let url = serve(move |number, _| match number % 8 {
            odd if odd % 2 == 1 => {
                // A refusal may have no content.
                let reason = REASONS[odd as usize / 2];
                let text = if reason == "refusal" { "" } else { "blocked" };
                let usage = r#""usage":{"inputTokens":7,"outputTokens":0,"totalTokens":7},"metrics":{"latencyMs":1}"#;
                reply(api, text, reason, usage)
            }
            _ => reply(api, "yes", "end_turn", USAGE),
        });
        let plan = format!("{SHORT}\n[goodput]\ne2e = \"10m\"\n[[slo]]\nblocked_rate = \"5%\"\n");
        let scene = Scene::new().plan(&plan);
        let load = ["--requests", "80", "--test-duration", "10m", "--think-time", "0s", "--include-ramp"];
        let output =
            scene.run_command(&[&["--endpoint-url", &url, "--api", api], &load[..]].concat()).output().unwrap();
        let records = scene.records();
        assert!(records.iter().all(|record| record["success"] == true && record["outcome"] == "succeeded"), "{api}");
        assert_eq!(records.iter().filter(|record| record["validity"] == "blocked").count(), 40, "{api}");
        let row = &scene.rows()[0];
        // If this machine is too busy, the cell is INVALID and has no verdict.
        let is_invalid = row["validity"].starts_with("INVALID");
        let expected = if is_invalid { (Some(0), "INCONCLUSIVE") } else { (Some(99), "FAIL") };
        assert_eq!((output.status.code(), &*row["slo"]), expected, "{api}");
        assert_eq!(
            (&*row["success_count"], &*row["failure_count"], &*row["blocked_count"]),
            ("80", "0", "40"),
            "{api}"
        );
        // A stall of this machine excludes further requests.
        let timed: u64 = row["latency_n"].parse().unwrap();
        let stalled: u64 = row["client_stalled"].parse().unwrap();
        assert!(timed <= 40 && timed + stalled >= 40, "{api}: {timed} and {stalled} stalled");
        let page = std::fs::read_to_string(scene.path("results/report.html")).unwrap();
        assert!(page.contains("; blocked "), "a series of its own in the chart over time");
        let reasons = "content_filtered=10;guardrail_intervened=10;malformed_tool_use=10;refusal=10";
        assert_eq!(row["blocked_stop_reasons"], reasons, "{api}");
        assert!(row["warnings"].contains("blocked_replies"), "{api}: {}", row["warnings"]);
        let (all, good): (f64, f64) = (row["requests_per_sec"].parse().unwrap(), row["goodput"].parse().unwrap());
        assert!(good > 0.0 && good < 0.6 * all, "{api}: {good} of {all} requests per second are good");
        let cell = &summary(&scene)["cells"][0];
        assert_eq!(cell["requests"]["blocked_by_stop_reason"]["refusal"], 10, "{api}: {cell}");
    }
}

#[test]
fn cell_with_only_blocked_replies_passes_no_latency_threshold() {
    let url = serve(|_, _| reply("converse", "blocked", "guardrail_intervened", USAGE));
    let plan = format!("{SHORT}\n[[slo]]\np50 = \"1m\"\n");
    let scene = run(&plan, 0, &url, &["--requests", "60"]);
    let row = &scene.rows()[0];
    assert_eq!((&*row["slo"], &*row["p50"]), ("INCONCLUSIVE", ""));
}

#[test]
fn unreported_figures_are_absent_instead_of_zero() {
    for api in ["converse", "converse-stream"] {
        for members in ["", r#""usage":{},"metrics":{}"#, r#""usage":null"#] {
            let url = serve(move |_, _| reply(api, "\\\"usage\\\":{\\\"inputTokens\\\":1}", "end_turn", members));
            let more = ["--api", api, "--model-id", "amazon.nova-pro-v1:0", "--max-output-tokens", "1000"];
            let scene = run(SHORT, 3, &url, &more);
            let records = scene.records();
            // Each request counts as 16 tokens.
            assert_eq!(records.len(), 62, "{api} {members}");
            for key in ["input_tokens", "output_tokens", "total_tokens", "server_latency_ms", "implausible_values"] {
                assert!(records.iter().all(|record| record.get(key).is_none()), "{api} {members}: {key}");
            }
            let row = &scene.rows()[0];
            for column in
                ["avg_input_tokens", "total_input_tokens", "total_output_tokens", "server_latency_p50", "cost_usd"]
            {
                assert_eq!(row[column], "", "{api} {members}: {column}");
            }
        }
        // Reported figures count although others are absent.
        let url =
            serve(move |_, _| reply(api, "yes", "end_turn", r#""usage":{"outputTokens":3},"metrics":{"latencyMs":0}"#));
        let scene = run(SHORT, 0, &url, &["--api", api, "--requests", "6"]);
        for record in scene.records() {
            assert_eq!((&record["output_tokens"], &record["server_latency_ms"]), (&3.into(), &0.into()), "{api}");
            assert!(record.get("input_tokens").is_none(), "{api}: {record}");
        }
    }
}

#[test]
fn implausible_figures_are_dropped_and_counted() {
    let cases = [
        (r#""usage":{"inputTokens":7,"outputTokens":3,"totalTokens":10},"metrics":{"latencyMs":1000000000000}"#, 1),
        (r#""usage":{"inputTokens":7,"outputTokens":3,"totalTokens":10},"metrics":{"latencyMs":-1}"#, 1),
        (r#""usage":{"inputTokens":-7,"outputTokens":-3,"totalTokens":2000000000},"metrics":{"latencyMs":-1}"#, 4),
    ];
    for api in ["converse", "converse-stream"] {
        for (members, dropped) in cases {
            let url = serve(move |_, _| reply(api, "yes", "end_turn", members));
            let scene = run(SHORT, 0, &url, &["--api", api, "--requests", "6"]);
            for record in scene.records() {
                assert_eq!(record["implausible_values"], dropped, "{api} {members}: {record}");
                assert!(record.get("server_latency_ms").is_none(), "{api} {members}: {record}");
                assert_eq!(record.get("input_tokens").is_none(), dropped == 4, "{api} {members}: {record}");
            }
            let row = &scene.rows()[0];
            assert_eq!(row["implausible_values"], (6 * dropped).to_string(), "{api} {members}");
            assert!(row["warnings"].contains("implausible_values"), "{api} {members}: {}", row["warnings"]);
        }
    }
}

#[test]
fn service_faults_and_throttling_are_recognised_with_any_status() {
    let cases = [
        (refusal(400, "ValidationException", "Internal server error"), "InternalServerException", "failed", "finished"),
        (
            refusal(400, "ValidationException", "The system encountered an unexpected error during processing."),
            "InternalServerException",
            "failed",
            "finished",
        ),
        (refusal(400, "ValidationException", "maxTokens is too large"), "ValidationException", "failed", "aborted"),
        (refusal(429, "", "slow down"), "too_many_requests", "throttled", "finished"),
        (refusal(429, "TooManyRequestsException", "slow down"), "too_many_requests", "throttled", "finished"),
        (refusal(429, "ModelNotReadyException", "later"), "ModelNotReadyException", "failed", "finished"),
    ];
    for (bytes, class, outcome, end) in cases {
        let url = serve(move |_, _| bytes.clone());
        let scene = run(SHORT, 3, &url, &["--requests", "20"]);
        for record in scene.records() {
            assert_eq!((&record["error_class"], &record["outcome"]), (&class.into(), &outcome.into()), "{record}");
        }
        assert_eq!(scene.manifest()["turns"][0]["end"], end, "{class}");
    }
}

#[test]
fn keep_alive_race_has_its_own_class() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(connection.try_clone().unwrap());
                if head(&mut reader).is_some() {
                    (&connection).write_all(&reply("converse", "yes", "end_turn", USAGE)).unwrap();
                    // The next request is in flight and is not read.
                    let _ = connection.peek(&mut [0]);
                }
            });
        }
    });
    let abort = "\n[abort]\nrequests = 5\nwithin = \"0s\"\nfailure_rate = 0.2\n";
    let scene = run(&format!("{SHORT}{abort}"), 0, &url, &["--requests", "40", "--user-counts", "1"]);
    let (well, ill): (Vec<_>, Vec<_>) = scene.records().into_iter().partition(|record| record["success"] == true);
    assert_eq!((well.len(), ill.len()), (20, 20));
    for record in ill {
        assert_eq!((&record["error_class"], &record["outcome"]), (&"keep_alive_race".into(), &"failed".into()));
    }
    assert_eq!(scene.rows()[0]["failure_count"], "20", "they are in the failure rate, and abort nothing");
}

#[test]
fn daily_quota_skips_the_other_cells_of_its_model() {
    let is_tomorrow = Arc::new(AtomicBool::new(false));
    let tomorrow = Arc::clone(&is_tomorrow);
    let url = serve(move |_, head| {
        if head.lines().next().unwrap().contains("small-model") && !tomorrow.load(Ordering::Relaxed) {
            let message = "Too many tokens per day, please wait before trying again.";
            return refusal(429, "ThrottlingException", message);
        }
        reply("converse", "yes", "end_turn", USAGE)
    });
    let plan = SHORT.replace(r#"["test.model-v1:0"]"#, r#"["test.small-model-v1:0", "test.large-model-v1:0"]"#);
    let more = ["--requests", "10", "--user-counts", "1,2,3", "--order", "matrix"];
    let scene = run(&plan, 3, &url, &more);
    let is_small = |record: &&Value| record["model_id"] == "test.small-model-v1:0";
    let records = scene.records();
    assert_eq!(records.iter().filter(is_small).count(), 1, "one user, one refusal");
    assert_eq!(records.len(), 31, "the other model's cells run");
    let cell_runs = scene.manifest()["turns"].as_array().unwrap().clone();
    let ends: Vec<&str> = cell_runs.iter().map(|cell_run| cell_run["end"].as_str().unwrap()).collect();
    assert_eq!(ends, ["daily_quota", "finished", "finished", "finished"]);
    is_tomorrow.store(true, Ordering::Relaxed);
    let fixed = ["--endpoint-url", &url, "--test-duration", "10m", "--think-time", "0s", "--include-ramp", "--resume"];
    scene.run(0, &[&fixed[..], &more].concat());
    assert!(scene.rows().iter().all(|row| row["success_count"] == "10"), "{:?}", scene.rows());
}
