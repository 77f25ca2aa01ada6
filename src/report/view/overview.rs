//! First section of a run's report: a verdict per tier and load, notices about the numbers, and a table of all cells.

use super::cell::CellView;
use super::entry::Entry;
use super::names::{self, Coordinates, TIER};
use super::notices::{self, Notice};
use super::slo::SloView;
use super::tiers::TiersView;
use super::{cost, text};
use crate::matrix::{AXES, AxisValue, LOAD_FIELDS, find_axis};
use crate::record::manifest::Manifest;
use crate::result::{Quality, ThresholdResult, Times, Validity, Verdict};
use crate::stats::{CellSummary, Summary};
use crate::units::rounded;
use crate::units::{Keyed, duration};
use serde::Serialize;
use std::time::Duration;

/// Overview of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    /// Summary of the run in one sentence.
    pub(crate) headline: String,
    /// State of the headline: `pass`, `fail` or `unknown`; empty without thresholds.
    pub(crate) state: &'static str,
    /// Key numbers of the run.
    pub(crate) facts: Vec<Entry>,
    /// Coordinates that all cells share: `nova-2-lite, prefix us`.
    pub(crate) common: String,
    /// Verdicts by tier and load, one grid per context.
    pub(crate) grid: Vec<GridContext>,
    /// Notices; those that make numbers unusable come first.
    pub(crate) notices: Vec<Notice>,
    /// Table of all cells.
    pub(crate) matrix: MatrixView,
    /// Result of the tier comparison in one sentence.
    pub(crate) tiers: String,
    /// Whether the plan contains more than one model.
    pub(crate) several_models: bool,
}

/// Grid of one context, which is every axis except tier and load.
#[derive(Debug, Serialize)]
pub(crate) struct GridContext {
    /// For example `nova-2-lite, prompt small`; empty if no other axis varies.
    pub(crate) title: String,
    /// Load names, for example `20 users`.
    pub(crate) columns: Vec<String>,
    /// One row per tier.
    pub(crate) rows: Vec<GridRow>,
}

/// Row of a tier.
#[derive(Debug, Serialize)]
pub(crate) struct GridRow {
    /// Name of the tier.
    pub(crate) tier: String,
    /// Squares by column; `None` if the plan has no such cell.
    pub(crate) squares: Vec<Option<GridSquare>>,
}

/// Summary of one cell in the grid.
#[derive(Debug, Serialize)]
pub(crate) struct GridSquare {
    /// Cell id.
    pub(crate) id: String,
    /// `pass`, `fail`, `unknown`, or `plain` without thresholds.
    pub(crate) state: &'static str,
    /// Displayed word for the verdict; empty without thresholds.
    pub(crate) word: String,
    /// Problem of the cell: `INVALID`, `aborted`, `not run`; empty if there is none.
    pub(crate) unfit: String,
    /// p95 with its unit, or the reason why it is not shown.
    pub(crate) p95: String,
    /// US dollars per 1,000 replies with the currency sign; empty if unknown.
    pub(crate) cost: String,
    /// Threshold result that decided the verdict.
    pub(crate) why: String,
}

/// Table with one row per cell.
#[derive(Debug, Serialize)]
pub(crate) struct MatrixView {
    /// Columns of the table.
    pub(crate) columns: Vec<Column>,
    /// Rows in matrix order.
    pub(crate) rows: Vec<MatrixRow>,
}

/// Column of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Column {
    /// Display name with the unit.
    pub(crate) label: String,
    /// Whether the column contains numbers.
    pub(crate) is_number: bool,
}

/// Row of a cell.
#[derive(Debug, Serialize)]
pub(crate) struct MatrixRow {
    /// Cell id.
    pub(crate) id: String,
    /// State of the cell; see [`GridSquare::state`].
    pub(crate) state: &'static str,
    /// Values by column.
    pub(crate) values: Vec<MatrixValue>,
}

/// Value in a sortable table.
#[derive(Debug, Serialize)]
pub(crate) struct MatrixValue {
    /// Displayed text.
    pub(crate) text: String,
    /// Sort key; `None` if there is no number.
    pub(crate) number: Option<f64>,
}

/// Returns the CSS class and the displayed word of a verdict.
pub(crate) fn words(verdict: Option<Verdict>) -> (&'static str, &'static str) {
    match verdict {
        Some(Verdict::Pass) => ("pass", "pass"),
        Some(Verdict::Fail) => ("fail", "fail"),
        Some(Verdict::Inconclusive) => ("unknown", "inconclusive"),
        None => ("plain", ""),
    }
}

/// Returns the sentence of the only compared tier, or how many tiers were compared.
fn told(tiers: &TiersView) -> String {
    let compared = || tiers.tiers.iter().filter(|tier| tier.is_compared);
    match compared().next() {
        None => "nothing could be compared".into(),
        Some(tier) if compared().count() == 1 => tier.result.sentence.clone(),
        Some(_) => format!("{} of {} compared", compared().count(), tiers.tiers.len()),
    }
}

pub(super) fn view(
    manifest: &Manifest,
    summary: &Summary,
    names: &Coordinates,
    cells: &[CellView],
    slo: &SloView,
    tiers: &TiersView,
) -> Overview {
    let (state, headline) = headline(summary, cells, slo);
    Overview {
        headline,
        state,
        facts: facts(manifest, summary),
        common: common(names),
        grid: grid(summary, names, cells),
        notices: notices::view(summary, cells, manifest.plan.report.include_failures),
        matrix: matrix(summary, names, cells),
        tiers: told(tiers),
        several_models: names.values("model_id").len() > 1,
    }
}

/// Returns the state of the run and its summary in one sentence.
fn headline(summary: &Summary, cells: &[CellView], slo: &SloView) -> (&'static str, String) {
    let all = cells.len();
    let noun = |n: usize| if n == 1 { "cell" } else { "cells" };
    if slo.rows.is_empty() {
        let usable = summary.cells.iter().filter(|cell| cell.validity == Validity::Ok).count();
        let headline = if usable == all {
            format!("{all} {} measured; the plan sets no thresholds", noun(all))
        } else {
            format!("{usable} of {all} {} can be trusted; the plan sets no thresholds", noun(all))
        };
        return ("", headline);
    }
    let count = |verdict| cells.iter().filter(|cell| cell.result.verdict == Some(verdict)).count();
    let (pass, fail, unknown) = (count(Verdict::Pass), count(Verdict::Fail), count(Verdict::Inconclusive));
    let judged = pass + fail + unknown;
    let mut headline = format!("{pass} of {judged} {} {}", noun(judged), if pass == 1 { "passes" } else { "pass" });
    if fail > 0 {
        headline += &format!(", {fail} {}", if fail == 1 { "fails" } else { "fail" });
    }
    if unknown > 0 {
        headline += &format!(", {unknown} inconclusive");
    }
    let state = match (fail, unknown) {
        (1.., _) => "fail",
        (_, 1..) => "unknown",
        _ => "pass",
    };
    (state, headline)
}

fn facts(manifest: &Manifest, summary: &Summary) -> Vec<Entry> {
    let sum = |number: fn(&CellSummary) -> u64| summary.cells.iter().map(number).sum::<u64>();
    let (total, failures, throttled) =
        (sum(|cell| cell.counts.total), sum(|cell| cell.counts.failures()), sum(|cell| cell.counts.throttled));
    let share = |part: u64| text::percent((total > 0).then(|| part as f64 / total as f64));
    let number = |n: u64| text::thousands(n as f64, 0);
    let mut facts = vec![
        Entry::new("cells", summary.cells.len().to_string()),
        Entry::new("requests", number(total)),
        Entry::new("failed", format!("{} ({})", number(failures), share(failures))),
        Entry::new("of them throttled", format!("{} ({})", number(throttled), share(throttled))),
    ];
    if let Some(spent) = cost::total(summary) {
        facts.push(Entry::new(if manifest.simulated() { "would have cost, USD" } else { "cost, USD" }, spent));
    }
    if let Some(shards) = &manifest.shards {
        facts.push(Entry::new("machines", shards.shown()));
    }
    if let Some(ended) = manifest.ended_ms {
        let took = Duration::from_secs(ended.saturating_sub(manifest.started_ms).div_ceil(1_000));
        facts.push(Entry::new("took", duration::format(took)));
    }
    facts
}

/// Returns the coordinates that do not vary, for the axes that matter to a reader.
fn common(names: &Coordinates) -> String {
    let fields: Vec<&str> = AXES
        .iter()
        .map(|axis| axis.field)
        .filter(|field| names.values(field).len() == 1 && !LOAD_FIELDS.contains(field))
        .collect();
    let key: Vec<AxisValue> = fields.iter().flat_map(|field| names.values(field)).cloned().collect();
    names.title(&fields, &key)
}

/// Returns the load axis of a cell and the cell's value on it.
pub(super) fn load(cell: &CellSummary) -> (&'static str, AxisValue) {
    let on = |field: &&'static str| {
        let value = find_axis(field).map_or(AxisValue::Absent, |axis| (axis.get)(&cell.cell));
        (value != AxisValue::Absent).then_some((*field, value))
    };
    LOAD_FIELDS.iter().find_map(on).unwrap_or(("users", AxisValue::Absent))
}

/// Returns the load of a cell as text: `20 users`.
pub(super) fn load_name(cell: &CellSummary) -> String {
    let (field, value) = load(cell);
    names::counted(field, &value)
}

/// Returns the values of a cell on the axes in `fields`, which make up a context.
pub(super) fn context(cell: &CellSummary, fields: &[&str]) -> Vec<AxisValue> {
    fields.iter().filter_map(|field| find_axis(field)).map(|axis| (axis.get)(&cell.cell)).collect()
}

/// Context of the grid under construction.
struct GridBuilder {
    title: String,
    columns: Keyed<String, String>,
    /// Rows by tier; each has the tier's name, and its squares with their column indices.
    rows: Keyed<String, (String, Vec<(usize, GridSquare)>)>,
}

fn grid(summary: &Summary, names: &Coordinates, cells: &[CellView]) -> Vec<GridContext> {
    let but: Vec<&str> = LOAD_FIELDS.into_iter().chain([TIER]).collect();
    let fields = names.varying(&but);
    let mut grid: Keyed<Vec<AxisValue>, GridBuilder> = Keyed::default();
    for (cell, view) in summary.cells.iter().zip(cells) {
        let key = context(cell, &fields);
        let title = || names.title(&fields, &key);
        let new = || GridBuilder { title: title(), columns: Keyed::default(), rows: Keyed::default() };
        let context = grid.entry(key.clone(), new);
        let load = load_name(cell);
        let column = context.columns.place(load.clone(), || load);
        let tier = &cell.cell.service_tier;
        let (_, squares) = context.rows.entry(tier.clone(), || (tier.clone(), Vec::new()));
        squares.push((column, square(cell, view)));
    }
    grid.items.into_iter().map(GridBuilder::done).collect()
}

impl GridBuilder {
    fn done(self) -> GridContext {
        let columns = self.columns.items;
        let row = |(tier, placed): (String, Vec<(usize, GridSquare)>)| {
            let mut squares: Vec<Option<GridSquare>> = columns.iter().map(|_| None).collect();
            for (column, square) in placed {
                squares[column] = Some(square);
            }
            GridRow { tier, squares }
        };
        let rows = self.rows.items.into_iter().map(row).collect();
        GridContext { title: self.title, rows, columns }
    }
}

/// Returns the CSS class and the displayed word of a cell.
fn state(cell: &CellSummary, view: &CellView) -> (&'static str, String) {
    let (state, word) = words(view.result.verdict);
    let unfit = match &cell.validity {
        Validity::Ok => return (state, word.into()),
        Validity::NotRun => "not run",
        Validity::Unsupported(_) => "unsupported",
        Validity::Refused(_) => "refused",
        Validity::Aborted => "aborted",
        Validity::Invalid(_) => "INVALID",
    };
    (if state == "fail" { "fail" } else { "unknown" }, unfit.into())
}

fn square(cell: &CellSummary, view: &CellView) -> GridSquare {
    let (state, said) = state(cell, view);
    let is_fit = cell.validity == Validity::Ok;
    let times = &view.result.response_time;
    let shown = text::percentile_of_times(times, 0.95);
    GridSquare {
        id: view.id.clone(),
        state,
        word: words(view.result.verdict).1.into(),
        unfit: if is_fit { String::new() } else { said },
        // A square has room for the reason only.
        p95: match times.percentile(0.95) {
            Some(p95) if p95.quality == Quality::TooFew => text::sample_size(p95, times.samples),
            _ => with_unit(shown, "ms"),
        },
        cost: cell.spend.per_1k_requests().map_or_else(String::new, |usd| format!("${}", cost::shown(Some(usd)))),
        why: why(cell, view),
    }
}

/// Appends the unit to a number; a reason for a missing value gets none.
fn with_unit(shown: String, unit: &str) -> String {
    if shown.starts_with(text::NOTHING) { shown } else { format!("{shown} {unit}") }
}

/// Returns the threshold result that decided a cell's verdict.
fn why(cell: &CellSummary, view: &CellView) -> String {
    match &cell.validity {
        Validity::Invalid(reason) | Validity::Unsupported(reason) | Validity::Refused(reason) => return reason.clone(),
        Validity::NotRun => return "it never started".into(),
        Validity::Aborted | Validity::Ok => {}
    }
    let row = |row: &ThresholdResult| {
        let reason = if row.reason.is_empty() { String::new() } else { format!("; {}", row.reason) };
        format!("{} {} {}: measured {}{reason}", row.name, row.metric, text::bound(row), text::measured(row))
    };
    let decided =
        view.slo.iter().filter(|row| Some(row.verdict) == view.result.verdict && row.verdict != Verdict::Pass);
    decided.map(row).collect::<Vec<_>>().join("; ")
}

/// Function that computes the value of a table column for a cell.
type Value = fn(&CellSummary, &CellView) -> MatrixValue;

const NUMBERS: [(&str, Value); 9] = [
    ("requests", |cell, _| plain(text::thousands(cell.counts.total as f64, 0), Some(cell.counts.total as f64))),
    ("failed", |cell, _| plain(text::percent(cell.counts.failure_rate()), cell.counts.failure_rate())),
    ("p50, ms", |_, view| percentile(Some(&view.result.response_time), 0.50)),
    ("p95, ms", |_, view| percentile(Some(&view.result.response_time), 0.95)),
    ("95 % of p95, ms", |_, view| {
        let p95 = view.result.response_time.percentile(0.95);
        let (low, high) = (p95.and_then(|p95| p95.low_ms), p95.and_then(|p95| p95.high_ms));
        let is_known = low.is_some() || high.is_some();
        plain(if is_known { text::range(low, high) } else { text::NOTHING.into() }, high)
    }),
    ("p99, ms", |_, view| percentile(Some(&view.result.response_time), 0.99)),
    ("requests/s", |_, view| plain(text::rate(view.result.requests_per_sec), view.result.requests_per_sec)),
    ("output tokens/s", |_, view| {
        plain(text::rate(view.result.output_tokens_per_sec), view.result.output_tokens_per_sec)
    }),
    ("USD per 1,000", |cell, _| {
        let usd = cell.spend.per_1k_requests();
        plain(cost::shown(usd), usd)
    }),
];

const TTFT: (&str, Value) =
    ("first token p95, ms", |_, view| percentile(view.result.time_to_first_token.as_ref(), 0.95));

/// Returns a percentile. A percentile that is not shown has no sort key either.
fn percentile(times: Option<&Times>, level: f64) -> MatrixValue {
    let Some(times) = times else { return plain(text::NOTHING.into(), None) };
    let usable = times.percentile(level).filter(|percentile| percentile.quality != Quality::TooFew);
    plain(text::percentile_of_times(times, level), usable.map(|percentile| percentile.value_ms))
}

fn plain(text: String, number: Option<f64>) -> MatrixValue {
    // Six decimals are enough for a sort key.
    MatrixValue { text, number: number.map(|number| rounded(number, 6)) }
}

fn is_number(value: &AxisValue) -> bool {
    matches!(value, AxisValue::Count(_) | AxisValue::Rate(_))
}

fn matrix(summary: &Summary, names: &Coordinates, cells: &[CellView]) -> MatrixView {
    let varies = names.varying(&[]);
    let axes: Vec<_> = AXES.iter().filter(|axis| varies.contains(&axis.field)).collect();
    let mut numbers: Vec<(&str, Value)> = NUMBERS.to_vec();
    if summary.cells.iter().any(|cell| cell.ttft.is_some()) {
        numbers.insert(6, TTFT);
    }
    let column = |label: &str, is_number| Column { label: label.into(), is_number };
    let columns = std::iter::once(column("cell", false))
        .chain(
            axes.iter()
                .map(|axis| column(axis.label, summary.cells.iter().any(|cell| is_number(&(axis.get)(&cell.cell))))),
        )
        .chain([column("verdict", false)])
        .chain(numbers.iter().map(|(label, _)| column(label, true)));
    let coordinate = |value: AxisValue| match value {
        AxisValue::Count(count) => plain(value.to_string(), Some(count as f64)),
        AxisValue::Rate(rate) => plain(value.to_string(), Some(rate.0)),
        AxisValue::Text(_) | AxisValue::Absent => plain(value.to_string(), None),
    };
    let row = |(cell, view): (&CellSummary, &CellView)| {
        let (state, word) = state(cell, view);
        let word = if word.is_empty() { "ok".into() } else { word };
        let values = std::iter::once(plain(view.id.clone(), None))
            .chain(axes.iter().map(|axis| coordinate((axis.get)(&cell.cell))))
            .chain([plain(word, None)])
            .chain(numbers.iter().map(|(_, value)| value(cell, view)));
        MatrixRow { id: view.id.clone(), state, values: values.collect() }
    };
    MatrixView { columns: columns.collect(), rows: summary.cells.iter().zip(cells).map(row).collect() }
}
