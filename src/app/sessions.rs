//! Files of sessions and baselines: reads a session from a run directory, and reads and writes baseline files.

use super::render::summarise;
use crate::error::Error;
use crate::files::replace_named;
use crate::record::manifest::Manifest;
use crate::record::read;
use crate::units::text_file;
use crate::verdict::baseline::{self, Session};
use std::path::Path;

/// Reads a run directory as a session. Sessions contain the successes of the latency window, after the cell has
/// settled, whatever their reports include, so that any two of them can be compared.
pub(super) fn read_session(dir: &Path) -> Result<(Manifest, Session), Error> {
    let mut manifest = read::manifest(dir)?;
    manifest.plan.report.include_failures = false;
    manifest.plan.report.include_ramp = false;
    let summary = summarise(dir, &manifest)?;
    let session = baseline::session_from_run(&manifest, &summary);
    Ok((manifest, session))
}

/// Reads the sessions of a baseline file.
pub(super) fn read_baseline(path: &Path) -> Result<Vec<Session>, Error> {
    let text = text_file::read_regular(path).map_err(|source| Error::BaselineFile { path: path.to_owned(), source })?;
    baseline::parse(&text).map_err(|source| Error::Baseline { path: path.to_owned(), source })
}

/// Replaces a baseline file in one step.
pub(super) fn write_baseline(path: &Path, sessions: &[Session]) -> Result<(), Error> {
    replace_named(path, baseline::format_file(sessions).as_bytes())
        .map_err(|source| Error::BaselineFile { path: path.to_owned(), source })
}
