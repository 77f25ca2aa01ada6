//! A comparison for programs. Its types are the contract: a schema is made of them, and what is not known is
//! left out, never zero. Changes are shares: 0.1 is 10 % slower.

// Here a name carries its unit, and a flag is a fact of its own.
#![allow(clippy::struct_field_names, clippy::struct_excessive_bools)]

use super::view::{CompareView, RowView, Side};
use crate::report::ReportError;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;

/// The version of the file. A field more does not change it, a field less or another meaning does.
const VERSION: u32 = 1;

/// The file.
///
/// # Errors
/// When this tool is at fault.
pub(crate) fn json(view: &CompareView) -> Result<Vec<u8>, ReportError> {
    let mut bytes =
        serde_json::to_vec_pretty(&Document::of(view)).map_err(|error| ReportError::Json(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The JSON Schema of the file.
pub(crate) fn schema() -> serde_json::Value {
    let mut schema =
        SchemaSettings::draft07().for_serialize().into_generator().into_root_schema_for::<Document>().to_value();
    schema["title"] = "a comparison of bedrock-plan".into();
    schema["properties"]["schema"] = serde_json::json!({ "const": VERSION, "description": "Version of the format." });
    schema
}

/// Result of a comparison.
#[derive(Debug, Serialize, JsonSchema)]
struct Document<'a> {
    /// Version of the format.
    schema: u32,
    /// Version of bedrock-plan.
    tool_version: &'a str,
    /// Name of the plan.
    name: &'a str,
    /// Whether some session used the simulator instead of Bedrock.
    simulated: bool,
    /// Whether the server of some session is neither AWS nor the simulator; absent if false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    not_aws: bool,
    /// Baseline file or run directory, as given by the user.
    against: &'a str,
    /// Whether there are verdicts. A comparison of two runs has none.
    judged: bool,
    /// Whether a number regressed and the baseline allows a failure (exit code 99).
    fails: bool,
    /// Sessions of the baseline, the oldest first.
    baseline_sessions: Vec<Session<'a>>,
    /// New sessions, the oldest first.
    new_sessions: Vec<Session<'a>>,
    /// One entry per cell and metric.
    rows: Vec<Row<'a>>,
    /// Common drift: the median change over all cells, per metric.
    common_drift: Vec<Drift<'a>>,
    /// Cells that only one side contains.
    unmatched: Vec<Unmatched<'a>>,
    /// Warnings about the sessions.
    warnings: &'a [String],
    /// Suggested next steps.
    next: Vec<Next<'a>>,
}

/// One session: an independent run.
#[derive(Debug, Serialize, JsonSchema)]
struct Session<'a> {
    /// Id of the run.
    id: &'a str,
    /// Start, UTC, for example `2026-11-24T09:16:03Z`.
    started: &'a str,
    /// Version of bedrock-plan that measured it.
    tool_version: &'a str,
    /// `aws`, `simulated` or `url`.
    endpoint: &'a str,
    /// AWS region.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    /// Number of cells whose numbers can be used.
    usable_cell_count: usize,
    /// Number of all cells.
    cell_count: usize,
}

/// One metric of one cell.
#[derive(Debug, Serialize, JsonSchema)]
struct Row<'a> {
    /// Id of the cell.
    test_id: &'a str,
    /// Identifies the cell across runs.
    cell_hash: &'a str,
    /// `typical` (the trimmed mean of ln(time), 10 % trimmed at either end) or `p95`.
    metric: &'a str,
    /// `REGRESSED`, `SUSPECT`, `IMPROVED`, `INCONCLUSIVE` or `PASS`; absent without verdicts.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'a str>,
    /// Whether it fails the comparison.
    fails: bool,
    /// Reason of the verdict, if the numbers do not show it.
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    /// Geometric mean of the baseline's sessions, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_ms: Option<f64>,
    /// Geometric mean of the new sessions, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_ms: Option<f64>,
    /// New value divided by the baseline's, minus one.
    #[serde(skip_serializing_if = "Option::is_none")]
    change_share: Option<f64>,
    /// Lower end of the 90 % interval of the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    change_low_share: Option<f64>,
    /// Upper end of the 90 % interval of the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    change_high_share: Option<f64>,
    /// Minimum detectable effect at a power of 80 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    visible_share: Option<f64>,
    /// One-sided p-value of the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    p_value: Option<f64>,
    /// Value of each baseline session divided by their mean, minus one.
    base_session_shares: &'a [f64],
    /// Value of each new session divided by the same mean, minus one.
    new_session_shares: &'a [f64],
}

/// Common drift of all cells.
#[derive(Debug, Serialize, JsonSchema)]
struct Drift<'a> {
    /// Name of the metric.
    metric: &'a str,
    /// Median change.
    change_share: f64,
    /// Number of cells.
    cell_count: usize,
}

/// A cell without a counterpart.
#[derive(Debug, Serialize, JsonSchema)]
struct Unmatched<'a> {
    /// Id of the cell.
    test_id: &'a str,
    /// Side that contains the cell: `new` or `baseline`.
    side: &'a str,
    /// Settings that differ from the most similar cell.
    #[serde(skip_serializing_if = "str::is_empty")]
    differs: &'a str,
}

/// Suggested next step.
#[derive(Debug, Serialize, JsonSchema)]
struct Next<'a> {
    /// Purpose of the step.
    why: &'a str,
    /// Commands to run.
    commands: &'a [String],
}

impl<'a> Document<'a> {
    fn of(view: &'a CompareView) -> Self {
        let row = |row: &'a RowView| Row {
            test_id: &row.test_id,
            cell_hash: &row.cell_hash,
            metric: row.metric,
            verdict: Some(row.verdict).filter(|verdict| !verdict.is_empty()),
            fails: row.fails,
            reason: &row.reason,
            base_ms: row.base_ms,
            new_ms: row.new_ms,
            change_share: row.change,
            change_low_share: row.low,
            change_high_share: row.high,
            visible_share: row.visible,
            p_value: row.p,
            base_session_shares: &row.base_points,
            new_session_shares: &row.new_points,
        };
        let drift = view.drift.iter().map(|drift| Drift {
            metric: drift.metric,
            change_share: drift.change,
            cell_count: drift.cells,
        });
        let unmatched = view.unmatched.iter().map(|cell| Unmatched {
            test_id: &cell.test_id,
            side: cell.side,
            differs: &cell.differs,
        });
        Self {
            schema: VERSION,
            tool_version: view.tool_version,
            name: &view.name,
            simulated: view.simulated,
            not_aws: view.not_aws,
            against: &view.baseline,
            judged: view.judged,
            fails: view.fails,
            baseline_sessions: view.base.iter().map(session).collect(),
            new_sessions: view.new.iter().map(session).collect(),
            rows: view.rows.iter().map(row).collect(),
            common_drift: drift.collect(),
            unmatched: unmatched.collect(),
            warnings: &view.warnings,
            next: view.next.iter().map(|next| Next { why: &next.why, commands: &next.commands }).collect(),
        }
    }
}

fn session(side: &Side) -> Session<'_> {
    Session {
        id: &side.id,
        started: &side.started,
        tool_version: &side.tool_version,
        endpoint: &side.endpoint,
        region: side.region.as_deref(),
        usable_cell_count: side.usable,
        cell_count: side.cells,
    }
}
