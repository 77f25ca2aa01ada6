//! `customSmallerIsBetter` of github-action-benchmark: a list of names with values for which less is better.

use super::{json_bytes, rounded};
use crate::report::ReportError;
use crate::report::compare::CompareView;
use crate::report::view::{CellView, View};
use serde::Serialize;

/// One point of a line.
#[derive(Debug, Serialize)]
struct Point {
    name: String,
    unit: &'static str,
    value: f64,
    /// Uncertainty of the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    /// Text in the tooltip of the point.
    #[serde(skip_serializing_if = "String::is_empty")]
    extra: String,
}

/// Returns the points of a run: the available values of each cell.
pub(super) fn of_run(view: &View) -> Result<Vec<u8>, ReportError> {
    let running = if view.run.running.is_empty() { String::new() } else { format!("RUNNING: {}: ", view.run.running) };
    let label = running + if view.run.not_aws { "NOT AWS: " } else { "" };
    json_bytes(&view.cells.iter().flat_map(|one| cell(one, &label)).collect::<Vec<_>>())
}

/// Returns the points of a cell. `label` is the first line of each tooltip.
fn cell(cell: &CellView, label: &str) -> Vec<Point> {
    // An unreliable number would cause a jump in the line that cannot be explained later.
    if cell.validity != "ok" {
        return Vec::new();
    }
    let extra = format!("{label}{} requests", cell.counts.total);
    let ms = |what: &str, value: Option<f64>, range: Option<String>| {
        value.map(|value| Point {
            name: format!("{} {what}", cell.id),
            unit: "ms",
            value: rounded(value),
            range,
            extra: extra.clone(),
        })
    };
    let told = cell.judged.p95_quality == Some("ok");
    let range = cell.judged.p95_low.zip(cell.judged.p95_high);
    let range = range.map(|(low, high)| format!("{low:.1} to {high:.1}"));
    let failures = (cell.counts.total > 0).then(|| Point {
        name: format!("{} failures", cell.id),
        unit: "%",
        value: rounded(cell.counts.failures as f64 * 100.0 / cell.counts.total as f64),
        range: None,
        extra: extra.clone(),
    });
    [
        ms("p50", cell.judged.at(0.5), None),
        ms("p95", cell.judged.at(0.95).filter(|_| told), range),
        ms("first token p50", cell.ttft.as_ref().and_then(|ttft| ttft.at(0.5)), None),
        failures,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns the points of a comparison: the values of the new sessions.
pub(super) fn of_comparison(view: &CompareView) -> Result<Vec<u8>, ReportError> {
    let label = if view.not_aws { "NOT AWS: " } else { "" };
    let points = view.rows.iter().filter_map(|row| {
        let verdict = if row.verdict.is_empty() { String::new() } else { format!("{}: ", row.verdict) };
        Some(Point {
            name: format!("{} {}", row.test_id, row.metric),
            unit: "ms",
            value: rounded(row.new_ms?),
            range: None,
            extra: format!("{label}{verdict}{} against {}", row.shown.change, view.baseline),
        })
    });
    json_bytes(&points.collect::<Vec<_>>())
}
