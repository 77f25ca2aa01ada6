//! `summary.json`: the run for programs. Its types are the contract: a schema is made of them, a name
//! carries the unit of its number, and what is not known is left out, never zero.

// Here a name carries its unit, and a flag is a fact of its own.
#![allow(clippy::struct_field_names, clippy::struct_excessive_bools)]

mod fill;

use super::templates::Templates;
use super::view::View;
use super::{Rendered, ReportError};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use std::collections::BTreeMap;

/// The version of the file. A field more does not change it, a field less or another meaning does.
const VERSION: u32 = 1;

/// One file.
pub(super) fn render(view: &View, _: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let mut bytes =
        serde_json::to_vec_pretty(&Summary::of(view)).map_err(|error| ReportError::Json(error.to_string()))?;
    bytes.push(b'\n');
    Ok(vec![Rendered { path: "summary.json".into(), bytes }])
}

/// The JSON Schema of the file.
pub(crate) fn schema() -> serde_json::Value {
    let mut schema =
        SchemaSettings::draft07().for_serialize().into_generator().into_root_schema_for::<Summary>().to_value();
    schema["title"] = "summary.json of bedrock-plan".into();
    schema["properties"]["schema"] =
        serde_json::json!({ "const": VERSION, "description": "The version of the format." });
    schema
}

/// What a run found.
#[derive(Debug, Serialize, JsonSchema)]
struct Summary<'a> {
    /// The version of the format.
    schema: u32,
    /// The run as a whole.
    run: Run<'a>,
    /// The machines, where several made the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<Shards<'a>>,
    /// How many thresholds got which verdict, over all cells.
    verdicts: Verdicts,
    /// One entry per bound of each threshold in each cell.
    thresholds: Vec<Threshold<'a>>,
    /// In matrix order.
    cells: Vec<Cell<'a>>,
    /// Each tier against `default` in the same context.
    tiers: Vec<Tier<'a>>,
}

/// The run as a whole.
#[derive(Debug, Serialize, JsonSchema)]
struct Run<'a> {
    /// What the run is called.
    name: &'a str,
    /// Free text; may be empty.
    description: &'a str,
    /// Unique.
    run_id: &'a str,
    /// When it began, UTC: `2026-11-24T09:16:03Z`.
    started: &'a str,
    /// Where the requests went: `aws`, `simulated` or a URL.
    endpoint: &'a str,
    /// The AWS regions that were called.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    /// No Bedrock was asked.
    simulated: bool,
    /// Requests went to a server that is neither AWS's nor the simulator; absent where they did not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    not_aws: bool,
    /// It was stopped before its end.
    interrupted: bool,
    /// How far a run in progress is: `in progress, 3 of 27 cells`; absent where it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<&'a str>,
    /// The version of the tool.
    tool_version: &'a str,
    /// Response times include failed requests.
    include_failures: bool,
    /// Response times include the ramp.
    include_ramp: bool,
    /// How far the numbers are off on this machine, where it was found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<&'a str>,
    /// What it cost, for people; and what of it is not known.
    cost: &'a [String],
    /// What holds for the whole run.
    notes: &'a [String],
}

/// The machines of a run that several made.
#[derive(Debug, Serialize, JsonSchema)]
struct Shards<'a> {
    /// How many there were to be.
    shards_count: u32,
    /// All of them are here, and each came to its end; otherwise cells are INVALID, and verdicts INCONCLUSIVE.
    complete: bool,
    /// Those that are not here, from 0.
    missing: &'a [u32],
    /// How far apart they began a cell at worst, each by its own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_skew_ms: Option<f64>,
    /// Those that are here, by their index.
    parts: Vec<Machine<'a>>,
}

/// One machine of a run.
#[derive(Debug, Serialize, JsonSchema)]
struct Machine<'a> {
    /// From 0.
    shard: u32,
    /// Its name.
    host: &'a str,
    /// `linux`, `macos`, ...
    os: &'a str,
    /// `x86_64`, `aarch64`, ...
    arch: &'a str,
    /// Cores that the process may use.
    cores_count: usize,
    /// Its CPU quota in cores, if that is smaller.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_quota_cores: Option<f64>,
    /// Something keeps its clock in step with the world's; left out where the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_synchronised: Option<bool>,
    /// Its clock is off by no more; left out where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_max_error_ms: Option<f64>,
    /// By how much it began a cell after the agreed moment at worst, by its own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    late_ms: Option<f64>,
    /// Its requests in all cells.
    requests_count: u64,
    /// `finished`, or how it ended before its plan did.
    end: &'a str,
}

/// What machines did to the numbers of a cell, as they say it of themselves.
#[derive(Debug, Serialize, JsonSchema)]
struct Raw {
    /// From due to sent, median.
    #[serde(skip_serializing_if = "Option::is_none")]
    send_lag_p50_ms: Option<f64>,
    /// From due to sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    send_lag_p99_ms: Option<f64>,
    /// The worst lateness of a 10 ms ticker.
    #[serde(skip_serializing_if = "Option::is_none")]
    ticker_worst_ms: Option<f64>,
    /// CPU of the process, of what its cores or its CPU quota allow: 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_share: Option<f64>,
    /// For how long the machine stood still; left out if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    stalled_ms: Option<f64>,
    /// Users' time that is neither thought nor waited for an answer: 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_share: Option<f64>,
}

/// What one machine did to the numbers of a cell.
#[derive(Debug, Serialize, JsonSchema)]
struct MachineHealth<'a> {
    /// From 0.
    shard: u32,
    /// It ended every turn of the cell.
    complete: bool,
    /// Its requests, ramp and drain included.
    requests_count: u64,
    /// By how much it began after the agreed moment at worst, by its own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    late_ms: Option<f64>,
    /// As far as a machine says it of itself.
    #[serde(flatten)]
    raw: Raw,
    /// Why it spoiled the cell's numbers; empty where it did not.
    invalid: &'a [String],
}

/// Bounds by verdict.
#[derive(Debug, Serialize, JsonSchema)]
struct Verdicts {
    /// The whole 95 % interval keeps the bound.
    pass_count: usize,
    /// The whole interval breaks it.
    fail_count: usize,
    /// It cannot be said.
    inconclusive_count: usize,
}

/// One bound of one threshold in one cell.
#[derive(Debug, Serialize, JsonSchema)]
struct Threshold<'a> {
    /// Which `[[slo]]` of the plan, from 1.
    slo_number: usize,
    /// Its name.
    name: &'a str,
    /// The cell.
    test_id: &'a str,
    /// `p95`, `failure_rate`, ...
    metric: &'a str,
    /// `<=` or `>=`.
    relation: &'static str,
    /// What is asked for.
    bound: Quantity,
    /// What was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<Quantity>,
    /// The lower end of its 95 % interval; left out where it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<Quantity>,
    /// The upper end; left out where it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<Quantity>,
    /// `PASS`, `FAIL` or `INCONCLUSIVE`.
    verdict: &'static str,
    /// Why, where the numbers do not say it.
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

/// A number and its unit.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Quantity {
    /// Milliseconds.
    Ms(f64),
    /// 0 to 1.
    Share(f64),
    /// Per second.
    PerSec(f64),
    /// US dollars per thousand replies.
    UsdPer1kRequests(f64),
}

/// A coordinate: a number of something, a rate per second, or a name.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Coordinate<'a> {
    /// A number.
    Number(serde_json::Number),
    /// A name.
    Text(&'a str),
}

/// One cell of the matrix.
#[derive(Debug, Serialize, JsonSchema)]
struct Cell<'a> {
    /// Its id, which its files carry.
    test_id: &'a str,
    /// Where it is in the matrix, by the names that records have.
    axes: BTreeMap<&'static str, Coordinate<'a>>,
    /// `ok`, `not_run`, `aborted`, or `unsupported: `, `refused: ` or `INVALID: ` with the reason.
    validity: &'a str,
    /// The worst verdict on it; left out where no threshold is meant for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    /// What to know about its numbers.
    warnings: Vec<Warning<'a>>,
    /// How many requests ended how, ramp and drain included.
    requests: Requests<'a>,
    /// How many distinct prompts were sent, and how often each; left out where nothing was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompts: Option<Prompts>,
    /// Of the latency window.
    response_time: Times,
    /// Of its successes alone.
    success_response_time: Times,
    /// From the send, in an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_time: Option<Times>,
    /// Time to first token, of streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_first_token: Option<Times>,
    /// The same without reasoning, of streams some of which reasoned.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_first_answer_token: Option<Times>,
    /// Of streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_per_output_token: Option<Times>,
    /// The longest gap between two chunks of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    longest_chunk_gap: Option<Times>,
    /// Requests of any outcome that ended in the latency window.
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_sec: Option<f64>,
    /// Failures among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    failures_per_sec: Option<f64>,
    /// Of successes that ended in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_per_sec: Option<f64>,
    /// Requests that met every limit of `[goodput]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    goodput_per_sec: Option<f64>,
    /// Of the successes.
    tokens: Tokens,
    /// What it cost; left out where not all of it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
    /// What this machine did to the numbers; where several made the run, what the worst of them did.
    client: Client,
    /// Each machine, where several made the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shards: Vec<MachineHealth<'a>>,
    /// The most frequent first.
    errors: Vec<Failure<'a>>,
    /// Of a load profile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<Stage>,
}

/// What to know about numbers.
#[derive(Debug, Serialize, JsonSchema)]
struct Warning<'a> {
    /// For machines.
    key: &'static str,
    /// For people.
    text: &'a str,
}

/// How often each distinct prompt was sent.
#[derive(Debug, Serialize, JsonSchema)]
struct Prompts {
    /// Distinct prompts; a cache-busting text before them is not counted.
    distinct_count: u64,
    /// How often the least used was sent.
    min_uses_count: u64,
    /// Median of the uses.
    median_uses_count: u64,
    /// How often the most used was sent.
    max_uses_count: u64,
}

/// How many requests ended how.
#[derive(Debug, Serialize, JsonSchema)]
struct Requests<'a> {
    /// All that were sent.
    total_count: u64,
    /// A reply with content.
    succeeded_count: u64,
    /// Refused for too many requests or tokens.
    throttled_count: u64,
    /// Any other error.
    failed_count: u64,
    /// Still running when the run had to stop.
    censored_count: u64,
    /// Starts that `max_in_flight` forbade, or that were overdue when the load ended.
    dropped_count: u64,
    /// Successes served on another tier than asked for, in no time below.
    tier_mismatch_count: u64,
    /// Successes that were to be cold and were not, in no time below.
    cache_contaminated_count: u64,
    /// Successes that were to be warm and were not, in no time below.
    warm_miss_count: u64,
    /// Requests of any outcome that were in flight while the client machine stood still, in no time below.
    client_stalled_count: u64,
    /// Successes with a stop reason such as `guardrail_intervened`, excluded from every time below.
    blocked_count: u64,
    /// The same by stop reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    blocked_by_stop_reason: &'a BTreeMap<String, u64>,
    /// Reported values that were dropped because they are implausible.
    implausible_value_count: u64,
    /// Successes that were answered from a prompt cache.
    cache_read_count: u64,
}

/// Times of a population.
#[derive(Debug, Serialize, JsonSchema)]
struct Times {
    /// Observations.
    samples_count: usize,
    /// Arithmetic mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_ms: Option<f64>,
    /// Smallest.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_ms: Option<f64>,
    /// Largest.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_ms: Option<f64>,
    /// p50, p90, p95, p99 and those that the plan asks for; none without samples.
    percentiles: Vec<Percentile>,
}

/// A percentile and what it is worth.
#[derive(Debug, Serialize, JsonSchema)]
struct Percentile {
    /// 0 to 100.
    level_percent: f64,
    /// The time.
    value_ms: f64,
    /// The lower end of its 95 % interval; left out where it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    low_ms: Option<f64>,
    /// The upper end; left out where it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    high_ms: Option<f64>,
    /// `ok`; `one_sided` (at most this), `too_few` (do not use it) or `censored` (more than this).
    quality: &'static str,
}

/// Tokens of the successes.
#[derive(Debug, Serialize, JsonSchema)]
struct Tokens {
    /// Mean per success.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_mean_tokens: Option<f64>,
    /// Mean per success.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_mean_tokens: Option<f64>,
    /// Sum; left out where no success reported them.
    #[serde(skip_serializing_if = "Option::is_none")]
    input_total_tokens: Option<u64>,
    /// Sum; left out where no success reported them.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_total_tokens: Option<u64>,
}

/// Money.
#[derive(Debug, Serialize, JsonSchema)]
struct Cost {
    /// Of every request, ramp and drain included.
    total_usd: f64,
    /// Per thousand replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_1k_requests_usd: Option<f64>,
    /// Per million output tokens, prompts included.
    #[serde(skip_serializing_if = "Option::is_none")]
    per_1m_output_tokens_usd: Option<f64>,
}

/// What this machine did to the numbers.
#[derive(Debug, Serialize, JsonSchema)]
struct Client {
    /// As far as a machine says it of itself.
    #[serde(flatten)]
    raw: Raw,
    /// The service's own latency, median.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_latency_p50_ms: Option<f64>,
    /// What the client saw beyond it, median.
    #[serde(skip_serializing_if = "Option::is_none")]
    beyond_server_p50_ms: Option<f64>,
}

/// One kind of failure.
#[derive(Debug, Serialize, JsonSchema)]
struct Failure<'a> {
    /// The exception's name, or a class of this tool.
    class: &'a str,
    /// What was said.
    message: &'a str,
    /// How often.
    requests_count: u64,
    /// UTC.
    first_seen: &'a str,
    /// UTC.
    last_seen: &'a str,
    /// What to do; may be empty.
    hint: &'a str,
}

/// A stage of a load profile.
#[derive(Debug, Serialize, JsonSchema)]
struct Stage {
    /// From the cell's start.
    start_s: f64,
    /// How long.
    length_s: f64,
    /// Its level, if it is of users.
    #[serde(skip_serializing_if = "Option::is_none")]
    users_count: Option<u32>,
    /// Its level, if it is of arrivals.
    #[serde(skip_serializing_if = "Option::is_none")]
    arrivals_per_sec: Option<f64>,
    /// Due in it.
    total_count: u64,
    /// Of them.
    succeeded_count: u64,
    /// As the cell's.
    response_time: Times,
    /// Ended in it.
    requests_per_sec: f64,
}

/// A tier against `default`.
#[derive(Debug, Serialize, JsonSchema)]
struct Tier<'a> {
    /// Of the tier's cell.
    test_id: &'a str,
    /// The tier.
    service_tier: &'a str,
    /// For people.
    sentence: &'a str,
    /// One per number.
    differences: Vec<Difference<'a>>,
}

/// One number of a tier beside `default`'s.
#[derive(Debug, Serialize, JsonSchema)]
struct Difference<'a> {
    /// `p50`, `p95`, `ttft_p50`, `output_tokens_per_sec` or `cost_per_1k_requests`.
    metric: &'static str,
    /// Of `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Quantity>,
    /// Of the tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<Quantity>,
    /// Tier over default.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    /// Its interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_low: Option<f64>,
    /// As above.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_high: Option<f64>,
    /// `slower`, `faster`, `higher`, `lower`, `no_significant_difference`, `not_compared`, `cheaper`, `dearer` or
    /// `same_price`.
    verdict: &'static str,
    /// What the interval rests on; left out where nothing is compared.
    #[serde(skip_serializing_if = "str::is_empty")]
    basis: &'a str,
    /// Why it is not compared.
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}
