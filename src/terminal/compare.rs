//! Text output of `compare` and `baseline show`.

use super::table::{MAX_LINES, MAX_ROWS, append_omitted, new_table, rendered, wrapped};
use crate::report::compare::{CompareView, RowView};
use crate::report::view::{NOT_AWS, SIMULATED};
use crate::result::SessionInfo;
use crate::units::Keyed;
use comfy_table::CellAlignment;
use std::fmt::Write;

/// Where all entries are listed.
const FULL_OUTPUT: &str = "the output of `compare --format json`";

/// Formats the output of `compare`.
pub(crate) fn comparison(view: &CompareView, width: usize) -> String {
    let mut text = String::new();
    if view.simulated {
        text += &format!("{SIMULATED}\n\n");
    }
    if view.not_aws {
        text += &format!("{NOT_AWS}\n\n");
    }
    let _ = writeln!(text, "{} against {}", sides(&view.new), view.baseline);
    let _ = writeln!(text, "  ({})\n", sides(&view.base));
    for warning in view.warnings.iter().take(MAX_LINES) {
        append_hanging(&mut text, "! ", warning, width);
    }
    append_omitted(&mut text, view.warnings.len().saturating_sub(MAX_LINES), FULL_OUTPUT);
    if !view.warnings.is_empty() {
        text.push('\n');
    }
    if view.judged && !view.rows.is_empty() {
        let _ = writeln!(text, "{}", view.counts);
    }
    if !view.rows.is_empty() {
        let _ = writeln!(text, "{}", rows(view, width));
        append_omitted(&mut text, view.rows.len().saturating_sub(MAX_ROWS), FULL_OUTPUT);
    }
    for drift in &view.drift {
        let _ = writeln!(text, "{}", drift.shown);
    }
    let reasons = reasons(&view.rows_in_order());
    for (cell, verdict, reason, metrics) in reasons.iter().take(MAX_LINES) {
        append_hanging(&mut text, "! ", &format!("{cell} {metrics}: {verdict}: {reason}"), width);
    }
    append_omitted(&mut text, reasons.len().saturating_sub(MAX_LINES), FULL_OUTPUT);
    for cell in view.unmatched.iter().take(MAX_LINES) {
        let missing_from = if cell.side == "new" { "not in the baseline" } else { "not in the new sessions" };
        let differs = if cell.differs.is_empty() { String::new() } else { format!(": {}", cell.differs) };
        append_hanging(&mut text, "! ", &format!("{} is {missing_from}{differs}", cell.test_id), width);
    }
    append_omitted(&mut text, view.unmatched.len().saturating_sub(MAX_LINES), FULL_OUTPUT);
    for next in &view.next {
        text.push('\n');
        append_hanging(&mut text, "", &next.why, width);
        for command in &next.commands {
            let _ = writeln!(text, "  {command}");
        }
    }
    text
}

/// Formats the id and start of a session, or the number of sessions with the first and last start.
fn sides(sessions: &[SessionInfo]) -> String {
    match sessions {
        [] => "no session".into(),
        [one] => format!("session {} of {}", one.id, one.started),
        [first, .., last] => format!("{} sessions, {} to {}", sessions.len(), first.started, last.started),
    }
}

fn rows(view: &CompareView, width: usize) -> String {
    let mut table = new_table(width);
    let header = ["cell", "metric", "base ms", "now ms", "change", "90 % interval", "visible from", "verdict"];
    let kept = if view.judged { header.len() } else { 5 };
    table.set_header(&header[..kept]);
    for row in view.rows_in_order().into_iter().take(MAX_ROWS) {
        let fields = [
            &row.result.test_id,
            row.result.metric,
            &row.shown.base,
            &row.shown.new,
            &row.shown.change,
            &row.shown.interval,
            &row.shown.visible,
            row.result.verdict.unwrap_or_default(),
        ];
        table.add_row(&fields[..kept]);
    }
    for column in table.column_iter_mut().skip(2).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n", rendered(&table))
}

/// Groups reasons: cell, verdict, reason and metrics.
fn reasons<'a>(rows: &[&'a RowView]) -> Vec<(&'a str, &'a str, &'a str, String)> {
    let mut reasons: Keyed<(&str, &str), (&RowView, Vec<&str>)> = Keyed::default();
    for row in rows.iter().filter(|row| !row.result.reason.is_empty()) {
        let (_, metrics) = reasons.entry((&row.result.test_id, &row.result.reason), || (*row, Vec::new()));
        metrics.push(row.result.metric);
    }
    let line = |(row, metrics): (&'a RowView, Vec<&str>)| {
        (
            row.result.test_id.as_str(),
            row.result.verdict.unwrap_or_default(),
            row.result.reason.as_str(),
            metrics.join(", "),
        )
    };
    reasons.items.into_iter().map(line).collect()
}

/// Appends a text with a hanging indent.
fn append_hanging(text: &mut String, mark: &str, content: &str, width: usize) {
    for (index, line) in wrapped(content, width.saturating_sub(mark.len())).iter().enumerate() {
        let _ = writeln!(text, "{:mark$}{line}", if index == 0 { mark } else { "" }, mark = mark.len());
    }
}

/// Formats the output of `baseline show`.
pub(crate) fn baseline(sessions: &[SessionInfo], cells: &[(String, usize)], width: usize, file: &str) -> String {
    let mut table = new_table(width);
    table.set_header(["session", "started", "cells", "endpoint", "region", "tool"]);
    for session in sessions.iter().take(MAX_ROWS) {
        table.add_row([
            session.id.clone(),
            session.started.clone(),
            session.usable.to_string(),
            session.endpoint.clone(),
            session.region.clone().unwrap_or_default(),
            session.tool_version.clone(),
        ]);
    }
    let mut text = format!("{}\n", rendered(&table));
    append_omitted(&mut text, sessions.len().saturating_sub(MAX_ROWS), file);
    text.push('\n');
    let mut table = new_table(width);
    table.set_header(["cell", "sessions"]);
    for (id, count) in cells.iter().take(MAX_ROWS) {
        table.add_row([id.clone(), count.to_string()]);
    }
    text += &format!("{}\n", rendered(&table));
    append_omitted(&mut text, cells.len().saturating_sub(MAX_ROWS), file);
    text
}
