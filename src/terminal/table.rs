//! The end-of-run summary as text: one row per cell, warnings, tiers, thresholds and the summary tables.

use crate::report::view::slo::SloView;
use crate::report::view::text::{self, clipped, more, some_of};
use crate::report::view::{FAILURES_INCLUDED, NOT_AWS, SIMULATED, View};
use crate::result::{ThresholdResult, Verdict};
use crate::units::Keyed;
use crate::units::pattern::pattern;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Maximum rows of a table.
pub(super) const MAX_ROWS: usize = 100;

/// Maximum lines of a list.
pub(crate) const MAX_LINES: usize = 20;

/// Formats the text that `run` and `report` print at the end.
pub(crate) fn summary(view: &View, width: usize) -> String {
    let mut text = String::new();
    if view.run.simulated {
        text += &format!("{SIMULATED}\n\n");
    }
    if view.run.not_aws {
        text += &format!("{NOT_AWS}\n\n");
    }
    if view.run.include_failures {
        text += &format!("{FAILURES_INCLUDED}\n\n");
    }
    if let Some(running) = &view.run.running {
        text += &format!("RUNNING: {running}; these numbers cover the requests that have ended.\n\n");
    }
    if view.run.interrupted {
        text += "INTERRUPTED: these results are incomplete.\n\n";
    }
    text += &cells(view, width);
    if let Some(calibration) = &view.run.calibration {
        text += &format!("{calibration}\n");
    }
    for sentences in [&view.run.notes, &view.run.cost] {
        for sentence in sentences.iter().take(MAX_LINES) {
            let _ = writeln!(text, "{sentence}");
        }
        append_omitted(&mut text, sentences.len().saturating_sub(MAX_LINES), SUMMARY);
    }
    notes(view, &mut text);
    text += &tiers(view, width);
    if !view.slo.rows.is_empty() {
        text += &thresholds(&view.slo, width);
    }
    for table in &view.tables {
        let _ = writeln!(text, "\n{}", table.title);
        let widest = table.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in table.rows.iter().take(MAX_ROWS) {
            let _ = writeln!(text, "  {name:<widest$}  {value}");
        }
        append_omitted(&mut text, table.rows.len().saturating_sub(MAX_ROWS), &consolidated(view));
    }
    text
}

/// Lists the most important result files and the number of the others.
pub(crate) fn files(dir: &Path, written: &[PathBuf]) -> String {
    const FIRST: [(&str, &str); 3] = [
        ("report.html", "report for the browser"),
        ("summary.md", "summary for pull requests"),
        ("summary.json", "machine-readable summary"),
    ];
    let mut text = format!("results: {}\n", dir.display());
    let mut left = written.len();
    for (name, purpose) in FIRST {
        if written.iter().any(|path| path.as_os_str() == name) {
            let _ = writeln!(text, "  {name:<14} {purpose}");
            left -= 1;
        }
    }
    if left > 0 {
        let _ = writeln!(text, "  and {left} more: tables, charts, and one page per cell");
    }
    text.trim_end().to_owned()
}

/// Creates a table without borders that fits into `width` columns.
pub(super) fn new_table(width: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width as u16);
    table
}

/// Returns the rows of a table without trailing blanks.
pub(super) fn rendered(table: &Table) -> String {
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn cells(view: &View, width: usize) -> String {
    let mut table = new_table(width);
    table.set_header(["cell", "requests", "failed", "average ms", "p50 ms", "p95 ms", "p99 ms", "req/s"]);
    for cell in view.cells.iter().take(MAX_ROWS) {
        let times = &cell.result.response_time;
        table.add_row([
            cell.id.clone(),
            cell.result.requests.counts.total.to_string(),
            text::percent(cell.result.requests.counts.failure_rate()),
            text::ms_or_nothing(times.mean_ms),
            text::percentile_of_times(times, 0.50),
            text::percentile_of_times(times, 0.95),
            text::percentile_of_times(times, 0.99),
            text::rate(cell.result.requests_per_sec),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{}\n", rendered(&table));
    append_omitted(&mut text, view.cells.len().saturating_sub(MAX_ROWS), &consolidated(view));
    text
}

/// Returns the name of the file with one row per cell.
fn consolidated(view: &View) -> String {
    view.csv_file.clone()
}

/// Formats the comparison of each tier with `default`; empty without tiers to compare.
fn tiers(view: &View, width: usize) -> String {
    if view.tiers.tiers.is_empty() {
        return String::new();
    }
    let mut table = new_table(width);
    let shown = || view.tiers.tiers.iter().take(MAX_LINES);
    for tier in shown() {
        table.add_row([&tier.result.test_id, &tier.result.sentence]);
    }
    let rows = table.to_string().lines().map(|line| format!(" {}", line.trim_end())).collect::<Vec<_>>().join("\n");
    let mut text = format!("\nTiers against default\n{rows}\n");
    append_omitted(&mut text, view.tiers.tiers.len().saturating_sub(MAX_LINES), "tiers.csv");
    for tier in shown() {
        for warning in &tier.warnings {
            let _ = writeln!(text, "! {}: {}", tier.result.test_id, warning.text);
        }
    }
    let caption = Some(&view.tiers.caption).filter(|caption| !caption.is_empty());
    for line in caption.into_iter().flat_map(|caption| wrapped(&format!("({caption})"), width)) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// Formats the verdicts, failures first.
fn thresholds(slo: &SloView, width: usize) -> String {
    let mut table = new_table(width);
    table.set_header(["verdict", "cell", "threshold", "bound", "measured", "95 % interval"]);
    for row in slo.rows_in_order().take(MAX_ROWS) {
        let threshold = format!("{}: {}", row.name, row.metric);
        table.add_row([
            row.verdict.key().to_owned(),
            row.test_id.clone(),
            threshold,
            text::bound(row),
            text::measured(row),
            text::interval(row),
        ]);
    }
    let mut text = format!("\n{}\n{}\n", slo.counts, rendered(&table));
    append_omitted(&mut text, slo.rows.len().saturating_sub(MAX_ROWS), THRESHOLDS);
    let reasons = reasons(slo);
    for Reason { verdict, text: why, cells, bounds, .. } in reasons.iter().take(MAX_LINES) {
        let whose = if let [cell] = cells.as_slice() { cell.clone() } else { several(cells) };
        let _ = writeln!(text, "! {whose}: {}: {why}: {}", verdict.key(), clipped(bounds));
    }
    append_omitted(&mut text, reasons.len().saturating_sub(MAX_LINES), THRESHOLDS);
    text
}

/// File with every threshold of every cell.
const THRESHOLDS: &str = "slo.csv";

/// Reason of a verdict, with the cells and bounds it applies to.
struct Reason {
    verdict: Verdict,
    /// Reason in the first cell; names that cell if the numbers differ between cells.
    text: String,
    is_same: bool,
    cells: Vec<String>,
    bounds: String,
}

/// Groups reasons by bound and cell.
fn reasons(slo: &SloView) -> Vec<Reason> {
    let mut of_cells: Keyed<(&str, &str), (&ThresholdResult, Vec<String>)> = Keyed::default();
    for row in slo.rows_in_order().filter(|row| !row.reason.is_empty()) {
        let (_, bounds) = of_cells.entry((&row.test_id, &row.reason), || (row, Vec::new()));
        bounds.push(format!("{} {}", row.name, row.metric));
    }
    let mut reasons: Keyed<(Verdict, String, String), Reason> = Keyed::default();
    for (row, bounds) in of_cells.items {
        let (verdict, text, bounds) = (row.verdict, row.reason.clone(), bounds.join(", "));
        let new = || Reason { verdict, text, is_same: true, cells: Vec::new(), bounds: bounds.clone() };
        let reason = reasons.entry((verdict, pattern(&row.reason), bounds.clone()), new);
        if reason.text != row.reason && reason.is_same {
            reason.text += &format!(" (in {})", reason.cells[0]);
            reason.is_same = false;
        }
        reason.cells.push(row.test_id.clone());
    }
    reasons.items
}

/// Wraps a text to lines of at most `width` - 2 columns.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width.saturating_sub(2) => {
                *line = format!("{line} {word}");
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// File with every warning and every kind of failure.
const SUMMARY: &str = "summary.json";

/// Appends each kind of warning and each kind of failure with its cells.
fn notes(view: &View, text: &mut String) {
    let groups = view.warnings.iter().take(MAX_LINES);
    for group in groups {
        let _ = match group.cells.as_slice() {
            [cell] => writeln!(text, "! {cell}: {}", group.text),
            cells if group.is_same => writeln!(text, "! {}: {}", several(cells), group.text),
            cells => writeln!(text, "! {}: {} (in {})", several(cells), group.text, cells[0]),
        };
    }
    append_omitted(text, view.warnings.len().saturating_sub(MAX_LINES), SUMMARY);
    for failure in view.failures.iter().take(MAX_LINES) {
        let line = format!("{} x {}: {}", failure.count, failure.class, clipped(&failure.message));
        let _ = match failure.cells.as_slice() {
            [cell] => writeln!(text, "! {cell}: {line}"),
            cells => writeln!(text, "! {}: {line}", several(cells)),
        };
        if !failure.hint.is_empty() {
            let _ = writeln!(text, "    {}", failure.hint);
        }
    }
    append_omitted(text, view.failures.len().saturating_sub(MAX_LINES), SUMMARY);
}

/// `27 cells (a, b, c and 24 more)`.
fn several(cells: &[String]) -> String {
    format!("{} cells ({})", cells.len(), some_of(cells))
}

/// Appends the number of omitted entries and the file that lists them.
pub(super) fn append_omitted(text: &mut String, left_out: usize, file: &str) {
    if left_out > 0 {
        let _ = writeln!(text, "{}", more(left_out, file));
    }
}
