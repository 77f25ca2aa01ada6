//! `customSmallerIsBetter` of github-action-benchmark: a list of names with values for which less is better.

use crate::report::ReportError;
use crate::report::compare::CompareView;
use crate::report::json_bytes;
use crate::report::view::View;
use crate::result::{CellResult, Quality, Validity};
use crate::units::rounded;
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
    let running = view.run.running.as_ref().map_or_else(String::new, |running| format!("RUNNING: {running}: "));
    let label = running + if view.run.not_aws { "NOT AWS: " } else { "" };
    json_bytes(&view.cells.iter().flat_map(|one| cell(&one.result, &label)).collect::<Vec<_>>())
}

/// Returns the points of a cell. `label` is the first line of each tooltip.
fn cell(cell: &CellResult, label: &str) -> Vec<Point> {
    // An unreliable number would cause a jump in the line that cannot be explained later.
    if cell.validity != Validity::Ok {
        return Vec::new();
    }
    let (counts, latency) = (&cell.requests.counts, &cell.verdict_response_time);
    let p95 = latency.percentile(0.95).filter(|p95| p95.quality == Quality::Ok);
    let extra = format!("{label}{} requests", counts.total);
    let ms = |metric: &str, value: Option<f64>, range: Option<String>| {
        value.map(|value| Point {
            name: format!("{} {metric}", cell.test_id),
            unit: "ms",
            value: rounded(value, 3),
            range,
            extra: extra.clone(),
        })
    };
    let range = latency.percentile(0.95).and_then(|p95| p95.low_ms.zip(p95.high_ms));
    let range = range.map(|(low, high)| format!("{low:.1} to {high:.1}"));
    let failures = (counts.total > 0).then(|| Point {
        name: format!("{} failures", cell.test_id),
        unit: "%",
        value: rounded(counts.failures() as f64 * 100.0 / counts.total as f64, 3),
        range: None,
        extra: extra.clone(),
    });
    [
        ms("p50", latency.at(0.5), None),
        ms("p95", p95.map(|p95| p95.value_ms), range),
        ms("first token p50", cell.time_to_first_token.as_ref().and_then(|ttft| ttft.at(0.5)), None),
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
        let verdict = row.result.verdict.map_or_else(String::new, |verdict| format!("{verdict}: "));
        Some(Point {
            name: format!("{} {}", row.result.test_id, row.result.metric),
            unit: "ms",
            value: rounded(row.result.new_ms?, 3),
            range: None,
            extra: format!("{label}{verdict}{} against {}", row.shown.change, view.baseline),
        })
    });
    json_bytes(&points.collect::<Vec<_>>())
}
