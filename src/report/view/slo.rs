//! Verdicts on thresholds: limit and measured value side by side.

use super::text;
use crate::plan::{Bound, Plan};
use crate::result::{Quantity, Relation, ThresholdResult, Verdict};
use crate::stats::Summary;
use crate::stats::interval::tail_of;
use crate::units::duration;
use crate::verdict::slo::BoundResult;
use serde::Serialize;
use std::collections::HashMap;

/// All verdicts of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SloView {
    /// Rows in the order of the plan.
    pub(crate) rows: Vec<ThresholdResult>,
    /// Indices of a cell's rows, by cell id.
    #[serde(skip)]
    by_cell: HashMap<String, Vec<usize>>,
    /// Indices of the rows in display order, failures first.
    #[serde(skip)]
    order: Vec<usize>,
    /// `thresholds: 1 FAIL, 0 INCONCLUSIVE, 5 PASS`; empty without thresholds.
    pub(crate) counts: String,
}

impl SloView {
    /// Returns the rows of one cell.
    pub(super) fn of_cell(&self, test_id: &str) -> Vec<ThresholdResult> {
        let indices = self.by_cell.get(test_id).map_or(&[][..], Vec::as_slice);
        indices.iter().map(|index| self.rows[*index].clone()).collect()
    }

    /// Returns the rows in display order, failures first.
    pub(crate) fn rows_in_order(&self) -> impl Iterator<Item = &ThresholdResult> {
        self.order.iter().map(|index| &self.rows[*index])
    }
}

pub(super) fn view(plan: &Plan, summary: &Summary, results: &[BoundResult]) -> SloView {
    let rows: Vec<ThresholdResult> = results.iter().map(|result| row(plan, summary, result)).collect();
    let count = |wanted: Verdict| results.iter().filter(|result| result.verdict == wanted).count();
    let counts: Vec<String> =
        Verdict::ALL.iter().map(|verdict| format!("{} {}", count(*verdict), verdict.key())).collect();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|index| results[*index].verdict);
    let mut by_cell: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        by_cell.entry(row.test_id.clone()).or_default().push(index);
    }
    SloView {
        by_cell,
        counts: if rows.is_empty() { String::new() } else { format!("thresholds: {}", counts.join(", ")) },
        order,
        rows,
    }
}

/// Returns the worst verdict of a cell; `None` if no threshold applies to it.
pub(super) fn worst(rows: &[ThresholdResult]) -> Option<Verdict> {
    rows.iter().map(|row| row.verdict).min()
}

fn row(plan: &Plan, summary: &Summary, result: &BoundResult) -> ThresholdResult {
    let slo = &plan.slo[result.slo];
    let bound = &slo.bounds[result.bound];
    let measured = result.measured;
    ThresholdResult {
        slo_number: result.slo + 1,
        name: slo.title(result.slo),
        test_id: summary.cells[result.cell].cell.id.clone(),
        metric: bound.key(),
        relation: relation(bound),
        bound: quantity(bound, bound.limit()),
        limits: limits(bound),
        measured: measured.map(|interval| quantity(bound, interval.value)),
        low: measured.and_then(|interval| interval.low).map(|low| quantity(bound, low)),
        high: measured.and_then(|interval| interval.high).map(|high| quantity(bound, high)),
        confidence_percent: 100.0 * (1.0 - 2.0 * tail_of(slo)),
        verdict: result.verdict,
        reason: result.reason.clone(),
    }
}

fn relation(bound: &Bound) -> Relation {
    if bound.is_upper() { Relation::AtMost } else { Relation::AtLeast }
}

fn quantity(bound: &Bound, value: f64) -> Quantity {
    match bound {
        Bound::Percentile { .. } => Quantity::Ms(value),
        Bound::Share { .. } => Quantity::Share(value),
        Bound::PerSecond { .. } | Bound::Goodput { .. } => Quantity::PerSec(value),
    }
}

/// Formats a bound: `<= 2,500 ms`, `>= 12.0 /s (ttft 800ms)`.
pub(crate) fn shown(bound: &Bound) -> String {
    text::bound_of(relation(bound), quantity(bound, bound.limit()), limits(bound).as_deref())
}

/// Formats the limits of goodput: `ttft 800ms, e2e 2s`.
fn limits(bound: &Bound) -> Option<String> {
    let Bound::Goodput { limits, .. } = bound else { return None };
    let named = [("ttft", limits.ttft), ("tpot", limits.tpot), ("e2e", limits.e2e)];
    let parts = named.iter().filter_map(|(name, limit)| Some(format!("{name} {}", duration::format((*limit)?))));
    Some(parts.collect::<Vec<_>>().join(", "))
}
