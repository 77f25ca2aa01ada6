//! Prompts in request bodies, as a server receives them, and in the records.

use super::scene::{SHORT, Scene};
use super::wire::listen;
use serde_json::{Value, json};
use std::sync::mpsc::Receiver;

const PROMPTS: &str = r#"{
  "small": {"text": "How are you?"},
  "clerk": {"text": "Who are you?", "system": "You are a clerk.", "description": "with a system text of its own"},
  "talk": {"messages": [
    {"role": "user", "text": "One?"}, {"role": "assistant", "text": "Two."}, {"role": "user", "text": "Three?"}]},
  "long": {"file": "long.txt"},
  "made": {"generate": {"input_tokens": 2000}},
  "questions": {"dataset": "questions.jsonl", "system": "Be brief."}
}"#;

fn scene() -> Scene {
    let scene = Scene::new().plan(SHORT);
    std::fs::write(scene.path("prompts.json"), PROMPTS).unwrap();
    std::fs::write(scene.path("long.txt"), "A text\nof two lines.\n").unwrap();
    let lines: Vec<String> = (1..=9).map(|n| json!({"text": format!("Question {n}?")}).to_string()).collect();
    std::fs::write(scene.path("questions.jsonl"), lines.join("\n")).unwrap();
    scene
}

/// Returns the bodies that a server received for a prompt size and further arguments.
fn bodies(scene: &Scene, size: &str, more: &[&str]) -> Vec<Value> {
    let (port, received) = listen();
    let url = format!("http://127.0.0.1:{port}");
    let all = [
        "--endpoint-url",
        &url,
        "--prompt-sizes",
        size,
        "--requests",
        "24",
        "--test-duration",
        "60s",
        "--overwrite",
        "--no-report",
    ];
    scene.run(0, &[&all[..], more].concat());
    read(&received)
}

fn read(received: &Receiver<(String, String)>) -> Vec<Value> {
    received.try_iter().map(|(_, body)| serde_json::from_str(&body).unwrap()).collect()
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": [{"text": text}]})
}

#[test]
fn each_form_of_a_prompt_is_sent_as_documented() {
    let scene = scene();
    let body = |size: &str| bodies(&scene, size, &[]).swap_remove(0);
    let clerk = body("clerk");
    assert_eq!(clerk["system"], json!([{"text": "You are a clerk."}]));
    assert_eq!(clerk["messages"], json!([user("Who are you?")]));
    let talk = body("talk");
    assert!(talk.get("system").is_none(), "{talk}");
    let reply = json!({"role": "assistant", "content": [{"text": "Two."}]});
    assert_eq!(talk["messages"], json!([user("One?"), reply, user("Three?")]));
    assert_eq!(body("long")["messages"], json!([user("A text\nof two lines.\n")]));
    let made = body("made");
    let text = made["messages"][0]["content"][0]["text"].as_str().unwrap();
    assert!(text.len() > 7_000 && text.len() < 9_000 && text.contains("at most 40 words"), "{text}");
    assert_eq!(body("made"), made, "the same seed, the same text");
    let other = bodies(&scene, "made", &["--seed", "8"]).swap_remove(0);
    assert_ne!(other["messages"], made["messages"], "another seed, another text");
}

#[test]
fn request_fields_are_sent_unchanged_by_both_operations() {
    let plan = SHORT.replace(
        "[simulator]",
        r#"system = "Be kind."
stop_sequences = ["END", "\n\n"]
performance = "optimized"
[request.request_metadata]
team = "blue"
"cost.center" = "7"
[request.additional_fields]
top_k = 40
"anthropic.beta" = ["x-1", "y-2"]
[request.additional_fields.reasoning_config]
type = "enabled"
budget_tokens = 1024
deep = [{ a = 1.5, b = [true, { c = "d" }] }, -3, 18446744073.5]
[simulator]"#,
    );
    let scene = Scene::new().plan(&plan);
    for api in ["converse", "converse-stream"] {
        let (port, received) = listen();
        let url = format!("http://127.0.0.1:{port}");
        // The server does not reply with a stream; only the request is checked here.
        let more = ["--endpoint-url", &url, "--api", api, "--requests", "1", "--overwrite", "--no-report"];
        let _ = scene.run_command(&more).output().unwrap();
        let (head, body) = received.recv().unwrap();
        assert!(head.contains(&format!("/{api} ")), "{head}");
        let mut body: Value = serde_json::from_str(&body).unwrap();
        let messages = body.as_object_mut().unwrap().remove("messages").unwrap();
        assert_eq!(messages.as_array().unwrap().len(), 1);
        assert_eq!(
            body,
            json!({
                "system": [{"text": "Be kind."}],
                "inferenceConfig": {"maxTokens": 16, "stopSequences": ["END", "\n\n"]},
                "serviceTier": {"type": "default"},
                "performanceConfig": {"latency": "optimized"},
                "requestMetadata": {"team": "blue", "cost.center": "7"},
                "additionalModelRequestFields": {
                    "top_k": 40,
                    "anthropic.beta": ["x-1", "y-2"],
                    "reasoning_config": {
                        "type": "enabled",
                        "budget_tokens": 1024,
                        "deep": [{"a": 1.5, "b": [true, {"c": "d"}]}, -3, 18_446_744_073.5]
                    }
                }
            }),
            "{api}"
        );
    }
    let manifest = scene.manifest();
    let origins = &manifest["origins"];
    let shown = scene.expect(0, scene.command(&["show", "plan.toml", "--set", "request.additional_fields.top_k=50"]));
    let shown = String::from_utf8(shown.stdout).unwrap();
    let line =
        |key: &str| shown.lines().find(|line| line.trim_start().starts_with(key)).unwrap_or_else(|| panic!("{shown}"));
    assert!(line("request.stop_sequences").contains("plan.toml:"), "{origins}");
    assert!(line("request.additional_fields").contains("--set") && shown.contains("top_k = 50"), "{shown}");
    let toml = scene.expect(0, scene.command(&["show", "plan.toml", "--format", "toml"]));
    let json = |plan: &str| {
        let output = scene.expect(0, scene.command(&["show", plan, "--format", "json"]));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["plan"]["request"].clone()
    };
    std::fs::write(scene.path("again.toml"), toml.stdout).unwrap();
    assert_eq!(json("plan.toml"), json("again.toml"));
    let environment = r#"{"reasoning": {"effort": "low"}}"#;
    let mut command = scene.command(&["show", "--format", "json"]);
    command.env("BEDROCK_PLAN_REQUEST__ADDITIONAL_FIELDS", environment);
    let output = scene.expect(0, command);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["plan"]["request"]["additional_fields"], serde_json::from_str::<Value>(environment).unwrap());
}

#[test]
fn explicit_caching_below_the_minimum_causes_a_warning() {
    let scene = scene();
    let warnings = |size: &str, model: &str| {
        let more = ["show", "plan.toml", "--prompt-sizes", size, "--model-id", model, "--cache-modes", "warm,explicit"];
        let output = scene.expect(0, scene.command(&more));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let found = warnings("small,made", "amazon.nova-pro-v1:0");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("`small` has about 3 tokens") && found[0].contains("below 1000"), "{found:?}");
    assert_eq!(warnings("made", "anthropic.claude-haiku-4-5-20251001-v1:0").len(), 1, "2,000 of 4,096");
    assert!(warnings("small", "vendor.unknown-v1:0").is_empty(), "unknown models cause no warning");
    let run = scene.run(0, &["--cache-modes", "explicit", "--model-id", "amazon.nova-pro-v1:0", "--no-report"]);
    assert!(String::from_utf8(run.stderr).unwrap().contains("warning: explicit caching: `small`"));
}

#[test]
fn data_set_has_the_same_order_in_every_cell() {
    let scene = scene();
    let mut orders = Vec::new();
    for users in ["1", "3"] {
        let bodies = bodies(&scene, "questions", &["--user-counts", users]);
        assert_eq!(bodies.len(), 24);
        assert!(bodies.iter().all(|body| body["system"] == json!([{"text": "Be brief."}])));
        let mut records = scene.records();
        records.sort_by_key(|record| record["seq"].as_u64());
        orders.push(records.iter().map(|record| record["prompt_line"].as_u64().unwrap()).collect::<Vec<_>>());
        // The records contain the sent prompts.
        let mut sent: Vec<String> =
            bodies.iter().map(|body| body["messages"][0]["content"][0]["text"].to_string()).collect();
        let mut expected: Vec<String> = orders[0].iter().map(|line| format!("\"Question {line}?\"")).collect();
        sent.sort_unstable();
        expected.sort_unstable();
        assert_eq!(sent, expected);
    }
    assert_eq!(orders[0], orders[1], "the order does not depend on the user");
    assert_eq!(orders[0][..9], orders[0][9..18], "again and again");
    let mut once = orders[0][..9].to_vec();
    assert_ne!(once, (1..=9).collect::<Vec<_>>());
    once.sort_unstable();
    assert_eq!(once, (1..=9).collect::<Vec<_>>(), "each line once");
}

#[test]
fn mix_draws_by_weight_and_records_name_the_prompt() {
    let scene = scene();
    let plan = SHORT.replace("\"small\"", "\"chat\", \"local_questions\"")
        + "[[mix]]\nname = \"chat\"\nsizes = { small = 7, clerk = 3 }\n\
        [[dataset]]\nname = \"local_questions\"\nfile = \"questions.jsonl\"\n";
    let scene = scene.plan(&plan);
    scene.run(0, &["--requests", "200", "--think-time", "0s", "--spawn-rate", "1000", "--user-counts", "20"]);
    let records = scene.records();
    let of = |size: &str| records.iter().filter(move |record| record["prompt_size"] == size).collect::<Vec<_>>();
    let chat = of("chat");
    let clerk = chat.iter().filter(|record| record["prompt"] == "clerk").count();
    assert!(chat.iter().all(|record| record["prompt"] == "clerk" || record["prompt"] == "small"));
    // The draws are deterministic because of the seed.
    assert!(
        chat.len() > 50 && clerk * 100 > chat.len() * 15 && clerk * 100 < chat.len() * 45,
        "{clerk} of {}",
        chat.len()
    );
    assert!(of("local_questions").iter().all(|record| record["prompt_line"].is_u64() && record["prompt"].is_null()));
    assert_eq!(
        scene.rows().iter().map(|row| row["prompt_size"].as_str()).collect::<Vec<_>>(),
        ["chat", "local_questions"]
    );
}

#[test]
fn cache_modes_work_with_each_form_of_a_prompt() {
    let scene = scene();
    for (size, system, last) in [("clerk", Some("You are a clerk."), "Who are you?"), ("talk", None, "Three?")] {
        let cold = bodies(&scene, size, &["--cache-modes", "cold"]);
        let first = |body: &Value| {
            let text =
                if system.is_some() { &body["system"][0]["text"] } else { &body["messages"][0]["content"][0]["text"] };
            text.as_str().unwrap().to_owned()
        };
        let mut firsts: Vec<String> = cold.iter().map(first).collect();
        assert!(firsts.iter().all(|text| text.starts_with("Request ") && text.lines().count() == 2), "{firsts:?}");
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), cold.len(), "a first line of its own");
        let last_message = |body: &Value| body["messages"].as_array().unwrap().last().unwrap()["content"].clone();
        assert!(cold.iter().all(|body| last_message(body) == json!([{"text": last}])), "and nothing else is changed");

        let warm = bodies(&scene, size, &["--cache-modes", "warm"]);
        assert_eq!(warm.len(), 25, "one priming request");
        let lasts: Vec<String> =
            warm.iter().map(|body| last_message(body)[0]["text"].as_str().unwrap().to_owned()).collect();
        assert!(lasts.iter().all(|text| text.starts_with(&format!("{last}\nRequest "))), "{lasts:?}");
        let explicit = bodies(&scene, size, &["--cache-modes", "explicit"]);
        for body in &explicit {
            let content = last_message(body);
            assert_eq!(content[0]["text"], last);
            assert_eq!(content[1], json!({"cachePoint": {"type": "default"}}));
            assert!(content[2]["text"].as_str().unwrap().starts_with("Request "));
            assert_eq!(body.get("system").is_some(), system.is_some());
        }
    }
    let primed = bodies(&scene, "questions", &["--cache-modes", "warm"]);
    assert_eq!(primed.len(), 24 + 9, "one priming request for each prompt");
    let priming = scene.records().into_iter().filter(|record| record["phase"] == "priming");
    let mut lines: Vec<u64> = priming.map(|record| record["prompt_line"].as_u64().unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, (1..=9).collect::<Vec<_>>());
}

#[test]
fn primed_cells_of_a_mix_have_no_cache_misses() {
    let scene = scene();
    let plan = SHORT.replace("[\"small\"]", "[\"chat\"]\ncache_modes = [\"warm\"]")
        + "[[mix]]\nname = \"chat\"\nsizes = { made = 1, more = 1 }\n";
    let prompts =
        PROMPTS.replace("\n}", ",\n  \"more\": {\"generate\": {\"input_tokens\": 3000}, \"system\": \"Be kind.\"}\n}");
    std::fs::write(scene.path("prompts.json"), prompts).unwrap();
    let scene = scene.plan(&plan);
    scene.run(0, &["--requests", "60", "--spawn-rate", "1000", "--user-counts", "5"]);
    let records = scene.records();
    assert_eq!(records.iter().filter(|record| record["phase"] == "priming").count(), 2);
    assert!(records.iter().all(|record| record.get("validity").is_none()), "no miss");
    assert_eq!(scene.rows()[0]["warm_miss"], "0");
}

#[test]
fn shares_of_cut_and_reasoning_replies_are_reported() {
    let scene = Scene::new().plan(SHORT);
    let more = |model: &[&str]| {
        let all = ["--api", "converse-stream", "--overwrite", "--user-counts", "8", "--think-time", "0s"];
        scene.run(0, &[&all[..], model].concat());
        let row = scene.rows().swap_remove(0);
        let records = scene.records();
        let cut = records.iter().filter(|record| record["stop_reason"] == "max_tokens").count();
        (row, cut, records.len())
    };
    let share = |text: &str| text.parse::<f64>().unwrap();
    // Replies have about 60 tokens: a maximum of 16 cuts all, a maximum of 60 about half.
    let (row, cut, all) = more(&["--set", "simulator.output_tokens_sigma=0.01", "--max-tokens", "16"]);
    assert_eq!(cut, all);
    assert!(
        (share(&row["max_tokens_share"]) - 1.0).abs() < 1e-9 && !row["warnings"].contains("cut_replies"),
        "{row:?}"
    );
    let (row, cut, all) = more(&[
        "--set",
        "simulator.output_tokens=40",
        "--set",
        "simulator.output_tokens_sigma=0.5",
        "--max-tokens",
        "40",
        "--include-ramp",
    ]);
    assert!((share(&row["max_tokens_share"]) - cut as f64 / all as f64).abs() < 0.001, "{row:?} {cut} of {all}");
    assert!(row["warnings"].contains("cut_replies"), "{row:?}");
    assert!(share(&row["burst_share"]) < 1.0 && row["ttfat_p50"].is_empty() && row["reasoning_share"] == "0.0000");
    let reasoning = ["--set", "simulator.reasoning=0.5", "--set", "simulator.tpot='5ms'", "--max-tokens", "40"];
    let (row, ..) = more(&reasoning);
    assert!(share(&row["reasoning_share"]) > 0.9 && share(&row["ttfat_p95"]) >= share(&row["ttfat_p50"]), "{row:?}");
    assert!(share(&row["ttfat_p50"]) > share(&row["ttft_p50"]), "{row:?}");
    assert!((0.1..0.9).contains(&share(&row["reasoning_time_share"])), "{row:?}");
    let (row, ..) = more(&["--set", "simulator.reasoning=1", "--max-tokens", "40"]);
    assert!(row["warnings"].contains("no_answer") && row["reasoning_time_share"].is_empty(), "{row:?}");
}

/// Returns a scene with a data set of three distinct prompts in four lines; the last repeats the first.
fn three_prompts() -> Scene {
    let plan = format!("{SHORT}\n[[dataset]]\nname = \"qa\"\nfile = \"qa.jsonl\"\n").replace("\"small\"", "\"qa\"");
    let scene = Scene::new().plan(&plan);
    let lines = ["One?", "Two?", "Three?", "One?"].map(|text| json!({ "text": text }).to_string());
    std::fs::write(scene.path("qa.jsonl"), lines.join("\n")).unwrap();
    scene
}

const MANY: [&str; 8] = ["--requests", "300", "--user-counts", "10", "--think-time", "0s", "--spawn-rate", "1000"];

#[test]
fn all_output_states_how_many_distinct_prompts_were_sent_and_how_often() {
    let scene = three_prompts();
    let output = scene.run(0, &[&MANY[..], &["--test-duration", "5m"]].concat());
    // 300 requests from four lines; two lines have the same prompt.
    let uses = "3 distinct prompts, each sent 75 to 150 times (median 75)";
    let results = |name: &str| std::fs::read_to_string(scene.path("results").join(name)).unwrap();
    for name in ["report.html", "summary.md", "summary.json", "test_us_default_qa_u10_report.html"] {
        assert!(results(name).contains(uses), "{name}");
    }
    let summary: Value = serde_json::from_str(&results("summary.json")).unwrap();
    let expected = json!({
        "distinct_count": 3, "min_uses_count": 75, "median_uses_count": 75, "max_uses_count": 150,
    });
    assert_eq!(summary["cells"][0]["prompts"], expected);
    let warning = "prompt caching or memorised replies may make these latencies better than in production";
    assert!(String::from_utf8(output.stdout).unwrap().contains(warning));
    assert!(results("summary.md").contains(warning) && results("report.html").contains(warning));
    assert!(scene.rows()[0]["warnings"].contains("repeated_prompts"));
}

#[test]
fn distinct_prompts_cause_no_warning_of_repetition() {
    let scene = three_prompts();
    for (more, uses) in [
        (&["--requests", "2"][..], "2 distinct prompts, each sent once"),
        (&["--requests", "12", "--cache-modes", "cold", "--overwrite"], "3 distinct prompts, each sent 3 to 6 times"),
    ] {
        scene.run(0, &[more, &["--test-duration", "5m"]].concat());
        let row = &scene.rows()[0];
        assert!(!row["warnings"].contains("repeated_prompts"), "{row:?}");
        let summary = std::fs::read_to_string(scene.path("results/summary.md")).unwrap();
        assert!(summary.contains(uses), "{summary}");
    }
}

#[test]
fn show_states_how_often_the_prompts_of_a_data_set_are_expected() {
    let scene = three_prompts();
    let show = |more: &[&str]| {
        let arguments = [&["show", "plan.toml"], more, &["--test-duration", "5m"]].concat();
        String::from_utf8(scene.expect(0, scene.command(&arguments)).stdout).unwrap()
    };
    let expected = "qa: 3 distinct prompts, each expected to be sent 100 times per cell on average; \
                    prompt caching or memorised replies can make latencies lower than in production";
    assert!(show(&MANY).contains(expected), "{}", show(&MANY));
    let few = show(&["--requests", "3"]);
    assert!(few.contains("qa: 3 distinct prompts, each expected to be sent once per cell at most\n"), "{few}");
    let shown: Value = serde_json::from_str(&show(&[&MANY[..], &["--format", "json"]].concat())).unwrap();
    let prompts = json!([{ "prompt_size": "qa", "distinct": 3, "requests": 300, "is_repeated": true }]);
    assert_eq!(shown["estimate"]["prompts"], prompts);
}
