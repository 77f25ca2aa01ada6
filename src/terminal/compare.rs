//! A comparison, and a baseline, as text. Pure.

use super::table::{MOST_NOTES, MOST_ROWS, put_more, wrapped};
use crate::report::compare::{CompareView, RowView, Side};
use crate::report::view::NOT_AWS;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::collections::HashMap;
use std::fmt::Write;

/// What lists everything.
const ALL: &str = "the output of `compare --format json`";

/// Everything that `compare` prints.
pub(crate) fn comparison(view: &CompareView, width: usize) -> String {
    let mut text = String::new();
    if view.simulated {
        text += "SIMULATED: these numbers are a simulator's, not Amazon Bedrock's.\n\n";
    }
    if view.not_aws {
        text += &format!("{NOT_AWS}\n\n");
    }
    let _ = writeln!(text, "{} against {}", sides(&view.new), view.baseline);
    let _ = writeln!(text, "  ({})\n", sides(&view.base));
    for warning in view.warnings.iter().take(MOST_NOTES) {
        hanging(&mut text, "! ", warning, width);
    }
    put_more(&mut text, view.warnings.len().saturating_sub(MOST_NOTES), ALL);
    if !view.warnings.is_empty() {
        text.push('\n');
    }
    if view.judged && !view.rows.is_empty() {
        let _ = writeln!(text, "{}", view.counts);
    }
    if !view.rows.is_empty() {
        let _ = writeln!(text, "{}", rows(view, width));
        put_more(&mut text, view.rows.len().saturating_sub(MOST_ROWS), ALL);
    }
    for drift in &view.drift {
        let _ = writeln!(text, "{}", drift.shown);
    }
    let reasons = reasons(&view.rows_in_order());
    for (cell, verdict, reason, metrics) in reasons.iter().take(MOST_NOTES) {
        hanging(&mut text, "! ", &format!("{cell} {metrics}: {verdict}: {reason}"), width);
    }
    put_more(&mut text, reasons.len().saturating_sub(MOST_NOTES), ALL);
    for cell in view.unmatched.iter().take(MOST_NOTES) {
        let where_from = if cell.side == "new" { "not in the baseline" } else { "not in the new sessions" };
        let differs = if cell.differs.is_empty() { String::new() } else { format!(": {}", cell.differs) };
        hanging(&mut text, "! ", &format!("{} is {where_from}{differs}", cell.test_id), width);
    }
    put_more(&mut text, view.unmatched.len().saturating_sub(MOST_NOTES), ALL);
    for next in &view.next {
        text.push('\n');
        hanging(&mut text, "", &next.why, width);
        for command in &next.commands {
            let _ = writeln!(text, "  {command}");
        }
    }
    text
}

/// `1 session, 2026-11-24T09:16:03Z`; of several the first and the last.
fn sides(sessions: &[Side]) -> String {
    match sessions {
        [] => "no session".into(),
        [one] => format!("session {} of {}", one.id, one.started),
        [first, .., last] => format!("{} sessions, {} to {}", sessions.len(), first.started, last.started),
    }
}

fn rows(view: &CompareView, width: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width as u16);
    let header = ["cell", "metric", "base ms", "now ms", "change", "90 % interval", "visible from", "verdict"];
    let kept = if view.judged { header.len() } else { 5 };
    table.set_header(&header[..kept]);
    for row in view.rows_in_order().into_iter().take(MOST_ROWS) {
        let fields = [
            &row.test_id,
            row.metric,
            &row.shown.base,
            &row.shown.new,
            &row.shown.change,
            &row.shown.interval,
            &row.shown.visible,
            row.verdict,
        ];
        table.add_row(&fields[..kept]);
    }
    for column in table.column_iter_mut().skip(2).take(5) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n", table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

/// Cell, verdict and reason, with the metrics that have it.
fn reasons<'a>(rows: &[&'a RowView]) -> Vec<(&'a str, &'a str, &'a str, String)> {
    let mut reasons: Vec<(&str, &str, &str, String)> = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for row in rows.iter().filter(|row| !row.reason.is_empty()) {
        let place = *places.entry((&row.test_id, &row.reason)).or_insert(reasons.len());
        match reasons.get_mut(place) {
            Some((.., metrics)) => *metrics += &format!(", {}", row.metric),
            None => reasons.push((&row.test_id, row.verdict, &row.reason, row.metric.to_owned())),
        }
    }
    reasons
}

/// A text whose further lines begin below its first.
fn hanging(text: &mut String, mark: &str, words: &str, width: usize) {
    for (index, line) in wrapped(words, width.saturating_sub(mark.len())).iter().enumerate() {
        let _ = writeln!(text, "{:mark$}{line}", if index == 0 { mark } else { "" }, mark = mark.len());
    }
}

/// What `baseline show` prints.
pub(crate) fn baseline(sessions: &[Side], cells: &[(String, usize)], width: usize, file: &str) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width as u16);
    table.set_header(["session", "started", "cells", "endpoint", "region", "tool"]);
    for session in sessions.iter().take(MOST_ROWS) {
        table.add_row([
            session.id.clone(),
            session.started.clone(),
            session.usable.to_string(),
            session.endpoint.clone(),
            session.region.clone().unwrap_or_default(),
            session.tool_version.clone(),
        ]);
    }
    let mut text = format!("{}\n", table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
    put_more(&mut text, sessions.len().saturating_sub(MOST_ROWS), file);
    text.push('\n');
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width as u16);
    table.set_header(["cell", "sessions"]);
    for (id, count) in cells.iter().take(MOST_ROWS) {
        table.add_row([id.clone(), count.to_string()]);
    }
    text += &format!("{}\n", table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
    put_more(&mut text, cells.len().saturating_sub(MOST_ROWS), file);
    text
}
