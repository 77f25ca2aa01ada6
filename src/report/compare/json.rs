//! A comparison for programs. The types in [`crate::result`] are the contract, from which the schema is generated.

use super::view::CompareView;
use crate::report::{ReportError, json_bytes, schema_of};
use crate::result::ComparisonResult;

/// Version of the format. An additional field does not change it; a removed field or another meaning does.
const VERSION: u32 = 1;

/// Renders the file.
///
/// # Errors
/// If the value cannot be serialised, which is an internal error.
pub(crate) fn json(view: &CompareView) -> Result<Vec<u8>, ReportError> {
    json_bytes(&ComparisonResult {
        schema: VERSION,
        tool_version: view.tool_version,
        name: &view.name,
        simulated: view.simulated,
        not_aws: view.not_aws,
        against: &view.baseline,
        judged: view.judged,
        fails: view.fails,
        baseline_sessions: &view.base,
        new_sessions: &view.new,
        rows: view.rows.iter().map(|row| &row.result).collect(),
        common_drift: view.drift.iter().map(|drift| &drift.result).collect(),
        unmatched: &view.unmatched,
        warnings: &view.warnings,
        next: &view.next,
    })
}

/// Returns the JSON Schema of the file.
pub(crate) fn schema() -> serde_json::Value {
    schema_of::<ComparisonResult>("a comparison of bedrock-plan", VERSION)
}
