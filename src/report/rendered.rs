//! What a format returns: files, or why they could not be rendered.

use std::path::PathBuf;

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
