//! `compare`: new runs against a baseline, or one run beside another. It sends nothing.

use super::sessions::{of_run, read_baseline};
use crate::error::Error;
use crate::report::compare::{About, build};
use crate::terminal;
use crate::verdict::baseline::Session;
use crate::verdict::compare::compare as judge;
use std::io::Write;
use std::path::PathBuf;

/// What `compare` is told.
#[derive(Debug)]
pub(crate) struct Options {
    /// A baseline; without one two runs stand beside each other.
    pub(crate) baseline: Option<PathBuf>,
    /// Run directories.
    pub(crate) dirs: Vec<PathBuf>,
}

/// Compares. Returns the exit code.
pub(crate) fn compare(options: &Options) -> Result<u8, Error> {
    let mut base = match &options.baseline {
        Some(path) => read_baseline(path)?,
        None => Vec::new(),
    };
    let mut new: Vec<(String, String, Session)> = Vec::new();
    for dir in &options.dirs {
        let (manifest, session) = of_run(dir)?;
        if new.iter().any(|(.., there)| there.id == session.id) {
            return Err(Error::SameRun { dir: dir.clone(), id: session.id });
        }
        new.push((dir.display().to_string(), manifest.plan.name, session));
    }
    let baseline = options.baseline.as_ref().map(|path| path.display().to_string());
    let mut against = baseline.clone();
    if baseline.is_none() {
        let [_, _] = new.as_slice() else { return Err(Error::TwoRuns(new.len())) };
        let (dir, _, session) = new.remove(0);
        base.push(session);
        against = Some(dir);
    }
    new.sort_by(|(.., a), (.., b)| a.started_ms.cmp(&b.started_ms).then_with(|| a.id.cmp(&b.id)));
    // A run says nothing about whether it is like itself.
    let before = base.len();
    base.retain(|session| new.iter().all(|(.., new)| new.id != session.id));
    let mut comparison_notes = Vec::new();
    if base.len() < before {
        comparison_notes.push("a new session is in the baseline too, and was left out there".to_owned());
    }
    let name = new.first().map(|(_, name, _)| name.clone()).unwrap_or_default();
    let (dirs, sessions): (Vec<String>, Vec<Session>) = new.into_iter().map(|(dir, _, session)| (dir, session)).unzip();
    let mut comparison = judge(&base, &sessions);
    comparison.warnings.splice(0..0, comparison_notes);
    let about = About {
        baseline: baseline.as_deref(),
        against: against.as_deref().unwrap_or_default(),
        dirs: &dirs,
        name: &name,
    };
    let view = build(&about, &base, &sessions, &comparison);
    let text = terminal::compare::comparison(&view, terminal::width());
    // A closed pipe is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
    if view.rows.is_empty() {
        return Err(Error::NothingInCommon { against: view.baseline });
    }
    Ok(if baseline.is_some() && view.fails { 99 } else { 0 })
}
