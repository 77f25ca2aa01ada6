//! What CI systems read: a function per kind from a view to bytes, for a run and for a comparison. As all
//! formats they touch no disk and compute nothing.

mod benchmark;
mod emf;
mod junit;

use super::compare::{self, CompareView};
use super::templates::Templates;
use super::view::View;
use super::{ReportError, html, markdown, summary};

/// What may be asked for with `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `JUnit` XML: a suite per context, a case per cell and threshold.
    Junit,
    /// For a pull request.
    Markdown,
    /// For programs.
    Json,
    /// A page.
    Html,
    /// `customSmallerIsBetter` of github-action-benchmark.
    Benchmark,
    /// `CloudWatch`'s embedded metric format, a line per cell.
    Emf,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [Self::Junit, Self::Markdown, Self::Json, Self::Html, Self::Benchmark, Self::Emf];

    /// As on the command line.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Junit => "junit",
            Self::Markdown => "markdown",
            Self::Json => "json",
            Self::Html => "html",
            Self::Benchmark => "benchmark",
            Self::Emf => "emf",
        }
    }
}

/// A run in one of these kinds.
///
/// # Errors
/// When it cannot be made: a template of the user's own that is wrong, a fault of this tool.
pub(crate) fn of_run(kind: Kind, view: &View, templates: &Templates) -> Result<Vec<u8>, ReportError> {
    let only = |files: Vec<super::Rendered>| files.into_iter().next().map(|file| file.bytes).unwrap_or_default();
    match kind {
        Kind::Junit => junit::of_run(view),
        Kind::Markdown => markdown::render(view, templates).map(only),
        Kind::Json => summary::render(view, templates).map(only),
        Kind::Html => html::run(view, templates).map(only),
        Kind::Benchmark => benchmark::of_run(view),
        Kind::Emf => emf::of_run(view),
    }
}

/// A comparison in one of these kinds.
///
/// # Errors
/// As [`of_run`].
pub(crate) fn of_comparison(kind: Kind, view: &CompareView, templates: &Templates) -> Result<Vec<u8>, ReportError> {
    match kind {
        Kind::Junit => junit::of_comparison(view),
        Kind::Markdown => compare::markdown(view, templates),
        Kind::Json => compare::json(view),
        Kind::Html => compare::html(view, templates),
        Kind::Benchmark => benchmark::of_comparison(view),
        Kind::Emf => emf::of_comparison(view),
    }
}

/// The largest summary of a step that GitHub shows, bytes.
const STEP_SUMMARY: usize = 1 << 20;

/// What is said where one was cut.
const CUT: &str = "\n\n(cut: GitHub shows 1 MiB of a step's summary at most)\n";

/// Markdown for `$GITHUB_STEP_SUMMARY`, of which `used` bytes are taken already: cut at the end of a line.
pub(crate) fn step_summary(markdown: &[u8], used: usize) -> Vec<u8> {
    let room = STEP_SUMMARY.saturating_sub(used + 1);
    if markdown.len() <= room {
        return markdown.to_vec();
    }
    let room = room.saturating_sub(CUT.len());
    let end = markdown[..room].iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let mut cut = markdown[..end].to_vec();
    if end > 0 {
        cut.extend_from_slice(CUT.as_bytes());
    }
    cut
}

/// As JSON, with the newline that ends a file.
fn json_bytes(value: &impl serde::Serialize) -> Result<Vec<u8>, ReportError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| ReportError::Json(error.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Three decimals: more are noise.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
