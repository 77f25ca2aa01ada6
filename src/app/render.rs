//! Renders the report of a run directory from its manifest and journal, and determines its exit code.

use super::outputs::Outputs;
use super::plan_text::toml_in;
use super::{outcome, templates};
use crate::error::Error;
use crate::record::dir;
use crate::record::manifest::Manifest;
use crate::record::owned;
use crate::record::read::{RecordOwner, Records};
use crate::report::templates::Templates;
use crate::report::{FORMATS, ReportError, ci, outside, view};
use crate::stats::{Collector, Summary};
use crate::terminal;
use crate::terminal::paint::ColorMode;
use crate::verdict::slo;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Options of output files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    /// Directory of the user's own templates.
    pub(crate) templates: Option<PathBuf>,
    /// Value of `--public`.
    pub(crate) public: bool,
    /// Values of `--output`.
    pub(crate) files: Vec<String>,
    /// Colours of the tables at the end of the run.
    pub(crate) paint: ColorMode,
}

/// Templates and open files of a report. Creating it covers everything that can fail before a run.
pub(super) struct RenderContext {
    pub(super) templates: Templates,
    outputs: Outputs,
    paint: ColorMode,
    public: bool,
    /// Whether the run is still in progress.
    pub(super) is_in_progress: bool,
}

impl Output {
    /// Opens the output files and reads the templates.
    ///
    /// # Errors
    /// If a file cannot be opened or a template cannot be read.
    pub(super) fn open(&self, environment: &BTreeMap<String, String>) -> Result<RenderContext, Error> {
        let outputs = Outputs::open(&self.files, environment)?;
        Ok(RenderContext {
            templates: templates::read(self.templates.as_deref())?,
            outputs,
            paint: self.paint,
            public: self.public,
            is_in_progress: false,
        })
    }
}

/// Returns the text of a run's resolved plan, for a file in a directory.
pub(super) fn plan_text(dir: &Path, manifest: &Manifest) -> String {
    owned::plan_note(&manifest.run_id) + &toml_in(dir, &manifest.plan)
}

/// Summarises `dir`, writes all formats to `out`, and prints the end-of-run tables. If one format cannot be rendered,
/// the others are still written. Returns the exit code.
///
/// # Errors
/// If the journal cannot be read, a file cannot be written, or a format cannot be rendered.
pub(super) fn render(dir: &Path, out: &Path, manifest: &Manifest, context: RenderContext) -> Result<u8, Error> {
    let mut summary = summarise(dir, manifest)?;
    if context.is_in_progress {
        summary.mark_in_progress(manifest);
    }
    let (manifest, summary) =
        &outside::clean_all(manifest, summary, context.public).map_err(|error| Error::Report(vec![error]))?;
    let results = slo::evaluate(manifest, summary);
    let view = view::build(manifest, summary, &results);
    let mut stdout = std::io::stdout().lock();
    let (mut failed, mut written) = (Vec::new(), Vec::new());
    owned::check_report(out, manifest)?;
    quarantine(dir, out, summary, context.public);
    for format in FORMATS {
        let files = match format(&view, &context.templates) {
            Ok(files) => files,
            Err(ReportError::Pictures { drawn, failed }) => {
                let mut err = std::io::stderr();
                for picture in failed {
                    let _ = writeln!(err, "warning: cannot draw {picture}");
                }
                drawn
            }
            Err(error) => {
                failed.push(error);
                continue;
            }
        };
        for file in files {
            dir::write(out, &file.path, &file.bytes)?;
            written.push(file.path);
        }
    }
    let end = terminal::table::summary(&view, terminal::width());
    let _ = stdout.write_all(context.paint.highlight_summary(&end).as_bytes());
    let _ = writeln!(stdout, "\n{}", terminal::table::files(out, &written));
    context.outputs.write(|kind| ci::of_run(kind, &view, &context.templates))?;
    if !failed.is_empty() {
        return Err(Error::Report(failed));
    }
    let fails = slo::is_failed(&manifest.plan.slo, &results);
    Ok(outcome::exit_code(manifest, &outcome::ends(manifest, summary), fails))
}

/// Copies damaged journal lines to a file beside the report. If that fails, the lines stay in the journal and the
/// report is still written. With `--public`, the lines, which are not masked, are not copied to another directory,
/// since that is meant to be shared.
fn quarantine(dir: &Path, out: &Path, summary: &Summary, public: bool) {
    if public && dir != out {
        return;
    }
    if let Err(error) = summary.damage.quarantine(dir, out) {
        let _ = writeln!(
            std::io::stderr(),
            "warning: {error}: damaged lines stay in {} only",
            dir.join(dir::JOURNAL).display()
        );
    }
}

/// Returns the exit code of a run without a report. Thresholds are not evaluated.
pub(super) fn exit_code(dir: &Path, manifest: &Manifest) -> Result<u8, Error> {
    Ok(outcome::exit_code(manifest, &outcome::ends(manifest, &summarise(dir, manifest)?), false))
}

/// Summarises a run in one pass over its journal.
pub(super) fn summarise(dir: &Path, manifest: &Manifest) -> Result<Summary, Error> {
    let mut collector = Collector::new(manifest);
    let mut records = Records::open(dir, manifest)?;
    for entry in &mut records {
        match entry? {
            (RecordOwner::Cell(cell), record) => collector.add(cell, &record),
            (RecordOwner::Probe(probe), record) => collector.add_probe(probe, &record),
        }
    }
    let (is_cut, damage) = (records.truncated, records.damage());
    let mut cells = records.by_cell();
    let mut summary = collector.finish(|cell, add| cells.read(cell, add))?;
    summary.is_cut = is_cut;
    summary.add_damage(damage);
    Ok(summary)
}
