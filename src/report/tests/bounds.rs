//! What people read is bounded, however many cells, repetitions and kinds of errors a run has.

use super::{Outcome, Record, bounded, built_in, manifest, record, records, view_of};
use crate::matrix::{expand, order::execution_order};
use crate::plan::Slo;
use crate::record::manifest::{CellRunEnd, CellRunReport, Manifest, PlannedCell};
use crate::report::ci::{self, Kind};
use crate::report::view::View;
use crate::terminal;

/// Three letters that no other number has.
fn word(n: u64) -> String {
    [n / 676, n / 26, n].map(|n| char::from(b'a' + (n % 26) as u8)).iter().collect()
}

/// Builds a run with a number of cells, each with the same few requests, of which three in five fail.
fn many(cells: u32, error: impl Fn(u64) -> Option<(String, String)>) -> (Manifest, Vec<(usize, Record)>) {
    let mut manifest = manifest();
    let plan = &mut manifest.plan;
    plan.matrix.service_tiers = vec!["default".into(), "priority".into(), "flex".into()];
    plan.matrix.user_counts = (1..=cells / 3).collect();
    let cells = expand(plan);
    manifest.order = execution_order(&cells, &plan.load, 1);
    let first = manifest.planned_runs[0].clone();
    manifest.planned_runs =
        cells.iter().map(|cell| CellRunReport { test_id: cell.id.clone(), requests: 5, ..first.clone() }).collect();
    let mut records = Vec::new();
    for index in 0..cells.len() {
        for seq in 0..5 {
            let failure = error(5 * index as u64 + seq).filter(|_| seq % 2 == 0);
            let outcome = if failure.is_some() { Outcome::Failed } else { Outcome::Succeeded };
            let mut record = record(index, seq, 300.0 + seq as f64 * 100.0, 50.0, outcome);
            (record.error_class, record.error_message) = failure.unzip();
            records.push((index, record));
        }
    }
    manifest.cells = cells.into_iter().map(|cell| PlannedCell { cell, cell_hash: "0".into() }).collect();
    (manifest, records)
}

fn markdown(view: &View) -> String {
    String::from_utf8(ci::of_run(Kind::Markdown, view, &built_in()).unwrap()).unwrap()
}

fn all_failures(view: &View) -> u64 {
    view.failures.iter().map(|failure| failure.count).sum()
}

#[test]
fn chunk_counts_do_not_make_kinds_of_errors() {
    let mut records = records();
    for n in 0..2_000_u64 {
        let mut failed = record(1, 100 + n, n as f64, 20.0, Outcome::Failed);
        failed.error_class = Some("stream_incomplete".into());
        failed.error_message = Some(format!("the stream ended after {n} chunks"));
        records.push((1, failed));
    }
    let view = view_of(&manifest(), &records);
    let shown = "2000 x stream_incomplete: the stream ended after N chunks";
    let terminal = terminal::table::summary(&view, 110);
    assert_eq!(terminal.matches("stream_incomplete").count(), 1, "{terminal}");
    assert!(terminal.contains(&format!("! us_default_small_u4: {shown}\n")), "{terminal}");
    let markdown = markdown(&view);
    assert!(markdown.contains(&format!("- {shown} (us_default_small_u4)")), "{markdown}");
    assert!(markdown.len() < 10_000, "{}", markdown.len());
    let errors: Vec<_> = view.errors.iter().map(|class| (class.class.as_str(), class.messages.len())).collect();
    assert_eq!(errors[0], ("stream_incomplete", 1), "the page lists one message");
    let files = crate::report::FORMATS.iter().flat_map(|format| format(&view, &built_in()).unwrap());
    let csv =
        files.into_iter().find(|file| file.path.to_str() == Some("test_us_default_small_u4_failures.csv")).unwrap();
    let csv = String::from_utf8(csv.bytes).unwrap();
    assert!(csv.starts_with("Method,Name,Error,Occurrences,First Seen,Last Seen\r\n"), "{csv}");
    assert!(csv.contains(",stream_incomplete: the stream ended after N chunks,2000,"), "{csv}");
}

#[test]
fn nine_hundred_cells_with_two_thousand_kinds_of_errors_stay_readable() {
    let long = "x".repeat(400);
    let (mut manifest, records) =
        many(900, |n| Some((format!("Class{}", word(n / 40)), format!("{}: {long}", word(n)))));
    manifest.plan.slo = [
        "name = \"never\"\np50 = \"1ms\"\np95 = \"1ms\"\np99 = \"1ms\"\nfailure_rate = \"1%\"\n",
        "name = \"also never\"\nthrottle_rate = \"1%\"\nrequests_per_sec = { min = 9000 }\n",
    ]
    .map(|slo| toml::from_str::<Slo>(slo).unwrap())
    .into();
    let view = view_of(&manifest, &records);
    assert_eq!((view.cells.len(), view.failures.len()), (900, 2_700));
    assert_eq!(all_failures(&view), 2_700, "none is lost");
    let markdown = markdown(&view);
    assert!(markdown.len() < 60_000, "{} bytes", markdown.len());
    for line in ["... and 2,680 more in summary.json", "more in slo.csv", "... and 570 more in tiers.csv"] {
        assert!(markdown.contains(line), "{line}: {markdown}");
    }
    assert_eq!(markdown.matches("<details>").count(), markdown.matches("</details>").count());
    let terminal = terminal::table::summary(&view, 110);
    let lines = terminal.lines().count();
    assert!(lines < 600, "{lines} lines: {terminal}");
    for line in ["... and 2,680 more in summary.json", "... and 800 more in consolidated_results_20261124_091603.csv"] {
        assert!(terminal.contains(line), "{line}: {terminal}");
    }
    let page = crate::report::html::run(&view, &built_in()).unwrap().remove(0);
    let page = String::from_utf8(page.bytes).unwrap();
    assert!(page.contains("and 850 more in summary.json"), "a notice lists 50 of 900 cells");
    assert!(page.contains("more in slo.csv"), "and the table of thresholds ends");
}

#[test]
fn very_long_names_do_not_make_markdown_too_long() {
    let (mut manifest, records) = many(90, |_| None);
    for planned in &mut manifest.cells {
        planned.cell.id = format!("{}-{}", "model".repeat(400), planned.cell.id);
    }
    let markdown = markdown(&view_of(&manifest, &records));
    assert!(markdown.len() < 60_000, "{} bytes", markdown.len());
    assert!(markdown.ends_with("(cut: summary.json contains all of it)\n"), "{markdown}");
}

#[test]
fn warning_of_many_cells_is_one_line() {
    let (mut manifest, mut records) = many(27, |_| None);
    for (_, record) in &mut records {
        record.cache_read_tokens = Some(3);
    }
    manifest.planned_runs[0].end = CellRunEnd::Interrupted;
    let terminal = terminal::table::summary(&view_of(&manifest, &records), 110);
    let lines: Vec<&str> = terminal.lines().filter(|line| line.contains("prompt cache")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn threshold_that_stopped_each_repetition_is_one_warning() {
    let mut manifest = bounded("[[slo]]\nname = \"fast\"\np95 = \"10ms\"\nabort_on_fail = true\n");
    let first = CellRunReport { end: CellRunEnd::FailedEarly, ..manifest.planned_runs[1].clone() };
    manifest.planned_runs = (1..=3)
        .map(|repetition| CellRunReport {
            repetition,
            reason: Some(format!(
                "p95 of fast cannot be met any more: {} of 240 requests took longer",
                200 + repetition
            )),
            ..first.clone()
        })
        .collect();
    let view = view_of(&manifest, &records());
    let warnings: Vec<&str> = view.cells[1]
        .result
        .warnings
        .iter()
        .filter(|warning| warning.key == "failed_early")
        .map(|warning| warning.text.as_str())
        .collect();
    assert_eq!(
        warnings,
        [
            "ended early; these numbers cover the part that ran: p95 of fast cannot be met any more: 201 of 240 requests took longer (3 of 3 repetitions)"
        ]
    );
}

#[test]
fn verdicts_with_the_same_reason_are_one_line() {
    let (mut manifest, records) = many(27, |_| None);
    manifest.plan.slo = vec![toml::from_str("name = \"fast\"\np95 = \"1s\"\np99 = \"2s\"\n").unwrap()];
    let terminal = terminal::table::summary(&view_of(&manifest, &records), 110);
    let lines: Vec<&str> =
        terminal.lines().filter(|line| line.starts_with("! ") && line.contains("INCONCLUSIVE")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn comparison_of_many_cells_is_bounded() {
    use crate::report::compare::{About, build};
    use crate::verdict::compare::compare;
    use crate::verdict::compare::tests::{cell, session};
    let cells = |prefix: &str, factor: f64| -> Vec<_> {
        (0..900).map(|n| cell(&format!("flex_{prefix}{}", word(n)), 100.0 * factor)).collect()
    };
    let base: Vec<_> = (0..5).map(|n| session(n, cells("", 1.0 + n as f64 / 100.0))).collect();
    let mut slower = cells("", 1.5);
    slower.truncate(500);
    slower.extend(cells("other_", 1.0));
    let new = [session(9, slower)];
    let dirs = ["new".to_owned()];
    let about = About { baseline: Some("b.json"), against: "b.json", dirs: &dirs, name: "nova" };
    let view = build(&about, &base, &new, &compare(&base, &new));
    assert!(view.rows.len() >= 1_000 && view.unmatched.len() >= 1_300);
    let markdown = String::from_utf8(ci::of_comparison(Kind::Markdown, &view, &built_in()).unwrap()).unwrap();
    assert!(markdown.len() < 60_000, "{} bytes", markdown.len());
    assert!(markdown.contains("... and 900 more: `--format json` lists all"), "{markdown}");
    let terminal = terminal::compare::comparison(&view, 110);
    assert!(terminal.lines().count() < 400, "{terminal}");
    assert!(terminal.contains("... and 900 more in the output of `compare --format json`"), "{terminal}");
}
