//! `summary.json`: the result of a run for programs. Its types are the contract, from which the schema is generated. A
//! name contains the unit of its number. A value that is not known is absent, never zero.

// A name contains its unit, and each flag is independent.
#![allow(clippy::struct_field_names, clippy::struct_excessive_bools)]

mod fill;

use super::templates::Templates;
use super::view::View;
use super::{Rendered, ReportError, json_bytes};
use crate::result::{CellResult, Verdict, millionths, thousandths};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

/// Version of the format. An additional field does not change it; a removed field or another meaning does.
const VERSION: u32 = 1;

/// Renders one file.
pub(super) fn render(view: &View, _: &Templates) -> Result<Vec<Rendered>, ReportError> {
    Ok(vec![Rendered { path: "summary.json".into(), bytes: json_bytes(&Summary::of(view))? }])
}

/// Returns the JSON Schema of the file.
pub(crate) fn schema() -> serde_json::Value {
    let mut schema =
        SchemaSettings::draft07().for_serialize().into_generator().into_root_schema_for::<Summary>().to_value();
    schema["title"] = "summary.json of bedrock-plan".into();
    schema["properties"]["schema"] = serde_json::json!({ "const": VERSION, "description": "Version of the format." });
    schema
}

/// Result of a run.
#[derive(Debug, Serialize, JsonSchema)]
struct Summary<'a> {
    /// Version of the format.
    schema: u32,
    /// Data of the run as a whole.
    run: Run<'a>,
    /// The machines, if several made the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<Shards<'a>>,
    /// Number of bounds by verdict, over all cells.
    verdicts: Verdicts,
    /// One entry per bound of each threshold in each cell.
    thresholds: Vec<Threshold<'a>>,
    /// Cells in matrix order.
    cells: Vec<&'a CellResult>,
    /// Comparison of each tier with `default` in the same context.
    tiers: Vec<Tier<'a>>,
}

/// Data of the run as a whole.
#[derive(Debug, Serialize, JsonSchema)]
struct Run<'a> {
    /// Name of the run.
    name: &'a str,
    /// Free text; may be empty.
    description: &'a str,
    /// Unique id of the run.
    run_id: &'a str,
    /// Start of the run, UTC, for example `2026-11-24T09:16:03Z`.
    started: &'a str,
    /// Target of the requests: `aws`, `simulated` or a URL.
    endpoint: &'a str,
    /// AWS regions that were called.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    /// Whether the run used the simulator instead of Bedrock.
    simulated: bool,
    /// Whether the server is neither AWS nor the simulator; absent if false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    not_aws: bool,
    /// Whether the run was stopped before its planned end.
    interrupted: bool,
    /// Progress of a running run, for example `in progress, 3 of 27 cells`; absent after the run has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<&'a str>,
    /// Version of bedrock-plan.
    tool_version: &'a str,
    /// Whether response times include failed requests.
    include_failures: bool,
    /// Whether response times include the ramp.
    include_ramp: bool,
    /// Measurement error on this machine as a sentence; absent without a calibration.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<&'a str>,
    /// Cost of the run, and the parts that are unknown, as sentences.
    cost: &'a [String],
    /// Notes that apply to the whole run.
    notes: &'a [String],
}

/// Machines of a run that several machines made.
#[derive(Debug, Serialize, JsonSchema)]
struct Shards<'a> {
    /// Planned number of machines.
    shards_count: u32,
    /// Whether the records of all machines are present and each machine finished. If not, cells are INVALID and verdicts
    /// INCONCLUSIVE.
    complete: bool,
    /// Indices of the missing machines, from 0.
    missing: &'a [u32],
    /// Largest difference between the starts of a cell, each by the local clock.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    start_skew_ms: Option<f64>,
    /// Machines that are present, by index.
    parts: Vec<Machine<'a>>,
}

/// One machine of a run.
#[derive(Debug, Serialize, JsonSchema)]
struct Machine<'a> {
    /// Index of the machine, from 0.
    shard: u32,
    /// Host name.
    host: &'a str,
    /// `linux`, `macos`, ...
    os: &'a str,
    /// `x86_64`, `aarch64`, ...
    arch: &'a str,
    /// Number of cores that the process may use.
    cores_count: usize,
    /// CPU quota in cores, if it is smaller.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    cpu_quota_cores: Option<f64>,
    /// Whether the clock is synchronised; absent if the system does not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_synchronised: Option<bool>,
    /// Largest possible error of the clock; absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    clock_max_error_ms: Option<f64>,
    /// Largest delay of a cell after the agreed start, by the local clock.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    late_ms: Option<f64>,
    /// Requests of the machine in all cells.
    requests_count: u64,
    /// `finished`, or the reason why the machine stopped early.
    end: &'a str,
}

/// Number of bounds by verdict.
#[derive(Debug, Serialize, JsonSchema)]
struct Verdicts {
    /// The whole 95 % interval meets the bound.
    pass_count: usize,
    /// The whole 95 % interval violates the bound.
    fail_count: usize,
    /// The data do not decide.
    inconclusive_count: usize,
}

/// One bound of one threshold in one cell.
#[derive(Debug, Serialize, JsonSchema)]
struct Threshold<'a> {
    /// Number of the `[[slo]]` in the plan, from 1.
    slo_number: usize,
    /// Name of the threshold.
    name: &'a str,
    /// Id of the cell.
    test_id: &'a str,
    /// `p95`, `failure_rate`, ...
    metric: &'a str,
    /// `<=` or `>=`.
    relation: &'static str,
    /// Limit.
    bound: Quantity,
    /// Measured value.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<Quantity>,
    /// Lower end of the 95 % interval; absent if it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<Quantity>,
    /// Upper end of the 95 % interval; absent if it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<Quantity>,
    /// Verdict on the bound.
    verdict: Verdict,
    /// Reason of the verdict, if the numbers do not show it.
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

/// A number with its unit.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Quantity {
    /// Milliseconds.
    Ms(#[serde(serialize_with = "thousandths")] f64),
    /// 0 to 1.
    Share(#[serde(serialize_with = "millionths")] f64),
    /// Per second.
    PerSec(#[serde(serialize_with = "thousandths")] f64),
    /// US dollars per thousand replies.
    UsdPer1kRequests(f64),
}

/// Comparison of a tier with `default`.
#[derive(Debug, Serialize, JsonSchema)]
struct Tier<'a> {
    /// Id of the tier's cell.
    test_id: &'a str,
    /// Name of the tier.
    service_tier: &'a str,
    /// Summary in one sentence.
    sentence: &'a str,
    /// One entry per metric.
    differences: Vec<Difference<'a>>,
}

/// One metric of a tier beside that of `default`.
#[derive(Debug, Serialize, JsonSchema)]
struct Difference<'a> {
    /// `p50`, `p95`, `ttft_p50`, `output_tokens_per_sec` or `cost_per_1k_requests`.
    metric: &'static str,
    /// Value of `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Quantity>,
    /// Value of the tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<Quantity>,
    /// Value of the tier divided by that of `default`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    ratio: Option<f64>,
    /// Lower end of the ratio's interval.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    ratio_low: Option<f64>,
    /// Upper end of the ratio's interval.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    ratio_high: Option<f64>,
    /// `slower`, `faster`, `higher`, `lower`, `no_significant_difference`, `not_compared`, `cheaper`, `dearer` or
    /// `same_price`.
    verdict: &'static str,
    /// Basis of the interval; absent if nothing is compared.
    #[serde(skip_serializing_if = "str::is_empty")]
    basis: &'a str,
    /// Reason why the metric is not compared.
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}
