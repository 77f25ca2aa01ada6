//! The run as a whole: its data, its machines, thresholds and comparisons of tiers.

use super::{CellResult, Verdict, millionths, thousandths};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Result of a run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunResult<'a> {
    /// Version of the format.
    pub(crate) schema: u32,
    /// Data of the run as a whole.
    pub(crate) run: &'a RunInfo,
    /// The machines, if several made the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shards: Option<&'a Shards>,
    /// Number of bounds by verdict, over all cells.
    pub(crate) verdicts: Tally,
    /// One entry per bound of each threshold in each cell.
    pub(crate) thresholds: &'a [ThresholdResult],
    /// Cells in matrix order.
    pub(crate) cells: Vec<&'a CellResult>,
    /// Comparison of each tier with `default` in the same context.
    pub(crate) tiers: Vec<&'a TierResult>,
}

/// Data of the run as a whole.
#[derive(Debug, Serialize, JsonSchema)]
#[allow(clippy::struct_excessive_bools)] // each flag is independent
pub(crate) struct RunInfo {
    /// Name of the run.
    pub(crate) name: String,
    /// Free text; may be empty.
    pub(crate) description: String,
    /// Unique id of the run.
    pub(crate) run_id: String,
    /// Start of the run, UTC, for example `2026-11-24T09:16:03Z`.
    pub(crate) started: String,
    /// The same time, epoch milliseconds.
    #[serde(skip)]
    pub(crate) started_ms: u64,
    /// Target of the requests: `aws`, `simulated` or a URL.
    pub(crate) endpoint: String,
    /// AWS regions that were called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// Whether the run used the simulator instead of Bedrock.
    pub(crate) simulated: bool,
    /// Whether the server is neither AWS nor the simulator; absent if false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) not_aws: bool,
    /// Whether the run was stopped before its planned end.
    pub(crate) interrupted: bool,
    /// Progress of a running run, for example `in progress, 3 of 27 cells`; absent after the run has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) running: Option<String>,
    /// Version of bedrock-plan.
    pub(crate) tool_version: String,
    /// Whether response times include failed requests.
    pub(crate) include_failures: bool,
    /// Whether response times include the ramp.
    pub(crate) include_ramp: bool,
    /// Measurement error on this machine as a sentence; absent without a calibration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) calibration: Option<String>,
    /// Cost of the run, and the parts that are unknown, as sentences.
    pub(crate) cost: Vec<String>,
    /// Notes that apply to the whole run.
    pub(crate) notes: Vec<String>,
}

/// Machines of a run that several machines made.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Shards {
    /// Planned number of machines.
    #[serde(rename = "shards_count")]
    pub(crate) count: u32,
    /// Whether the records of all machines are present and each machine finished. If not, cells are INVALID and verdicts
    /// INCONCLUSIVE.
    pub(crate) complete: bool,
    /// Indices of the missing machines, from 0.
    pub(crate) missing: Vec<u32>,
    /// Largest difference between the starts of a cell, each by the local clock.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) start_skew_ms: Option<f64>,
    /// Machines that are present, by index.
    pub(crate) parts: Vec<Machine>,
}

/// One machine of a run.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Machine {
    /// Index of the machine, from 0.
    pub(crate) shard: u32,
    /// Host name.
    pub(crate) host: String,
    /// `linux`, `macos`, ...
    pub(crate) os: String,
    /// `x86_64`, `aarch64`, ...
    pub(crate) arch: String,
    /// Number of cores that the process may use.
    #[serde(rename = "cores_count")]
    pub(crate) cores: usize,
    /// CPU quota in cores, if it is smaller.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    pub(crate) cpu_quota_cores: Option<f64>,
    /// Whether the clock is synchronised; absent if the system does not report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clock_synchronised: Option<bool>,
    /// Largest possible error of the clock; absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) clock_max_error_ms: Option<f64>,
    /// Largest delay of a cell after the agreed start, by the local clock.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) late_ms: Option<f64>,
    /// Requests of the machine in all cells.
    #[serde(rename = "requests_count")]
    pub(crate) requests: u64,
    /// `finished`, or the reason why the machine stopped early.
    pub(crate) end: String,
}

/// Number of bounds by verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Tally {
    /// The whole 95 % interval meets the bound.
    #[serde(rename = "pass_count")]
    pub(crate) pass: usize,
    /// The whole 95 % interval violates the bound.
    #[serde(rename = "fail_count")]
    pub(crate) fail: usize,
    /// The data do not decide.
    #[serde(rename = "inconclusive_count")]
    pub(crate) inconclusive: usize,
}

impl Tally {
    /// Counts verdicts.
    pub(crate) fn new(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        verdicts.into_iter().fold(Self::default(), |mut tally, verdict| {
            match verdict {
                Verdict::Pass => tally.pass += 1,
                Verdict::Fail => tally.fail += 1,
                Verdict::Inconclusive => tally.inconclusive += 1,
            }
            tally
        })
    }
}

/// One bound of one threshold in one cell.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ThresholdResult {
    /// Number of the `[[slo]]` in the plan, from 1.
    pub(crate) slo_number: usize,
    /// Name of the threshold.
    pub(crate) name: String,
    /// Id of the cell.
    pub(crate) test_id: String,
    /// `p95`, `failure_rate`, ...
    pub(crate) metric: String,
    /// Relation of the measured value to the limit.
    pub(crate) relation: Relation,
    /// Limit.
    pub(crate) bound: Quantity,
    /// Limits that a request must meet to count as goodput, for example `ttft 800ms`; absent for other metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limits: Option<String>,
    /// Measured value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) measured: Option<Quantity>,
    /// Lower end of the confidence interval; absent if it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) low: Option<Quantity>,
    /// Upper end of the confidence interval; absent if it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) high: Option<Quantity>,
    /// Confidence level of the interval: 95, or 97.5 for a threshold with `abort_on_fail`, which is also tested during the
    /// run of the cell.
    #[serde(serialize_with = "thousandths")]
    pub(crate) confidence_percent: f64,
    /// Verdict on the bound.
    pub(crate) verdict: Verdict,
    /// Reason of the verdict, if the numbers do not show it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
}

/// Relation of a measured value to its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Relation {
    /// At most the limit.
    #[serde(rename = "<=")]
    AtMost,
    /// At least the limit.
    #[serde(rename = ">=")]
    AtLeast,
}

impl Relation {
    /// Returns the symbol used in result files.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::AtMost => "<=",
            Self::AtLeast => ">=",
        }
    }
}

/// A number with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Quantity {
    /// Milliseconds.
    Ms(#[serde(serialize_with = "thousandths")] f64),
    /// 0 to 1.
    Share(#[serde(serialize_with = "millionths")] f64),
    /// Per second.
    PerSec(#[serde(serialize_with = "thousandths")] f64),
    /// US dollars per thousand replies.
    UsdPer1kRequests(f64),
}

impl Quantity {
    /// Returns the number without its unit.
    pub(crate) fn value(self) -> f64 {
        match self {
            Self::Ms(value) | Self::Share(value) | Self::PerSec(value) | Self::UsdPer1kRequests(value) => value,
        }
    }

    /// Returns the name of the unit in result files.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Ms(_) => "ms",
            Self::Share(_) => "share",
            Self::PerSec(_) => "per_sec",
            Self::UsdPer1kRequests(_) => "usd_per1k_requests",
        }
    }
}

/// Comparison of a tier with `default`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TierResult {
    /// Id of the tier's cell.
    pub(crate) test_id: String,
    /// Name of the tier.
    pub(crate) service_tier: String,
    /// Summary in one sentence.
    pub(crate) sentence: String,
    /// One entry per metric.
    pub(crate) differences: Vec<Difference>,
}

/// One metric of a tier beside that of `default`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Difference {
    /// `p50`, `p95`, `ttft_p50`, `output_tokens_per_sec` or `cost_per_1k_requests`.
    pub(crate) metric: &'static str,
    /// Value of `default`; the geometric mean over its repetitions, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default: Option<Quantity>,
    /// Value of the tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tier: Option<Quantity>,
    /// Value of the tier divided by that of `default`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    pub(crate) ratio: Option<f64>,
    /// Lower end of the ratio's interval.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    pub(crate) ratio_low: Option<f64>,
    /// Upper end of the ratio's interval.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    pub(crate) ratio_high: Option<f64>,
    /// `slower`, `faster`, `higher`, `lower`, `no_significant_difference`, `not_compared`, `cheaper`, `dearer` or
    /// `same_price`.
    pub(crate) verdict: &'static str,
    /// Basis of the interval, for example `paired t over 5 repetitions`; absent if nothing is compared.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) basis: String,
    /// Reason why the metric is not compared.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
}
