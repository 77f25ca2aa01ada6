//! The end of a run as text: a row per cell, then the old tool's tables. Pure.

use crate::report::view::slo::{SloRow, SloView};
use crate::report::view::{CellView, NOT_AWS, View};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Everything that `run` and `report` print at the end.
pub(crate) fn summary(view: &View, width: usize) -> String {
    let mut text = String::new();
    if view.run.simulated {
        text += "SIMULATED: these numbers are a simulator's, not Amazon Bedrock's.\n\n";
    }
    if view.run.not_aws {
        text += &format!("{NOT_AWS}\n\n");
    }
    if view.run.interrupted {
        text += "INTERRUPTED: this is what there is.\n\n";
    }
    text += &cells(view, width);
    if !view.run.calibration.is_empty() {
        text += &format!("{}\n", view.run.calibration);
    }
    for note in &view.run.notes {
        let _ = writeln!(text, "{note}");
    }
    for sentence in &view.run.cost {
        let _ = writeln!(text, "{sentence}");
    }
    for cell in &view.cells {
        notes(cell, &mut text);
    }
    text += &tiers(view, width);
    if !view.slo.rows.is_empty() {
        text += &thresholds(&view.slo, width);
    }
    for table in &view.tables {
        let _ = writeln!(text, "\n{}", table.title);
        let widest = table.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in &table.rows {
            let _ = writeln!(text, "  {name:<widest$}  {value}");
        }
    }
    text
}

/// Where the files are: what people open first, and the rest by the number.
pub(crate) fn files(dir: &Path, written: &[PathBuf]) -> String {
    const FIRST: [(&str, &str); 3] = [
        ("report.html", "the run, in a browser"),
        ("summary.md", "to paste into a pull request"),
        ("summary.json", "for programs"),
    ];
    let mut text = format!("results: {}\n", dir.display());
    let mut left = written.len();
    for (name, what) in FIRST {
        if written.iter().any(|path| path.as_os_str() == name) {
            let _ = writeln!(text, "  {name:<14} {what}");
            left -= 1;
        }
    }
    if left > 0 {
        let _ = writeln!(text, "  and {left} more: tables, charts, and a page for every cell");
    }
    text.trim_end().to_owned()
}

fn cells(view: &View, width: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width as u16);
    table.set_header(["cell", "requests", "failed", "average ms", "p50 ms", "p95 ms", "p99 ms", "req/s"]);
    for cell in &view.cells {
        table.add_row([
            cell.id.clone(),
            cell.counts.total.to_string(),
            cell.shown.failure_rate.clone(),
            cell.shown.average.clone(),
            cell.shown.p50.clone(),
            cell.shown.p95.clone(),
            cell.shown.p99.clone(),
            cell.shown.requests_per_sec.clone(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n", table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

/// Each tier against `default`; nothing where there is no `default`, or nothing else.
fn tiers(view: &View, width: usize) -> String {
    if view.tiers.tiers.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width as u16);
    for tier in &view.tiers.tiers {
        table.add_row([&tier.id, &tier.sentence]);
    }
    let rows = table.to_string().lines().map(|line| format!(" {}", line.trim_end())).collect::<Vec<_>>().join("\n");
    let mut text = format!("\nTiers against default\n{rows}\n");
    for tier in &view.tiers.tiers {
        for warning in &tier.warnings {
            let _ = writeln!(text, "! {}: {}", tier.id, warning.text);
        }
    }
    let caption = Some(&view.tiers.caption).filter(|caption| !caption.is_empty());
    for line in caption.into_iter().flat_map(|caption| wrapped(&format!("({caption})"), width)) {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// Bound and measured value side by side, failures first.
fn thresholds(slo: &SloView, width: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width as u16);
    table.set_header(["verdict", "cell", "threshold", "bound", "measured", "95 % interval"]);
    for row in slo.rows_in_order() {
        let threshold = format!("{}: {}", row.title, row.metric);
        table.add_row([
            row.verdict.to_owned(),
            row.test_id.clone(),
            threshold,
            row.bound.clone(),
            row.measured.clone(),
            row.interval.clone(),
        ]);
    }
    let mut text =
        format!("\n{}\n{}\n", slo.counts, table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
    // One line for all bounds of a cell that have one reason.
    let mut told: Vec<(&SloRow, String)> = Vec::new();
    for row in slo.rows_in_order().filter(|row| !row.reason.is_empty()) {
        let bound = format!("{} {}", row.title, row.metric);
        match told.iter_mut().find(|(first, _)| first.test_id == row.test_id && first.reason == row.reason) {
            Some((_, bounds)) => *bounds += &format!(", {bound}"),
            None => told.push((row, bound)),
        }
    }
    for (row, bounds) in told {
        let _ = writeln!(text, "! {}: {}: {}: {bounds}", row.test_id, row.verdict, row.reason);
    }
    text
}

/// Lines of at most `width` columns, two of which are left free.
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

/// What a reader of the row above must know.
fn notes(cell: &CellView, text: &mut String) {
    match cell.validity.as_str() {
        "not_run" => drop(writeln!(text, "! {}: not run", cell.id)),
        left_out if left_out.starts_with("unsupported") || left_out.starts_with("refused") => {
            let _ = writeln!(text, "! {}: left out: {left_out}", cell.id);
        }
        _ => {}
    }
    for warning in &cell.warnings {
        let _ = writeln!(text, "! {}: {}", cell.id, warning.text);
    }
    for error in &cell.errors {
        let _ = writeln!(text, "! {}: {} x {}: {}", cell.id, error.count, error.class, error.message);
        if !error.hint.is_empty() {
            let _ = writeln!(text, "    {}", error.hint);
        }
    }
}
