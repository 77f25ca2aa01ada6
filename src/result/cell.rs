//! The result of one cell.

// A name carries its unit.
#![allow(clippy::struct_field_names)]

use super::number::{millionths, thousandths};
use super::times::Times;
use super::validity::{Validity, Verdict};
use crate::matrix::AxisValue;
use crate::units::Usd;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// One cell of the matrix.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct CellResult {
    /// Id of the cell, part of the names of its files.
    pub(crate) test_id: String,
    /// Coordinates of the cell, by the field names of records.
    pub(crate) axes: Coordinates,
    /// `ok`, `not_run`, `aborted`, or `unsupported: `, `refused: ` or `INVALID: ` with the reason.
    pub(crate) validity: Validity,
    /// Worst verdict of its thresholds; absent if no threshold applies to the cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<Verdict>,
    /// Warnings about its numbers.
    pub(crate) warnings: Vec<WarningNote>,
    /// Requests by outcome, ramp and drain included.
    pub(crate) requests: Requests,
    /// Distinct prompts and how often each was sent; absent if nothing was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) prompts: Option<PromptUses>,
    /// Response times of the latency window.
    pub(crate) response_time: Times,
    /// Response times that verdicts are based on: without failed requests, whatever reports include.
    #[serde(skip)]
    pub(crate) verdict_response_time: Times,
    /// Response times of the successes of the latency window.
    pub(crate) success_response_time: Times,
    /// Service times (from the send), in an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_time: Option<Times>,
    /// Time to first token, of streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_to_first_token: Option<Times>,
    /// Time to the first token that is not reasoning, if some streams began with reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_to_first_answer_token: Option<Times>,
    /// Time per output token, of streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) time_per_output_token: Option<Times>,
    /// Longest gap between two chunks of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) longest_chunk_gap: Option<Times>,
    /// Requests of any outcome that ended in the latency window.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) requests_per_sec: Option<f64>,
    /// Failures among them.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) failures_per_sec: Option<f64>,
    /// Output tokens of successes that ended in the window.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) output_tokens_per_sec: Option<f64>,
    /// Requests that met every limit of `[goodput]`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) goodput_per_sec: Option<f64>,
    /// Tokens of the successes.
    pub(crate) tokens: Tokens,
    /// Cost of the cell; absent if any part of it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cost: Option<Cost>,
    /// Client health; with shards, the values of the worst machine.
    pub(crate) client: Client,
    /// Client health per machine, if several machines made the run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) shards: Vec<ShardMeasurements>,
    /// Errors by kind, the most frequent first.
    pub(crate) errors: Vec<ErrorCount>,
    /// Stages of the load profile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) stages: Vec<Stage>,
    /// Mean size of a reply's body, bytes.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) mean_content_bytes: Option<f64>,
    /// Fraction of streams that began with reasoning, 0 to 1.
    #[serde(skip)]
    pub(crate) reasoning_share: Option<f64>,
    /// Median fraction of the stream spent reasoning, 0 to 1.
    #[serde(skip)]
    pub(crate) reasoning_time_share: Option<f64>,
    /// Fraction of streams whose content arrived in one burst, 0 to 1.
    #[serde(skip)]
    pub(crate) burst_share: Option<f64>,
    /// Fraction of replies that were cut at `max_tokens`, 0 to 1.
    #[serde(skip)]
    pub(crate) max_tokens_share: Option<f64>,
}

/// Coordinates of a cell: field name and value of each axis on which it has one, in axis order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Coordinates(pub(crate) Vec<(&'static str, AxisValue)>);

impl Coordinates {
    /// Returns the coordinate in column `field` as text, or an empty string if the cell has none.
    pub(crate) fn text(&self, field: &str) -> String {
        self.0.iter().find(|(name, _)| *name == field).map(|(_, value)| value.to_string()).unwrap_or_default()
    }
}

impl Serialize for Coordinates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.iter().map(|(field, value)| (*field, value)).collect::<BTreeMap<_, _>>().serialize(serializer)
    }
}

impl JsonSchema for Coordinates {
    fn schema_name() -> Cow<'static, str> {
        "Coordinates".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": ["number", "string"] } })
    }
}

/// Warning about the numbers of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct WarningNote {
    /// Machine-readable kind.
    pub(crate) key: &'static str,
    /// Text for people.
    pub(crate) text: String,
}

/// Requests of a cell by outcome, and those that are excluded from its times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Requests {
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// Starts prevented by `max_in_flight`, or overdue when the load ended.
    #[serde(rename = "dropped_count")]
    pub(crate) dropped: u64,
    /// Successes served by another tier than requested; excluded from the times.
    #[serde(rename = "tier_mismatch_count")]
    pub(crate) tier_mismatches: u64,
    /// Successes that should have been cold but read from a cache; excluded from the times.
    #[serde(rename = "cache_contaminated_count")]
    pub(crate) cache_contaminated: u64,
    /// Successes that should have been warm but were not; excluded from the times.
    #[serde(rename = "warm_miss_count")]
    pub(crate) warm_misses: u64,
    /// Requests of any outcome that were in flight while the client machine stood still; excluded from the times.
    #[serde(rename = "client_stalled_count")]
    pub(crate) client_stalled: u64,
    /// Successes with a stop reason such as `guardrail_intervened`; excluded from the times.
    #[serde(rename = "blocked_count")]
    pub(crate) blocked: u64,
    /// Blocked replies by stop reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) blocked_by_stop_reason: BTreeMap<String, u64>,
    /// Reported values that were dropped as implausible.
    #[serde(rename = "implausible_value_count")]
    pub(crate) implausible: u64,
    /// Successes that read from a prompt cache.
    #[serde(rename = "cache_read_count")]
    pub(crate) cache_reads: u64,
}

/// Requests by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Counts {
    /// All requests that were sent.
    #[serde(rename = "total_count")]
    pub(crate) total: u64,
    /// Replies with content.
    #[serde(rename = "succeeded_count")]
    pub(crate) succeeded: u64,
    /// Requests refused because of too many requests or tokens.
    #[serde(rename = "throttled_count")]
    pub(crate) throttled: u64,
    /// Requests with any other error.
    #[serde(rename = "failed_count")]
    pub(crate) failed: u64,
    /// Requests still unfinished when the run had to stop.
    #[serde(rename = "censored_count")]
    pub(crate) censored: u64,
}

impl Counts {
    /// Returns the failures: throttled and failed requests.
    pub(crate) fn failures(&self) -> u64 {
        self.throttled + self.failed
    }

    /// Returns failures over all requests; `None` without requests.
    pub(crate) fn failure_rate(&self) -> Option<f64> {
        (self.total > 0).then(|| self.failures() as f64 / self.total as f64)
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            succeeded: self.succeeded + other.succeeded,
            throttled: self.throttled + other.throttled,
            failed: self.failed + other.failed,
            censored: self.censored + other.censored,
        }
    }
}

/// Distinct prompts of a cell. A cache-busting prefix does not make a prompt distinct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct PromptUses {
    /// Number of distinct prompts; at least one.
    #[serde(rename = "distinct_count")]
    pub(crate) distinct: u64,
    /// Uses of the least used prompt.
    #[serde(rename = "min_uses_count")]
    pub(crate) min: u64,
    /// Median of the uses; the lower of two.
    #[serde(rename = "median_uses_count")]
    pub(crate) median: u64,
    /// Uses of the most used prompt.
    #[serde(rename = "max_uses_count")]
    pub(crate) max: u64,
    /// Whether some of them are lines of a data set.
    #[serde(skip)]
    pub(crate) has_dataset: bool,
}

/// Tokens of the successes, ramp and drain included, because they are paid for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Tokens {
    /// Mean per success that reported them.
    #[serde(rename = "input_mean_tokens", skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) avg_input: Option<f64>,
    /// Mean per success that reported them.
    #[serde(rename = "output_mean_tokens", skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) avg_output: Option<f64>,
    /// Sum; absent if no success reported them.
    #[serde(rename = "input_total_tokens", skip_serializing_if = "Option::is_none")]
    pub(crate) total_input: Option<u64>,
    /// Sum; absent if no success reported them.
    #[serde(rename = "output_total_tokens", skip_serializing_if = "Option::is_none")]
    pub(crate) total_output: Option<u64>,
}

/// Cost of a cell, US dollars, all parts known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Cost {
    /// All requests, including ramp, drain and priming requests.
    #[serde(rename = "total_usd", serialize_with = "dollars")]
    #[schemars(with = "f64")]
    pub(crate) total: Usd,
    /// Per 1,000 replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_1k_requests_usd: Option<f64>,
    /// Per million output tokens, including the cost of the prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_1m_output_tokens_usd: Option<f64>,
}

fn dollars<S: Serializer>(usd: &Usd, serializer: S) -> Result<S::Ok, S::Error> {
    usd.as_f64().serialize(serializer)
}

/// Client health of a cell.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(crate) struct Client {
    #[serde(flatten)]
    pub(crate) measurements: ClientMeasurements,
    /// Users' time that is neither think time nor response time, 0 to 1 (closed loop).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    pub(crate) idle_share: Option<f64>,
    /// Median latency reported by the service.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) server_latency_p50_ms: Option<f64>,
    /// Median client overhead: service time minus reported latency.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) beyond_server_p50_ms: Option<f64>,
}

/// Measurements of one client machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub(crate) struct ClientMeasurements {
    /// Median send lag.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) send_lag_p50_ms: Option<f64>,
    /// p99 of the send lag.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) send_lag_p99_ms: Option<f64>,
    /// Second-largest send lag, milliseconds: with fewer than 100 requests p99 is the maximum, a single value.
    #[serde(skip)]
    pub(crate) send_lag_second_ms: Option<f64>,
    /// Worst lateness of a 10 ms ticker in the window.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) ticker_worst_ms: Option<f64>,
    /// CPU of this process over the window, of what its cores or its CPU quota allow, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    pub(crate) cpu_share: Option<f64>,
    /// Total stalled time; absent without stalls.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) stalled_ms: Option<f64>,
    /// Starts delayed by the disk.
    #[serde(skip)]
    pub(crate) starts_waited: u64,
}

/// Client health of one machine in a cell.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ShardMeasurements {
    /// Index of the machine, from 0.
    pub(crate) shard: u32,
    /// Whether the machine finished every run of the cell.
    pub(crate) complete: bool,
    /// Requests of the machine, ramp and drain included.
    #[serde(rename = "requests_count")]
    pub(crate) requests: u64,
    /// Largest delay of the load after the agreed start, by the local clock.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) late_ms: Option<f64>,
    #[serde(flatten)]
    pub(crate) measurements: ClientMeasurements,
    /// Users' time that is neither think time nor response time, 0 to 1 (closed loop).
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    pub(crate) idle_share: Option<f64>,
    /// Why the machine makes the cell INVALID; empty if it does not.
    pub(crate) invalid: Vec<String>,
}

/// Errors of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ErrorCount {
    /// Name of the exception, or a class of this tool.
    pub(crate) class: String,
    /// The message, or its pattern if messages of this kind differ.
    pub(crate) message: String,
    /// Pattern of the message. Class and pattern identify the kind.
    #[serde(skip)]
    pub(crate) pattern: String,
    /// Number of errors of this kind.
    #[serde(rename = "requests_count")]
    pub(crate) count: u64,
    /// UTC, for example `2026-11-24T09:16:03Z`.
    pub(crate) first_seen: String,
    /// UTC, in the same format.
    pub(crate) last_seen: String,
    /// Suggested fix; may be empty.
    pub(crate) hint: String,
}

/// Stage of a load profile.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Stage {
    /// Seconds from the start of the cell.
    #[serde(serialize_with = "thousandths")]
    pub(crate) start_s: f64,
    /// Length in seconds.
    #[serde(serialize_with = "thousandths")]
    pub(crate) length_s: f64,
    /// Target number of users, if the profile sets users.
    #[serde(rename = "users_count", skip_serializing_if = "Option::is_none")]
    pub(crate) users: Option<u32>,
    /// Target arrival rate, if the profile sets arrival rates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arrivals_per_sec: Option<f64>,
    /// Requests whose intended start lies in the stage.
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// Response times, as for the cell.
    pub(crate) response_time: Times,
    /// Requests of any outcome that ended in the stage.
    #[serde(serialize_with = "thousandths")]
    pub(crate) requests_per_sec: f64,
}
