//! `consolidated_results_{time}.csv`: one row per cell. The first 25 columns are those of the original tool in its
//! order. Additional columns follow; readers must find them by name.

use super::templates::Templates;
use super::view::{CellView, Numbers, View};
use super::{Rendered, ReportError, csv_bytes, number};
use crate::matrix::AXES;

/// Column that is not an axis: its name and the function that returns its value.
type Column = (&'static str, fn(&View, &CellView) -> String);

/// Columns of the original tool after `test_id` and its four axes.
const OLD: [Column; 20] = [
    ("total_requests", |_, cell| cell.counts.total.to_string()),
    ("failure_count", |_, cell| cell.counts.failures.to_string()),
    ("avg_response_time", |_, cell| number(cell.latency.mean)),
    ("min_response_time", |_, cell| number(cell.latency.min)),
    ("max_response_time", |_, cell| number(cell.latency.max)),
    ("p50", |_, cell| number(cell.latency.at(0.50))),
    ("p95", |_, cell| number(cell.latency.at(0.95))),
    ("p99", |_, cell| number(cell.latency.at(0.99))),
    ("requests_per_sec", |_, cell| number(cell.requests_per_sec)),
    ("success_count", |_, cell| cell.counts.succeeded.to_string()),
    ("success_avg_response_time", |_, cell| number(cell.success.mean)),
    ("success_min_response_time", |_, cell| number(cell.success.min)),
    ("success_max_response_time", |_, cell| number(cell.success.max)),
    ("success_p50", |_, cell| number(cell.success.at(0.50))),
    ("success_p95", |_, cell| number(cell.success.at(0.95))),
    ("success_p99", |_, cell| number(cell.success.at(0.99))),
    ("avg_input_tokens", |_, cell| number(cell.avg_input_tokens)),
    ("avg_output_tokens", |_, cell| number(cell.avg_output_tokens)),
    ("total_input_tokens", |_, cell| whole(cell.total_input_tokens)),
    ("total_output_tokens", |_, cell| whole(cell.total_output_tokens)),
];

/// Axes of the original tool, in its order.
const OLD_AXES: [&str; 4] = ["region_prefix", "service_tier", "prompt_size", "users"];

/// Additional columns, after the axes that the original tool did not have.
const OURS: [Column; 41] = [
    ("endpoint", |view, _| view.run.endpoint.clone()),
    ("latency_n", |_, cell| cell.latency.n.to_string()),
    ("p95_quality", |_, cell| cell.latency.p95_quality.unwrap_or_default().into()),
    ("p99_quality", |_, cell| cell.latency.p99_quality.unwrap_or_default().into()),
    ("warnings", |_, cell| cell.warnings.iter().map(|warning| warning.key).collect::<Vec<_>>().join(";")),
    ("ttft_p50", |_, cell| at(cell.ttft.as_ref(), 0.50)),
    ("ttft_p95", |_, cell| at(cell.ttft.as_ref(), 0.95)),
    ("ttft_p99", |_, cell| at(cell.ttft.as_ref(), 0.99)),
    ("tpot_p50", |_, cell| at(cell.tpot.as_ref(), 0.50)),
    ("tpot_p95", |_, cell| at(cell.tpot.as_ref(), 0.95)),
    ("output_tokens_per_sec", |_, cell| number(cell.output_tokens_per_sec)),
    ("throttled_count", |_, cell| cell.counts.throttled.to_string()),
    ("censored_count", |_, cell| cell.counts.censored.to_string()),
    ("dropped_count", |_, cell| cell.dropped.to_string()),
    ("goodput", |_, cell| number(cell.goodput)),
    ("p95_low", |_, cell| number(cell.latency.p95_low)),
    ("p95_high", |_, cell| number(cell.latency.p95_high)),
    ("send_lag_p99", |_, cell| number(cell.health.raw.send_lag_p99_ms)),
    ("server_latency_p50", |_, cell| number(cell.health.server_p50_ms)),
    ("validity", |_, cell| cell.validity.clone()),
    ("service_p50", |_, cell| at(cell.service.as_ref(), 0.50)),
    ("service_p95", |_, cell| at(cell.service.as_ref(), 0.95)),
    ("service_p99", |_, cell| at(cell.service.as_ref(), 0.99)),
    ("cache_read_count", |_, cell| cell.cache_reads.to_string()),
    ("cache_contaminated", |_, cell| cell.cache_contaminated.to_string()),
    ("warm_miss", |_, cell| cell.warm_misses.to_string()),
    ("tier_mismatch", |_, cell| cell.tier_mismatches.to_string()),
    ("cost_usd", |_, cell| cell.cost.as_ref().map(|cost| cost.usd.clone()).unwrap_or_default()),
    ("cost_per_1k_requests", |_, cell| money(cell.cost.as_ref().and_then(|cost| cost.per_1k_requests))),
    ("cost_per_1m_output_tokens", |_, cell| money(cell.cost.as_ref().and_then(|cost| cost.per_1m_output_tokens))),
    ("ttfat_p50", |_, cell| at(cell.ttfat.as_ref(), 0.50)),
    ("ttfat_p95", |_, cell| at(cell.ttfat.as_ref(), 0.95)),
    ("reasoning_share", |_, cell| share(cell.reasoning_share)),
    ("reasoning_time_share", |_, cell| share(cell.reasoning_time_share)),
    ("burst_share", |_, cell| share(cell.burst_share)),
    ("max_tokens_share", |_, cell| share(cell.max_tokens_share)),
    ("slo", |_, cell| cell.slo_verdict.into()),
    ("client_stalled", |_, cell| cell.client_stalled.to_string()),
    ("blocked_count", |_, cell| cell.blocked.values().sum::<u64>().to_string()),
    ("blocked_stop_reasons", |_, cell| {
        cell.blocked.iter().map(|(reason, n)| format!("{reason}={n}")).collect::<Vec<_>>().join(";")
    }),
    ("implausible_values", |_, cell| cell.implausible.to_string()),
];

/// Formats a share, 0 to 1, with four decimals.
fn share(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.4}"))
}

/// Formats a sum; empty if no reply reported the value.
fn whole(value: Option<u64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Returns a percentile of a metric that only some cells have.
fn at(numbers: Option<&Numbers>, p: f64) -> String {
    number(numbers.and_then(|numbers| numbers.at(p)))
}

/// Formats US dollars; empty if unknown.
fn money(usd: Option<f64>) -> String {
    usd.map_or_else(String::new, |usd| format!("{usd:.8}"))
}

/// Returns the header without the additional percentiles of the plan.
fn header() -> Vec<&'static str> {
    let names = |columns: &'static [Column]| columns.iter().map(|(name, _)| *name);
    let new_axes = AXES.iter().map(|axis| axis.field).filter(|field| !OLD_AXES.contains(field));
    std::iter::once("test_id").chain(OLD_AXES).chain(names(&OLD)).chain(new_axes).chain(names(&OURS)).collect()
}

/// Renders one file.
pub(super) fn render(view: &View, _: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let row = |cell: &CellView| {
        let new_axes = AXES.iter().filter(|known| !OLD_AXES.contains(&known.field));
        let mut fields = vec![cell.id.clone()];
        fields.extend(OLD_AXES.iter().map(|field| cell.axis(field)));
        fields.extend(OLD.iter().map(|(_, value)| value(view, cell)));
        fields.extend(new_axes.map(|known| cell.axis(known.field)));
        fields.extend(OURS.iter().map(|(_, value)| value(view, cell)));
        fields.extend(cell.further.iter().map(|(_, value)| number(*value)));
        fields
    };
    let further: Vec<String> = view.run.further.iter().map(|p| format!("p{p}")).collect();
    let header: Vec<&str> = header().into_iter().chain(further.iter().map(String::as_str)).collect();
    let bytes = csv_bytes(&header, view.cells.iter().map(row), csv::Terminator::Any(b'\n'))?;
    let name = format!("consolidated_results_{}.csv", view.run.started_compact);
    Ok(vec![Rendered { path: name.into(), bytes }])
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_25_columns_are_the_old_tools() {
        let old = "test_id, region_prefix, service_tier, prompt_size, users, total_requests, failure_count, avg_response_time, \
            min_response_time, max_response_time, p50, p95, p99, requests_per_sec, success_count, success_avg_response_time, \
            success_min_response_time, success_max_response_time, success_p50, success_p95, success_p99, avg_input_tokens, \
            avg_output_tokens, total_input_tokens, total_output_tokens";
        assert_eq!(super::header()[..25], old.split(", ").collect::<Vec<_>>());
    }
}
