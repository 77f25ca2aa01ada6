//! Shards with a directory as their exchange, merged and compared with the same plan on one machine.

use super::machines::{Machines, USERS, id, output_text, records, set, wait_for_exit, wait_until};
use crate::run::scene::{files, wait_for_lines};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

fn code(output: &std::process::Output, code: i32) -> String {
    let message = output_text(output);
    assert_eq!(output.status.code(), Some(code), "{message}");
    message
}

/// Returns the cells of `summary.json`.
fn cells(summary: &Value) -> &Vec<Value> {
    summary["cells"].as_array().unwrap()
}

#[test]
fn three_shards_together_equal_one_run() {
    let mut machines = Machines::new(USERS);
    machines.run(3, 0, &[]);
    code(&machines.merge("merged", &[]), 0);
    code(&machines.command("whole", &["--include-ramp"]).output().unwrap(), 0);
    let (merged, whole) = (machines.records("merged"), machines.records("whole"));
    let truth = machines.truth();

    // The records are exactly the requests that the server received.
    let both: Vec<Value> = merged.iter().chain(&whole).cloned().collect();
    assert_eq!(set(&both, id), truth);
    assert_eq!(both.len(), truth.len());

    // The users and the seed are the same, and each user runs on one shard.
    let user = |record: &Value| (record["test_id"].to_string(), record["user"].as_u64());
    assert_eq!(set(&merged, user), set(&whole, user));
    assert_eq!(machines.json("merged/manifest.json")["seed"], machines.json("whole/manifest.json")["seed"]);
    for record in merged.iter().filter(|record| record["user"].is_u64()) {
        let (user, shard) = (record["user"].as_u64().unwrap(), record["shard"].as_u64().unwrap());
        assert_eq!((user % 3, record["seq"].as_u64().unwrap() % 3), (shard, shard), "{record}");
    }
    assert_eq!(
        merged.iter().filter(|record| record["phase"] == "preflight").count(),
        2,
        "only one shard runs the pre-flight"
    );

    // Records are ordered by their end, and numbers are unique in a cell.
    let ended: Vec<f64> = merged.iter().map(|record| record["timestamp"].as_f64().unwrap()).collect();
    assert!(ended.is_sorted());
    let load = |record: &&Value| record["user"].is_u64();
    let numbers = |record: &Value| (record["test_id"].to_string(), record["seq"].as_u64());
    let loads: Vec<Value> = merged.iter().filter(load).cloned().collect();
    assert_eq!(set(&loads, numbers).len(), loads.len());

    // Percentiles cover all records: with the ramp included, a plain sort gives the same values.
    let output = machines.scene.command(&["report", "merged", "--include-ramp", "--out", "ramp"]).output().unwrap();
    code(&output, 0);
    for cell in cells(&machines.json("ramp/summary.json")) {
        let mut times: Vec<f64> = loads
            .iter()
            .filter(|record| record["test_id"] == cell["test_id"])
            .map(|record| record["response_time_ms"].as_f64().unwrap())
            .collect();
        times.sort_by(f64::total_cmp);
        let levels = cell["response_time"]["percentiles"].as_array().unwrap();
        assert!(levels.len() > 2, "{levels:?}");
        for level in levels {
            let rank = (times.len() as f64 * level["level_percent"].as_f64().unwrap() / 100.0).ceil() as usize;
            let value = level["value_ms"].as_f64().unwrap();
            assert!((value - times[rank - 1]).abs() < 0.001, "{value} {}", times[rank - 1]);
        }
    }

    // Merging again, or from copies in another order, gives the same bytes.
    code(&machines.merge("again", &[]), 0);
    let exchange = machines.scene.path("exchange");
    fs::create_dir_all(machines.scene.path("other/shards")).unwrap();
    for index in ["2", "0", "1"] {
        copy(&exchange.join("shards").join(index), &machines.scene.path("other/shards").join(index));
    }
    let other = format!("file://{}", machines.scene.path("other").display());
    code(&machines.scene.command(&["merge", &other, "--to", "third"]).output().unwrap(), 0);
    for copy in ["again", "third"] {
        assert_eq!(files(&machines.scene.path("merged")), files(&machines.scene.path(copy)));
        for file in files(&machines.scene.path("merged")) {
            let read = |dir: &str| fs::read(machines.scene.path(dir).join(&file)).unwrap();
            assert!(read("merged") == read(copy), "{file}");
        }
    }
    let manifest = machines.json("merged/manifest.json");
    assert_eq!((&manifest["shards"]["complete"], &manifest["shards"]["count"]), (&true.into(), &3.into()));
    // The merged directory is a normal results directory.
    code(&machines.scene.command(&["compare", "merged", "whole"]).output().unwrap(), 0);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).unwrap();
    for file in files(from) {
        fs::copy(from.join(&file), to.join(&file)).unwrap();
    }
}

#[test]
fn arrivals_have_the_same_times_as_on_one_machine() {
    let plan = r#"
[matrix]
model_ids = ["test.model-v1:0"]
service_tiers = ["default"]
prompt_sizes = ["small"]
cache_modes = ["cold"]
arrival_rates = [40]
[load]
arrivals = "poisson"
test_duration = "2s"
cool_down = "0s"
seed = 7
[request]
max_tokens = 16
[run]
preflight = false
[simulator]
ttft = "20ms"
tpot = "1ms"
"#;
    let mut machines = Machines::new(plan);
    machines.run(4, 0, &[]);
    code(&machines.merge("merged", &[]), 0);
    code(&machines.command("whole", &[]).output().unwrap(), 0);
    let due = |record: &Value| record["due_ms"].to_string();
    let (merged, whole) = (machines.records("merged"), machines.records("whole"));
    assert!(whole.len() > 40, "{}", whole.len());
    assert_eq!(set(&merged, due), set(&whole, due), "the same times, each on one shard");
    assert_eq!((merged.len(), merged.len() + whole.len()), (whole.len(), machines.truth().len()));
    for shard in 0..4 {
        assert!(merged.iter().any(|record| record["shard"] == shard));
    }
}

#[test]
fn requests_and_lines_of_a_data_set_are_used_once() {
    let plan = r#"
prompts_file = "prompts.json"
[matrix]
model_ids = ["test.model-v1:0"]
service_tiers = ["default"]
prompt_sizes = ["lines"]
user_counts = [2, 5]
[load]
requests = 41
test_duration = "1m"
spawn_rate = 100
think_time = "1ms"
cool_down = "0s"
seed = 7
[run]
preflight = false
[[dataset]]
name = "lines"
file = "lines.jsonl"
[request]
max_tokens = 16
[simulator]
ttft = "5ms"
tpot = "1ms"
"#;
    let mut machines = Machines::new("[simulator]\nttft = \"5ms\"\ntpot = \"1ms\"\n");
    fs::write(machines.scene.path("plan.toml"), plan).unwrap();
    fs::write(machines.scene.path("prompts.json"), "{\"small\": {\"text\": \"hello\"}}").unwrap();
    let lines: Vec<String> = (0..41).map(|line| format!("{{\"text\": \"line {line}\"}}")).collect();
    fs::write(machines.scene.path("lines.jsonl"), lines.join("\n")).unwrap();
    // With two users, two of the shards are idle.
    machines.run(4, 0, &[]);
    code(&machines.merge("merged", &[]), 0);
    let merged = machines.records("merged");
    assert_eq!(merged.len(), machines.truth().len());
    let mut of_cell: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for record in &merged {
        of_cell.entry(record["test_id"].to_string()).or_default().push(record);
    }
    assert_eq!(of_cell.len(), 2);
    for (cell, records) in of_cell {
        let mut lines: Vec<u64> = records.iter().map(|record| record["prompt_line"].as_u64().unwrap()).collect();
        lines.sort_unstable();
        assert_eq!(lines, (1..=41).collect::<Vec<_>>(), "{cell}: each line once");
        let mut numbers: Vec<u64> = records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..41).collect::<Vec<_>>(), "{cell}");
    }
}

#[test]
fn budget_applies_to_all_shards_together() {
    let mut machines = Machines::new(USERS);
    let message = machines.run(3, 3, &["--no-preflight", "--set", "budget.max_requests=20"]);
    assert!(message.iter().any(|message| message.contains("records in")), "{message:?}");
    code(&machines.merge("merged", &[]), 3);
    assert_eq!(machines.records("merged").len(), 20);
    assert_eq!(machines.truth().len(), 20);
    let parts = machines.json("merged/manifest.json")["shards"]["parts"].clone();
    assert!(parts[0]["reason"].as_str().unwrap().contains("of which this shard has 1/3"), "{parts:#}");
}

#[test]
fn missing_shard_prevents_the_start() {
    let mut machines = Machines::new(USERS);
    let early: Vec<_> = [0, 2].map(|index| machines.shard(index, 3, &["--barrier-timeout", "6s"])).into();
    for shard in early {
        let message = wait_for_exit(shard, 4);
        assert!(message.contains("shard 1 of 3 did not reach the barrier within 6s"), "{message}");
        assert!(message.contains("nothing was sent"), "{message}");
    }
    let late = wait_for_exit(machines.shard(1, 3, &[]), 4);
    assert!(late.contains("contains an aborted run: shard 1 of 3 did not reach the barrier within 6s"), "{late}");
    assert_eq!(machines.truth().len(), 0, "not one request");
    for more in [&[][..], &["--allow-missing"]] {
        let message = code(&machines.merge("merged", more), 3);
        assert!(message.contains("shard 0 joined on ") && message.contains("shard 1 never joined"), "{message}");
    }
    assert!(!machines.scene.path("merged/manifest.json").exists());
}

#[test]
fn shards_with_different_fingerprints_are_named() {
    for (name, other, expected) in [
        ("count", ["--shard", "1/3"], "the number of shards is"),
        ("plan", ["--user-counts", "8"], "the plan (SHA-256) is"),
    ] {
        let machines = Machines::new(USERS);
        let url = format!("file://{}", machines.scene.path(name).display());
        let command = |shard: &str, more: &[&str]| {
            let all = [&["--exchange", &url, "--shard", shard, "--barrier-timeout", "1m"][..], more].concat();
            machines.command("results", &all).stderr(std::process::Stdio::piped()).spawn().unwrap()
        };
        let one = command("0/2", &[]);
        let two = if name == "count" { command("1/3", &[]) } else { command("1/2", &other) };
        for shard in [one, two] {
            let message = wait_for_exit(shard, 4);
            assert!(
                message.contains(expected) && message.contains("shard 0") && message.contains("shard 1"),
                "{message}"
            );
        }
    }
}

#[test]
fn exchange_is_used_for_one_run() {
    let again = |machines: &Machines, shard: &str| {
        let exchange = machines.exchange();
        let output = machines.command("other", &["--exchange", &exchange, "--shard", shard]).output().unwrap();
        assert!(!machines.scene.path("other").exists());
        code(&output, 4)
    };
    let machines = Machines::new(USERS);
    machines.run(1, 0, &["--only", "*default*"]);
    let message = again(&machines, "0/1");
    assert!(message.contains("already contains the run 20") && message.contains("name a new one"), "{message}");
    // A second process with the same shard index.
    let machines = Machines::new(USERS);
    let first = machines.shard(0, 2, &[]);
    wait_until(|| machines.scene.path("exchange/ready/0.json").exists());
    let message = again(&machines, "0/2");
    assert!(message.contains("already has a shard 0"), "{message}");
    let second = machines.shard(1, 2, &[]);
    wait_for_exit(first, 0);
    wait_for_exit(second, 0);
}

#[test]
fn killed_shard_is_reported_as_missing() {
    let mut machines = Machines::new(USERS);
    let more = ["--no-preflight", "--only", "*default*", "--test-duration", "4s"];
    let mut running: Vec<_> = (0..3).map(|index| machines.shard(index, 3, &more)).collect();
    wait_for_lines(&machines.shard_results(1, 3).join("token_data.jsonl"), 5);
    running[1].kill().unwrap();
    let killed = running.remove(1).wait_with_output().unwrap();
    assert_eq!(killed.status.code(), None);
    for shard in running {
        wait_for_exit(shard, 0);
    }
    let message = code(&machines.merge("merged", &[]), 3);
    assert!(message.contains("shard 1 joined on ") && message.contains("delivered no results"), "{message}");
    assert!(message.contains("--allow-missing") && message.contains("--with"), "{message}");
    assert!(!machines.scene.path("merged").exists(), "no partial merge");

    let message = code(&machines.merge("part", &["--allow-missing"]), 0);
    assert!(message.contains("every verdict is INCONCLUSIVE"), "{message}");
    let manifest = machines.json("part/manifest.json");
    assert_eq!(manifest["shards"]["complete"], false);
    let part = machines.records("part");
    assert!(part.iter().all(|record| record["shard"] != 1));

    // Its local results can be merged, but the run stays incomplete.
    let message = code(&machines.merge("rest", &["--with", "results/shard_1_of_3"]), 0);
    assert!(message.contains("INVALID: shard 1 of 3 was cut off"), "{message}");
    let rest = machines.records("rest");
    assert!(rest.len() > part.len());
    assert_eq!(machines.json("rest/manifest.json")["shards"]["complete"], false);
    let truth = machines.truth();
    assert!(set(&rest, id).is_subset(&truth) && set(&rest, id).len() == rest.len());
}

#[test]
fn stopped_shard_ends_the_others_before_the_next_cell() {
    let mut machines = Machines::new(USERS);
    let more = ["--no-preflight", "--test-duration", "3s"];
    let running: Vec<_> = (0..3).map(|index| machines.shard(index, 3, &more)).collect();
    wait_for_lines(&machines.shard_results(2, 3).join("token_data.jsonl"), 5);
    let term = Command::new("kill").args(["-TERM", &running[2].id().to_string()]).status().unwrap();
    assert!(term.success());
    for (index, shard) in running.into_iter().enumerate() {
        if index == 2 {
            wait_for_exit(shard, 130);
        } else {
            let message = wait_for_exit(shard, 4);
            assert!(message.contains("shard 2 on ") && message.contains("left: it was stopped"), "{message}");
        }
    }
    // All requests were recorded and delivered: the merged run is interrupted.
    code(&machines.merge("merged", &[]), 130);
    assert_eq!(set(&machines.records("merged"), id), machines.truth());
    assert_eq!(machines.json("merged/manifest.json")["shards"]["complete"], true);
}

#[test]
fn undelivered_results_stay_on_the_machine() {
    let mut machines = Machines::new(USERS);
    fs::create_dir(machines.scene.path("exchange")).unwrap();
    // A file blocks the creation of a directory.
    fs::write(machines.scene.path("exchange/shards"), "").unwrap();
    let message = machines.run(2, 1, &["--only", "*default*"]);
    for (index, message) in message.iter().enumerate() {
        assert!(message.contains(&format!("they are in `results/shard_{index}_of_2`")), "{message}");
        assert!(message.contains(&format!("--with results/shard_{index}_of_2")), "{message}");
    }
    fs::remove_file(machines.scene.path("exchange/shards")).unwrap();
    code(&machines.merge("merged", &["--with", "results/shard_1_of_2", "--with", "results/shard_0_of_2"]), 0);
    assert_eq!(set(&machines.records("merged"), id), machines.truth());
    assert_eq!(machines.json("merged/manifest.json")["shards"]["complete"], true);
}

#[test]
fn changed_results_and_results_of_another_run_are_refused() {
    let machines = Machines::new(USERS);
    machines.run(2, 0, &["--only", "*default*"]);
    let journal = machines.scene.path("exchange/shards/1/token_data.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replacen("\"succeeded\"", "\"throttled\"", 1)).unwrap();
    let message = code(&machines.merge("merged", &[]), 4);
    assert!(message.contains("shards/1/token_data.jsonl: its SHA-256 differs from the commit marker"), "{message}");
    fs::write(&journal, &text).unwrap();

    let message = code(&machines.merge("merged", &["--with", "results/shard_1_of_2"]), 2);
    assert!(message.contains("duplicate shard 1"), "{message}");

    let mark = machines.scene.path("exchange/shards/0/shard.json");
    let whole = fs::read_to_string(&mark).unwrap();
    fs::write(&mark, whole.replace(env!("CARGO_PKG_VERSION"), "0.0.7")).unwrap();
    let message = code(&machines.merge("merged", &[]), 2);
    assert!(message.contains("the version of bedrock-plan is") && message.contains("0.0.7"), "{message}");

    let message = code(
        &machines
            .scene
            .command(&["run", "plan.toml", "--yes", "--resume", "--results-dir", "results/shard_0_of_2"])
            .output()
            .unwrap(),
        2,
    );
    assert!(message.contains("contains a run on several machines"), "{message}");
    assert_eq!(
        records(&machines.shard_results(0, 2)).len() + records(&machines.shard_results(1, 2)).len(),
        machines_records(&machines)
    );
}

/// Returns the number of records in the exchange.
fn machines_records(machines: &Machines) -> usize {
    (0..2).map(|index| records(&machines.scene.path(&format!("exchange/shards/{index}"))).len()).sum()
}

#[test]
fn one_shard_primes_the_cache_for_all() {
    let plan = USERS
        .replace("[load]", "cache_modes = [\"warm\"]\n[load]")
        .replace("[simulator]", "[simulator]\ncache_min_tokens = 1");
    let machines = Machines::new(&plan);
    machines.run(3, 0, &["--no-preflight", "--only", "*default*"]);
    code(&machines.merge("merged", &[]), 0);
    let merged = machines.records("merged");
    let primed: Vec<&Value> = merged.iter().filter(|record| record["phase"] == "priming").collect();
    assert_eq!(primed.len(), 1);
    let last = primed[0]["timestamp"].as_f64().unwrap();
    let start =
        |record: &Value| record["timestamp"].as_f64().unwrap() - record["response_time_ms"].as_f64().unwrap() / 1e3;
    assert!(merged.iter().filter(|record| record["phase"] != "priming").all(|record| start(record) > last));
}

/// Flags, variables, exit code and expected message.
type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], i32, &'static str);

#[test]
fn invalid_shard_options_are_errors_before_any_request() {
    let machines = Machines::new(USERS);
    let cases: [Case; 8] = [
        (&["--shard", "1/4"], &[], 2, "`--shard 1/4` requires `--exchange`"),
        (&["--exchange", "http://x/y", "--shard", "0/2"], &[], 4, "file:///shared/dir or s3://bucket/prefix"),
        (&["--exchange", "file://x/y", "--shard", "0/2"], &[], 4, "absolute path"),
        (&["--exchange", "file:///dev/null/x", "--shard", "0/2"], &[], 4, "/dev/null/x"),
        (&["--exchange", "file:///tmp/x", "--shard", "2/2"], &[], 2, "the last one is 1/2"),
        (&["--exchange", "file:///tmp/x", "--shard", "0/2", "--barrier-timeout", "soon"], &[], 2, "--barrier-timeout"),
        (&["--exchange", "file:///tmp/x"], &[], 2, "the shard is not set"),
        (
            &[],
            &[("SLURM_PROCID", "1"), ("SLURM_NTASKS", "4"), ("SLURM_STEP_ID", "0")],
            2,
            "each of the 4 tasks of this Slurm step",
        ),
    ];
    for (more, environment, exits, expected) in cases {
        let output = machines.command("results", more).envs(environment.iter().copied()).output().unwrap();
        let message = code(&output, exits);
        assert!(message.contains(expected), "{message}");
        assert!(!machines.scene.path("results").exists());
    }
}

#[test]
fn idle_shard_waits_for_a_working_one() {
    let mut machines = Machines::new(USERS);
    // The second shard has no user in the first cell, which takes longer than the barrier timeout.
    let more = ["--user-counts", "1,2", "--requests", "120", "--test-duration", "1m", "--barrier-timeout", "5s"];
    machines.run(2, 0, &[&more[..], &["--think-time", "40ms", "--only", "*default*"]].concat());
    code(&machines.merge("merged", &[]), 0);
    let merged = machines.records("merged");
    for cell in ["us_default_small_u1", "us_default_small_u2"] {
        let own = merged.iter().filter(|record| record["test_id"] == cell);
        assert_eq!(own.count(), 120, "{cell}");
    }
    assert_eq!(set(&merged, id), machines.truth());
}

#[test]
fn cell_is_extended_until_all_shards_have_their_samples() {
    let machines = Machines::new(USERS);
    // The third shard has no user and needs no samples.
    let more = ["--user-counts", "2", "--test-duration", "1s", "--think-time", "40ms", "--min-samples", "60"];
    machines.run(3, 0, &[&more[..], &["--max-duration", "5m", "--only", "*default*", "--no-preflight"]].concat());
    code(&machines.merge("merged", &[]), 0);
    let summary = machines.json("merged/summary.json");
    let samples = summary["cells"][0]["success_response_time"]["samples_count"].as_u64().unwrap();
    assert!(samples >= 60, "{samples}");
    let parts = machines.json("merged/manifest.json")["turns"][0]["parts"].clone();
    let loads: Vec<f64> = parts.as_array().unwrap().iter().map(|part| part["load_ms"].as_f64().unwrap()).collect();
    // Thirty cycles of a user take more than two seconds; the idle shard ends neither earlier nor at the maximum duration.
    assert!(loads.iter().all(|load| (2_000.0..300_000.0).contains(load)), "{loads:?}");
}

#[test]
fn paths_of_files_may_differ_between_machines() {
    let machines = Machines::new(USERS);
    let command = |index: u32| {
        let (dir, exchange) = (machines.scene.path(&format!("home{index}")), machines.exchange());
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("mine.json"), "{\"small\": {\"text\": \"Say hello.\"}}").unwrap();
        let (file, shard) = (dir.join("mine.json").display().to_string(), format!("{index}/2"));
        let more = ["--prompts-file", &file, "--exchange", &exchange, "--shard", &shard, "--only", "*default*"];
        machines.command("results", &more).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    for shard in [0, 1].map(command) {
        wait_for_exit(shard, 0);
    }
}

#[test]
fn merge_into_its_own_input_is_refused() {
    let machines = Machines::new(USERS);
    machines.run(2, 0, &["--only", "*default*"]);
    for to in ["exchange/shards/0", "exchange/shards/../shards/1"] {
        let before = fs::read(machines.scene.path(to).join("token_data.jsonl")).unwrap();
        let message = code(&machines.merge(to, &["--overwrite"]), 2);
        assert!(message.contains("it contains results that are merged"), "{message}");
        assert!(before == fs::read(machines.scene.path(to).join("token_data.jsonl")).unwrap());
    }
    code(&machines.merge("merged", &[]), 0);
    let message = code(&machines.merge("merged", &[]), 2);
    assert!(message.contains("choose another --to"), "{message}");
    code(&machines.merge("merged", &["--overwrite"]), 0);
    let nowhere = format!("file://{}", machines.scene.path("nowhere").display());
    code(&machines.scene.command(&["merge", &nowhere, "--to", "other"]).output().unwrap(), 4);
    assert!(!machines.scene.path("nowhere").exists());
}

/// One of two shards is suspended for a while: only its requests are excluded, and the reason names it.
#[test]
fn only_the_suspended_shard_is_named() {
    use crate::run::stalls::{overlaps, stalls, suspend};

    let plan = USERS.replace("ttft = \"20ms\"", "ttft = \"200ms\"").replace("10ms..50ms", "0s");
    let machines = Machines::new(&plan);
    let more = ["--no-preflight", "--only", "*default*", "--test-duration", "8s", "--include-ramp"];
    let running: Vec<_> = (0..2).map(|index| machines.shard(index, 2, &more)).collect();
    for index in 0..2 {
        wait_for_lines(&machines.shard_results(index, 2).join("token_data.jsonl"), 6);
    }
    suspend(&running[1]);
    for shard in running {
        wait_for_exit(shard, 0);
    }
    code(&machines.merge("merged", &[]), 0);
    let summary = machines.json("merged/summary.json");
    let cell = &cells(&summary)[0];
    let validity = cell["validity"].as_str().unwrap();
    assert!(validity.starts_with("INVALID: ") && validity.contains("shard 1: stood still for "), "{validity}");
    assert!(!validity.contains("shard 0: stood still for 2."), "{validity}");
    let parts = machines.json("merged/manifest.json")["turns"][0]["parts"].clone();
    let all = parts.as_array().unwrap().iter().map(stalls).collect::<Vec<_>>();
    let stalled = machines.records("merged").into_iter().filter(|record| {
        let shard = record["shard"].as_u64().unwrap();
        overlaps(record, &all[shard as usize])
    });
    let by_shard: Vec<u64> = stalled.map(|record| record["shard"].as_u64().unwrap()).collect();
    assert!(by_shard.contains(&1), "{by_shard:?}");
    assert_eq!(cell["requests"]["client_stalled_count"], by_shard.len());
    if all[0].is_empty() {
        assert!(!by_shard.contains(&0), "{by_shard:?}");
    }
}

#[cfg(unix)]
#[test]
fn exchange_and_merged_files_are_readable_only_by_their_owner() {
    let machines = Machines::new(USERS);
    machines.run(2, 0, &["--only", "*default*"]);
    code(&machines.merge("merged", &[]), 0);
    for dir in ["exchange", "merged"] {
        let path = machines.scene.path(dir);
        assert_eq!(crate::run::links::readable_by_others(&path), Vec::<String>::new());
    }
    // Links inside an exchange are not followed.
    let (shard, aside) = (machines.scene.path("exchange/shards/1"), machines.scene.path("aside"));
    fs::rename(&shard, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &shard).unwrap();
    let message = code(&machines.merge("again", &[]), 3);
    assert!(message.contains("shard 1 joined"), "{message}");
    fs::remove_file(&shard).unwrap();
    fs::rename(&aside, &shard).unwrap();
    let (journal, aside) = (shard.join("token_data.jsonl"), machines.scene.path("aside.jsonl"));
    fs::rename(&journal, &aside).unwrap();
    std::os::unix::fs::symlink(&aside, &journal).unwrap();
    let message = code(&machines.merge("again", &[]), 4);
    assert!(message.contains("`token_data.jsonl` is a symbolic link"), "{message}");
}

#[test]
fn merge_never_writes_outside_its_directory_or_over_foreign_files() {
    let machines = Machines::new(USERS);
    machines.run(1, 0, &["--only", "*default*"]);
    let shard = machines.scene.path("exchange/shards/0");
    let own = machines.scene.path("merged/summary.md");
    fs::create_dir(machines.scene.path("merged")).unwrap();
    fs::write(&own, "mine").unwrap();
    for more in [&[][..], &["--overwrite"]] {
        let message = code(&machines.merge("merged", more), 2);
        assert!(message.contains("no run of bedrock-plan wrote: `summary.md`"), "{message}");
        assert_eq!(
            (files(&machines.scene.path("merged")), fs::read(&own).unwrap()),
            (vec!["summary.md".into()], b"mine".to_vec())
        );
    }
    // A manifest with a valid checksum and an id that leads to another directory.
    let manifest = fs::read_to_string(shard.join("manifest.json")).unwrap();
    let id = machines.json("exchange/shards/0/manifest.json")["cells"][0]["id"].as_str().unwrap().to_owned();
    let evil = manifest.replace(&id, "x/../../../../evil");
    fs::write(shard.join("manifest.json"), &evil).unwrap();
    let mut mark = machines.json("exchange/shards/0/shard.json");
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&evil);
    mark["files"]["manifest.json"] = digest.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")).into();
    fs::write(shard.join("shard.json"), mark.to_string()).unwrap();
    let message = code(&machines.merge("a/b/c/d", &[]), 2);
    assert!(message.contains("invalid cell id `x/../../../../evil`"), "{message}");
    assert!(!machines.scene.path("a").exists());
}
