//! Which files of a directory this tool may replace or delete. A run's manifest lists those of the run: their names follow from
//! its start and its cells. A report's `summary.json` lists those of the report in the same way, wherever the report was
//! written; a run that was killed before its report therefore owns none of them. Everything else belongs to the user.

use super::damage::QUARANTINE;
use super::dir::{
    CHART_STEMS, CHARTS, DirError, HISTOGRAMS, JOURNAL, MANIFEST, PLAN, RESERVATIONS, SHARD_MARK, SUMMARY,
    most_pictures, picture_name,
};
use super::manifest::Manifest;
use crate::files::Directory;
use crate::units::id::is_id;
use crate::units::text::clean;
use crate::units::timestamp;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// A longer first line of a plan is not [`plan_note`].
const MAX_NOTE_BYTES: u64 = 1 << 10;

/// Files of a run other than the journal.
const RUN: [&str; 3] = [MANIFEST, PLAN, RESERVATIONS];

/// The file that records without a manifest are moved to when a new run starts.
const ORPHANED_JOURNAL: &str = "token_data.orphaned.jsonl";

/// Files of a report that do not depend on its run.
const REPORT: [&str; 7] = ["report.html", SUMMARY, "summary.md", "slo.csv", "stages.csv", "tiers.csv", QUARANTINE];

/// Files per cell: the parts of the name around the id of the cell.
const PER_CELL: [(&str, &str); 5] = [
    ("test_", "_stats.csv"),
    ("test_", "_stats_history.csv"),
    ("test_", "_failures.csv"),
    ("test_", "_report.html"),
    ("histograms/", ".hlog"),
];

/// The names of all files that a report may consist of, relative to its directory, from the start of its run and the ids of its
/// cells.
pub(crate) fn report_files<'a>(started_ms: u64, ids: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = REPORT.iter().map(ToString::to_string).collect();
    names.push(format!("consolidated_results_{}.csv", timestamp::compact(started_ms)));
    let mut cells = 0;
    for id in ids {
        cells += 1;
        names.extend(PER_CELL.iter().map(|(before, after)| format!("{before}{id}{after}")));
    }
    for picture in 0..most_pictures(cells) {
        let names_of = |stem: &&str| ["png", "svg"].map(|kind| format!("{}.{kind}", picture_name(stem, picture)));
        names.extend(CHART_STEMS.iter().flat_map(names_of));
    }
    names
}

/// As [`report_files`], with the files of the run itself; the journal is not among them.
pub(crate) fn run_files<'a>(started_ms: u64, ids: impl IntoIterator<Item = &'a str>, is_shard: bool) -> Vec<String> {
    let mut names = report_files(started_ms, ids);
    names.extend(RUN.map(str::to_owned));
    names.extend(is_shard.then(|| SHARD_MARK.to_owned()));
    names
}

/// As [`run_files`], of a run that has a manifest.
pub(crate) fn files_of_run(manifest: &Manifest) -> Vec<String> {
    let ids = manifest.cells.iter().map(|planned| planned.cell.id.as_str());
    run_files(manifest.started_ms, ids, manifest.shards.is_some())
}

/// First line of `plan.toml`. It marks the file as ours if there is no manifest beside it.
pub(crate) fn plan_note(run_id: &str) -> String {
    format!("# The resolved plan of the run {}, written by bedrock-plan.\n", clean(run_id))
}

/// The part of a manifest, of any version, from which the names of its files follow.
#[derive(Deserialize)]
struct RunHead {
    #[serde(rename = "format")]
    _format: u32,
    #[serde(rename = "plan_hash")]
    _plan_hash: IgnoredAny,
    run_id: String,
    started_ms: u64,
    #[serde(default)]
    shards: Option<IgnoredAny>,
    cells: Vec<CellHead>,
}

/// The same part of a summary.
#[derive(Deserialize)]
struct ReportHead {
    #[serde(rename = "schema")]
    _schema: u32,
    run: ReportRun,
    cells: Vec<CellHead>,
}

#[derive(Deserialize)]
struct ReportRun {
    run_id: String,
    started: String,
    #[serde(rename = "tool_version")]
    _tool_version: String,
}

#[derive(Deserialize)]
struct CellHead {
    #[serde(alias = "test_id")]
    id: String,
}

/// The files of this tool in a directory.
#[derive(Debug, Default)]
pub(crate) struct Owned {
    names: HashSet<String>,
    /// The run of the manifest.
    run_id: Option<String>,
    /// The run of the report.
    report_run_id: Option<String>,
}

impl Owned {
    /// Reads the manifest and the summary of a directory. A file of that name that this tool did not write lists nothing.
    ///
    /// # Errors
    /// If one of them is a link or cannot be read.
    pub(crate) fn read(dir: &Directory) -> io::Result<Self> {
        let mut owned = Self::default();
        let report: Option<ReportHead> = head(dir, SUMMARY)?;
        let run: Option<RunHead> = head(dir, MANIFEST)?;
        if let Some(report) = &report {
            let started_ms = timestamp::parse_iso(&report.run.started).unwrap_or(0);
            owned.add_report(started_ms, &report.cells);
            owned.names.extend(is_plan_of(dir, &report.run.run_id)?.then(|| PLAN.to_owned()));
            owned.report_run_id = Some(report.run.run_id.clone());
        }
        if let Some(run) = run {
            owned.names.extend(RUN.iter().chain(&[JOURNAL]).map(ToString::to_string));
            owned.names.extend(run.shards.map(|_| SHARD_MARK.to_owned()));
            // With --public the files are named by masked ids, and both kinds may be there.
            if owned.is_report_of(&run.run_id) {
                owned.add_report(run.started_ms, &run.cells);
            }
            owned.run_id = Some(run.run_id);
        } else if has_records(dir, JOURNAL)? || has_records(dir, ORPHANED_JOURNAL)? {
            // The manifest was deleted, but these files belong to the run of the records.
            owned.names.extend([PLAN, RESERVATIONS, JOURNAL].map(str::to_owned));
        }
        Ok(owned)
    }

    fn add_report(&mut self, started_ms: u64, cells: &[CellHead]) {
        let ids = cells.iter().map(|cell| cell.id.as_str()).filter(|id| is_id(id));
        self.names.extend(report_files(started_ms, ids));
    }

    /// Whether the directory contains a manifest.
    pub(crate) fn has_run(&self) -> bool {
        self.run_id.is_some()
    }

    /// Whether the directory contains a report of this run: then this tool owns all names of its report files.
    pub(crate) fn is_report_of(&self, run_id: &str) -> bool {
        self.report_run_id.as_deref() == Some(run_id)
    }

    /// Returns the names that exist and belong to the user.
    ///
    /// # Errors
    /// If one of their directories is a link.
    pub(crate) fn foreign(&self, dir: &Directory, names: &[String]) -> io::Result<Vec<String>> {
        self.existing(dir, names, false)
    }

    /// Returns the names that exist and belong to this tool.
    ///
    /// # Errors
    /// As [`Self::foreign`].
    pub(crate) fn own(&self, dir: &Directory, names: &[String]) -> io::Result<Vec<String>> {
        self.existing(dir, names, true)
    }

    fn existing(&self, dir: &Directory, names: &[String], own: bool) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for name in names.iter().filter(|name| self.names.contains(*name) == own) {
            if dir.has(name)? {
                found.push(name.clone());
            }
        }
        Ok(found)
    }

    /// Deletes all listed files except for the journal, which is locked and truncated instead.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn delete(&self, dir: &Directory) -> io::Result<()> {
        // The lists are deleted last, so that files that a kill leaves are still listed.
        let is_list = |name: &&String| [MANIFEST, SUMMARY].contains(&name.as_str());
        for name in self.names.iter().filter(|name| !is_list(name) && *name != JOURNAL) {
            dir.remove(name)?;
        }
        for folder in [CHARTS, HISTOGRAMS] {
            dir.remove_empty(folder);
        }
        self.names.iter().filter(is_list).try_for_each(|name| dir.remove(name))
    }
}

/// Whether a file starts with a record of this tool.
fn has_records(dir: &Directory, name: &str) -> io::Result<bool> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "run_id")]
        _run_id: String,
        #[serde(rename = "outcome")]
        _outcome: String,
    }
    let file = match dir.read(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let first = serde_json::Deserializer::from_reader(BufReader::new(file)).into_iter::<Line>().next();
    Ok(matches!(first, Some(Ok(_))))
}

/// Whether a directory contains a plan that a report of the run wrote.
fn is_plan_of(dir: &Directory, run_id: &str) -> io::Result<bool> {
    let mut line = String::new();
    match dir.read(PLAN) {
        Ok(file) => {
            BufReader::new(file.take(MAX_NOTE_BYTES)).read_line(&mut line).or_else(|error| match error.kind() {
                io::ErrorKind::InvalidData => Ok(0),
                _ => Err(error),
            })?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(line == plan_note(run_id))
}

/// Reads the head of a JSON file; `None` if the file does not exist or has another content.
fn head<T: DeserializeOwned>(dir: &Directory, name: &str) -> io::Result<Option<T>> {
    match dir.read(name) {
        Ok(file) => Ok(serde_json::from_reader(BufReader::new(file)).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Checks whether a report of a run may be written to a directory, and creates it.
///
/// # Errors
/// [`DirError::Foreign`] if a file of the user would be replaced, or `Io`.
pub(crate) fn check_report(path: &Path, manifest: &Manifest) -> Result<(), DirError> {
    let io = |source| DirError::Io { path: path.to_owned(), source };
    let dir = Directory::create(path).map_err(io)?;
    let owned = Owned::read(&dir).map_err(io)?;
    if owned.is_report_of(&manifest.run_id) {
        return Ok(());
    }
    let ids = manifest.cells.iter().map(|planned| planned.cell.id.as_str());
    refuse_foreign(&dir, &owned, &report_files(manifest.started_ms, ids))
}

/// Whether a report may write the plan into a directory: it contains no plan, or one that this tool wrote.
///
/// # Errors
/// [`DirError::Io`] if the directory cannot be read.
pub(crate) fn may_write_plan(path: &Path, run_id: &str) -> Result<bool, DirError> {
    let may_write =
        |dir: Directory| Ok(!dir.has(PLAN)? || Owned::read(&dir)?.names.contains(PLAN) || is_plan_of(&dir, run_id)?);
    Directory::open(path).and_then(may_write).map_err(|source| DirError::Io { path: path.to_owned(), source })
}

/// Refuses names that exist and belong to the user.
///
/// # Errors
/// [`DirError::Foreign`], or `Io` if the directory cannot be read.
pub(super) fn refuse_foreign(dir: &Directory, owned: &Owned, names: &[String]) -> Result<(), DirError> {
    let io = |source| DirError::Io { path: dir.path().to_owned(), source };
    let names = owned.foreign(dir, names).map_err(io)?;
    if names.is_empty() { Ok(()) } else { Err(DirError::Foreign { dir: dir.path().to_owned(), names }) }
}
