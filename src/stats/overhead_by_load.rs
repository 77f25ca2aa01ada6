//! Whether the client overhead grows with the load: cells that differ in load alone.

use super::cell_summary::CellSummary;
use super::overhead::{OverheadReference, growth};
use super::warning::Warning;
use crate::matrix::{AXES, LOAD_FIELDS};
use std::collections::HashMap;

/// Compares each cell with the cell that has the lowest load and is otherwise equal.
pub(super) fn compare_loads(cells: &mut [CellSummary]) {
    let mut contexts: HashMap<Vec<String>, Vec<(f64, usize)>> = HashMap::new();
    for (index, summary) in cells.iter().enumerate() {
        let cell = &summary.cell;
        let (kind, load) = match (cell.users, cell.arrival_rate) {
            (Some(users), _) => ("users", f64::from(users)),
            (None, Some(rate)) => ("arrival_rate", rate.0),
            (None, None) => continue,
        };
        let context =
            AXES.iter().filter(|axis| !LOAD_FIELDS.contains(&axis.field)).map(|axis| (axis.get)(cell).to_string());
        contexts.entry(std::iter::once(kind.to_owned()).chain(context).collect()).or_default().push((load, index));
    }
    for mut loads in contexts.into_values().filter(|loads| loads.len() > 1) {
        loads.sort_by(|a, b| a.0.total_cmp(&b.0));
        let lowest = loads[0].1;
        let Some(least) = cells[lowest].overhead_p95 else { continue };
        let id = cells[lowest].cell.id.clone();
        for (_, index) in loads.into_iter().skip(1) {
            let summary = &mut cells[index];
            let Some(p95) = summary.overhead_p95 else { continue };
            let p50_ms = summary.latency.value_ms(0.5);
            let grown = growth(least, p95, p50_ms, OverheadReference::LowestLoad(id.clone()));
            if summary.overhead.is_none() && grown.is_some() {
                summary.overhead = grown;
                summary.warnings.push(Warning::ClientOverhead);
            }
        }
    }
}
