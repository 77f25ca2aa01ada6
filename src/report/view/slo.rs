//! Verdicts on thresholds: bound and measured value side by side.

use super::text;
use crate::matrix::Cell;
use crate::plan::{Bound, Goodput, Plan};
use crate::stats::{ConfidenceInterval, Summary};
use crate::units::duration;
use crate::verdict::slo::{BoundResult, Verdict};
use serde::Serialize;
use std::collections::HashMap;

/// One bound of one threshold in one cell.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SloRow {
    /// The threshold's number in the plan, from 1.
    pub(crate) number: usize,
    /// Its name, or `slo 1`.
    pub(crate) title: String,
    /// The cell.
    pub(crate) test_id: String,
    /// `p95`.
    pub(crate) metric: String,
    /// `PASS`, `FAIL` or `INCONCLUSIVE`.
    pub(crate) verdict: &'static str,
    /// The same as a class: `pass`, `fail` or `unknown`.
    pub(crate) state: &'static str,
    /// Why, where the numbers do not say it.
    pub(crate) reason: String,
    /// The bound for people: `<= 2,500 ms`.
    pub(crate) bound: String,
    /// What was measured, for people.
    pub(crate) measured: String,
    /// Its 95 % interval, for people.
    pub(crate) interval: String,
    /// The bound, in `unit`.
    pub(crate) limit: f64,
    /// `<=` or `>=`.
    pub(crate) relation: &'static str,
    /// `ms`, `share` or `per_sec`.
    pub(crate) unit: &'static str,
    /// As measured, in `unit`.
    pub(crate) value: Option<f64>,
    /// The interval's lower end.
    pub(crate) low: Option<f64>,
    /// Its upper end.
    pub(crate) high: Option<f64>,
}

/// All verdicts of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SloView {
    /// In the plan's order.
    pub(crate) rows: Vec<SloRow>,
    /// The indices of those of each cell, by its id.
    #[serde(skip)]
    by_cell: HashMap<String, Vec<usize>>,
    /// Their indices in the order in which people should read them: failures first.
    #[serde(skip)]
    order: Vec<usize>,
    /// `thresholds: 1 FAIL, 0 INCONCLUSIVE, 5 PASS`; empty without thresholds.
    pub(crate) counts: String,
}

impl SloView {
    /// Those of one cell.
    pub(super) fn of_cell(&self, test_id: &str) -> Vec<SloRow> {
        let indices = self.by_cell.get(test_id).map_or(&[][..], Vec::as_slice);
        indices.iter().map(|index| self.rows[*index].clone()).collect()
    }

    /// As people should read them: failures first.
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

/// What is said of a cell in one word: the worst of its verdicts; empty where no threshold is meant for it.
pub(super) fn word(rows: &[SloRow]) -> &'static str {
    let has = |verdict: &Verdict| rows.iter().any(|row| row.verdict == verdict.key());
    Verdict::ALL.iter().find(|verdict| has(verdict)).map_or("", |verdict| verdict.key())
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
        verdict: result.verdict.key(),
        state: super::overview::words(result.verdict.key()).0,
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

/// A bound for people: `<= 2,500 ms`, `>= 12.0 /s (ttft 800ms)`.
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

/// Two decimals, since bounds of shares are small.
fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.000_05 { "< 0.01 %".into() } else { format!("{:.2} %", share * 100.0) }
}

fn ends(bound: &Bound, interval: ConfidenceInterval) -> String {
    let end = |end: Option<f64>| end.map_or_else(|| "open".into(), |end| number(bound, end));
    format!("{} to {}", end(interval.low), end(interval.high))
}
