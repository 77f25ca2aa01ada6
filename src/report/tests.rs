//! Every format of a small run whose numbers are known by hand, as snapshots; and that nothing is
//! lost between records and rows.

mod bounds;
mod cells;
mod ci;
mod damage;
mod disturbances;
mod hostile;
mod include_failures;
mod machines;
mod many_cells;
mod pages;
mod summaries;

use super::templates::Templates;
use super::view::{View, build};
use super::{FORMATS, Rendered};
use crate::matrix::{expand, order::execution_order};
use crate::plan::{Origins, Plan};
use crate::record::manifest::{CellRunEnd, CellRunReport, FORMAT, Machine, Manifest, PlannedCell, Second};
use crate::record::{Connection, Outcome, Phase, Record};
use crate::result::{Quantity, Verdict};
use crate::stats::Collector;
use crate::verdict::slo::evaluate;
use proptest::prelude::*;
use std::time::Duration;

const STARTED_MS: u64 = 1_795_511_763_456;

fn plan() -> Plan {
    let mut plan = crate::plan::tests::plan();
    plan.name = "known <&>".into();
    plan.matrix.service_tiers = vec!["default".into(), "flex".into()];
    plan.matrix.prompt_sizes = vec!["small".into()];
    plan.matrix.user_counts = vec![2, 4];
    plan.load.test_duration = Duration::from_secs(4);
    plan.load.order = crate::plan::Order::Matrix;
    plan
}

/// Four cells: two that went well, one aborted, one that never began.
pub(crate) fn manifest() -> Manifest {
    let plan = plan();
    let cells = expand(&plan);
    let report = |index: usize, end: CellRunEnd, reason: Option<&str>, requests| CellRunReport {
        test_id: cells[index].id.clone(),
        repetition: 1,
        attempt: 1,
        started_ms: STARTED_MS + 5_000 * index as u64,
        ended_ms: STARTED_MS + 5_000 * index as u64 + 4_200,
        load_ms: 4_000.0,
        end,
        reason: reason.map(str::to_owned),
        failed: None,
        requests,
        connections_opened: 2,
        connections_reused: requests - 2,
        dropped: 0,
        starts_waited: None,
        user_ms: 8_000.0,
        think_ms: 3_300.0,
        series: vec![
            Second {
                users: cells[index].users.unwrap_or(0),
                in_flight: 1,
                cpu_ms: Some(200.0),
                ticker_ms: 1.2,
                dropped: 0
            };
            4
        ],
        shard: None,
        late_ms: None,
        disturbances: crate::record::disturbance::Disturbances::default(),
        parts: Vec::new(),
    };
    Manifest {
        format: FORMAT,
        run_id: "20261124_091603-0badcafe".into(),
        tool_version: "0.0.0".into(),
        started_ms: STARTED_MS,
        resumed_ms: vec![],
        ended_ms: Some(STARTED_MS + 20_000),
        interrupted: false,
        simulator: None,
        endpoint: "simulated".into(),
        region: None,
        connection_policy: "test".into(),
        machine: Machine { os: "linux".into(), arch: "x86_64".into(), cores: 2, cpu_quota_cores: None },
        origins: Origins::new(),
        plan_hash: "0".into(),
        seed: 1,
        calibration: None,
        preflight: vec![],
        prices: crate::prices::Prices::from_plan(&plan).rows_for(&cells),
        only: vec![],
        order: execution_order(&cells, &plan.load, 1),
        planned_runs: vec![
            report(0, CellRunEnd::Finished, None, 40),
            report(1, CellRunEnd::Finished, None, 80),
            report(
                2,
                CellRunEnd::Aborted,
                Some("its first 5 requests were all refused: ValidationException: no such tier"),
                5,
            ),
        ],
        cells: cells.into_iter().map(|cell| PlannedCell { cell, cell_hash: "0".into() }).collect(),
        plan,
        shards: None,
    }
}

/// A request of a cell: sent at `sent_ms`, `took_ms` long.
fn record(cell: usize, seq: u64, sent_ms: f64, took_ms: f64, outcome: Outcome) -> Record {
    let success = outcome == Outcome::Succeeded;
    let (class, message) = match outcome {
        Outcome::Throttled => (Some("ThrottlingException"), Some("Too many tokens, please wait")),
        Outcome::Failed => (Some("ValidationException"), Some("no such tier, <b>\"really\"</b>")),
        Outcome::Succeeded | Outcome::Censored => (None, None),
    };
    Record {
        timestamp: (STARTED_MS + 5_000 * cell as u64) as f64 / 1e3 + (sent_ms + took_ms) / 1e3,
        response_time_ms: took_ms,
        input_tokens: success.then_some(6),
        output_tokens: success.then_some(10 + seq % 2),
        total_tokens: success.then_some(16 + seq % 2),
        success,
        repetition: 1,
        cell_attempt: 1,
        shard: None,
        user: Some((seq % 2) as u32),
        seq,
        phase: if sent_ms < 200.0 { Phase::Ramp } else { Phase::Steady },
        outcome,
        error_class: class.map(str::to_owned),
        error_message: message.map(str::to_owned),
        http_status: match outcome {
            Outcome::Succeeded => Some(200),
            Outcome::Throttled => Some(429),
            Outcome::Failed => Some(400),
            Outcome::Censored => None,
        },
        request_id: Some(format!("id-{seq}")),
        stop_reason: success.then(|| "end_turn".into()),
        resolved_service_tier: success.then(|| "default".into()),
        validity: None,
        cache_read_tokens: (success && cell == 1).then_some(6),
        cache_write_tokens: None,
        server_latency_ms: Some(took_ms as i64),
        due_ms: None,
        sent_ms,
        send_lag_ms: 0.2,
        service_time_ms: None,
        ttft_ms: None,
        ttfat_ms: None,
        e2e_ms: None,
        tpot_ms: None,
        chunks: None,
        chunk_gap_p50_ms: None,
        chunk_gap_max_ms: None,
        prompt: None,
        prompt_line: None,
        prompt_same_as: None,
        prompt_text: None,
        reply_text: None,
        response_bytes: success.then_some(400),
        connection: Some(Connection::Reused),
        protocol: Some("http/1.1".into()),
        implausible_values: None,
        connect_ms: None,
    }
}

fn records() -> Vec<(usize, Record)> {
    let mut records = Vec::new();
    for seq in 0..40_u64 {
        let outcome = if seq % 10 == 9 { Outcome::Throttled } else { Outcome::Succeeded };
        records.push((0, record(0, seq, seq as f64 * 100.0, 100.0 + seq as f64, outcome)));
    }
    for seq in 0..80_u64 {
        let outcome = if seq == 79 { Outcome::Censored } else { Outcome::Succeeded };
        records.push((1, record(1, seq, seq as f64 * 50.0, 200.0 + seq as f64, outcome)));
    }
    for seq in 0..5_u64 {
        records.push((2, record(2, seq, seq as f64 * 10.0, 5.0, Outcome::Failed)));
    }
    records
}

/// Writes that run as its recorder would, for tests of other modules.
pub(crate) fn write_run(dir: &std::path::Path) {
    let manifest = manifest();
    let taken = crate::record::acquire::take(dir, false).unwrap();
    let identities = crate::record::journal::identities(&manifest);
    let mut journal = crate::record::journal::Journal::new(taken.journal, identities);
    for (cell, record) in &records() {
        journal.append(*cell, record).unwrap();
    }
    journal.sync().unwrap();
    crate::record::dir::write_manifest(dir, &manifest).unwrap();
}

fn view_of(manifest: &Manifest, records: &[(usize, Record)]) -> View {
    let mut collector = Collector::new(manifest);
    for (cell, record) in records {
        collector.add(*cell, record);
    }
    let summary = collector.finish_in_memory();
    build(manifest, &summary, &evaluate(manifest, &summary))
}

fn built_in() -> Templates {
    Templates::new(Vec::new())
}

/// Every file of the small run, rendered once.
fn files() -> &'static [Rendered] {
    static FILES: std::sync::OnceLock<Vec<Rendered>> = std::sync::OnceLock::new();
    FILES.get_or_init(|| {
        let view = view_of(&manifest(), &records());
        FORMATS.iter().flat_map(|format| format(&view, &built_in()).unwrap()).collect()
    })
}

fn text(name: &str) -> String {
    let file = files().iter().find(|file| file.path.to_str() == Some(name)).unwrap_or_else(|| panic!("no {name}"));
    String::from_utf8(file.bytes.clone()).unwrap()
}

/// A page without its frame.
fn main_of(page: &str) -> &str {
    &page[page.find("<main").unwrap()..page.find("</main>").unwrap()]
}

#[test]
fn every_text_format() {
    insta::assert_snapshot!("consolidated", text("consolidated_results_20261124_091603.csv"));
    for kind in ["stats", "stats_history", "failures"] {
        let csv = text(&format!("test_us_default_small_u2_{kind}.csv"));
        assert!(csv.lines().count() > 1 && csv.split_inclusive('\n').all(|line| line.ends_with("\r\n")), "{kind}");
        insta::assert_snapshot!(kind, csv.replace("\r\n", "\n"));
    }
    insta::assert_snapshot!(
        "stats_of_a_cell_that_never_began",
        text("test_us_flex_small_u4_stats.csv").replace("\r\n", "\n")
    );
    insta::assert_snapshot!("page", main_of(&text("test_us_flex_small_u2_report.html")));
    insta::assert_snapshot!("report", main_of(&text("report.html")));
    insta::assert_snapshot!("end_of_run", crate::terminal::table::summary(&view_of(&manifest(), &records()), 110));
}

/// As `manifest`, with thresholds.
fn bounded(toml: &str) -> Manifest {
    #[derive(serde::Deserialize)]
    struct Thresholds {
        slo: Vec<crate::plan::Slo>,
    }
    let mut manifest = manifest();
    manifest.plan.slo = toml::from_str::<Thresholds>(toml).unwrap().slo;
    manifest
}

#[test]
fn verdicts_in_every_place() {
    let manifest = bounded(
        "[[slo]]\nname = \"<fast>\"\np50 = \"210ms\"\np95 = \"200ms\"\np99 = \"1s\"\nfailure_rate = \"5%\"\n\
         requests_per_sec = { min = 15 }\ngoodput = { min = 15, e2e = \"230ms\" }\noutput_tokens_per_sec = { min = 500 }\n\
         [[slo]]\nwhen = { service_tier = \"default\", users = 2 }\nthrottle_rate = \"0.1%\"\n",
    );
    let view = view_of(&manifest, &records());
    let files: Vec<Rendered> = FORMATS.iter().flat_map(|format| format(&view, &built_in()).unwrap()).collect();
    let text = |name: &str| {
        let file = files.iter().find(|file| file.path.to_str() == Some(name)).unwrap();
        String::from_utf8(file.bytes.clone()).unwrap()
    };
    insta::assert_snapshot!("slo", text("slo.csv"));
    let page = text("test_us_default_small_u2_report.html");
    let section = &page[page.find("<h2>Thresholds</h2>").unwrap()..page.find("<h2>Response times").unwrap()];
    insta::assert_snapshot!("slo_on_a_page", section);
    let shown = crate::terminal::table::summary(&view, 110);
    let section = &shown[shown.find("thresholds: ").unwrap()..shown.find("Average response").unwrap()];
    insta::assert_snapshot!("slo_at_the_end_of_a_run", section);
    let word = |cell: &crate::report::view::CellView| cell.result.verdict.map_or("", Verdict::key);
    assert_eq!(view.cells.iter().map(word).collect::<Vec<_>>(), ["FAIL", "FAIL", "INCONCLUSIVE", "INCONCLUSIVE"]);
}

#[test]
fn bound_inside_the_interval_is_inconclusive() {
    let scrambled = |seq: u64| record(1, seq, seq as f64 * 50.0, 200.0 + (seq * 37 % 80) as f64, Outcome::Succeeded);
    let records: Vec<(usize, Record)> = (0..80).map(|seq| (1, scrambled(seq))).collect();
    let verdict = |slo: &str| {
        let manifest = bounded(&format!("[[slo]]\nwhen = {{ service_tier = \"default\", users = 4 }}\n{slo}\n"));
        let row = view_of(&manifest, &records).slo.rows[0].clone();
        let value = |quantity: Option<Quantity>| quantity.map(Quantity::value);
        (
            row.verdict.key(),
            value(row.low).unwrap(),
            value(row.measured).unwrap(),
            value(row.high).unwrap_or(f64::INFINITY),
        )
    };
    let (_, low, value, high) = verdict("p50 = \"1h\"");
    assert!(low < value && value < high, "{low} {value} {high}");
    let at = |ms: f64| verdict(&format!("p50 = \"{ms}ms\"")).0;
    assert_eq!([at(high), at(high - 1.0), at(low), at(low - 1.0)], ["PASS", "INCONCLUSIVE", "INCONCLUSIVE", "FAIL"]);
    let (_, low, _, high) = verdict("requests_per_sec = { min = 1 }");
    let at = |min: f64| verdict(&format!("requests_per_sec = {{ min = {min} }}")).0;
    assert_eq!([at(low), at(low + 1e-9), at(high), at(high + 1e-9)], ["PASS", "INCONCLUSIVE", "INCONCLUSIVE", "FAIL"]);
}

#[test]
fn comparison_with_default_is_in_every_output() {
    let (mut manifest, _) = streams();
    manifest.plan.matrix.service_tiers = vec!["default".into(), "flex".into(), "priority".into()];
    let cells = expand(&manifest.plan);
    manifest.planned_runs = cells
        .iter()
        .take(2)
        .map(|cell| CellRunReport { test_id: cell.id.clone(), load_ms: 60_000.0, ..manifest.planned_runs[0].clone() })
        .collect();
    manifest.cells = cells.into_iter().map(|cell| PlannedCell { cell, cell_hash: "0".into() }).collect();
    let half = r#"{ "model_id": "amazon.nova-premier-v1:0", "service_tier": "flex", "input": 1.25, "output": 6.25, "source": "half" }"#;
    manifest.prices.push(serde_json::from_str(half).unwrap());
    // Flex takes 1.5 times as long, and its replies are longer by a half.
    let record = |cell: usize, seq: u64| {
        let sent_ms = seq as f64 * 100.0;
        let took_ms = (300.0 + (seq * 37 % 100) as f64) * if cell == 1 { 1.5 } else { 1.0 };
        let mut record = record(cell, seq, sent_ms, took_ms, Outcome::Succeeded);
        record.due_ms = Some(sent_ms);
        record.service_time_ms = Some(took_ms);
        record.ttft_ms = Some(took_ms / 5.0);
        record.cache_read_tokens = None;
        record.output_tokens = record.output_tokens.map(|tokens| tokens + 5 * cell as u64);
        record.resolved_service_tier =
            (!seq.is_multiple_of(100)).then(|| if cell == 1 { "flex".into() } else { "default".into() });
        record
    };
    let records: Vec<_> = (0..2).flat_map(|cell| (0..600).map(move |seq| (cell, record(cell, seq)))).collect();
    let view = view_of(&manifest, &records);
    let expected = "flex is 1.50x slower at p50";
    assert!(view.tiers.tiers[0].result.sentence.starts_with(expected), "{}", view.tiers.tiers[0].result.sentence);
    assert_eq!(view.run.notes.len(), 1);
    assert!(
        view.run.notes[0].starts_with("12 of 1,200 successful replies name no service tier"),
        "{:?}",
        view.run.notes
    );

    // 6 tokens in and 10.5 out for 2.5 and 12.5 USD per million, against 6 and 15.5 for half of it.
    let price = view.tiers.tiers[0].result.differences.iter().find(|row| row.metric == "cost_per_1k_requests").unwrap();
    let (default, tier) = (price.default.unwrap().value(), price.tier.unwrap().value());
    assert!((default - 0.146_25).abs() < 1e-9 && (tier - 0.104_375).abs() < 1e-9);
    assert_eq!(price.verdict, "cheaper");

    let csv = super::tiers::render(&view, &built_in()).unwrap().remove(0);
    insta::assert_snapshot!("tiers", String::from_utf8(csv.bytes).unwrap());
    let end = crate::terminal::table::summary(&view, 110);
    let section = |text: &str, from: &str, to: &str| {
        let start = text.find(from).unwrap_or_else(|| panic!("no {from} in {text}"));
        text[start..start + text[start..].find(to).unwrap()].to_owned()
    };
    insta::assert_snapshot!("end_of_run_with_tiers", section(&end, "Tiers against default", "\n\nAverage"));
    assert_eq!(end.matches("name no service tier").count(), 1, "once a run");
    let pages: Vec<String> = super::html::render(&view, &built_in())
        .unwrap()
        .into_iter()
        .map(|page| String::from_utf8(page.bytes).unwrap())
        .collect();
    insta::assert_snapshot!("page_with_tiers", section(&pages[1], "<h2>Against default", "</details>"));
    assert!(!pages[0].contains("Against default") && pages[2].contains("priority was not run"));
    assert!(pages.iter().all(|page| page.matches("name no service tier").count() == 1));
}

#[test]
fn every_chart() {
    use crate::report::charts::svg;
    let charts = view_of(&manifest(), &records()).charts;
    for (stem, figure) in &charts {
        insta::assert_snapshot!(
            format!("chart_{stem}"),
            svg::file(figure, 0).replace(svg::STYLE, "").replace('>', ">\n")
        );
        assert!(crate::record::dir::CHART_STEMS.contains(stem), "--overwrite leaves {stem}");
    }
    let pictures = files().iter().filter(|file| file.path.starts_with("charts"));
    assert_eq!(pictures.filter(|picture| picture.bytes.starts_with(b"\x89PNG")).count(), charts.len());
}

#[test]
fn journal_line_and_manifest() {
    let (manifest, written) = (manifest(), records());
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path());
    let read = crate::record::read::manifest(dir.path()).unwrap();
    assert_eq!(read, manifest);
    let records: Vec<_> = crate::record::read::Records::open(dir.path(), &read).unwrap().map(Result::unwrap).collect();
    let of = |(cell, record)| (crate::record::read::RecordOwner::Cell(cell), record);
    assert_eq!(records, written.into_iter().map(of).collect::<Vec<_>>());
    let text = std::fs::read_to_string(dir.path().join("token_data.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    insta::assert_snapshot!("journal", format!("{}\n{}\n{}", lines[0], lines[9], lines[119]));
    insta::assert_snapshot!("manifest", std::fs::read_to_string(dir.path().join("manifest.json")).unwrap());
}

#[test]
fn headers_are_locusts() {
    let first = |name: &str| text(name).lines().next().unwrap().to_owned();
    assert_eq!(
        first("test_us_default_small_u2_stats.csv"),
        "Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,Max Response Time,Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%"
    );
    assert_eq!(
        first("test_us_default_small_u2_stats_history.csv"),
        "Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%,Total Request Count,Total Failure Count,Total Median Response Time,Total Average Response Time,Total Min Response Time,Total Max Response Time,Total Average Content Size"
    );
    assert_eq!(first("test_us_default_small_u2_failures.csv"), "Method,Name,Error,Occurrences,First Seen,Last Seen");
}

#[test]
fn the_numbers_of_a_known_cell() {
    let view = view_of(&manifest(), &records());
    let cell = &view.cells[0];
    // Ramp 200 ms and s = p95 of the 36 successes (the 35th: 137 ms): from 337 ms on, so the 36 requests from seq 4.
    let counts = cell.result.requests.counts;
    assert_eq!((counts.total, counts.succeeded, counts.throttled), (40, 36, 4));
    assert_eq!(cell.result.response_time.samples, 32);
    assert_eq!((cell.result.response_time.min_ms, cell.result.response_time.max_ms), (Some(104.0), Some(138.0)));
    // The 16th of them: seq 4 to 8 and 10 to 18 are 14, then 20 and 21.
    assert_eq!(cell.result.response_time.at(0.50), Some(121.0));
    assert_eq!(crate::report::view::text::percentile_of_times(&cell.result.response_time, 0.99), "n/a (32 samples)");
    // Ends from 337 ms to 4,000 ms: seq 3 (403 ms) to 38 (3,938 ms), of any outcome.
    let rate = 36.0 / 3.663;
    assert!((cell.result.requests_per_sec.unwrap() - rate).abs() < 1e-9, "{:?}", cell.result.requests_per_sec);
}

/// One cell: 10 streams a second for 4 s, two of which came all at once and one of which never ended.
fn streams() -> (Manifest, Vec<(usize, Record)>) {
    let mut manifest = manifest();
    let plan = &mut manifest.plan;
    plan.matrix.service_tiers = vec!["default".into()];
    plan.matrix.user_counts = Vec::new();
    plan.matrix.arrival_rates = vec![crate::units::Rate(10.0)];
    plan.target.api = Some(crate::plan::Api::ConverseStream);
    plan.goodput.ttft = Some(Duration::from_millis(70));
    plan.report.percentiles = vec![90.0, 99.5];
    plan.report.include_ramp = true;
    let cells = expand(plan);
    manifest.order = execution_order(&cells, &plan.load, 1);
    manifest.planned_runs.truncate(1);
    manifest.planned_runs[0].test_id.clone_from(&cells[0].id);
    manifest.planned_runs[0].dropped = 3;
    manifest.cells = cells.into_iter().map(|cell| PlannedCell { cell, cell_hash: "0".into() }).collect();
    let stream = |seq: u64| {
        let due_ms = seq as f64 * 100.0;
        let took_ms = 300.0 + seq as f64;
        let outcome = if seq == 39 { Outcome::Failed } else { Outcome::Succeeded };
        let mut record = record(0, seq, due_ms, took_ms + 0.5, outcome);
        record.user = None;
        record.due_ms = Some(due_ms);
        record.sent_ms = due_ms + 0.5;
        record.send_lag_ms = 0.5;
        record.service_time_ms = Some(took_ms);
        let ttft_ms = if seq < 2 { 290.0 } else { 50.0 + seq as f64 };
        record.ttft_ms = Some(ttft_ms);
        record.ttfat_ms = record.ttft_ms;
        record.chunks = Some(5);
        record.chunk_gap_max_ms = Some(60.0);
        if outcome == Outcome::Succeeded {
            record.e2e_ms = Some(took_ms);
            record.tpot_ms = record.output_tokens.map(|tokens| (took_ms - ttft_ms) / (tokens - 1) as f64);
        } else {
            record.error_class = Some("stream_timeout".into());
        }
        (0, record)
    };
    (manifest, (0..40).map(stream).collect())
}

#[test]
fn the_numbers_of_known_streams() {
    let (manifest, records) = streams();
    let view = view_of(&manifest, &records);
    let cell = &view.cells[0];
    assert_eq!(cell.id, "us_default_small_r10");
    // The 40 responses are 300.5 to 339.5 ms, the last of them cut off; served 0.5 ms faster.
    assert_eq!(cell.result.response_time.at(0.50), Some(319.5));
    assert_eq!(cell.result.service_time.as_ref().unwrap().at(0.50), Some(319.0));
    // 40 first tokens, also that of the stream that was cut: 52 to 89 ms, and 290 ms twice.
    assert_eq!(
        cell.result.time_to_first_token.as_ref().map(|ttft| (ttft.samples, ttft.at(0.50))),
        Some((40, Some(71.0)))
    );
    // Two of the 39 successes came all at once and have no time per token.
    assert_eq!(cell.result.time_per_output_token.as_ref().unwrap().samples, 37);
    assert!(cell.result.warnings.iter().any(|warning| warning.key == "bursts"));
    assert!(cell.result.warnings.iter().any(|warning| warning.key == "dropped_starts"));
    // A first token within 70 ms of the intended start: seq 2 to 19, all of which ended within the 4 s.
    assert_eq!(cell.result.goodput_per_sec, Some(18.0 / 4.0));
    assert_eq!(cell.result.client.measurements.send_lag_p99_ms, Some(0.5));
    let files: Vec<Rendered> = FORMATS.iter().flat_map(|format| format(&view, &built_in()).unwrap()).collect();
    let text = |name: &str| {
        let file = files.iter().find(|file| file.path.to_str() == Some(name)).unwrap();
        String::from_utf8(file.bytes.clone()).unwrap()
    };
    insta::assert_snapshot!("consolidated_of_streams", text("consolidated_results_20261124_091603.csv"));
    insta::assert_snapshot!("page_of_streams", main_of(&text("test_us_default_small_r10_report.html")));
    insta::assert_snapshot!("histogram", text("histograms/us_default_small_r10.hlog"));
}

#[test]
fn invalid_cells_are_marked_in_every_output() {
    let (mut manifest, mut records) = streams();
    for second in &mut manifest.planned_runs[0].series {
        second.cpu_ms = Some(1_900.0);
    }
    for (_, record) in &mut records {
        record.send_lag_ms = 7.25;
    }
    let view = view_of(&manifest, &records);
    let reason = "INVALID: send lag p99 7.25 ms > 5.00 ms; CPU 95 % > 80 %";
    assert_eq!(view.cells[0].result.validity.to_string(), reason);
    for format in FORMATS {
        for file in format(&view, &built_in()).unwrap() {
            let name = file.path.display().to_string();
            if name.starts_with("consolidated") {
                assert!(String::from_utf8(file.bytes).unwrap().contains(reason), "{name}");
            } else if file.path.extension().is_some_and(|extension| extension == "html") {
                let page = String::from_utf8(file.bytes).unwrap();
                let expected = match name.as_str() {
                    "report.html" => "send lag p99 7.25 ms &gt; 5.00 ms; CPU 95 % &gt; 80 %",
                    _ => "INVALID: this machine spoiled the numbers (send lag p99 7.25 ms",
                };
                assert!(page.contains(expected), "{page}");
            }
        }
    }
    assert!(view.charts.iter().all(|(_, figure)| figure.marks.iter().any(|note| note.contains(reason))));
    assert!(crate::terminal::table::summary(&view, 110).contains("INVALID: this machine spoiled"));
}

#[test]
fn calibration_is_in_every_report() {
    use crate::record::manifest::{Calibration, Paired, PercentileError};
    let mut manifest = manifest();
    let error = |p, server_ms, client_ms| PercentileError { p, server_ms, client_ms };
    manifest.calibration = Some(Calibration {
        load: "90 users, converse".into(),
        requests: 1_234,
        unmatched: 0,
        paired: Paired { p50_ms: 0.08, p99_ms: 0.3, max_ms: 1.0 },
        ttft: None,
        percentiles: vec![error(50.0, 200.0, 200.1), error(95.0, 240.0, 240.35)],
    });
    let view = view_of(&manifest, &records());
    let expected =
        "On this machine, at this load (90 users, converse), these numbers are off by at most 0.35 ms at p50, p95";
    let calibration = view.run.calibration.as_ref().unwrap();
    assert!(calibration.starts_with(expected), "{calibration}");
    assert!(view.charts.iter().all(|(_, figure)| figure.marks.iter().any(|note| note.starts_with(expected))));
    let summary = crate::terminal::table::summary(&view, 110);
    assert!(summary.contains(expected), "{summary}");
    let pages = crate::report::html::render(&view, &built_in()).unwrap();
    assert!(pages.iter().all(|page| String::from_utf8_lossy(&page.bytes).contains(expected)));
}

fn outcomes() -> impl Strategy<Value = Vec<(u8, Outcome, f64, f64)>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Succeeded), 1 => Just(Outcome::Throttled), 1 => Just(Outcome::Failed), 1 => Just(Outcome::Censored)
    ];
    prop::collection::vec((0_u8..3, outcome, 0.0_f64..4_000.0, 1.0_f64..3_000.0), 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn requests_are_counted_once(requests in outcomes(), rotate in 0_usize..200) {
        let manifest = manifest();
        let mut records: Vec<(usize, Record)> = requests.iter().enumerate()
            .map(|(seq, (cell, outcome, sent, took))| (usize::from(*cell), record(usize::from(*cell), seq as u64, *sent, *took, *outcome)))
            .collect();
        let view = view_of(&manifest, &records);
        let total: u64 = view.cells.iter().map(|cell| cell.result.requests.counts.total).sum();
        prop_assert_eq!(total, records.len() as u64);
        for cell in &view.cells {
            let counts = &cell.result.requests.counts;
            prop_assert_eq!(counts.total, counts.succeeded + counts.failures() + counts.censored);
            prop_assert_eq!(counts.failures(), counts.throttled + counts.failed);
            prop_assert_eq!(counts.failures(), cell.result.errors.iter().map(|error| error.count).sum::<u64>());
            let last = cell.history.last().map_or(0, |row| row.total_requests);
            prop_assert_eq!(last, counts.total);
        }
        if !records.is_empty() {
            let by = rotate % records.len();
            records.rotate_left(by);
        }
        let again = view_of(&manifest, &records);
        for (one, other) in view.cells.iter().zip(&again.cells) {
            prop_assert_eq!(serde_json::to_string(one).unwrap(), serde_json::to_string(other).unwrap());
        }
    }
}
