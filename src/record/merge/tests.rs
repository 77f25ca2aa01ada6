//! A merge is a function of the set of parts.

use super::*;
use crate::matrix::{Shard, expand, order};
use crate::plan::Origins;
use crate::record::acquire;
use crate::record::journal::{Journal, identities};
use crate::record::manifest::{FORMAT, Machine, PlannedCell, ShardPart, Shards};
use crate::record::request::tests::record;
use crate::record::{Phase, Record};
use proptest::prelude::*;

/// Values that differ between the shards of a cell run.
#[derive(Debug, Clone)]
struct Went {
    end: CellRunEnd,
    started_ms: u64,
    took_ms: u64,
    load_ms: f64,
    requests: u64,
    late_ms: f64,
    seconds: usize,
}

/// A run of two cells in two repetitions, nothing of which has run, as a shard begins it.
fn begun(index: u32, count: u32) -> Manifest {
    let mut plan = crate::plan::tests::plan();
    plan.matrix.service_tiers = vec!["default".into(), "flex".into()];
    plan.matrix.prompt_sizes = vec!["small".into()];
    plan.matrix.user_counts = vec![4];
    plan.load.repetitions = 2;
    let cells = expand(&plan);
    let machine =
        Machine { os: "linux".into(), arch: "x86_64".into(), cores: 1 + index as usize, cpu_quota_cores: None };
    let part = ShardPart {
        index,
        host: format!("node-{index}"),
        machine: machine.clone(),
        clock: None,
        started_ms: 1_000 + u64::from(index),
        ended_ms: Some(90_000 + u64::from(index) % 3),
        interrupted: false,
        reason: None,
    };
    Manifest {
        format: FORMAT,
        run_id: "20261124_091603-0badcafe".into(),
        tool_version: "0.0.0".into(),
        started_ms: part.started_ms,
        resumed_ms: vec![],
        ended_ms: part.ended_ms,
        interrupted: false,
        simulator: None,
        endpoint: "simulated".into(),
        region: None,
        connection_policy: "test".into(),
        machine,
        origins: Origins::new(),
        plan_hash: "0".into(),
        seed: 1,
        calibration: None,
        preflight: vec![],
        prices: vec![],
        only: vec![],
        order: order::execution_order(&cells, &plan.load, 1),
        planned_runs: vec![],
        cells: cells.into_iter().map(|cell| PlannedCell { cell, cell_hash: "0".into() }).collect(),
        plan,
        shards: Some(Shards { count, complete: count == 1, parts: vec![part] }),
    }
}

/// As above, with the outcome of each cell run; `None` has no report.
fn left(index: u32, count: u32, went: &[Option<Went>]) -> Manifest {
    let mut manifest = begun(index, count);
    let cell_run = |(cell_run, went): (&order::PlannedRun, &Option<Went>)| {
        let went = went.as_ref()?;
        Some(CellRunReport {
            test_id: manifest.cells[cell_run.cell].cell.id.clone(),
            repetition: cell_run.repetition,
            attempt: cell_run.attempt,
            started_ms: went.started_ms,
            ended_ms: went.started_ms + went.took_ms,
            load_ms: went.load_ms,
            end: went.end,
            reason: (went.end != CellRunEnd::Finished).then(|| format!("{:?}", went.end)),
            failed: None,
            requests: went.requests,
            connections_opened: 1,
            connections_reused: went.requests,
            dropped: u64::from(index),
            starts_waited: None,
            user_ms: went.load_ms * 0.7,
            think_ms: went.load_ms * 0.3,
            series: (0..went.seconds)
                .map(|second| Second {
                    users: index + 1,
                    in_flight: second as u32,
                    cpu_ms: Some(100.0),
                    ticker_ms: went.late_ms,
                    dropped: 0,
                })
                .collect(),
            shard: Some(index),
            late_ms: Some(went.late_ms),
            disturbances: Disturbances::default(),
            parts: vec![],
        })
    };
    let cell_runs = manifest.order.iter().zip(went).filter_map(cell_run).collect();
    manifest.planned_runs = cell_runs;
    manifest.interrupted = manifest.planned_runs.iter().any(|cell_run| cell_run.end == CellRunEnd::Interrupted);
    manifest
}

fn went() -> impl Strategy<Value = Option<Went>> {
    let ends = [
        CellRunEnd::Finished,
        CellRunEnd::FailedEarly,
        CellRunEnd::Aborted,
        CellRunEnd::OutOfBudget,
        CellRunEnd::Interrupted,
    ];
    let numbers = (0_u64..9_000, 0_u64..9_000, 0.1_f64..60_000.0, 0_u64..1_000, 0.0_f64..5.0, 0_usize..5);
    let one = (proptest::sample::select(ends.to_vec()), numbers);
    proptest::option::weighted(
        0.9,
        one.prop_map(|(end, (started_ms, took_ms, load_ms, requests, late_ms, seconds))| Went {
            end,
            started_ms,
            took_ms,
            load_ms,
            requests,
            late_ms,
            seconds,
        }),
    )
}

/// Machines of a run of so many, some of which are missing, in some order, and which group each is merged in first.
fn machines() -> impl Strategy<Value = (Vec<Manifest>, Vec<usize>)> {
    (1_u32..7)
        .prop_flat_map(|count| {
            let all: Vec<u32> = (0..count).collect();
            let here = proptest::sample::subsequence(all, 1..=count as usize).prop_shuffle();
            let cell_runs = proptest::collection::vec(proptest::collection::vec(went(), 4), count as usize);
            (Just(count), here, cell_runs, proptest::collection::vec(0_usize..3, count as usize))
        })
        .prop_map(|(count, here, cell_runs, groups)| {
            let left = here.iter().map(|index| left(*index, count, &cell_runs[*index as usize])).collect();
            (left, groups)
        })
}

proptest! {
    #[test]
    fn neither_order_nor_steps_matter((parts, groups) in machines()) {
        let mut sorted = parts.clone();
        sorted.sort_by_key(lowest_shard);
        let whole = manifests(sorted).unwrap();
        prop_assert_eq!(&manifests(parts.clone()).unwrap(), &whole);
        prop_assert_eq!(&manifests(vec![whole.clone()]).unwrap(), &whole, "what is merged stays so");
        let mut steps: Vec<Vec<Manifest>> = vec![Vec::new(); 3];
        for (part, group) in parts.iter().zip(groups) {
            steps[group].push(part.clone());
        }
        let merged = steps.into_iter().filter(|group| !group.is_empty()).map(|group| manifests(group).unwrap());
        prop_assert_eq!(&manifests(merged.collect()).unwrap(), &whole);
    }

    #[test]
    fn merged_records_are_those_of_the_parts((parts, _) in machines()) {
        let whole = manifests(parts.clone()).unwrap();
        let sum = |of: fn(&CellRunReport) -> u64| parts.iter().flat_map(|part| &part.planned_runs).map(of).sum::<u64>();
        prop_assert_eq!(whole.planned_runs.iter().map(|cell_run| cell_run.requests).sum::<u64>(), sum(|cell_run| cell_run.requests));
        prop_assert_eq!(whole.planned_runs.iter().map(|cell_run| cell_run.dropped).sum::<u64>(), sum(|cell_run| cell_run.dropped));
        let mut kept: Vec<&CellRunReport> = whole.planned_runs.iter().flat_map(|cell_run| &cell_run.parts).collect();
        prop_assert_eq!(kept.len(), parts.iter().map(|part| part.planned_runs.len()).sum::<usize>());
        for part in parts.iter().flat_map(|part| &part.planned_runs) {
            let at = kept.iter().position(|known| *known == part);
            prop_assert!(at.is_some(), "{:?} is gone", part);
            kept.swap_remove(at.unwrap());
        }
        for cell_run in &whole.planned_runs {
            let loads = || cell_run.parts.iter().filter(|part| part.requests > 0).map(|part| part.load_ms);
            prop_assert!(loads().all(|load_ms| cell_run.load_ms <= load_ms), "the first ends it");
            prop_assert!(cell_run.parts.windows(2).all(|pair| pair[0].shard < pair[1].shard));
            let finished = cell_run.parts.iter().all(|part| part.end == CellRunEnd::Finished);
            prop_assert_eq!(cell_run.end == CellRunEnd::Finished, finished, "who was cut short is not hidden");
        }
        let shards = whole.shards.unwrap();
        prop_assert_eq!(shards.complete, shards.parts.len() == shards.count as usize);
        prop_assert_eq!(shards.missing().len() + shards.parts.len(), shards.count as usize);
    }

    #[test]
    fn duplicate_shard_is_refused((parts, groups) in machines(), again in any::<proptest::sample::Index>()) {
        let again = again.get(&parts).clone();
        let index = lowest_shard(&again);
        let whole = if groups[0] == 0 { vec![manifests(parts).unwrap(), again] } else { [parts, vec![again]].concat() };
        let error = manifests(whole).unwrap_err();
        prop_assert!(matches!(error, MergeError::DuplicateShard(twice) if twice == index), "{error}");
    }
}

#[test]
fn parts_of_other_runs_are_refused_with_the_difference() {
    let refused = |change: &dyn Fn(&mut Manifest)| {
        let mut other = begun(1, 2);
        change(&mut other);
        manifests(vec![other, begun(0, 2)]).unwrap_err().to_string()
    };
    let errors = [
        refused(&|other| other.tool_version = "9.9.9".into()),
        refused(&|other| other.plan_hash = "1".into()),
        refused(&|other| other.run_id = "another".into()),
        refused(&|other| other.seed = 2),
        refused(&|other| other.endpoint = "aws".into()),
        refused(&|other| other.region = Some("us-east-1".into())),
        refused(&|other| other.shards.as_mut().unwrap().count = 3),
    ];
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn killed_shard_leaves_the_run_without_an_end() {
    let mut killed = begun(1, 2);
    killed.shards.as_mut().unwrap().parts[0].ended_ms = None;
    killed.ended_ms = None;
    let whole = manifests(vec![begun(0, 2), killed]).unwrap();
    assert_eq!(whole.ended_ms, None);
    let shards = whole.shards.unwrap();
    assert!(!shards.complete && shards.missing().is_empty());
    assert_eq!(manifests(vec![begun(0, 2), begun(1, 2)]).unwrap().ended_ms, Some(90_001));
}

/// Writes what a shard leaves: its part of so many requests, which end in an order of their own.
fn write(dir: &std::path::Path, shard: Shard, of: u64) -> Manifest {
    let manifest = begun(shard.index, shard.count);
    let mut journal = Journal::new(acquire::take(dir, false).unwrap().journal, identities(&manifest));
    for nth in 0..shard.share(of) {
        let seq = shard.number(nth);
        let ended = Record { seq, shard: Some(shard.index), timestamp: (nth * 7 % 5 + nth) as f64, ..record() };
        journal.append((seq % 2) as usize, &ended).unwrap();
    }
    journal.sync().unwrap();
    manifest
}

#[test]
fn lines_are_unchanged_and_sorted_by_end() {
    let scratch = tempfile::tempdir().unwrap();
    let parts: Vec<(PathBuf, Manifest)> = (0..3)
        .map(|index| {
            let dir = scratch.path().join(index.to_string());
            let manifest = write(&dir, Shard { index, count: 3 }, 100);
            (dir, manifest)
        })
        .collect();
    let whole = manifests(parts.iter().map(|(_, manifest)| manifest.clone()).collect()).unwrap();
    let merged = |parts: &[(PathBuf, Manifest)], name: &str| {
        let mut to = acquire::take(&scratch.path().join(name), false).unwrap();
        assert_eq!(lines(parts, &whole).unwrap().write(parts, &mut to).unwrap(), 100);
        std::fs::read_to_string(to.path.join(JOURNAL)).unwrap()
    };
    let text = merged(&parts, "merged");
    let mut reversed = parts.clone();
    reversed.reverse();
    assert_eq!(merged(&reversed, "again"), text, "in whatever order they come");

    let mut lines: Vec<&str> = text.lines().collect();
    let times = lines.iter().map(|line| serde_json::from_str::<Record>(line).unwrap().timestamp);
    assert!(times.is_sorted());
    let read = |(dir, _): &(PathBuf, Manifest)| std::fs::read_to_string(dir.join(JOURNAL)).unwrap();
    let all: String = parts.iter().map(read).collect();
    let mut expected: Vec<&str> = all.lines().collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn duplicate_requests_are_refused_and_only_load_is_counted() {
    let scratch = tempfile::tempdir().unwrap();
    let written = |name: &str, index: u32, phase: Phase| {
        let dir = scratch.path().join(name);
        let manifest = begun(index, 2);
        let mut journal = Journal::new(acquire::take(&dir, false).unwrap().journal, identities(&manifest));
        journal.append(0, &Record { seq: 4, shard: Some(index), phase, ..record() }).unwrap();
        journal.sync().unwrap();
        (dir, manifest)
    };
    let merge = |name: &str, parts: &[(PathBuf, Manifest)]| {
        let whole = manifests(parts.iter().map(|(_, manifest)| manifest.clone()).collect()).unwrap();
        let mut to = acquire::take(&scratch.path().join(name), false).unwrap();
        lines(parts, &whole).map(|lines| lines.write(parts, &mut to).unwrap())
    };
    let error = merge("one", &[written("a", 0, Phase::Steady), written("b", 1, Phase::Drain)]).unwrap_err();
    insta::assert_snapshot!(error);
    // What fills a prompt cache has numbers of its own on each machine.
    assert_eq!(merge("two", &[written("c", 0, Phase::Priming), written("d", 1, Phase::Priming)]).unwrap(), 2);
}

#[test]
fn lines_that_do_not_count_are_kept_for_the_report() {
    let scratch = tempfile::tempdir().unwrap();
    let parts: Vec<(PathBuf, Manifest)> = (0..2)
        .map(|index| {
            let dir = scratch.path().join(index.to_string());
            let manifest = write(&dir, Shard { index, count: 2 }, 40);
            (dir, manifest)
        })
        .collect();
    // Of the first shard the fourth line is damaged, and the last one is there twice.
    let journal = parts[0].0.join(JOURNAL);
    let text = std::fs::read_to_string(&journal).unwrap();
    let own: Vec<&str> = text.lines().collect();
    let changed = own[3].replacen("succeeded", "failed", 1);
    std::fs::write(&journal, text.replacen(own[3], &changed, 1) + own[19] + "\n").unwrap();

    let whole = manifests(parts.iter().map(|(_, manifest)| manifest.clone()).collect()).unwrap();
    let mut to = acquire::take(&scratch.path().join("merged"), false).unwrap();
    assert_eq!(lines(&parts, &whole).unwrap().write(&parts, &mut to).unwrap(), 41);
    let mut records = Records::open(&to.path, &whole).unwrap();
    assert_eq!(records.by_ref().map(Result::unwrap).count(), 39);
    let damage = records.damage();
    assert_eq!((damage.lines, damage.duplicates), (1, 1));
    assert!(damage.cells.iter().any(|cell| cell.is_damaged) && damage.cells.iter().any(|cell| cell.duplicates > 0));
    damage.quarantine(&to.path, &to.path).unwrap();
    let quarantine = to.path.join(crate::record::damage::QUARANTINE);
    assert_eq!(std::fs::read_to_string(quarantine).unwrap(), changed + "\n");
}
