//! `tiers.csv`: each tier compared with `default` in the same context, one row per metric.

use super::templates::Templates;
use super::view::{TierRow, TierView, View};
use super::{Rendered, ReportError, csv_bytes, number};
use crate::matrix::AXES;

/// Columns after the cell id and the axes of its context.
const HEADER: [&str; 11] = [
    "service_tier",
    "metric",
    "default_value",
    "tier_value",
    "difference",
    "ratio",
    "ratio_low",
    "ratio_high",
    "basis",
    "verdict",
    "warning",
];

/// Renders one file if the plan contains `default` and another tier.
pub(super) fn render(view: &View, _: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let rows: Vec<Vec<String>> =
        view.tiers.tiers.iter().flat_map(|tier| tier.rows.iter().map(|numbers| row(tier, numbers))).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let context = AXES.iter().map(|axis| axis.field).filter(|field| *field != "service_tier");
    let header: Vec<&str> = std::iter::once("test_id").chain(context).chain(HEADER).collect();
    let bytes = csv_bytes(&header, rows, csv::Terminator::Any(b'\n'))?;
    Ok(vec![Rendered { path: "tiers.csv".into(), bytes }])
}

fn row(tier: &TierView, numbers: &TierRow) -> Vec<String> {
    let mut fields = vec![tier.id.clone()];
    fields.extend(tier.context.iter().map(|(_, value)| value.to_string()));
    let reason = Some(numbers.reason.as_str()).filter(|reason| !reason.is_empty());
    let warnings: Vec<&str> =
        reason.into_iter().chain(tier.warnings.iter().map(|warning| warning.text.as_str())).collect();
    // Costs have more decimals than latencies.
    let of_it = |value: Option<f64>| match value {
        Some(usd) if numbers.metric.starts_with("cost_") => format!("{usd:.8}"),
        value => number(value),
    };
    fields.extend([
        tier.tier.clone(),
        numbers.metric.into(),
        of_it(numbers.default),
        of_it(numbers.tier),
        of_it(numbers.difference),
        number(numbers.ratio),
        number(numbers.low),
        number(numbers.high),
        numbers.basis.clone(),
        numbers.verdict.into(),
        warnings.join("; "),
    ]);
    fields
}
