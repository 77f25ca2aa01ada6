//! `report`: renders all files again from the manifest and the journal alone. Sends no request.

use super::render::{Output, plan_text, render};
use crate::error::Error;
use crate::record::dir::{self, DirError};
use crate::record::owned;
use crate::record::read;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Options of `report`.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Run directory.
    pub(crate) dir: PathBuf,
    /// Output directory; `None` selects the run directory.
    pub(crate) out: Option<PathBuf>,
    /// Override of `report.include_failures` in the plan.
    pub(crate) include_failures: Option<bool>,
    /// Override of `report.include_ramp` in the plan.
    pub(crate) include_ramp: Option<bool>,
    /// Options of the report's files.
    pub(crate) output: Output,
}

/// Renders a run directory. Returns the exit code that its run would have.
pub(crate) fn report(options: &Options, environment: &BTreeMap<String, String>) -> Result<u8, Error> {
    let mut context = options.output.open(environment)?;
    let is_locked = dir::is_in_progress(&options.dir);
    let mut manifest = read::manifest(&options.dir)?;
    let out = options.out.as_deref().unwrap_or(&options.dir);
    // A run that has ended still holds the lock while it renders its own report.
    context.is_in_progress = is_locked && manifest.ended_ms.is_none();
    let plan = plan_text(out, &manifest);
    if let Some(include) = options.include_failures {
        manifest.plan.report.include_failures = include;
    }
    if let Some(include) = options.include_ramp {
        manifest.plan.report.include_ramp = include;
    }
    let is_public = options.output.public;
    let rendered = render(&options.dir, out, &manifest, context).and_then(|code| {
        if !is_public {
            write_plan(out, &manifest.run_id, &plan)?;
        }
        Ok(code)
    });
    rendered.map_err(|error| match error {
        // Report it as an error of the results directory: no request was sent and nothing was written.
        Error::Disk(foreign @ DirError::Foreign { .. }) => Error::Results(foreign),
        error => error,
    })
}

/// Writes the resolved plan as the run did, regardless of this report's flags. A plan file of the user is kept. With
/// `--public` no plan is written: a masked plan cannot be run, and its paths are those of this machine.
fn write_plan(out: &Path, run_id: &str, plan: &str) -> Result<(), Error> {
    if !owned::may_write_plan(out, run_id)? {
        let mut err = std::io::stderr();
        let _ = writeln!(err, "warning: {} stays: no run of bedrock-plan wrote it", out.join(dir::PLAN).display());
        return Ok(());
    }
    Ok(dir::write(out, Path::new(dir::PLAN), plan.as_bytes())?)
}
