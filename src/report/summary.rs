//! `summary.json`: the result of a run for programs. The types in [`crate::result`] are the contract, from which the
//! schema is generated.

use super::templates::Templates;
use super::view::View;
use super::{Rendered, ReportError, json_bytes, schema_of};
use crate::result::{RunResult, Tally};

/// Version of the format. An additional field does not change it; a removed field or another meaning does.
const VERSION: u32 = 1;

/// Renders one file.
pub(super) fn render(view: &View, _: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let result = RunResult {
        schema: VERSION,
        run: &view.run,
        shards: view.machines.as_ref().map(|machines| &machines.shards),
        verdicts: Tally::new(view.slo.rows.iter().map(|row| row.verdict)),
        thresholds: &view.slo.rows,
        cells: view.cells.iter().map(|cell| &cell.result).collect(),
        tiers: view.tiers.tiers.iter().map(|tier| &tier.result).collect(),
    };
    Ok(vec![Rendered { path: "summary.json".into(), bytes: json_bytes(&result)? }])
}

/// Returns the JSON Schema of the file.
pub(crate) fn schema() -> serde_json::Value {
    schema_of::<RunResult>("summary.json of bedrock-plan", VERSION)
}
