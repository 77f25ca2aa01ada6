//! Output for CI systems: one function per kind that converts a view to bytes, for a run and for a comparison. Like all
//! formats, they do not access the disk and compute nothing.

mod benchmark;
mod emf;
mod junit;

use super::compare::{self, CompareView};
use super::templates::Templates;
use super::view::View;
use super::{ReportError, html, markdown, summary};

/// Kind of an `--output` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `JUnit` XML: one suite per context, one case per cell and threshold.
    Junit,
    /// Markdown for a pull request.
    Markdown,
    /// JSON for programs.
    Json,
    /// HTML page.
    Html,
    /// Format `customSmallerIsBetter` of github-action-benchmark.
    Benchmark,
    /// `CloudWatch` embedded metric format, one line per cell.
    Emf,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [Self::Junit, Self::Markdown, Self::Json, Self::Html, Self::Benchmark, Self::Emf];

    /// Returns the key on the command line.
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

/// Renders a run in the given format.
///
/// # Errors
/// If rendering fails because of an error in a user template, or because of an internal error.
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

/// Renders a comparison in the given format.
///
/// # Errors
/// As for [`of_run`].
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

/// Maximum size of a step summary on GitHub, bytes.
const STEP_SUMMARY: usize = 1 << 20;

/// Note at the end of a truncated summary.
const CUT: &str = "\n\n(cut: GitHub shows 1 MiB of a step's summary at most)\n";

/// Returns Markdown for `$GITHUB_STEP_SUMMARY`, truncated at the end of a line. `used` bytes of the summary are already
/// taken.
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
