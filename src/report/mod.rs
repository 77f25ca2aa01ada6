//! From a summary to bytes: a [`view`] in which everything is computed, and one function per format.
//! Formats touch no disk and compute nothing. Never knows executor, config, guard or cli.

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
    /// Relative to the run directory.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) bytes: Vec<u8>,
}

/// A fault of this tool: the numbers were there, and could not be drawn.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    /// A table.
    #[error("a CSV file could not be made: {0}")]
    Csv(String),
    /// A file for programs.
    #[error("a JSON file could not be made: {0}")]
    Json(String),
    /// A file for CI.
    #[error("an XML file could not be made: {0}")]
    Xml(String),
    /// A template, with its file and line.
    #[error("{0}")]
    Template(String),
    /// Some pictures; the others are drawn.
    #[error("cannot draw {}", failed.join(", "))]
    Pictures {
        /// The others.
        drawn: Vec<Rendered>,
        /// The name of each with the reason.
        failed: Vec<String>,
    },
}

impl From<csv::Error> for ReportError {
    fn from(error: csv::Error) -> Self {
        Self::Csv(error.to_string())
    }
}

/// One format: a view in, files out. Those that are not made of a template have no use for them.
pub(crate) type Format = fn(&View, &Templates) -> Result<Vec<Rendered>, ReportError>;

/// All formats. The summary comes first: it lists the files of the others, so that a later report may replace them even if this
/// one is killed.
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

/// A number of our own files: three decimals; empty where there is nothing, never zero.
fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.3}"))
}

/// A text that a spreadsheet would take for a formula, told to be a text; numbers stay numbers, those below
/// zero too.
fn csv_text(text: String) -> String {
    let is_number = || {
        let digits = text.trim_start_matches(['+', '-']);
        digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.parse::<f64>().is_ok()
    };
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number() { format!("'{text}") } else { text }
}

/// A CSV file in memory.
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
