//! The comparison of new sessions with a baseline. Changes are shares: 0.1 is 10 % slower.

use super::number::each_in_millionths;
use super::{millionths, thousandths};
use schemars::JsonSchema;
use serde::Serialize;

/// Result of a comparison.
#[derive(Debug, Serialize, JsonSchema)]
#[allow(clippy::struct_excessive_bools)] // each flag is independent
pub(crate) struct ComparisonResult<'a> {
    /// Version of the format.
    pub(crate) schema: u32,
    /// Version of bedrock-plan.
    pub(crate) tool_version: &'a str,
    /// Name of the plan.
    pub(crate) name: &'a str,
    /// Whether some session used the simulator instead of Bedrock.
    pub(crate) simulated: bool,
    /// Whether the server of some session is neither AWS nor the simulator; absent if false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) not_aws: bool,
    /// Baseline file or run directory, as given by the user.
    pub(crate) against: &'a str,
    /// Whether there are verdicts. A comparison of two runs has none.
    pub(crate) judged: bool,
    /// Whether a number regressed and the baseline allows a failure (exit code 99).
    pub(crate) fails: bool,
    /// Sessions of the baseline, the oldest first.
    pub(crate) baseline_sessions: &'a [SessionInfo],
    /// New sessions, the oldest first.
    pub(crate) new_sessions: &'a [SessionInfo],
    /// One entry per cell and metric.
    pub(crate) rows: Vec<&'a ComparisonRow>,
    /// Common drift: the median change over all cells, per metric.
    pub(crate) common_drift: Vec<&'a CommonDrift>,
    /// Cells that only one side contains.
    pub(crate) unmatched: &'a [UnmatchedCell],
    /// Warnings about the sessions.
    pub(crate) warnings: &'a [String],
    /// Suggested next steps.
    pub(crate) next: &'a [NextStep],
}

/// One session: an independent run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct SessionInfo {
    /// Id of the run.
    pub(crate) id: String,
    /// Start, UTC, for example `2026-11-24T09:16:03Z`.
    pub(crate) started: String,
    /// The same time, epoch milliseconds.
    #[serde(skip)]
    pub(crate) started_ms: u64,
    /// Version of bedrock-plan that measured it.
    pub(crate) tool_version: String,
    /// `aws`, `simulated` or `url`.
    pub(crate) endpoint: String,
    /// AWS region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// Number of cells whose numbers can be used.
    #[serde(rename = "usable_cell_count")]
    pub(crate) usable: usize,
    /// Number of all cells.
    #[serde(rename = "cell_count")]
    pub(crate) cells: usize,
}

/// One metric of one cell.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct ComparisonRow {
    /// Id of the cell.
    pub(crate) test_id: String,
    /// Identifies the cell across runs.
    pub(crate) cell_hash: String,
    /// `typical` (the trimmed mean of ln(time), 10 % trimmed at either end) or `p95`.
    pub(crate) metric: &'static str,
    /// `REGRESSED`, `SUSPECT`, `IMPROVED`, `INCONCLUSIVE` or `PASS`; absent without verdicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verdict: Option<&'static str>,
    /// Whether it fails the comparison.
    pub(crate) fails: bool,
    /// Reason of the verdict, if the numbers do not show it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// Geometric mean of the baseline's sessions, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) base_ms: Option<f64>,
    /// Geometric mean of the new sessions, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) new_ms: Option<f64>,
    /// New value divided by the baseline's, minus one.
    #[serde(rename = "change_share", skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    pub(crate) change: Option<f64>,
    /// Lower end of the 90 % interval of the change.
    #[serde(rename = "change_low_share", skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    pub(crate) low: Option<f64>,
    /// Upper end of the 90 % interval of the change.
    #[serde(rename = "change_high_share", skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    pub(crate) high: Option<f64>,
    /// Minimum detectable effect at a power of 80 %.
    #[serde(rename = "visible_share", skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    pub(crate) visible: Option<f64>,
    /// One-sided p-value of the first look.
    #[serde(rename = "p_value", skip_serializing_if = "Option::is_none", serialize_with = "millionths")]
    pub(crate) p: Option<f64>,
    /// Value of each baseline session divided by their mean, minus one.
    #[serde(rename = "base_session_shares", serialize_with = "each_in_millionths")]
    pub(crate) base_points: Vec<f64>,
    /// Value of each new session divided by the same mean, minus one.
    #[serde(rename = "new_session_shares", serialize_with = "each_in_millionths")]
    pub(crate) new_points: Vec<f64>,
}

/// Common drift of all cells.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct CommonDrift {
    /// Name of the metric.
    pub(crate) metric: &'static str,
    /// Median change.
    #[serde(rename = "change_share", serialize_with = "millionths")]
    pub(crate) change: f64,
    /// Number of cells.
    #[serde(rename = "cell_count")]
    pub(crate) cells: usize,
}

/// A cell without a counterpart.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct UnmatchedCell {
    /// Id of the cell.
    pub(crate) test_id: String,
    /// Side that contains the cell: `new` or `baseline`.
    pub(crate) side: &'static str,
    /// Settings that differ from the most similar cell.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) differs: String,
}

/// Suggested next step.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct NextStep {
    /// Purpose of the step.
    pub(crate) why: String,
    /// Commands to run.
    pub(crate) commands: Vec<String>,
}
