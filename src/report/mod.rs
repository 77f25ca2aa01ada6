//! Renders a summary to bytes: a [`view`] that contains all computed values, and one function per format. Formats do
//! not access the disk and compute nothing. This module must not depend on executor, config, guard or cli.

mod chart_files;
pub(crate) mod charts;
pub(crate) mod ci;
pub(crate) mod compare;
mod consolidated;
mod hlog;
mod html;
mod locust;
mod markdown;
pub(crate) mod outside;
mod slo;
mod stages;
pub(crate) mod summary;
pub(crate) mod templates;
#[cfg(test)]
pub(crate) mod tests;
mod texts;
mod tiers;
pub(crate) mod view;

use std::path::PathBuf;
use templates::Templates;
use view::View;

/// One file of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// Path relative to the run directory.
    pub(crate) path: PathBuf,
    /// Content of the file.
    pub(crate) bytes: Vec<u8>,
}

/// Internal error: the numbers exist but could not be rendered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// Error in a table.
    #[error("a CSV file could not be made: {0}")]
    Csv(String),
    /// Error in a JSON file.
    #[error("a JSON file could not be made: {0}")]
    Json(String),
    /// Error in a file for CI.
    #[error("an XML file could not be made: {0}")]
    Xml(String),
    /// Error in a template, with its file and line.
    #[error("{0}")]
    Template(String),
    /// Some pictures could not be drawn.
    #[error("cannot draw {}", failed.join(", "))]
    Pictures {
        /// Pictures that were drawn.
        drawn: Vec<Rendered>,
        /// Name of each failed picture, with the reason.
        failed: Vec<String>,
    },
}

impl From<csv::Error> for ReportError {
    fn from(error: csv::Error) -> Self {
        Self::Csv(error.to_string())
    }
}

/// Function that renders a view to files. Formats without a template ignore the second argument.
pub(crate) type Format = fn(&View, &Templates) -> Result<Vec<Rendered>, ReportError>;

/// All formats. The summary comes first. It lists the files of the others, so that a later report may replace them even
/// if this one is killed.
pub(crate) const FORMATS: &[Format] = &[
    summary::render,
    consolidated::render,
    slo::render,
    stages::render,
    tiers::render,
    locust::render,
    html::run,
    html::render,
    markdown::render,
    chart_files::render,
    hlog::render,
];

/// Formats a number for the files of this tool with three decimals; empty if there is no value, never zero.
fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.3}"))
}

/// Serializes a value as JSON with a final newline.
fn json_bytes(value: &impl serde::Serialize) -> Result<Vec<u8>, ReportError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| ReportError::Json(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Prefixes text that a spreadsheet would interpret as a formula, so that it stays text. Numbers, including negative
/// ones, are unchanged.
fn csv_text(text: String) -> String {
    let is_number = || {
        let digits = text.trim_start_matches(['+', '-']);
        digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.parse::<f64>().is_ok()
    };
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number() { format!("'{text}") } else { text }
}

/// Returns a CSV file as bytes.
fn csv_bytes(
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
