//! `compare`: compares new runs with a baseline, or one run with another. Sends no request.

use super::outputs::Outputs;
use super::sessions::{read_baseline, read_session};
use super::stdout::print;
use super::{render, templates};
use crate::cli::CompareFormat;
use crate::error::Error;
use crate::report::ci::{Kind, of_comparison};
use crate::report::compare::{About, build};
use crate::terminal;
use crate::verdict::baseline::Session;
use crate::verdict::compare::compare as compare_sessions;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Options of `compare`.
#[derive(Debug)]
pub(crate) struct Options {
    /// Baseline file; `None` compares two runs with each other.
    pub(crate) baseline: Option<PathBuf>,
    pub(crate) dirs: Vec<PathBuf>,
    /// Format of the output on stdout.
    pub(crate) format: CompareFormat,
    /// Options of the output files.
    pub(crate) output: render::Output,
}

/// Both sides of a comparison, each in the order of the session starts.
struct Sides {
    /// Path of the reference as the user gave it: a baseline or a run directory.
    against: String,
    base: Vec<Session>,
    /// Paths of the new runs as the user gave them.
    dirs: Vec<String>,
    new: Vec<Session>,
    /// Name of the plan.
    name: String,
    /// Whether a new session was also in the baseline, from which it is removed.
    overlap: bool,
}

/// Compares two sides, prints the result and writes the output files. Returns the exit code: 99 if the comparison
/// fails, otherwise 0.
///
/// # Errors
/// If a run or the baseline cannot be read, an output cannot be written, or the two sides have no cell in common.
pub(crate) fn compare(options: &Options, environment: &BTreeMap<String, String>) -> Result<u8, Error> {
    let outputs = Outputs::open(&options.output.files, environment)?;
    let templates = templates::read(options.output.templates.as_deref())?;
    let sides = sides(options)?;
    let mut comparison = compare_sessions(&sides.base, &sides.new);
    if sides.overlap {
        comparison.warnings.insert(0, "a new session is also in the baseline and is excluded from it".into());
    }
    let baseline = options.baseline.as_ref().map(|_| sides.against.as_str());
    let about = About { baseline, against: &sides.against, dirs: &sides.dirs, name: &sides.name };
    let view = build(&about, &sides.base, &sides.new, &comparison);
    let file = |kind| of_comparison(kind, &view, &templates);
    let text = match options.format {
        CompareFormat::Table => Ok(terminal::compare::comparison(&view, terminal::width()).into_bytes()),
        CompareFormat::Markdown => file(Kind::Markdown),
        CompareFormat::Json => file(Kind::Json),
    };
    print(&text.map_err(|error| Error::Report(vec![error]))?)?;
    outputs.write(file)?;
    if view.rows.is_empty() {
        return Err(Error::NoCommonCell { new: sides.dirs.join(", "), against: sides.against });
    }
    Ok(if view.fails { 99 } else { 0 })
}

fn sides(options: &Options) -> Result<Sides, Error> {
    let mut new: Vec<(String, String, Session)> = Vec::new();
    for dir in &options.dirs {
        let (manifest, session) = read_session(dir)?;
        if new.iter().any(|(.., other)| other.id == session.id) {
            return Err(Error::SameRun { dir: dir.clone(), id: session.id });
        }
        new.push((dir.display().to_string(), manifest.plan.name, session));
    }
    let (against, mut base) = match &options.baseline {
        Some(path) => (path.display().to_string(), read_baseline(path)?),
        None if new.len() == 2 => {
            let (dir, _, session) = new.remove(0);
            (dir, vec![session])
        }
        None => return Err(Error::TwoRuns(new.len())),
    };
    new.sort_by(|(.., a), (.., b)| a.started_ms.cmp(&b.started_ms).then_with(|| a.id.cmp(&b.id)));
    // A comparison of a run with itself shows nothing.
    let before = base.len();
    base.retain(|session| new.iter().all(|(.., new)| new.id != session.id));
    let name = new.first().map(|(_, name, _)| name.clone()).unwrap_or_default();
    let overlap = base.len() < before;
    let (dirs, new) = new.into_iter().map(|(dir, _, session)| (dir, session)).unzip();
    Ok(Sides { against, base, dirs, new, name, overlap })
}
