//! `compare`: new runs against a baseline, or one run beside another. It sends nothing.

use super::outputs::Outputs;
use super::sessions::{of_run, read_baseline};
use super::{report, templates};
use crate::cli::CompareFormat;
use crate::error::Error;
use crate::report::ci::{Kind, of_comparison};
use crate::report::compare::{About, build};
use crate::terminal;
use crate::verdict::baseline::Session;
use crate::verdict::compare::compare as compare_sessions;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What `compare` is told.
#[derive(Debug)]
pub(crate) struct Options {
    /// A baseline; without one two runs stand beside each other.
    pub(crate) baseline: Option<PathBuf>,
    /// Run directories.
    pub(crate) dirs: Vec<PathBuf>,
    /// What is printed.
    pub(crate) format: CompareFormat,
    /// How files are made.
    pub(crate) output: report::Output,
}

/// Both sides, each in the order of its starts.
struct Sides {
    /// As it was named: a baseline, or a run.
    against: String,
    base: Vec<Session>,
    /// As they were named.
    dirs: Vec<String>,
    new: Vec<Session>,
    /// What the plan is called.
    name: String,
    /// A new session was in the baseline, and was left out of it.
    overlap: bool,
}

/// Compares. Returns the exit code.
pub(crate) fn compare(options: &Options, environment: &BTreeMap<String, String>) -> Result<u8, Error> {
    let outputs = Outputs::open(&options.output.files, environment)?;
    let templates = templates::read(options.output.templates.as_deref())?;
    let sides = sides(options)?;
    let mut comparison = compare_sessions(&sides.base, &sides.new);
    if sides.overlap {
        comparison.warnings.insert(0, "a new session is in the baseline too, and was left out there".into());
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
    super::print(&text.map_err(|error| Error::Report(vec![error]))?)?;
    outputs.write(file)?;
    if view.rows.is_empty() {
        return Err(Error::NothingInCommon { new: sides.dirs.join(", "), against: sides.against });
    }
    Ok(if view.fails { 99 } else { 0 })
}

fn sides(options: &Options) -> Result<Sides, Error> {
    let mut new: Vec<(String, String, Session)> = Vec::new();
    for dir in &options.dirs {
        let (manifest, session) = of_run(dir)?;
        if new.iter().any(|(.., there)| there.id == session.id) {
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
    // A run says nothing about whether it is like itself.
    let before = base.len();
    base.retain(|session| new.iter().all(|(.., new)| new.id != session.id));
    let name = new.first().map(|(_, name, _)| name.clone()).unwrap_or_default();
    let overlap = base.len() < before;
    let (dirs, new) = new.into_iter().map(|(dir, _, session)| (dir, session)).unzip();
    Ok(Sides { against, base, dirs, new, name, overlap })
}
