//! Tier comparisons of synthetic runs with a known truth, and their error rates.

use super::*;
use crate::matrix::{expand, order};
use crate::record::Record;
use crate::record::manifest::Manifest;
use crate::record::request::tests::record;
use crate::stats::Collector;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};
use serde_json::json;
use std::time::Duration;

/// Synthetic run: one request every 100 ms per context, in blocked order.
#[derive(Debug, Clone)]
struct Run {
    /// Number of contexts, which differ in users.
    contexts: u32,
    tiers: &'static [&'static str],
    repetitions: u32,
    /// Requests of each cell and repetition.
    n: u64,
    /// All times grow by this share from the first request to the last, whatever the tier.
    drift: f64,
    /// The times of `flex` over `default`'s.
    flex: f64,
    /// The lengths of replies of `flex` over `default`'s.
    flex_tokens: f64,
    seed: u64,
}

const RUN: Run = Run {
    contexts: 9,
    tiers: &["default", "priority", "flex"],
    repetitions: 1,
    n: 300,
    drift: 0.03,
    flex: 1.0,
    flex_tokens: 1.0,
    seed: 1,
};

fn manifest(run: &Run) -> Manifest {
    let mut plan = crate::plan::tests::plan();
    plan.matrix.service_tiers = run.tiers.iter().map(ToString::to_string).collect();
    plan.matrix.prompt_sizes = vec!["small".into()];
    plan.matrix.user_counts = (1..=run.contexts).collect();
    plan.load.repetitions = run.repetitions;
    plan.load.test_duration = Duration::from_millis(100 * run.n);
    plan.report.include_ramp = true;
    let cells = expand(&plan);
    let order = order::execution_order(&cells, &plan.load, run.seed);
    let planned_runs: Vec<_> = order
        .iter()
        .map(|cell_run| {
            // No number of requests: tests leave records out, and a cell whose records are missing is not compared.
            json!({
                "test_id": cells[cell_run.cell].id, "repetition": cell_run.repetition, "started_ms": 0, "ended_ms": 1_000,
                "load_ms": 100.0 * run.n as f64, "end": "finished", "requests": 0,
                "connections_opened": 1, "connections_reused": 1, "series": [],
            })
        })
        .collect();
    let planned: Vec<_> = cells
        .iter()
        .map(|cell| {
            let mut planned = serde_json::to_value(cell).unwrap();
            planned["cell_hash"] = "0".into();
            planned
        })
        .collect();
    serde_json::from_value(json!({
        "format": crate::record::manifest::FORMAT, "run_id": "r", "tool_version": "0", "started_ms": 0,
        "endpoint": "simulated", "connection_policy": "test", "plan_hash": "0", "seed": run.seed,
        "machine": { "os": "linux", "arch": "x86_64", "cores": 2 }, "origins": {},
        "plan": plan, "cells": planned, "order": order, "turns": planned_runs,
    }))
    .unwrap()
}

fn blank() -> Record {
    Record { http_status: Some(200), resolved_service_tier: Some("default".into()), ..record() }
}

/// Summarises the run; `change` may modify a record, or drop it by returning false.
fn run_with(run: &Run, manifest: &Manifest, change: impl Fn(&Cell, &mut Record) -> bool) -> Summary {
    let mut collector = Collector::new(manifest);
    let mut rng = ChaCha8Rng::seed_from_u64(run.seed);
    let times = LogNormal::new(300.0_f64.ln(), 0.35).unwrap();
    let lengths = LogNormal::new(180.0_f64.ln(), 0.30).unwrap();
    let all = (manifest.order.len() as u64 * run.n) as f64;
    let blank = blank();
    for (position, cell_run) in manifest.order.iter().enumerate() {
        let cell = &manifest.cells[cell_run.cell].cell;
        let (slower, longer) = if cell.service_tier == "flex" { (run.flex, run.flex_tokens) } else { (1.0, 1.0) };
        for seq in 0..run.n {
            let drift = 1.0 + run.drift * (position as u64 * run.n + seq) as f64 / all;
            let mut record = Record {
                response_time_ms: times.sample(&mut rng) * slower * drift,
                output_tokens: Some((lengths.sample(&mut rng) * longer) as u64),
                sent_ms: seq as f64 * 100.0,
                repetition: cell_run.repetition,
                seq,
                ..blank.clone()
            };
            if change(cell, &mut record) {
                collector.add(cell_run.cell, &record);
            }
        }
    }
    collector.finish_in_memory()
}

fn compared(run: &Run) -> Vec<Comparison> {
    compare(&run_with(run, &manifest(run), |_, _| true))
}

/// The one comparison of a run of two tiers and one context.
fn only(run: &Run, change: impl Fn(&Cell, &mut Record) -> bool) -> Comparison {
    let run = Run { contexts: 1, tiers: &["default", "flex"], ..run.clone() };
    let mut all = compare(&run_with(&run, &manifest(&run), change));
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn slower_tier_is_found_and_its_interval_contains_the_truth() {
    for (repetitions, basis) in [(1, Basis::Session), (2, Basis::Session), (5, Basis::Repetitions(5))] {
        let run = Run { repetitions, flex: 1.5, ..RUN };
        for comparison in compared(&run) {
            let is_flex = comparison.cell % 27 >= 18;
            for row in comparison.rows.iter().filter(|row| row.compared.decides) {
                let contrast = row.outcome.as_ref().unwrap();
                assert_eq!(contrast.basis, basis);
                assert_eq!(contrast.verdict() == Verdict::Higher, is_flex, "{row:?}");
                let truth = if is_flex { 1.5 } else { 1.0 };
                assert!((contrast.ratio.value / truth - 1.0).abs() < 0.2, "{row:?}");
                assert!((contrast.tier / contrast.default / contrast.ratio.value - 1.0).abs() < 1e-9, "{row:?}");
            }
        }
    }
}

#[test]
fn paired_t_matches_a_calculation_by_hand() {
    // Differences of the logarithms 0.1, 0.2, 0.3: mean 0.2, sd 0.1, t of 2 degrees at 2.5 % 4.3027.
    let pairs = [(100.0, 100.0 * 0.1_f64.exp()), (200.0, 200.0 * 0.2_f64.exp()), (50.0, 50.0 * 0.3_f64.exp())];
    let contrast = paired(&pairs, 0.025);
    assert_eq!(contrast.basis, Basis::Repetitions(3));
    assert!((contrast.ratio.value.ln() - 0.2).abs() < 1e-12);
    let half = 4.302_653 * 0.1 / 3.0_f64.sqrt();
    assert!((contrast.ratio.low.ln() - (0.2 - half)).abs() < 1e-6, "{contrast:?}");
    assert!((contrast.ratio.high.ln() - (0.2 + half)).abs() < 1e-6, "{contrast:?}");
    assert_eq!(contrast.verdict(), Verdict::NotDifferent, "the interval contains 1");
    assert!((contrast.default - 100.0).abs() < 1e-9, "the geometric mean of 100, 200 and 50");
}

#[test]
fn combined_interval_preserves_asymmetry() {
    let side = |value: f64, below: f64, above: f64| BoundedInterval {
        value,
        low: value * (-below).exp(),
        high: value * above.exp(),
    };
    let contrast = unpaired(side(100.0, 0.03, 0.08), side(200.0, 0.04, 0.06));
    let ln = |ratio: f64| (ratio / 2.0).ln();
    assert!((ln(contrast.ratio.low) + 0.04_f64.hypot(0.08)).abs() < 1e-12);
    assert!((ln(contrast.ratio.high) - 0.06_f64.hypot(0.03)).abs() < 1e-12);
}

#[test]
fn reason_is_reported_if_cells_are_not_compared() {
    let few = only(&Run { n: 60, ..RUN }, |_, _| true);
    let outcome = |comparison: &Comparison, key: &str| {
        comparison.rows.iter().find(|row| row.compared.key == key).unwrap().outcome.clone()
    };
    assert!(outcome(&few, "p50").is_ok());
    assert_eq!(outcome(&few, "p95"), Err(NotCompared::NoValue(Side::Default, MissingValue::TooFew(60))));

    let cut = only(&RUN, |cell, record| {
        if cell.service_tier == "flex" && record.seq % 10 == 0 {
            record.outcome = crate::record::Outcome::Censored;
            record.success = false;
            record.response_time_ms = 9_000.0;
        }
        true
    });
    assert!(outcome(&cut, "p50").is_ok());
    assert_eq!(outcome(&cut, "p95"), Err(NotCompared::NoValue(Side::Tier, MissingValue::CutOff)));

    let run = Run { contexts: 1, tiers: &["default", "flex"], ..RUN };
    let mut manifest = manifest(&run);
    manifest.planned_runs.retain(|cell_run| !cell_run.test_id.contains("flex"));
    let never = compare(&run_with(&run, &manifest, |cell, _| cell.service_tier == "default"));
    assert_eq!(outcome(&never[0], "p50"), Err(NotCompared::Unusable(Side::Tier, Validity::NotRun)));
    manifest.cells[0].cell.users = Some(99);
    let lonely = compare(&run_with(&run, &manifest, |_, _| true));
    assert_eq!(outcome(&lonely[0], "p95"), Err(NotCompared::NoDefault));
    assert!(
        compared(&Run { tiers: &["priority", "flex"], ..RUN }).is_empty(),
        "without a reference tier nothing is compared"
    );
}

#[test]
fn short_repetitions_are_not_paired() {
    let run = Run { repetitions: 3, n: 58, ..RUN };
    let basis = |comparison: &Comparison, row: usize| comparison.rows[row].outcome.as_ref().unwrap().basis;
    let short = only(&run, |_, _| true);
    assert_eq!((basis(&short, 0), basis(&short, 1)), (Basis::Repetitions(3), Basis::Session), "p95 of 58 is no number");
    let lost = only(&Run { n: 300, ..run }, |cell, record| cell.service_tier != "flex" || record.repetition != 2);
    assert_eq!(basis(&lost, 0), Basis::Session, "two pairs are left");
}

#[test]
fn longer_replies_are_reported() {
    assert_eq!(only(&Run { flex_tokens: 1.05, ..RUN }, |_, _| true).length_ratio, None);
    let longer = only(&Run { flex_tokens: 1.3, ..RUN }, |_, _| true).length_ratio.unwrap();
    assert!((1.2..1.4).contains(&longer), "{longer}");
}

#[test]
fn replies_of_another_tier_are_excluded() {
    let clean = only(&RUN, |_, _| true);
    let mixed = only(&Run { n: 400, ..RUN }, |cell, record| {
        if cell.service_tier == "flex" && record.seq >= 300 {
            record.validity = Some(crate::record::ExclusionReason::TierMismatch);
            record.response_time_ms = 1.0;
            record.output_tokens = Some(1);
        }
        true
    });
    assert_eq!(mixed.length_ratio, None);
    let contrast = |comparison: &Comparison| *comparison.rows[0].outcome.as_ref().unwrap();
    assert!((contrast(&mixed).ratio.value / contrast(&clean).ratio.value - 1.0).abs() < 0.15);
}

/// Upper limit of an observed rate over `n` contexts if the true rate is 5 %.
fn at_most(n: usize) -> f64 {
    let promised: f64 = 0.05;
    promised + 2.0 * (promised * (1.0 - promised) / n as f64).sqrt()
}

/// `cargo test --lib verdict::tiers -- --ignored --nocapture`
#[test]
#[ignore = "a bench: some hundred runs"]
#[allow(clippy::print_stdout)]
fn false_alarm_rate_and_power() {
    let three: &[&str] = &["default", "priority", "flex"];
    let two: &[&str] = &["default", "flex"];
    // Contexts, tiers, repetitions, runs with tiers that are the same, runs with a slower flex, and the least
    // share in which it is found.
    let cases = [
        (9, three, 1, 230, 20, 0.95),
        (9, three, 2, 230, 20, 0.95),
        (9, three, 3, 230, 40, 0.6),
        (9, three, 5, 230, 20, 0.95),
        (9, two, 3, 230, 40, 0.85),
        (1, two, 1, 2_000, 200, 0.95),
        (1, two, 3, 2_000, 200, 0.85),
        (1, two, 5, 2_000, 200, 0.95),
    ];
    println!("contexts tiers repetitions | called different, of   any row   found, flex 20 % slower");
    for (contexts, tiers, repetitions, same, slower, least) in cases {
        let (mut called, mut any, mut found) = ((0, 0), (0, 0), (0, 0));
        let run = Run { contexts, tiers, repetitions, ..RUN };
        for seed in 0..same {
            let compared = compared(&Run { seed, ..run.clone() });
            // Cells are in matrix order, tiers outermost: the first are those of default.
            for default in 0..contexts as usize {
                let of = || compared.iter().filter(|tier| tier.default == Some(default));
                let differs = |row: &Row| row.outcome.as_ref().unwrap().verdict() != Verdict::NotDifferent;
                called = (called.0 + usize::from(of().any(Comparison::is_different)), called.1 + 1);
                any = (any.0 + usize::from(of().any(|tier| tier.rows.iter().any(differs))), any.1 + 1);
            }
        }
        for seed in 0..slower {
            let compared = compared(&Run { flex: 1.2, seed: seed + 100_000, ..run.clone() });
            for tier in &compared[(tiers.len() - 2) * contexts as usize..] {
                let is_slower = |row: &Row| row.outcome.as_ref().unwrap().verdict() == Verdict::Higher;
                let finds = tier.rows.iter().any(|row| row.compared.decides && is_slower(row));
                found = (found.0 + usize::from(finds), found.1 + 1);
            }
        }
        let share = |(hits, all): (usize, usize)| hits as f64 / all as f64;
        println!(
            "{contexts:>8} {:>5} {repetitions:>11} | {:>16.3} {:>5} {:>9.3} {:>24.3}",
            tiers.len(),
            share(called),
            called.1,
            share(any),
            share(found)
        );
        assert!(share(called) <= at_most(called.1), "{called:?}");
        assert!(share(found) >= least, "{found:?}");
    }
}

/// A run of two tiers and one context with a modified manifest.
fn ended(change: impl Fn(&mut Manifest)) -> Summary {
    let run = Run { contexts: 1, tiers: &["default", "flex"], flex: 2.0, ..RUN };
    let mut manifest = manifest(&run);
    change(&mut manifest);
    run_with(&run, &manifest, |_, _| true)
}

#[test]
fn stopped_cells_are_not_compared() {
    use crate::record::manifest::CellRunEnd;
    use crate::verdict::price::{MeetsLimit, offer_groups};
    let flex = |manifest: &Manifest| {
        manifest.cells.iter().find(|planned| planned.cell.service_tier == "flex").unwrap().cell.id.clone()
    };
    let of_flex = |end: CellRunEnd| {
        ended(|manifest| {
            let id = flex(manifest);
            manifest
                .planned_runs
                .iter_mut()
                .filter(|cell_run| cell_run.test_id == id)
                .for_each(|cell_run| cell_run.end = end);
        })
    };
    let limit_ms = 60_000.0;
    let meets = |summary: &Summary| -> Vec<MeetsLimit> {
        offer_groups(summary, &[limit_ms])[0].offers.iter().map(|offer| offer.meets[0]).collect()
    };
    let whole = ended(|_| {});
    assert!(compare(&whole)[0].is_different());
    assert_eq!(meets(&whole), [MeetsLimit::Yes, MeetsLimit::Yes]);
    for (end, stopped) in [
        (CellRunEnd::FailedEarly, Stopped::Threshold),
        (CellRunEnd::Interrupted, Stopped::Interrupted),
        (CellRunEnd::OutOfBudget, Stopped::Budget),
        (CellRunEnd::LostCredentials, Stopped::Credentials),
        (CellRunEnd::DailyQuota, Stopped::DailyQuota),
    ] {
        let summary = of_flex(end);
        let comparison = &compare(&summary)[0];
        for row in &comparison.rows {
            assert_eq!(row.outcome, Err(NotCompared::Stopped(Side::Tier, stopped)), "{end:?}");
        }
        assert_eq!((comparison.price, comparison.length_ratio), (None, None), "{end:?}");
        assert_eq!(meets(&summary), [MeetsLimit::Yes, MeetsLimit::Unknown], "{end:?}");
    }
    // Killed in its second attempt, which has left neither a report nor a record.
    let resumed = ended(|manifest| {
        let cell = manifest.cells.iter().position(|planned| planned.cell.service_tier == "flex").unwrap();
        manifest.order.iter_mut().filter(|cell_run| cell_run.cell == cell).for_each(|cell_run| cell_run.attempt = 2);
    });
    assert_eq!(compare(&resumed)[0].rows[0].outcome, Err(NotCompared::Unusable(Side::Tier, Validity::NotRun)));
    // Of two repetitions the second was killed.
    let half = ended(|manifest| {
        let mut again = manifest.order.clone();
        for cell_run in &mut again {
            cell_run.repetition = 2;
        }
        manifest.order.extend(again);
        let id = flex(manifest);
        let second: Vec<_> = manifest
            .planned_runs
            .iter()
            .filter(|cell_run| cell_run.test_id != id)
            .map(|cell_run| crate::record::manifest::CellRunReport { repetition: 2, ..cell_run.clone() })
            .collect();
        manifest.planned_runs.extend(second);
    });
    let half_done = half.cells.iter().find(|cell| cell.cell.service_tier == "flex").unwrap();
    assert_eq!(half_done.counts.total, 600, "the records of the killed repetition are there");
    assert_eq!(compare(&half)[0].rows[0].outcome, Err(NotCompared::Stopped(Side::Tier, Stopped::Interrupted)));
}

#[test]
fn resumed_and_completed_cells_are_compared() {
    let run = Run { contexts: 1, tiers: &["default", "flex"], flex: 2.0, ..RUN };
    let mut manifest = manifest(&run);
    manifest.order.iter_mut().for_each(|cell_run| cell_run.attempt = 2);
    let interrupted = manifest.planned_runs.clone().into_iter().map(|cell_run| {
        crate::record::manifest::CellRunReport { end: crate::record::manifest::CellRunEnd::Interrupted, ..cell_run }
    });
    let interrupted: Vec<_> = interrupted.collect();
    manifest.planned_runs.iter_mut().for_each(|cell_run| cell_run.attempt = 2);
    manifest.planned_runs.splice(0..0, interrupted);
    let summary = run_with(&run, &manifest, |_, record| {
        record.cell_attempt = 2;
        true
    });
    assert!(compare(&summary)[0].is_different());
}
