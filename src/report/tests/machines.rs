//! A run that several machines made, in every place that tells of them.

use super::{CellRunEnd, CellRunReport, FORMATS, Manifest, Record, Rendered, View, bounded, build, built_in, evaluate};
use super::{Collector, manifest, records, view_of};
use crate::matrix::Shard;
use crate::record::Outcome;
use crate::record::manifest::{ClockState, FailedBound, Machine, Second, ShardPart, Shards};
use crate::record::merge::manifests;
use crate::result::Verdict;

/// What one of so many machines leaves of a run: every n-th request.
fn part_of(whole: &Manifest, index: u32, count: u32) -> Manifest {
    let share = |of: u64| Shard { index, count }.share(of);
    let cell_run = |cell_run: &CellRunReport| CellRunReport {
        requests: share(cell_run.requests),
        user_ms: cell_run.user_ms / f64::from(count),
        think_ms: cell_run.think_ms / f64::from(count),
        series: cell_run
            .series
            .iter()
            .map(|second| Second { users: share(second.users.into()) as u32, ..*second })
            .collect(),
        shard: Some(index),
        late_ms: Some(0.4 * f64::from(index)),
        ..cell_run.clone()
    };
    Manifest {
        planned_runs: whole.planned_runs.iter().map(cell_run).collect(),
        shards: Some(Shards {
            count,
            complete: false,
            parts: vec![ShardPart {
                index,
                host: format!("node-{index}"),
                machine: Machine {
                    os: "linux".into(),
                    arch: "x86_64".into(),
                    cores: 2 + index as usize,
                    cpu_quota_cores: None,
                },
                clock: Some(ClockState { synchronised: true, max_error_ms: 0.25 }),
                started_ms: whole.started_ms,
                ended_ms: whole.ended_ms,
                interrupted: false,
                reason: None,
            }],
        }),
        ..whole.clone()
    }
}

fn parts(whole: &Manifest, count: u32) -> Vec<Manifest> {
    (0..count).map(|index| part_of(whole, index, count)).collect()
}

fn part(manifest: &mut Manifest) -> &mut ShardPart {
    &mut manifest.shards.as_mut().unwrap().parts[0]
}

/// Each record on the machine that it is from.
fn spread(count: u32) -> Vec<(usize, Record)> {
    let on = |(cell, record): (usize, Record)| {
        let shard = Some((record.seq % u64::from(count)) as u32);
        (cell, Record { shard, ..record })
    };
    records().into_iter().map(on).collect()
}

/// What of it the machines that are here sent.
fn records_of_shards(shards: &[u32], count: u32) -> Vec<(usize, Record)> {
    spread(count).into_iter().filter(|(_, record)| record.shard.is_some_and(|shard| shards.contains(&shard))).collect()
}

fn files(view: &View) -> Vec<Rendered> {
    FORMATS.iter().flat_map(|format| format(view, &built_in()).unwrap()).collect()
}

fn text(files: &[Rendered], name: &str) -> String {
    let file = files.iter().find(|file| file.path.to_str() == Some(name)).unwrap_or_else(|| panic!("no {name}"));
    String::from_utf8(file.bytes.clone()).unwrap()
}

fn section(text: &str, from: &str, to: &str) -> String {
    let start = text.find(from).unwrap_or_else(|| panic!("no {from}"));
    text[start..start + text[start..].find(to).unwrap()].to_owned()
}

/// `summary.json` without what a run of one machine has too.
fn shards_json(files: &[Rendered]) -> String {
    let json: serde_json::Value = serde_json::from_str(&text(files, "summary.json")).unwrap();
    let cells: Vec<_> = json["cells"].as_array().unwrap().iter().map(|cell| cell.get("shards").cloned()).collect();
    format!("{:#}", serde_json::json!({ "shards": json["shards"], "notes": json["run"]["notes"], "cells": cells[..2] }))
}

#[test]
fn run_of_three_shards_describes_each() {
    let whole = manifests(parts(&manifest(), 3)).unwrap();
    let view = view_of(&whole, &spread(3));
    let files = files(&view);
    insta::assert_snapshot!("machines_json", shards_json(&files));
    let page = section(&text(&files, "report.html"), "<details class=\"part\" id=\"machines\"", "</details>");
    insta::assert_snapshot!("machines_on_the_report", page);
    let page = section(&text(&files, "test_us_default_small_u2_report.html"), "<h3>Each machine</h3>", "</div>");
    insta::assert_snapshot!("machines_on_a_page", page);
    let sentence = "3 of 3 machines made these numbers, and began within 0.80 ms of each other by their own clocks, each of which is off by 0.25 ms at most";
    for name in ["report.html", "summary.md", "test_us_default_small_u2_report.html"] {
        assert!(text(&files, name).contains(sentence), "{name}");
    }
    assert!(crate::terminal::table::summary(&view, 110).contains(sentence));
    assert_eq!(view.cells[0].result.validity, crate::result::Validity::Ok);
}

#[test]
fn notes_describe_the_clocks_of_the_shards() {
    let notes_of = |clocks: [Option<ClockState>; 2]| {
        let mut parts = parts(&manifest(), 2);
        for (manifest, clock) in parts.iter_mut().zip(clocks) {
            part(manifest).clock = clock;
        }
        view_of(&manifests(parts).unwrap(), &spread(2)).run.notes
    };
    let good = Some(ClockState { synchronised: true, max_error_ms: 1.5 });
    let loose = Some(ClockState { synchronised: false, max_error_ms: 16_000.0 });
    let notes = [[good, good], [good, loose], [loose, loose], [None, good], [None, loose]]
        .map(|clocks| notes_of(clocks).join("\n"));
    insta::assert_snapshot!("clocks", notes.join("\n\n"));
}

/// Latency is of all requests: on how many machines they were made is not in it.
#[test]
fn the_numbers_of_a_cell_are_those_of_one_machine() {
    let alone = view_of(&manifest(), &records());
    let together = view_of(&manifests(parts(&manifest(), 3)).unwrap(), &spread(3));
    let files = [files(&alone), files(&together)];
    let mut kinds = 0;
    for file in &files[0] {
        let name = file.path.to_str().unwrap();
        if std::path::Path::new(name).extension().is_some_and(|kind| kind == "csv" || kind == "hlog") {
            assert_eq!(text(&files[1], name), text(&files[0], name), "{name}");
            kinds += 1;
        }
    }
    assert!(kinds > 10, "{kinds}");
    assert!(!text(&files[0], "summary.json").contains("shard"));
    for name in ["report.html", "test_us_default_small_u2_report.html"] {
        let page = text(&files[0], name);
        assert!(!page.contains("Machines") && !page.contains("Each machine"), "{name}");
    }
}

#[test]
fn one_machine_that_was_too_slow_spoils_the_cell_and_is_named() {
    let mut parts = parts(&manifest(), 3);
    // Four cores: nine tenths of them were busy.
    for second in &mut parts[2].planned_runs[0].series {
        second.cpu_ms = Some(3_600.0);
    }
    let mut records = spread(3);
    for (_, record) in records.iter_mut().filter(|(cell, record)| *cell == 1 && record.shard == Some(1)) {
        record.send_lag_ms = 9.0;
    }
    let view = view_of(&manifests(parts).unwrap(), &records);
    let validity: Vec<String> = view.cells.iter().map(|cell| cell.result.validity.to_string()).collect();
    assert_eq!(
        validity[..2],
        ["INVALID: shard 2: CPU 90 % > 80 %", "INVALID: shard 1: send lag p99 9.00 ms > 5.00 ms"]
    );
    assert_eq!(view.cells[0].result.client.measurements.cpu_share, Some(0.9), "the worst machine's");
    let files = files(&view);
    let page = section(&text(&files, "test_us_default_small_u2_report.html"), "<ul class=\"notices\">", "</ul>");
    assert!(page.contains("a machine spoiled the numbers (shard 2: CPU 90 % &gt; 80 %)"), "{page}");
    let page = section(&text(&files, "test_us_default_small_u4_report.html"), "<h3>Each machine</h3>", "</div>");
    assert!(page.contains("<td class=\"state fail\">send lag p99 9.00 ms &gt; 5.00 ms</td>"), "{page}");
}

const THRESHOLDS: &str = "[[slo]]\nfailure_rate = \"99%\"\n";

/// Two of four machines are not here; a third was killed in the second cell.
fn incomplete() -> Manifest {
    let mut parts = parts(&bounded(THRESHOLDS), 4);
    parts[2].planned_runs.truncate(1);
    part(&mut parts[2]).ended_ms = None;
    part(&mut parts[0]).clock = Some(ClockState { synchronised: false, max_error_ms: 16_000.0 });
    parts[0].planned_runs[0].late_ms = Some(3_200.0);
    manifests(vec![parts.remove(2), parts.remove(0)]).unwrap()
}

pub(super) fn incomplete_view() -> View {
    view_of(&incomplete(), &records_of_shards(&[0, 2], 4))
}

#[test]
fn cell_with_a_missing_shard_is_inconclusive() {
    let view = incomplete_view();
    let validity: Vec<String> = view.cells.iter().map(|cell| cell.result.validity.to_string()).collect();
    let [two, three] = ["INVALID: shards 1 and 3 of 4 are missing", "INVALID: shards 1, 2 and 3 of 4 are missing"];
    // The aborted one lacks them too; the last one never began.
    assert_eq!(validity, [two, three, three, "not_run"]);
    assert!(view.slo.rows.iter().all(|row| row.verdict == crate::result::Verdict::Inconclusive), "{:?}", view.slo.rows);
    let files = files(&view);
    insta::assert_snapshot!("missing_machines_json", shards_json(&files));
    let page = section(&text(&files, "report.html"), "<details class=\"part\" id=\"machines\"", "</details>");
    insta::assert_snapshot!("missing_machines_on_the_report", page);
    let page = section(&text(&files, "report.html"), "<h2 id=\"notices-title\">", "</section>");
    insta::assert_snapshot!("missing_machines_in_what_to_know", page);
    let page = section(&text(&files, "test_us_default_small_u4_report.html"), "<h3>Each machine</h3>", "</div>");
    insta::assert_snapshot!("missing_machines_on_a_page", page);
    insta::assert_snapshot!("missing_machines_end_of_run", crate::terminal::table::summary(&view, 110));
}

/// Whoever decides by a cell of a part of the machines would decide by another load.
#[test]
fn verdicts_require_all_shards() {
    use crate::report::ci::{Kind, of_run};
    let summary = |manifest: &Manifest, shards: &[u32]| {
        let mut collector = Collector::new(manifest);
        for (cell, record) in records_of_shards(shards, 4) {
            collector.add(cell, &record);
        }
        collector.finish_in_memory()
    };
    let whole = incomplete();
    let numbers = summary(&whole, &[0, 2]);
    let session = crate::verdict::baseline::session_from_run(&whole, &numbers);
    let refused: Vec<&str> = session.cells.iter().map(|cell| cell.numbers.as_ref().unwrap_err().as_str()).collect();
    assert_eq!(refused[0], "INVALID: shards 1 and 3 of 4 are missing");
    assert!(evaluate(&whole, &numbers).iter().all(|result| result.verdict == Verdict::Inconclusive));
    let view = build(&whole, &numbers, &evaluate(&whole, &numbers));
    let junit = String::from_utf8(of_run(Kind::Junit, &view, &built_in()).unwrap()).unwrap();
    assert!(junit.contains("<skipped message=\"INVALID: shards 1 and 3 of 4 are missing\""), "{junit}");
    let benchmark = String::from_utf8(of_run(Kind::Benchmark, &view, &built_in()).unwrap()).unwrap();
    assert_eq!(benchmark.trim(), "[]");
    assert!(view.tiers.tiers.iter().all(|tier| !tier.is_compared));
    assert!(view.price.rows.iter().flat_map(|row| &row.answers).all(|answer| answer.state != "pass"));

    // With all of them the same records decide.
    let whole = manifests(parts(&bounded(THRESHOLDS), 4)).unwrap();
    let numbers = summary(&whole, &[0, 1, 2, 3]);
    let verdicts: Vec<Verdict> = evaluate(&whole, &numbers).iter().map(|result| result.verdict).collect();
    assert_eq!(verdicts[..2], [Verdict::Pass; 2]);
    assert!(crate::verdict::baseline::session_from_run(&whole, &numbers).cells[0].numbers.is_ok());
}

#[test]
fn report_of_one_shard_is_labelled() {
    let own = records_of_shards(&[1], 3);
    let view = view_of(&part_of(&manifest(), 1, 3), &own);
    assert_eq!(view.cells[0].result.validity.to_string(), "INVALID: shards 0 and 2 of 3 are missing");
    assert_eq!(view.run.notes[0], "1 of 3 machines made these numbers");
    let rows: Vec<_> = view.machines.unwrap().rows.into_iter().map(|row| (row.end, row.requests)).collect();
    assert_eq!(rows[1], ("finished".into(), own.len().to_string()));
    assert_eq!([&rows[0].0, &rows[2].0], ["missing", "missing"]);
}

/// A machine that ends a cell by a threshold is sure of its own requests only.
#[test]
fn early_stop_of_one_shard_does_not_fail_the_threshold() {
    let bound = FailedBound { slo: 0, metric: "failure_rate".into() };
    let verdict = |machines: &[usize]| {
        let mut parts = parts(&bounded(THRESHOLDS), 3);
        for index in machines {
            let cell_run = &mut parts[*index].planned_runs[0];
            (cell_run.end, cell_run.failed) = (CellRunEnd::FailedEarly, Some(bound.clone()));
            cell_run.reason = Some("too many failed".into());
        }
        let rows = view_of(&manifests(parts).unwrap(), &spread(3)).slo.rows;
        let row = rows.into_iter().find(|row| row.metric == "failure_rate").unwrap();
        (row.verdict.key(), row.reason)
    };
    assert_eq!(verdict(&[]), ("PASS", String::new()));
    assert_eq!(verdict(&[1]), ("INCONCLUSIVE", "only shard 1 ended early: too many failed".into()));
    assert_eq!(verdict(&[0, 1, 2]), ("FAIL", "ended early: too many failed".into()));
}

/// The first machine that has nothing left to do ends what is measured: what others sent later was another load.
#[test]
fn requests_after_the_end_of_the_first_shard_are_excluded() {
    let mut parts = parts(&manifest(), 2);
    parts[1].planned_runs[0].load_ms = 2_000.0;
    let whole = manifests(parts).unwrap();
    let is_there = |record: &Record| record.shard == Some(0) || record.sent_ms < 2_000.0;
    let slowed = |slow: f64| {
        let mut records: Vec<(usize, Record)> =
            spread(2).into_iter().filter(|(cell, record)| *cell == 0 && is_there(record)).collect();
        for (_, record) in records.iter_mut().filter(|(_, record)| record.sent_ms > 2_000.0) {
            record.response_time_ms += slow;
            record.outcome = Outcome::Succeeded;
        }
        view_of(&whole, &records)
    };
    let [fast, slow] = [slowed(0.0), slowed(5_000.0)];
    assert_eq!(slow.cells[0].result.requests.counts.total, 30);
    assert!(slow.cells[0].result.response_time.max_ms.unwrap() < 150.0, "{:?}", slow.cells[0].result.response_time);
    assert_eq!(slow.cells[0].result.response_time.max_ms, fast.cells[0].result.response_time.max_ms);
    assert_eq!(slow.cells[0].result.requests_per_sec, fast.cells[0].result.requests_per_sec);
    assert_eq!(slow.cells[0].histogram, fast.cells[0].histogram);
    let phases: Vec<_> = slow.cells[0].page.phases.iter().map(|row| (row.name, row.requests.as_str())).collect();
    assert_eq!(phases, [("ramp", "2"), ("steady", "17"), ("drain", "11")]);
}

#[test]
fn shard_without_requests_does_not_end_the_load() {
    let mut parts = parts(&manifest(), 3);
    let cell_run = &mut parts[2].planned_runs[0];
    (cell_run.requests, cell_run.user_ms, cell_run.think_ms, cell_run.load_ms) = (0, 0.0, 0.0, 0.0);
    cell_run.ended_ms = cell_run.started_ms;
    let whole = manifests(parts).unwrap();
    assert!((whole.planned_runs[0].load_ms - 4_000.0).abs() < 1e-9, "{}", whole.planned_runs[0].load_ms);
    let view = view_of(&whole, &records_of_shards(&[0, 1], 3));
    assert_eq!(view.cells[0].result.validity, crate::result::Validity::Ok);
    assert_eq!(view.cells[0].result.shards[2].requests, 0);
}

#[test]
fn advice_for_one_machine_is_omitted_for_shards() {
    let mut parts = parts(&manifest(), 2);
    parts[1].planned_runs[0].end = CellRunEnd::Interrupted;
    parts[1].planned_runs[1].user_ms = 90_000.0;
    parts[1].interrupted = true;
    part(&mut parts[1]).interrupted = true;
    let whole = manifests(parts).unwrap();
    let view = view_of(&whole, &spread(2));
    let warnings_of =
        |cell: usize| view.cells[cell].result.warnings.iter().map(|warning| warning.text.as_str()).collect::<Vec<_>>();
    assert_eq!(warnings_of(0), ["the run was interrupted in this cell on at least one machine; run the plan again"]);
    assert!(warnings_of(1).iter().any(|text| text.starts_with("idle: users of shard 1 spent")), "{:?}", warnings_of(1));
    assert_eq!(view.machines.unwrap().rows[1].end, "interrupted");
    let mut collector = Collector::new(&whole);
    for (cell, record) in spread(2) {
        collector.add(cell, &record);
    }
    let session = crate::verdict::baseline::session_from_run(&whole, &collector.finish_in_memory());
    assert_eq!(session.cells[0].numbers, Err("incomplete".into()));
}

/// A clock that is an hour off makes no report of an hour.
#[test]
fn clock_offset_does_not_shift_the_history() {
    let right = view_of(&manifests(parts(&manifest(), 2)).unwrap(), &spread(2));
    let mut parts = parts(&manifest(), 2);
    let hour_ms = 3_600_000;
    for cell_run in &mut parts[1].planned_runs {
        (cell_run.started_ms, cell_run.ended_ms) = (cell_run.started_ms + hour_ms, cell_run.ended_ms + hour_ms);
    }
    let mut records = spread(2);
    for (_, record) in records.iter_mut().filter(|(_, record)| record.shard == Some(1)) {
        record.timestamp += hour_ms as f64 / 1e3;
    }
    let wrong = view_of(&manifests(parts).unwrap(), &records);
    let rows = |view: &View| view.cells.iter().map(|cell| cell.history.clone()).collect::<Vec<_>>();
    assert_eq!(rows(&wrong), rows(&right));
}
