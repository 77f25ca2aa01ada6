//! `tiers.csv`: each tier compared with `default` in the same context, one row per metric.

use super::templates::Templates;
use super::view::{TierView, View};
use super::{Rendered, ReportError, csv_bytes, number};
use crate::matrix::AXES;
use crate::result::{Difference, Quantity};

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
    let rows: Vec<Vec<String>> = view
        .tiers
        .tiers
        .iter()
        .flat_map(|tier| tier.result.differences.iter().map(|difference| row(tier, difference)))
        .collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let context = AXES.iter().map(|axis| axis.field).filter(|field| *field != "service_tier");
    let header: Vec<&str> = std::iter::once("test_id").chain(context).chain(HEADER).collect();
    let bytes = csv_bytes(&header, rows, csv::Terminator::Any(b'\n'))?;
    Ok(vec![Rendered { path: "tiers.csv".into(), bytes }])
}

fn row(tier: &TierView, difference: &Difference) -> Vec<String> {
    let mut fields = vec![tier.result.test_id.clone()];
    fields.extend(tier.context.iter().map(|(_, value)| value.to_string()));
    let reason = Some(difference.reason.as_str()).filter(|reason| !reason.is_empty());
    let warnings: Vec<&str> =
        reason.into_iter().chain(tier.warnings.iter().map(|warning| warning.text.as_str())).collect();
    // Costs have more decimals than latencies.
    let shown = |value: Option<f64>| match (value, difference.default) {
        (Some(usd), Some(Quantity::UsdPer1kRequests(_))) => format!("{usd:.8}"),
        (value, _) => number(value),
    };
    let [default, tier_value] = [difference.default, difference.tier].map(|value| value.map(Quantity::value));
    fields.extend([
        tier.result.service_tier.clone(),
        difference.metric.into(),
        shown(default),
        shown(tier_value),
        shown(tier_value.zip(default).map(|(tier, default)| tier - default)),
        number(difference.ratio),
        number(difference.ratio_low),
        number(difference.ratio_high),
        difference.basis.clone(),
        difference.verdict.into(),
        warnings.join("; "),
    ]);
    fields
}
