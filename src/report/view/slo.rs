//! Verdicts on thresholds: limit and measured value side by side.

use super::text;
use crate::matrix::Cell;
use crate::plan::{Bound, Goodput, Plan};
use crate::result::Verdict;
use crate::stats::{ConfidenceInterval, Summary};
use crate::units::duration;
use crate::verdict::slo::BoundResult;
use serde::Serialize;
use std::collections::HashMap;

/// One bound of one threshold in one cell.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SloRow {
    /// Number of the threshold in the plan, from 1.
    pub(crate) number: usize,
    /// Name of the threshold, or `slo 1`.
    pub(crate) title: String,
    /// Cell id.
    pub(crate) test_id: String,
    /// For example `p95`.
    pub(crate) metric: String,
    pub(crate) verdict: Verdict,
    /// CSS class of the verdict: `pass`, `fail` or `unknown`.
    pub(crate) state: &'static str,
    /// Reason of the verdict, if the numbers do not show it.
    pub(crate) reason: String,
    /// Bound, formatted: `<= 2,500 ms`.
    pub(crate) bound: String,
    /// Measured value, formatted.
    pub(crate) measured: String,
    /// 95 % interval of the measured value, formatted.
    pub(crate) interval: String,
    /// Limit of the bound, in `unit`.
    pub(crate) limit: f64,
    /// `<=` or `>=`.
    pub(crate) relation: &'static str,
    /// `ms`, `share` or `per_sec`.
    pub(crate) unit: &'static str,
    /// Measured value, in `unit`.
    pub(crate) value: Option<f64>,
    /// Lower end of the interval.
    pub(crate) low: Option<f64>,
    /// Upper end of the interval.
    pub(crate) high: Option<f64>,
}

/// All verdicts of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SloView {
    /// Rows in the order of the plan.
    pub(crate) rows: Vec<SloRow>,
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
    pub(super) fn of_cell(&self, test_id: &str) -> Vec<SloRow> {
        let indices = self.by_cell.get(test_id).map_or(&[][..], Vec::as_slice);
        indices.iter().map(|index| self.rows[*index].clone()).collect()
    }

    /// Returns the rows in display order, failures first.
    pub(crate) fn rows_in_order(&self) -> impl Iterator<Item = &SloRow> {
        self.order.iter().map(|index| &self.rows[*index])
    }
}

pub(super) fn view(plan: &Plan, summary: &Summary, results: &[BoundResult]) -> SloView {
    let rows: Vec<SloRow> = results.iter().map(|result| row(plan, summary, result)).collect();
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
pub(super) fn worst(rows: &[SloRow]) -> Option<Verdict> {
    rows.iter().map(|row| row.verdict).min()
}

fn row(plan: &Plan, summary: &Summary, result: &BoundResult) -> SloRow {
    let slo = &plan.slo[result.slo];
    let bound = &slo.bounds[result.bound];
    let cell: &Cell = &summary.cells[result.cell].cell;
    let measured = result.measured;
    SloRow {
        number: result.slo + 1,
        title: slo.title(result.slo),
        test_id: cell.id.clone(),
        metric: bound.key(),
        verdict: result.verdict,
        state: super::overview::words(Some(result.verdict)).0,
        reason: result.reason.clone(),
        bound: shown(bound),
        measured: measured.map_or_else(|| text::NOTHING.into(), |interval| number(bound, interval.value)),
        interval: measured.map_or_else(String::new, |interval| ends(bound, interval)),
        limit: bound.limit(),
        relation: relation(bound),
        unit: bound.unit(),
        value: measured.map(|interval| interval.value),
        low: measured.and_then(|interval| interval.low),
        high: measured.and_then(|interval| interval.high),
    }
}

fn relation(bound: &Bound) -> &'static str {
    if bound.is_upper() { "<=" } else { ">=" }
}

/// Formats a bound: `<= 2,500 ms`, `>= 12.0 /s (ttft 800ms)`.
pub(crate) fn shown(bound: &Bound) -> String {
    let limits = match bound {
        Bound::Goodput { limits, .. } => format!(" ({})", limits_of(limits)),
        _ => String::new(),
    };
    format!("{} {}{limits}", relation(bound), number(bound, bound.limit()))
}

fn limits_of(limits: &Goodput) -> String {
    let named = [("ttft", limits.ttft), ("tpot", limits.tpot), ("e2e", limits.e2e)];
    let said = named.iter().filter_map(|(name, limit)| Some(format!("{name} {}", duration::format((*limit)?))));
    said.collect::<Vec<_>>().join(", ")
}

fn number(bound: &Bound, value: f64) -> String {
    match bound {
        Bound::Percentile { .. } => format!("{} ms", text::ms(value)),
        Bound::Share { .. } => percent(value),
        Bound::PerSecond { .. } | Bound::Goodput { .. } => format!("{} /s", text::ms(value)),
    }
}

/// Formats a share with two decimals, since bounds of shares are small.
fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.000_05 { "< 0.01 %".into() } else { format!("{:.2} %", share * 100.0) }
}

fn ends(bound: &Bound, interval: ConfidenceInterval) -> String {
    let end = |end: Option<f64>| end.map_or_else(|| "open".into(), |end| number(bound, end));
    format!("{} to {}", end(interval.low), end(interval.high))
}
