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
            cell.stages.iter().enumerate().map(|(index, stage)| {
                let count = |count: u64| count.to_string();
                let latency = &stage.latency;
                vec![
                    cell.id.clone(),
                    cell.axis("profile"),
                    (index + 1).to_string(),
                    format!("{:.3}", stage.start_s),
                    format!("{:.3}", stage.length_s),
                    stage.users.map_or_else(String::new, |users| users.to_string()),
                    stage.rate.map_or_else(String::new, |rate| rate.to_string()),
                    count(stage.counts.total),
                    count(stage.counts.succeeded),
                    count(stage.counts.throttled),
                    count(stage.counts.failed),
                    count(stage.counts.censored),
                    number(Some(stage.requests_per_sec)),
                    number(latency.mean),
                    number(latency.at(0.50)),
                    number(latency.at(0.95)),
                    number(latency.at(0.99)),
                    number(latency.p95_low),
                    number(latency.p95_high),
                    latency.p95_quality.unwrap_or_default().into(),
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
