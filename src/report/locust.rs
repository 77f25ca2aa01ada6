//! Files in the format of Locust 2.47, per cell: statistics, history, failures. Rows end in CRLF. `N/A` marks a value
//! without requests.

use super::templates::Templates;
use super::view::View;
use super::{Rendered, ReportError, csv_bytes};
use crate::result::{CellResult, ErrorCount};
use crate::stats::series::HistoryRow;

const STATS: [&str; 22] = [
    "Type",
    "Name",
    "Request Count",
    "Failure Count",
    "Median Response Time",
    "Average Response Time",
    "Min Response Time",
    "Max Response Time",
    "Average Content Size",
    "Requests/s",
    "Failures/s",
    "50%",
    "66%",
    "75%",
    "80%",
    "90%",
    "95%",
    "98%",
    "99%",
    "99.9%",
    "99.99%",
    "100%",
];

const HISTORY: [&str; 24] = [
    "Timestamp",
    "User Count",
    "Type",
    "Name",
    "Requests/s",
    "Failures/s",
    "50%",
    "66%",
    "75%",
    "80%",
    "90%",
    "95%",
    "98%",
    "99%",
    "99.9%",
    "99.99%",
    "100%",
    "Total Request Count",
    "Total Failure Count",
    "Total Median Response Time",
    "Total Average Response Time",
    "Total Min Response Time",
    "Total Max Response Time",
    "Total Average Content Size",
];

const FAILURES: [&str; 6] = ["Method", "Name", "Error", "Occurrences", "First Seen", "Last Seen"];

/// Renders three files per cell.
pub(super) fn render(view: &View, _: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let mut files = Vec::new();
    for cell in &view.cells {
        let mut file = |kind: &str, header: &[&str], rows: Vec<Vec<String>>| {
            let bytes = csv_bytes(header, rows, csv::Terminator::CRLF)?;
            files.push(Rendered { path: format!("test_{}_{kind}.csv", cell.id).into(), bytes });
            Ok::<_, ReportError>(())
        };
        let result = &cell.result;
        file("stats", &STATS, vec![stats(result, kind_of(result), &name(result)), stats(result, "", "Aggregated")])?;
        file("stats_history", &HISTORY, cell.history.iter().map(history).collect())?;
        file("failures", &FAILURES, failures(result))?;
    }
    Ok(files)
}

/// Returns the operation, for Locust's column of the request type.
fn kind_of(cell: &CellResult) -> &'static str {
    if cell.axes.text("api") == "converse-stream" { "ConverseStream" } else { "Converse" }
}

/// Returns the request name, such as `[us][flex][small]`.
fn name(cell: &CellResult) -> String {
    ["region_prefix", "service_tier", "prompt_size"].map(|field| format!("[{}]", cell.axes.text(field))).concat()
}

fn stats(cell: &CellResult, kind: &str, name: &str) -> Vec<String> {
    let (latency, counts) = (&cell.response_time, &cell.requests.counts);
    let mut row = vec![kind.to_owned(), name.to_owned(), counts.total.to_string(), counts.failures().to_string()];
    row.extend([latency.at(0.5), latency.mean_ms, latency.min_ms, latency.max_ms, cell.mean_content_bytes].map(number));
    row.extend([cell.requests_per_sec, cell.failures_per_sec].map(number));
    row.extend(latency.levels.map(number));
    row
}

fn history(row: &HistoryRow) -> Vec<String> {
    let mut fields = vec![row.epoch_s.to_string(), row.users.to_string(), String::new(), "Aggregated".into()];
    fields.extend([Some(row.requests_per_sec), Some(row.failures_per_sec)].map(number));
    match row.percentiles_ms {
        Some(levels) => fields.extend(levels.map(|level| number(Some(level)))),
        None => fields.extend([const { None }; 11].map(number)),
    }
    fields.extend([row.total_requests.to_string(), row.total_failures.to_string()]);
    let totals = [row.total_median_ms, row.total_mean_ms, row.total_min_ms, row.total_max_ms, row.total_content_bytes];
    fields.extend(totals.map(number));
    fields
}

fn failures(cell: &CellResult) -> Vec<Vec<String>> {
    let name = name(cell);
    let row = |error: &ErrorCount| {
        vec![
            kind_of(cell).into(),
            name.clone(),
            format!("{}: {}", error.class, error.message),
            error.count.to_string(),
            error.first_seen.clone(),
            error.last_seen.clone(),
        ]
    };
    cell.errors.iter().map(row).collect()
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "N/A".into(), |value| format!("{value:.3}"))
}
