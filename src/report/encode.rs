//! Numbers, JSON and CSV as the formats write them.

use super::rendered::ReportError;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

/// Formats a number for the files of this tool with three decimals; empty if there is no value, never zero.
pub(super) fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.3}"))
}

/// Returns the JSON Schema of a file with the given title and version of its format.
pub(super) fn schema_of<T: JsonSchema>(title: &str, version: u32) -> serde_json::Value {
    let mut schema = SchemaSettings::draft07().for_serialize().into_generator().into_root_schema_for::<T>().to_value();
    schema["title"] = title.into();
    schema["properties"]["schema"] = serde_json::json!({ "const": version, "description": "Version of the format." });
    schema
}

/// Serializes a value as JSON with a final newline.
pub(super) fn json_bytes(value: &impl serde::Serialize) -> Result<Vec<u8>, ReportError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| ReportError::Json(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Prefixes text that a spreadsheet would interpret as a formula, so that it stays text. Numbers, including negative
/// ones, are unchanged.
pub(super) fn csv_text(text: String) -> String {
    let is_number = || {
        let digits = text.trim_start_matches(['+', '-']);
        digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.parse::<f64>().is_ok()
    };
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number() { format!("'{text}") } else { text }
}

/// Returns a CSV file as bytes.
pub(super) fn csv_bytes(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    end: csv::Terminator,
) -> Result<Vec<u8>, ReportError> {
    let mut writer = csv::WriterBuilder::new().terminator(end).from_writer(Vec::new());
    writer.write_record(header.iter().map(|name| csv_text((*name).to_owned())))?;
    for row in rows {
        writer.write_record(row.into_iter().map(csv_text))?;
    }
    writer.into_inner().map_err(|error| ReportError::Csv(error.to_string()))
}
