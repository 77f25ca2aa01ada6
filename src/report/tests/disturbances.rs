//! A machine that stood still, in every place that reports it; and what else was done to the load generator.

use super::{Collector, manifest, record, records, view_of};
use super::{FORMATS, Manifest, Record, Rendered, View, bounded, built_in};
use crate::matrix::Shard;
use crate::record::Outcome;
use crate::record::disturbance::{ClockJump, Stall};
use crate::record::manifest::{CellRunReport, Machine, ShardPart, Shards};
use crate::record::merge::manifests;

const FROM_MS: f64 = 2_000.0;
const LENGTH_MS: f64 = 1_500.0;

/// The second cell's machine stood still from 2.0 s to 3.5 s.
fn stalled(manifest: Manifest) -> Manifest {
    let mut manifest = manifest;
    manifest.planned_runs[1].disturbances.stalls.push(Stall {
        from_ms: FROM_MS,
        length_ms: LENGTH_MS,
        suspended_ms: 0.0,
    });
    manifest
}

/// What its users saw: the four requests in flight end when it runs again, and nothing is sent before.
fn frozen() -> Vec<(usize, Record)> {
    let end_ms = FROM_MS + LENGTH_MS;
    let mut records = records();
    records.retain(|(cell, record)| *cell != 1 || !(FROM_MS..end_ms).contains(&record.sent_ms));
    for (_, record) in records.iter_mut().filter(|(cell, _)| *cell == 1) {
        let ends_ms = record.sent_ms + record.response_time_ms;
        if record.sent_ms < FROM_MS && ends_ms > FROM_MS {
            record.response_time_ms = end_ms + 10.0 - record.sent_ms;
        }
    }
    records
}

fn in_flight(records: &[(usize, Record)]) -> u64 {
    let long = |(cell, record): &&(usize, Record)| *cell == 1 && record.response_time_ms > LENGTH_MS;
    records.iter().filter(long).count() as u64
}

fn files(view: &View) -> Vec<Rendered> {
    FORMATS.iter().flat_map(|format| format(view, &built_in()).unwrap()).collect()
}

fn text(files: &[Rendered], name: &str) -> String {
    let file = files.iter().find(|file| file.path.to_str() == Some(name)).unwrap_or_else(|| panic!("no {name}"));
    String::from_utf8(file.bytes.clone()).unwrap()
}

const STOOD_STILL: &str = "stood still for 1.5 s at 2026-11-24T09:16:10Z";

#[test]
fn stall_of_the_client_is_named_in_every_output() {
    let manifest = stalled(bounded("[[slo]]\np95 = \"1s\"\nfailure_rate = \"50%\"\n"));
    let records = frozen();
    let excluded = in_flight(&records);
    assert_eq!(excluded, 4);
    let view = view_of(&manifest, &records);
    let cell = &view.cells[1];
    let reason = format!(
        "INVALID: this machine {STOOD_STILL}; excluding the requests that were in flight then moves p95 from 1"
    );
    assert!(cell.result.validity.to_string().starts_with(&reason), "{}", cell.result.validity);
    assert_eq!((cell.result.requests.client_stalled, view.cells[0].result.requests.client_stalled), (excluded, 0));
    assert_eq!(view.cells[0].result.validity, crate::result::Validity::Ok);
    assert!(cell.result.response_time.max_ms.unwrap() < LENGTH_MS, "{:?}", cell.result.response_time.max_ms);
    let keys: Vec<&str> = cell.result.warnings.iter().map(|warning| warning.key).collect();
    assert!(keys.contains(&"client_stalled") && !keys.contains(&"stalls"), "{keys:?}");
    assert!(
        view.slo
            .rows
            .iter()
            .filter(|row| row.test_id == cell.id)
            .all(|row| row.verdict == crate::result::Verdict::Inconclusive)
    );

    let files = files(&view);
    let csv = text(&files, "consolidated_results_20261124_091603.csv");
    let column = csv.lines().next().unwrap().split(',').position(|name| name == "client_stalled").unwrap();
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let counts: Vec<String> = rows.records().map(|row| row.unwrap()[column].to_owned()).collect();
    assert_eq!(counts, ["0", "4", "0", "0"]);
    let summary: serde_json::Value = serde_json::from_str(&text(&files, "summary.json")).unwrap();
    let cell = &summary["cells"][1];
    assert_eq!(
        (&cell["requests"]["client_stalled_count"], &cell["client"]["stalled_ms"]),
        (&4.into(), &1_500.0.into())
    );
    assert_eq!(cell["client"]["ticker_worst_ms"], 1_500.0);
    assert!(summary["cells"][0]["client"].get("stalled_ms").is_none());
    let sentence = format!(
        "client stalled: 4 requests were in flight while this machine {STOOD_STILL}; they are counted, and excluded from these latencies"
    );
    let hint = "run this cell again on a machine that is not stopped, suspended or throttled";
    let page = text(&files, "test_us_default_small_u4_report.html");
    assert!(page.contains("in flight while this machine stood still, excluded from the times"), "{page}");
    let markdown = text(&files, "summary.md");
    let terminal = crate::terminal::table::summary(&view, 200);
    // The notices of the run state the kind of a warning once, in their title.
    let detail = sentence.strip_prefix("client stalled: ").unwrap();
    assert!(page.contains(&sentence), "{page}");
    assert!(markdown.contains("**client stalled** in us_default_small_u4: 4 requests"), "{markdown}");
    for (name, text) in [("page", page), ("markdown", markdown), ("report", text(&files, "report.html"))] {
        assert!(text.contains("client stalled") && text.contains(detail), "{name}: {text}");
        assert!(text.contains(hint) && text.contains(STOOD_STILL), "{name}: {text}");
        assert!(!text.contains("the service stood still while users waited,"), "{name}: {text}");
    }
    let terminal = terminal.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(terminal.contains(&sentence) && terminal.contains(hint), "{terminal}");
}

/// The parts of the run that two machines left; the second of them stood still in the second cell.
fn two_machines() -> Vec<Manifest> {
    let part = |index: u32| {
        let whole = if index == 1 { stalled(manifest()) } else { manifest() };
        let share = |n: u64| Shard { index, count: 2 }.share(n);
        let cell_run = |cell_run: &CellRunReport| CellRunReport {
            requests: share(cell_run.requests),
            shard: Some(index),
            ..cell_run.clone()
        };
        Manifest {
            planned_runs: whole.planned_runs.iter().map(cell_run).collect(),
            shards: Some(Shards {
                count: 2,
                complete: false,
                parts: vec![ShardPart {
                    index,
                    host: format!("node-{index}"),
                    machine: Machine {
                        os: "linux".into(),
                        arch: "x86_64".into(),
                        cores: 1,
                        cpu_quota_cores: (index == 1).then_some(0.25),
                    },
                    clock: None,
                    started_ms: whole.started_ms,
                    ended_ms: whole.ended_ms,
                    interrupted: false,
                    reason: None,
                }],
            }),
            ..whole
        }
    };
    vec![part(0), part(1)]
}

#[test]
fn stall_of_one_shard_excludes_only_its_requests() {
    let whole = manifests(two_machines()).unwrap();
    assert!(whole.planned_runs[1].disturbances.is_empty(), "it belongs to one machine");
    assert_eq!(whole.planned_runs[1].parts[1].disturbances.stalls.len(), 1);
    let on = |(cell, record): (usize, Record)| (cell, Record { shard: Some((record.seq % 2) as u32), ..record });
    let records: Vec<(usize, Record)> = frozen().into_iter().map(on).collect();
    let view = view_of(&whole, &records);
    let cell = &view.cells[1];
    assert_eq!(cell.result.requests.client_stalled, 2, "of the four, those of the second machine");
    assert!(
        cell.result.validity.to_string().starts_with(&format!("INVALID: shard 1: {STOOD_STILL}")),
        "{}",
        cell.result.validity
    );
    assert!(!cell.result.validity.to_string().contains("shard 0"), "{}", cell.result.validity);
    let verdicts: Vec<&str> = cell.machines.iter().map(|row| row.verdict.as_str()).collect();
    assert_eq!(verdicts, ["ok", STOOD_STILL]);
    let stalled_ms: Vec<Option<f64>> =
        cell.result.shards.iter().map(|machine| machine.measurements.stalled_ms).collect();
    assert_eq!((stalled_ms, cell.result.client.measurements.stalled_ms), (vec![None, Some(1_500.0)], Some(1_500.0)));
    let warning = cell.result.warnings.iter().find(|warning| warning.key == "client_stalled").unwrap();
    assert!(warning.text.contains("2 requests were in flight while shard 1 stood still"), "{}", warning.text);
    let page = text(&files(&view), "test_us_default_small_u4_report.html");
    assert!(page.contains("run the plan again on machines that are not stopped"), "{page}");
    let machines = view.machines.as_ref().unwrap();
    assert_eq!(machines.rows[1].kind, "linux on x86_64, 1 core, limited by a CPU quota to 0.25");
}

/// CPU time is compared with what the quota allows, also below one core.
#[test]
fn cpu_use_is_taken_of_the_quota() {
    // 200 ms of CPU per second.
    let of = |quota: Option<f64>| {
        let mut manifest = manifest();
        manifest.machine.cpu_quota_cores = quota;
        let view = view_of(&manifest, &records());
        (view.cells[0].result.client.measurements.cpu_share.unwrap(), view.cells[0].result.validity.to_string())
    };
    assert_eq!(of(None), (0.1, "ok".into()));
    let (share, validity) = of(Some(0.2));
    assert!((share - 1.0).abs() < 1e-9 && validity == "INVALID: CPU 100 % > 80 %", "{share} {validity}");
    let mut manifest = manifest();
    manifest.machine.cpu_quota_cores = Some(0.5);
    let page = text(&files(&view_of(&manifest, &records())), "test_us_default_small_u2_report.html");
    assert!(page.contains("40.0 % of 2 cores, limited by a CPU quota to 0.5 over the window"), "{page}");
}

#[test]
fn jumps_of_the_wall_clock_are_reported() {
    let mut manifest = manifest();
    let jumps = [(1_000.0, -10_800_000.0), (1_500.0, 250.0), (2_000.0, 1.0e6), (2_500.0, 1.0e6)];
    let jumps = jumps.map(|(at_ms, by_ms)| ClockJump { at_ms, by_ms });
    manifest.planned_runs[0].disturbances.clock_jumps.extend(jumps);
    let view = view_of(&manifest, &records());
    let warning = view.cells[0].result.warnings.iter().find(|warning| warning.key == "clock_jump").unwrap();
    insta::assert_snapshot!(warning.text, @"clock jump: the wall clock jumped by -10,800.0 s at 2026-11-24T09:16:04Z, by +0.2 s at 2026-11-24T09:16:04Z, by +1,000.0 s at 2026-11-24T09:16:05Z, 1 more times; latencies are not affected, and times in the files follow the clock as it was at the start of the run");
    assert_eq!(view.cells[0].result.validity, crate::result::Validity::Ok);
    assert!(view.cells[1].result.warnings.iter().all(|warning| warning.key != "clock_jump"));
}

/// 200 requests of each load; the client sees 5 ms and 120 ms beyond the service's own 200 ms.
#[test]
fn an_overhead_that_grows_with_the_load_is_named() {
    let of = |cell: usize, beyond_ms: f64| {
        (0..200_u64).map(move |seq| {
            let sent_ms = seq as f64 * 20.0;
            let record = record(cell, seq, sent_ms, 200.0 + beyond_ms, Outcome::Succeeded);
            (cell, Record { server_latency_ms: Some(200), cache_read_tokens: None, ..record })
        })
    };
    let overhead_warning = |beyond_ms: f64| {
        let records: Vec<(usize, Record)> = of(0, 5.0).chain(of(1, beyond_ms)).collect();
        let view = view_of(&manifest(), &records);
        assert!(view.cells[0].result.warnings.iter().all(|warning| warning.key != "client_overhead"));
        let warning = view.cells[1].result.warnings.iter().find(|warning| warning.key == "client_overhead");
        warning.map(|warning| warning.text.clone())
    };
    insta::assert_snapshot!(overhead_warning(120.0).unwrap(), @"client overhead: p95 of our time minus the service's own latencyMs is 120 ms, and 5.00 ms in `us_default_small_u2`, whose load is lower; this machine or the network added it, not the service");
    assert_eq!(overhead_warning(40.0), None);
}

/// A calm run is reported as it was before stalls were known.
#[test]
fn run_without_stalls_excludes_nothing() {
    let manifest = manifest();
    let mut collector = Collector::new(&manifest);
    for (cell, record) in records() {
        collector.add(cell, &record);
    }
    let summary = collector.finish_in_memory();
    for cell in &summary.cells {
        assert_eq!((cell.client_stalled, cell.health.standstill, cell.health.raw.stalled_ms), (0, None, None));
    }
    let text = serde_json::to_string(&manifest).unwrap();
    assert!(!text.contains("disturbances") && !text.contains("cpu_quota"), "{text}");
}
