//! `stages.csv`: one row per stage of each cell that runs a load profile.

use super::templates::Templates;
use super::view::View;
use super::{Rendered, ReportError, csv_bytes, number};

const HEADER: [&str; 20] = [
    "test_id",
    "profile",
    "stage",
    "start_s",
    "length_s",
    "users",
    "rate",
    "total_requests",
    "success_count",
    "throttled_count",
    "failed_count",
    "censored_count",
    "requests_per_sec",
    "avg_response_time",
    "p50",
    "p95",
    "p99",
    "p95_low",
    "p95_high",
    "p95_quality",
];

/// Renders one file if the plan has a load profile.
pub(super) fn render(view: &View, _: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let rows: Vec<Vec<String>> = view
        .cells
        .iter()
        .flat_map(|cell| {
            cell.result.stages.iter().enumerate().map(|(index, stage)| {
                let count = |count: u64| count.to_string();
                let latency = &stage.response_time;
                let p95 = latency.percentile(0.95);
                vec![
                    cell.id.clone(),
                    cell.result.axes.text("profile"),
                    (index + 1).to_string(),
                    format!("{:.3}", stage.start_s),
                    format!("{:.3}", stage.length_s),
                    stage.users.map_or_else(String::new, |users| users.to_string()),
                    stage.arrivals_per_sec.map_or_else(String::new, |rate| rate.to_string()),
                    count(stage.counts.total),
                    count(stage.counts.succeeded),
                    count(stage.counts.throttled),
                    count(stage.counts.failed),
                    count(stage.counts.censored),
                    number(Some(stage.requests_per_sec)),
                    number(latency.mean_ms),
                    number(latency.at(0.50)),
                    number(latency.at(0.95)),
                    number(latency.at(0.99)),
                    number(p95.and_then(|p95| p95.low_ms)),
                    number(p95.and_then(|p95| p95.high_ms)),
                    latency.quality(0.95).into(),
                ]
            })
        })
        .collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = csv_bytes(&HEADER, rows, csv::Terminator::Any(b'\n'))?;
    Ok(vec![Rendered { path: "stages.csv".into(), bytes }])
}
