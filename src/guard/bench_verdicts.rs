//! Bench of rule F as the rule behind `abort_on_fail`: how often it aborts a cell that is exactly at its bound, and when it
//! aborts cells that are not. See `stats::bench_verdicts` for the command and the worlds.

#![allow(clippy::print_stdout)]

use super::early::EarlyStopGate;
use crate::executor::port::Gate;
use crate::record::Record;
use crate::record::request::tests::record;
use crate::stats::bench_verdicts::{CELLS, WORLDS, measure, plan};
use crate::stats::interval::tail_of;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Runs the requests of a cell through the gate, in the order of their ends. Returns when it is aborted, milliseconds.
fn aborted_ms(gate: &EarlyStopGate, requests: &[(f64, f64)], length_ms: f64) -> Option<f64> {
    let mut in_order: Vec<(f64, f64)> = requests.to_vec();
    in_order.sort_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1)));
    let empty = record();
    gate.start_cell(0);
    for (sent_ms, response_time_ms) in in_order {
        if sent_ms + response_time_ms > length_ms {
            break;
        }
        gate.settle(&Record { response_time_ms, sent_ms, ..empty.clone() });
        if gate.admit().is_err() {
            return Some(sent_ms + response_time_ms);
        }
    }
    None
}

#[test]
#[ignore = "a simulation: run by name, see `stats::bench_verdicts`"]
fn false_aborts() {
    println!("rule F, g = 20 %: cells at their p95 bound that are aborted, and that fail in all ({CELLS} cells each);");
    println!("share of the time that cells with a p95 of 1.4 and 2 times the bound take");
    println!("{:12} {:>5} {:>8} {:>6} {:>6} {:>6}", "world", "T, s", "aborted", "fail", "1.4", "2");
    for (name, world) in WORLDS {
        let [p95] = world.truth([0.95]);
        for length_ms in [60e3, 300e3] {
            let gate = |bound_ms: f64| {
                let mut plan = plan(length_ms);
                plan.slo = vec![toml::from_str(&format!("p95 = \"{bound_ms}ms\"\nabort_on_fail = true")).unwrap()];
                let tail = tail_of(&plan.slo[0]);
                (EarlyStopGate::new(&crate::matrix::expand(&plan), &plan), tail)
            };
            let cell = crate::matrix::expand(&plan(length_ms)).remove(0);
            let (mut aborted, mut failed, mut spent) = (0_u32, 0_u32, [0.0; 2]);
            for seed in 0..CELLS {
                let mut rng = ChaCha8Rng::seed_from_u64(100 + seed);
                let requests = world.requests(length_ms, &mut rng);
                let (at_bound, tail) = gate(p95);
                let is_aborted = aborted_ms(&at_bound, &requests, length_ms).is_some();
                let interval = measure(&cell, &requests, length_ms).percentile_interval(0.95, tail).unwrap();
                aborted += u32::from(is_aborted);
                failed += u32::from(is_aborted || interval.low.is_some_and(|low| low > p95));
                for (ratio, spent) in [1.4, 2.0].into_iter().zip(&mut spent) {
                    *spent += aborted_ms(&gate(p95 / ratio).0, &requests, length_ms).unwrap_or(length_ms) / length_ms;
                }
            }
            let share = |count: u32| f64::from(count) / CELLS as f64;
            println!(
                "{name:12} {:>5} {:>8.3} {:>6.3} {:>6.2} {:>6.2}",
                length_ms / 1e3,
                share(aborted),
                share(failed),
                spent[0] / CELLS as f64,
                spent[1] / CELLS as f64
            );
        }
    }
}
