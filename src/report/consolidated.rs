//! `consolidated_results_{time}.csv`: one row per cell. The first 25 columns are those of the original tool in its
//! order. Additional columns follow; readers must find them by name.

use super::templates::Templates;
use super::view::{CellView, View};
use super::{Rendered, ReportError, csv_bytes, number};
use crate::matrix::AXES;
use crate::result::{CellResult, Percentile, Times, Verdict};

/// Column that is not an axis: its name and the function that returns its value.
type Column = (&'static str, fn(&View, &CellResult) -> String);

/// Columns of the original tool after `test_id` and its four axes.
const OLD: [Column; 20] = [
    ("total_requests", |_, result| result.requests.counts.total.to_string()),
    ("failure_count", |_, result| result.requests.counts.failures().to_string()),
    ("avg_response_time", |_, result| number(result.response_time.mean_ms)),
    ("min_response_time", |_, result| number(result.response_time.min_ms)),
    ("max_response_time", |_, result| number(result.response_time.max_ms)),
    ("p50", |_, result| number(result.response_time.at(0.50))),
    ("p95", |_, result| number(result.response_time.at(0.95))),
    ("p99", |_, result| number(result.response_time.at(0.99))),
    ("requests_per_sec", |_, result| number(result.requests_per_sec)),
    ("success_count", |_, result| result.requests.counts.succeeded.to_string()),
    ("success_avg_response_time", |_, result| number(result.success_response_time.mean_ms)),
    ("success_min_response_time", |_, result| number(result.success_response_time.min_ms)),
    ("success_max_response_time", |_, result| number(result.success_response_time.max_ms)),
    ("success_p50", |_, result| number(result.success_response_time.at(0.50))),
    ("success_p95", |_, result| number(result.success_response_time.at(0.95))),
    ("success_p99", |_, result| number(result.success_response_time.at(0.99))),
    ("avg_input_tokens", |_, result| number(result.tokens.avg_input)),
    ("avg_output_tokens", |_, result| number(result.tokens.avg_output)),
    ("total_input_tokens", |_, result| whole(result.tokens.total_input)),
    ("total_output_tokens", |_, result| whole(result.tokens.total_output)),
];

/// Axes of the original tool, in its order.
const OLD_AXES: [&str; 4] = ["region_prefix", "service_tier", "prompt_size", "users"];

/// Additional columns, after the axes that the original tool did not have.
const OURS: [Column; 41] = [
    ("endpoint", |view, _| view.run.endpoint.clone()),
    ("latency_n", |_, result| result.response_time.samples.to_string()),
    ("p95_quality", |_, result| result.response_time.quality(0.95).into()),
    ("p99_quality", |_, result| result.response_time.quality(0.99).into()),
    ("warnings", |_, result| result.warnings.iter().map(|warning| warning.key).collect::<Vec<_>>().join(";")),
    ("ttft_p50", |_, result| at(result.time_to_first_token.as_ref(), 0.50)),
    ("ttft_p95", |_, result| at(result.time_to_first_token.as_ref(), 0.95)),
    ("ttft_p99", |_, result| at(result.time_to_first_token.as_ref(), 0.99)),
    ("tpot_p50", |_, result| at(result.time_per_output_token.as_ref(), 0.50)),
    ("tpot_p95", |_, result| at(result.time_per_output_token.as_ref(), 0.95)),
    ("output_tokens_per_sec", |_, result| number(result.output_tokens_per_sec)),
    ("throttled_count", |_, result| result.requests.counts.throttled.to_string()),
    ("censored_count", |_, result| result.requests.counts.censored.to_string()),
    ("dropped_count", |_, result| result.requests.dropped.to_string()),
    ("goodput", |_, result| number(result.goodput_per_sec)),
    ("p95_low", |_, result| number(p95(result).and_then(|p95| p95.low_ms))),
    ("p95_high", |_, result| number(p95(result).and_then(|p95| p95.high_ms))),
    ("send_lag_p99", |_, result| number(result.client.measurements.send_lag_p99_ms)),
    ("server_latency_p50", |_, result| number(result.client.server_latency_p50_ms)),
    ("validity", |_, result| result.validity.to_string()),
    ("service_p50", |_, result| at(result.service_time.as_ref(), 0.50)),
    ("service_p95", |_, result| at(result.service_time.as_ref(), 0.95)),
    ("service_p99", |_, result| at(result.service_time.as_ref(), 0.99)),
    ("cache_read_count", |_, result| result.requests.cache_reads.to_string()),
    ("cache_contaminated", |_, result| result.requests.cache_contaminated.to_string()),
    ("warm_miss", |_, result| result.requests.warm_misses.to_string()),
    ("tier_mismatch", |_, result| result.requests.tier_mismatches.to_string()),
    ("cost_usd", |_, result| result.cost.map(|cost| cost.total.to_string()).unwrap_or_default()),
    ("cost_per_1k_requests", |_, result| money(result.cost.and_then(|cost| cost.per_1k_requests_usd))),
    ("cost_per_1m_output_tokens", |_, result| money(result.cost.and_then(|cost| cost.per_1m_output_tokens_usd))),
    ("ttfat_p50", |_, result| at(result.time_to_first_answer_token.as_ref(), 0.50)),
    ("ttfat_p95", |_, result| at(result.time_to_first_answer_token.as_ref(), 0.95)),
    ("reasoning_share", |_, result| share(result.reasoning_share)),
    ("reasoning_time_share", |_, result| share(result.reasoning_time_share)),
    ("burst_share", |_, result| share(result.burst_share)),
    ("max_tokens_share", |_, result| share(result.max_tokens_share)),
    ("slo", |_, result| result.verdict.map_or("", Verdict::key).into()),
    ("client_stalled", |_, result| result.requests.client_stalled.to_string()),
    ("blocked_count", |_, result| result.requests.blocked.to_string()),
    ("blocked_stop_reasons", |_, result| {
        result
            .requests
            .blocked_by_stop_reason
            .iter()
            .map(|(reason, n)| format!("{reason}={n}"))
            .collect::<Vec<_>>()
            .join(";")
    }),
    ("implausible_values", |_, result| result.requests.implausible.to_string()),
];

/// Formats a share, 0 to 1, with four decimals.
fn share(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.4}"))
}

/// Formats a sum; empty if no reply reported the value.
fn whole(value: Option<u64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Formats a percentile of a metric that only some cells have.
fn at(times: Option<&Times>, p: f64) -> String {
    number(times.and_then(|times| times.at(p)))
}

/// Returns p95 of the response times.
fn p95(result: &CellResult) -> Option<&Percentile> {
    result.response_time.percentile(0.95)
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
        let result = &cell.result;
        let new_axes = AXES.iter().filter(|known| !OLD_AXES.contains(&known.field));
        let mut fields = vec![result.test_id.clone()];
        fields.extend(OLD_AXES.iter().map(|field| result.axes.text(field)));
        fields.extend(OLD.iter().map(|(_, value)| value(view, result)));
        fields.extend(new_axes.map(|known| result.axes.text(known.field)));
        fields.extend(OURS.iter().map(|(_, value)| value(view, result)));
        fields.extend(
            view.further.iter().map(|rank| number(result.response_time.percentile(rank / 100.0).map(|p| p.value_ms))),
        );
        fields
    };
    let further: Vec<String> = view.further.iter().map(|p| format!("p{p}")).collect();
    let header: Vec<&str> = header().into_iter().chain(further.iter().map(String::as_str)).collect();
    let bytes = csv_bytes(&header, view.cells.iter().map(row), csv::Terminator::Any(b'\n'))?;
    let name = view.csv_file.clone();
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
