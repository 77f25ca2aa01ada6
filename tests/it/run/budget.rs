//! A budget applies to all sessions of a run, independent of how they ended.

use super::scene::{SHORT, Scene, Simulate, interrupt};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Returns the number of requests that the simulator has received, including those of killed clients. Request ids contain
/// their number, so one more request is sent.
fn received(url: &str) -> usize {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let head = "POST /model/m/converse HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";
    write!(stream, "{head}content-length: 2\r\nconnection: close\r\n\r\n{{}}").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let id = reply.lines().find_map(|line| line.strip_prefix("x-amzn-requestid: ")).unwrap();
    usize::from_str_radix(id.rsplit('-').next().unwrap(), 16).unwrap()
}

/// Waits until a file has more than `lines` lines, or the process has ended.
fn wait_for_lines_or_end(path: &Path, lines: usize, process: &mut Child) {
    let has_lines = || std::fs::read_to_string(path).is_ok_and(|text| text.lines().count() >= lines);
    while !has_lines() && process.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn killed_and_resumed_run_never_exceeds_its_budget() {
    const MAX: usize = 60;
    let max = MAX.to_string();
    let load = ["--requests", "500", "--test-duration", "10m", "--max-requests", &max];
    let mut rng = ChaCha8Rng::seed_from_u64(std::process::id().into());
    let mut lost = 0;
    let loads: [&[&str]; 4] = [
        &["--user-counts", "6"],
        &["--user-counts", "6", "--cache-modes", "warm"],
        &["--user-counts", "6", "--preflight"],
        &["--arrival-rates", "80"],
    ];
    for more in loads {
        let scene = Scene::new().plan(SHORT);
        let server = Simulate::start(&scene, &["--plan", "plan.toml"]);
        let all = [&load[..], more, &["--endpoint-url", &server.url, "--resume-or-start"]].concat();
        let journal = scene.path("results/token_data.jsonl");
        for _ in 0..5 {
            let mut run = scene.run_command(&all).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let before = std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
            wait_for_lines_or_end(&journal, before + rng.random_range(0..8), &mut run);
            // At any time between two flushes of the journal.
            std::thread::sleep(Duration::from_micros(rng.random_range(0..30_000)));
            run.kill().unwrap();
            run.wait().unwrap();
        }
        let output = scene.run(3, &all);
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed);
        assert!(printed.contains("the budget of max_requests = 60"), "{more:?}: {printed}");
        let (sent, recorded) = (received(&server.url), scene.records().len());
        assert!(sent <= MAX, "{more:?}: {sent} requests were sent, {recorded} of them are recorded");
        assert!(sent >= recorded, "{more:?}: {sent} {recorded}");
        lost += sent - recorded;
    }
    assert!(lost > 0, "no kill happened while a request was in flight");
}

#[test]
fn interrupted_run_releases_its_reservations() {
    let scene = Scene::new().plan(SHORT);
    let load = ["--user-counts", "2", "--requests", "400", "--test-duration", "10m", "--max-requests", "500"];
    let mut run = scene.run_command(&load).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    super::scene::wait_for_lines(&scene.path("results/token_data.jsonl"), 5);
    interrupt(&run);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let first = scene.records().len();
    let file = scene.path("results/reservations.jsonl");
    let last = |text: String| serde_json::from_str::<serde_json::Value>(text.lines().next_back().unwrap()).unwrap();
    let returned = last(std::fs::read_to_string(&file).unwrap());
    assert_eq!((&returned["event"], &returned["up_to"]["requests"]), (&"returned".into(), &first.into()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let exact = (first + 400).to_string();
    let resumed = [&load[..7], &[&exact, "--resume"]].concat();
    scene.run(0, &resumed);
    assert_eq!(scene.records().len(), first + 400, "nothing of the budget was lost");
    // The file is not part of the results.
    let summary = std::fs::read(scene.path("results/summary.json")).unwrap();
    std::fs::remove_file(&file).unwrap();
    scene.expect(0, scene.command(&["report", "results"]));
    assert_eq!(std::fs::read(scene.path("results/summary.json")).unwrap(), summary);
}

#[test]
fn damaged_reservations_count_as_the_whole_budget() {
    let scene = Scene::new().plan(SHORT);
    let load = ["--user-counts", "2", "--requests", "20", "--test-duration", "10m", "--max-requests", "10"];
    scene.run(3, &load);
    let file = scene.path("results/reservations.jsonl");
    std::fs::write(&file, "damaged\ndamaged\n").unwrap();
    let larger = [&load[..7], &["30", "--resume"]].concat();
    let output = scene.run(3, &larger);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("warning: reservations.jsonl is damaged"), "{stderr}");
    assert_eq!(scene.records().len(), 10, "nothing was sent");
    std::fs::remove_file(&file).unwrap();
    scene.run(0, &larger);
    assert_eq!(scene.records().len(), 30);
}

#[test]
fn damaged_lines_of_the_journal_count_at_their_worst_case() {
    let scene = Scene::new().plan(SHORT);
    let load = ["--user-counts", "2", "--requests", "20", "--test-duration", "10m", "--max-requests", "10"];
    scene.run(3, &load);
    // As written by a version without reservations: only the journal contains the cost.
    std::fs::remove_file(scene.path("results/reservations.jsonl")).unwrap();
    let journal = scene.path("results/token_data.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    assert_eq!(text.lines().count(), 10);
    std::fs::write(&journal, text.replacen("\"timestamp\"", "\"damaged\"", 3)).unwrap();
    let output = scene.run(3, &[&load[..7], &["15", "--resume"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        stderr.contains("3 damaged lines of token_data.jsonl cannot be read: each counts in the budget"),
        "{stderr}"
    );
    assert_eq!(std::fs::read_to_string(&journal).unwrap().lines().count(), 15, "10 were sent before");
}

#[test]
fn reservations_exist_only_with_a_budget_and_belong_to_one_run() {
    let scene = Scene::new().plan(SHORT);
    let file = scene.path("results/reservations.jsonl");
    scene.run(0, &["--requests", "5"]);
    assert!(!file.exists());
    scene.run(0, &["--requests", "5", "--max-requests", "5", "--overwrite"]);
    assert!(file.exists());
    scene.run(0, &["--requests", "5", "--overwrite"]);
    assert!(!file.exists(), "it is a file of the run that is replaced");
    // The directory of a run without a manifest.
    std::fs::remove_file(scene.path("results/manifest.json")).unwrap();
    std::fs::write(&file, "damaged\n").unwrap();
    scene.run(0, &["--requests", "5", "--max-requests", "5", "--resume-or-start"]);
    assert_eq!(scene.records().len(), 5);
}

/// Returns a plan with one price row, which covers prompts of at most `up_to` tokens.
fn plan_with_row(up_to: u32) -> String {
    format!(
        "{SHORT}\n[[prices.rows]]\nmodel_id = \"test.model-v1:0\"\ninput = 1.0\noutput = 1.0\nup_to_input_tokens = {up_to}\n"
    )
}

#[test]
fn budget_of_money_requires_a_row_that_covers_the_prompt() {
    let output = Scene::new().plan(&plan_with_row(4)).run(2, &["--max-cost", "1"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected =
        "`max_cost` cannot be enforced: no price for prompts above 4 tokens of test.model-v1:0 (us, default)";
    assert!(stderr.contains(expected), "{stderr}");
    let longer = "[[prices.rows]]\nmodel_id = \"test.model-v1:0\"\ninput = 2.0\noutput = 2.0\n";
    let scene = Scene::new().plan(&format!("{}{longer}", plan_with_row(4)));
    scene.run(0, &["--max-cost", "1", "--requests", "5"]);
    let tokens = |key: &str| scene.records().iter().map(|record| record[key].as_u64().unwrap()).sum::<u64>() as f64;
    let expected = (tokens("input_tokens") + tokens("output_tokens")) * 2.0 / 1e6;
    let cost: f64 = scene.rows()[0]["cost_usd"].parse().unwrap();
    assert!((cost - expected).abs() < 5.1e-9, "{cost} instead of {expected}: the row that covers the prompt applies");
}

#[test]
fn cache_writes_without_a_price_are_reported_as_such() {
    let scene = Scene::new().plan(&format!("prompts_file = \"prompts.json\"\n{SHORT}"));
    let prompts = serde_json::json!({ "long": { "text": "Some words that are always the same. ".repeat(300) } });
    std::fs::write(scene.path("prompts.json"), prompts.to_string()).unwrap();
    let explicit = ["--model-id", "amazon.nova-pro-v1:0", "--prompt-sizes", "long", "--cache-modes", "explicit"];
    let output = scene.run(0, &explicit);
    assert!(scene.records().iter().any(|record| record["cache_write_tokens"].as_u64() > Some(0)));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = "No price for cache writes of amazon.nova-pro-v1:0 (us, default). Add it under [prices].";
    assert!(stdout.contains(expected), "{stdout}");
    let output = scene.run(2, &[&explicit[..], &["--max-cost", "1", "--overwrite"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("no price for cache writes of amazon.nova-pro-v1:0 (us, default)"), "{stderr}");
}
