//! `include_failures` changes the latencies that reports show, and nothing that is decided.

use super::{FORMATS, Outcome, Record, View, build, built_in, evaluate, record, streams};
use crate::matrix::{expand, order::execution_order};
use crate::record::manifest::{CellRunReport, Manifest, PlannedCell};
use crate::report::ci::{self, Kind};
use crate::report::html;
use crate::stats::{Collector, Summary};
use crate::terminal;
use crate::verdict::baseline;
use crate::verdict::slo::is_failed;
use std::collections::BTreeMap;

/// Two tiers in an open loop. Three of five requests are throttled at once: with them the medians are 1 ms, and a send
/// lag of 7 ms would make the cells INVALID.
fn run(include_failures: bool) -> (Manifest, Vec<(usize, Record)>) {
    let (mut manifest, _) = streams();
    let plan = &mut manifest.plan;
    plan.target.api = None;
    plan.goodput = crate::plan::Goodput::default();
    plan.matrix.service_tiers = vec!["default".into(), "flex".into()];
    plan.report.include_failures = include_failures;
    plan.slo = vec![
        toml::from_str(
            "name = \"fast\"\np50 = \"1200ms\"\np95 = \"1600ms\"\nservice_p50 = \"1200ms\"\nfailure_rate = \"70%\"\n\
             requests_per_sec = { min = 1 }\non_inconclusive = \"fail\"\n",
        )
        .unwrap(),
    ];
    let cells = expand(plan);
    manifest.order = execution_order(&cells, &plan.load, 1);
    let first = manifest.planned_runs[0].clone();
    manifest.planned_runs = cells
        .iter()
        .map(|cell| CellRunReport {
            test_id: cell.id.clone(),
            load_ms: 60_000.0,
            requests: 600,
            dropped: 0,
            ..first.clone()
        })
        .collect();
    manifest.cells = cells.into_iter().map(|cell| PlannedCell { cell, cell_hash: "0".into() }).collect();
    let of_cell = |cell: usize| {
        (0..600_u64).map(move |seq| {
            let outcome = if seq % 5 < 3 { Outcome::Throttled } else { Outcome::Succeeded };
            let slow_ms = (1_000.0 + (seq * 37 % 100) as f64) * if cell == 1 { 1.5 } else { 1.0 };
            let took_ms = if outcome == Outcome::Throttled { 1.0 } else { slow_ms };
            let mut record = record(cell, seq, seq as f64 * 100.0, took_ms, outcome);
            record.due_ms = Some(record.sent_ms);
            record.service_time_ms = Some(took_ms);
            record.send_lag_ms = 7.0;
            record.cache_read_tokens = None;
            record.resolved_service_tier =
                record.success.then(|| if cell == 1 { "flex".into() } else { "default".into() });
            (cell, record)
        })
    };
    (manifest, (0..2).flat_map(of_cell).collect())
}

fn summarise(include_failures: bool) -> (Manifest, Summary) {
    let (manifest, records) = run(include_failures);
    let mut collector = Collector::new(&manifest);
    for (cell, record) in &records {
        collector.add(*cell, record);
    }
    let summary = collector.finish_in_memory();
    (manifest, summary)
}

fn view(include_failures: bool) -> View {
    let (manifest, summary) = summarise(include_failures);
    build(&manifest, &summary, &evaluate(&manifest, &summary))
}

/// Everything that is decided, by what decides it.
fn decided(include_failures: bool) -> BTreeMap<String, String> {
    let (manifest, summary) = summarise(include_failures);
    let results = evaluate(&manifest, &summary);
    let view = build(&manifest, &summary, &results);
    let json = |value: serde_json::Value| value.to_string();
    let mut decided = BTreeMap::from([
        ("exit code".to_owned(), is_failed(&manifest.plan.slo, &results).to_string()),
        ("session".into(), format!("{:?}", baseline::session_from_run(&manifest, &summary))),
        ("price".into(), json(serde_json::to_value(&view.price).unwrap())),
        ("tiers".into(), json(serde_json::to_value(&view.tiers).unwrap())),
        ("headline".into(), view.overview.headline.clone()),
    ]);
    for cell in &view.cells {
        let warnings: Vec<_> = cell.result.warnings.iter().map(|warning| &warning.text).collect();
        decided.insert(
            cell.id.clone(),
            format!(
                "{} {} {warnings:?}",
                cell.result.validity,
                cell.result.verdict.map_or("", crate::result::Verdict::key)
            ),
        );
    }
    for kind in [Kind::Junit, Kind::Benchmark, Kind::Emf] {
        let bytes = ci::of_run(kind, &view, &built_in()).unwrap();
        decided.insert(kind.key().into(), String::from_utf8(bytes).unwrap());
    }
    for file in FORMATS.iter().flat_map(|format| format(&view, &built_in()).unwrap()) {
        if ["slo.csv", "tiers.csv"].iter().any(|name| file.path.to_str() == Some(name)) {
            decided.insert(file.path.display().to_string(), String::from_utf8(file.bytes).unwrap());
        }
    }
    decided
}

#[test]
fn no_verdict_changes_with_the_latencies_that_are_shown() {
    let (without, with) = (decided(false), decided(true));
    for (key, decision) in &without {
        assert_eq!(Some(decision), with.get(key), "{key}");
    }
    assert_eq!(without.len(), with.len());
    assert!(without["slo.csv"].contains("PASS") && without["slo.csv"].contains("FAIL"), "{}", without["slo.csv"]);
    assert!(without["tiers.csv"].contains("slower"), "{}", without["tiers.csv"]);
    assert!(without["us_default_small_r10"].starts_with("ok "), "{without:#?}");
    let medians = [false, true].map(|include| view(include).cells[0].result.response_time.at(0.50).unwrap());
    assert!(medians[0] > 1_000.0 && medians[1] < 2.0, "the latencies that are shown do change: {medians:?}");
}

#[test]
fn pages_tables_and_charts_state_that_failures_are_included() {
    const BANNER: &str = "FAILURES INCLUDED";
    const CAPTION: &str = "The latencies shown here include failed and throttled requests.";
    for include in [false, true] {
        let view = view(include);
        let pages = html::run(&view, &built_in()).unwrap().into_iter().chain(html::render(&view, &built_in()).unwrap());
        for page in pages {
            let text = String::from_utf8(page.bytes).unwrap();
            assert_eq!(text.matches(BANNER).count(), usize::from(include), "{}", page.path.display());
        }
        let terminal = terminal::table::summary(&view, 110);
        assert_eq!(terminal.matches(BANNER).count(), usize::from(include), "{terminal}");
        let markdown = String::from_utf8(ci::of_run(Kind::Markdown, &view, &built_in()).unwrap()).unwrap();
        assert_eq!(markdown.matches(BANNER).count(), usize::from(include), "{markdown}");
        let labelled = |figures: &[(&'static str, crate::report::charts::Figure)]| -> Vec<&'static str> {
            let has_caption = |figure: &crate::report::charts::Figure| figure.notes.iter().any(|note| note == CAPTION);
            figures.iter().filter(|(_, figure)| has_caption(figure)).map(|(stem, _)| *stem).collect()
        };
        let charts = [
            "avg_latency_by_config",
            "p50_p95_comparison",
            "latency_by_prompt_size",
            "latency_heatmap",
            "latency_by_load",
            "percentiles",
        ];
        assert_eq!(labelled(&view.charts), if include { &charts[..] } else { &[] });
        let of_cell = ["times", "distribution", "curves"];
        assert_eq!(labelled(&view.cells[0].page.figures), if include { &of_cell[..] } else { &[] });
    }
}

#[test]
fn include_failures_pools_failures_with_successes() {
    let mut manifest = super::manifest();
    manifest.plan.report.include_failures = true;
    manifest.plan.report.include_ramp = true;
    let view = super::view_of(&manifest, &super::records());
    assert_eq!(
        (view.cells[0].result.response_time.samples, view.cells[0].result.success_response_time.samples),
        (40, 36)
    );
    assert_eq!(view.cells[0].result.response_time.max_ms, Some(139.0));
    assert_eq!(view.cells[2].result.response_time.samples, 5);
}
