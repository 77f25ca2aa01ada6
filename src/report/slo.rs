//! `slo.csv`: one row per bound of each threshold in each cell that it applies to.

use super::templates::Templates;
use super::view::View;
use super::{Rendered, ReportError, csv_bytes};
use crate::result::Quantity;
use crate::units::rounded;

const HEADER: [&str; 13] = [
    "slo",
    "name",
    "test_id",
    "metric",
    "relation",
    "bound",
    "unit",
    "value",
    "low",
    "high",
    "confidence",
    "verdict",
    "reason",
];

/// Renders one file if the plan has a threshold.
pub(super) fn render(view: &View, _: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let rows: Vec<Vec<String>> = view
        .slo
        .rows
        .iter()
        .map(|row| {
            vec![
                row.slo_number.to_string(),
                row.name.clone(),
                row.test_id.clone(),
                row.metric.clone(),
                row.relation.key().into(),
                fine(Some(row.bound)),
                row.bound.unit().into(),
                fine(row.measured),
                fine(row.low),
                fine(row.high),
                rounded(row.confidence_percent / 100.0, 6).to_string(),
                row.verdict.key().into(),
                row.reason.clone(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Rendered { path: "slo.csv".into(), bytes: csv_bytes(&HEADER, rows, csv::Terminator::Any(b'\n'))? }])
}

/// Formats a number with six decimals, since bounds of shares are small.
fn fine(quantity: Option<Quantity>) -> String {
    quantity.map_or_else(String::new, |quantity| format!("{:.6}", quantity.value()))
}
