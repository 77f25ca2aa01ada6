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
    schema["properties"]["schema"] =
        serde_json::json!({ "const": VERSION, "description": "The version of the format." });
    schema
}

/// What a comparison found.
#[derive(Debug, Serialize, JsonSchema)]
struct Document<'a> {
    /// The version of the format.
    schema: u32,
    /// The version of the tool.
    tool_version: &'a str,
    /// What the plan is called.
    name: &'a str,
    /// No Bedrock was asked in some session.
    simulated: bool,
    /// The server of some session is neither AWS's nor the simulator; absent where none is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    not_aws: bool,
    /// A baseline's file, or the directory of a run, as it was named.
    against: &'a str,
    /// There are verdicts: two runs beside each other have none.
    judged: bool,
    /// Something regressed, and the baseline is good enough to fail by: exit code 99.
    fails: bool,
    /// The sessions of the baseline, the oldest first.
    baseline_sessions: Vec<Session<'a>>,
    /// The new sessions, the oldest first.
    new_sessions: Vec<Session<'a>>,
    /// One entry per cell and number.
    rows: Vec<Row<'a>>,
    /// What moved everything alike: a median over all cells per number.
    common_drift: Vec<Drift<'a>>,
    /// Cells of one side that the other lacks.
    unmatched: Vec<Unmatched<'a>>,
    /// What to know about the sessions.
    warnings: &'a [String],
    /// What to do next.
    next: Vec<Next<'a>>,
}

/// One run.
#[derive(Debug, Serialize, JsonSchema)]
struct Session<'a> {
    /// The run's id.
    id: &'a str,
    /// UTC: `2026-11-24T09:16:03Z`.
    started: &'a str,
    /// The version of the tool that measured it.
    tool_version: &'a str,
    /// `aws`, `simulated` or `url`.
    endpoint: &'a str,
    /// The AWS region.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    /// Cells whose numbers may be used,
    usable_cell_count: usize,
    /// of so many.
    cell_count: usize,
}

/// One number of one cell.
#[derive(Debug, Serialize, JsonSchema)]
struct Row<'a> {
    /// The cell.
    test_id: &'a str,
    /// What identifies it across runs.
    cell_hash: &'a str,
    /// `typical` (the mean of ln(time) without the tenth at either end) or `p95`.
    metric: &'a str,
    /// `REGRESSED`, `SUSPECT`, `IMPROVED`, `INCONCLUSIVE` or `PASS`; left out where nothing is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'a str>,
    /// It fails the comparison.
    fails: bool,
    /// Why, where the numbers do not say it.
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    /// The geometric mean of the baseline's sessions, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_ms: Option<f64>,
    /// That of the new sessions, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_ms: Option<f64>,
    /// New over base, less one.
    #[serde(skip_serializing_if = "Option::is_none")]
    change_share: Option<f64>,
    /// The lower end of its 90 % interval,
    #[serde(skip_serializing_if = "Option::is_none")]
    change_low_share: Option<f64>,
    /// and the upper one.
    #[serde(skip_serializing_if = "Option::is_none")]
    change_high_share: Option<f64>,
    /// The smallest change that this comparison finds in four of five cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    visible_share: Option<f64>,
    /// One-sided p of the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    p_value: Option<f64>,
    /// Each session of the baseline over their mean, less one.
    base_session_shares: &'a [f64],
    /// Each new session over the same.
    new_session_shares: &'a [f64],
}

/// What moved everything alike.
#[derive(Debug, Serialize, JsonSchema)]
struct Drift<'a> {
    /// Of which number.
    metric: &'a str,
    /// The median change.
    change_share: f64,
    /// Of so many cells.
    cell_count: usize,
}

/// A cell that meets nothing.
#[derive(Debug, Serialize, JsonSchema)]
struct Unmatched<'a> {
    /// What it is called.
    test_id: &'a str,
    /// Where it is: `new` or `baseline`.
    side: &'a str,
    /// For people.
    #[serde(skip_serializing_if = "str::is_empty")]
    differs: &'a str,
}

/// What to do next.
#[derive(Debug, Serialize, JsonSchema)]
struct Next<'a> {
    /// For people.
    why: &'a str,
    /// To paste.
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
