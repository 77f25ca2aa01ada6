//! The run directory: its lock and the rules for writing files. The journal itself is locked; every other file is replaced
//! atomically. All access uses [`Directory`], which follows no link.

use super::manifest::Manifest;
use super::owned::{Owned, refuse_foreign};
use crate::files::{Directory, is_temporary};
use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// One line per request.
pub(crate) const JOURNAL: &str = "token_data.jsonl";
/// The manifest of the run.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The resolved plan.
pub(crate) const PLAN: &str = "plan.toml";
/// Upper bounds of the spent budget.
pub(crate) const RESERVATIONS: &str = "reservations.jsonl";
/// The commit marker of a shard, which it writes last.
pub(crate) const SHARD_MARK: &str = "shard.json";
/// The report for programs, which lists the other files of the report.
pub(crate) const SUMMARY: &str = "summary.json";
/// Suffix of incomplete files of earlier versions.
const PART: &str = ".part";
/// Directory of charts.
pub(crate) const CHARTS: &str = "charts";

/// Directory of `HdrHistogram` logs.
pub(crate) const HISTOGRAMS: &str = "histograms";

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirError {
    /// It contains the records of another run.
    #[error("{} already contains the records of a run", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
    },
    /// Files of the user would be replaced.
    #[error("`{}` contains files that no run of bedrock-plan wrote: {}", dir.display(), listed(names))]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Their names, relative to it.
        names: Vec<String>,
    },
    /// Another process is writing it.
    #[error("{} is being written by another run", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The file was removed or replaced during the run.
    #[error("cannot write {}: it was removed or replaced during the run", path.display())]
    Removed {
        /// The file.
        path: PathBuf,
    },
    /// The system reports an error.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// What to do with an existing run in the results directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum OnExisting {
    /// Stop with an error.
    #[default]
    Refuse,
    /// Replace it.
    Overwrite,
    /// Start a run because none could be resumed, and replace the rest of a deleted one.
    Resume,
}

/// Returns the first names and the number of further ones.
fn listed(names: &[String]) -> String {
    const MOST: usize = 10;
    let first: Vec<String> = names.iter().take(MOST).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(MOST);
    first.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

/// A run directory, locked while `journal` is open.
#[derive(Debug)]
pub(crate) struct RunDir {
    /// The directory.
    pub(crate) path: PathBuf,
    /// Its handle.
    pub(crate) dir: Directory,
    /// The locked journal, open at its end.
    pub(crate) journal: File,
}

/// Checks whether a run may write a directory. Changes nothing on the disk.
///
/// # Errors
/// [`DirError::Occupied`] where it holds records and `overwrite` is off; [`DirError::Io`] where it
/// is no directory or cannot be written.
pub(crate) fn check(dir: &Path, overwrite: bool) -> Result<(), DirError> {
    let io = |source| DirError::Io { path: dir.to_owned(), source };
    let existing = dir
        .ancestors()
        .map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path })
        .find(|path| path.exists());
    let Some(existing) = existing else { return Ok(()) };
    let metadata = fs::metadata(existing).map_err(io)?;
    if !metadata.is_dir() {
        return Err(DirError::Io { path: existing.to_owned(), source: io::ErrorKind::NotADirectory.into() });
    }
    if metadata.permissions().readonly() {
        return Err(DirError::Io { path: existing.to_owned(), source: io::ErrorKind::PermissionDenied.into() });
    }
    if !overwrite && is_occupied(dir) {
        return Err(DirError::Occupied { dir: dir.to_owned() });
    }
    Ok(())
}

/// Whether a directory contains a run or records.
pub(crate) fn is_occupied(dir: &Path) -> bool {
    Directory::open(dir).is_ok_and(|dir| {
        let has_records = || dir.read(JOURNAL).and_then(|journal| journal.metadata()).is_ok_and(|file| file.len() > 0);
        dir.has(MANIFEST).unwrap_or(true) || has_records()
    })
}

/// Whether a run may write `files`, relative to a directory, into it, without changing anything on the disk.
///
/// # Errors
/// [`DirError::Occupied`] if it holds a run or a report that must not be replaced, [`DirError::Foreign`] if a file of the user's
/// would be replaced, [`DirError::Io`] if it is no directory or cannot be written.
pub(crate) fn check_files(path: &Path, files: &[String], existing: OnExisting) -> Result<(), DirError> {
    check(path, true)?;
    match Directory::open(path) {
        Ok(dir) => ownership(&dir, files, existing).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn ownership(dir: &Directory, files: &[String], existing: OnExisting) -> Result<Owned, DirError> {
    let path = dir.path();
    let mut names = files.to_vec();
    let journal = match dir.read(JOURNAL).and_then(|journal| journal.metadata()) {
        Ok(journal) => journal.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(io_error(&path.join(JOURNAL))(error)),
    };
    if journal > 0 {
        names.push(JOURNAL.to_owned());
    }
    let owned = Owned::read(dir).map_err(io_error(path))?;
    if existing == OnExisting::Refuse
        && (owned.has_run() || !owned.own(dir, &names).map_err(io_error(path))?.is_empty())
    {
        return Err(DirError::Occupied { dir: path.to_owned() });
    }
    refuse_foreign(dir, &owned, &names)?;
    Ok(owned)
}

/// Creates the directory with its parents, locks it, and removes files that are overwritten. A file that no manifest or summary
/// of this tool lists is never removed.
///
/// # Errors
/// As [`check_files`], and [`DirError::Locked`].
pub(crate) fn take_for(path: &Path, files: &[String], existing: OnExisting) -> Result<RunDir, DirError> {
    let taken = lock(path)?;
    let owned = ownership(&taken.dir, files, existing)?;
    if existing == OnExisting::Overwrite {
        sweep(&taken.dir, files).map_err(io_error(path))?;
        // A journal without a manifest was refused unless it is empty.
        taken.journal.set_len(0).map_err(io_error(&path.join(JOURNAL)))?;
        owned.delete(&taken.dir).map_err(io_error(path))?;
    }
    Ok(taken)
}

/// Like [`take_for`], for tests with no file but the journal.
#[cfg(test)]
pub(crate) fn take(path: &Path, overwrite: bool) -> Result<RunDir, DirError> {
    let existing = if overwrite { OnExisting::Overwrite } else { OnExisting::Refuse };
    take_for(path, &[MANIFEST, PLAN].map(str::to_owned), existing)
}

/// Creates the directory with its parents and locks it.
pub(super) fn lock(path: &Path) -> Result<RunDir, DirError> {
    let dir = Directory::create(path).map_err(io_error(path))?;
    let file = path.join(JOURNAL);
    let journal = dir.append(JOURNAL).map_err(io_error(&file))?;
    match journal.try_lock() {
        Ok(()) => Ok(RunDir { path: path.to_owned(), dir, journal }),
        Err(TryLockError::WouldBlock) => Err(DirError::Locked { dir: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io_error(&file)(source)),
    }
}

/// Whether another process holds the lock of a run directory: its run is in progress.
pub(crate) fn is_in_progress(path: &Path) -> bool {
    let journal = Directory::open(path).and_then(|dir| dir.read(JOURNAL));
    // Dropping the file gives the lock back at once.
    journal.is_ok_and(|journal| matches!(journal.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DirError {
    let path = path.to_owned();
    move |source| DirError::Io { path, source }
}

/// Writes a file of a run directory, parents included.
///
/// # Errors
/// When the system refuses, or something in its place is a link.
pub(crate) fn write(dir: &Path, name: &Path, bytes: &[u8]) -> Result<(), DirError> {
    Directory::create(dir).and_then(|dir| dir.replace(name, bytes)).map_err(io_error(&dir.join(name)))
}

/// Replaces the manifest and waits until it is on the disk.
///
/// # Errors
/// If the system reports an error.
pub(crate) fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<(), DirError> {
    let mut text =
        serde_json::to_string_pretty(manifest).map_err(|error| io_error(&dir.join(MANIFEST))(error.into()))?;
    text.push('\n');
    let written = Directory::open(dir).and_then(|dir| dir.replace_synced(MANIFEST, text.as_bytes()));
    written.map_err(io_error(&dir.join(MANIFEST)))
}

/// Maximum number of panels per picture; a chart with more panels has several pictures.
pub(crate) const PANELS_PER_PICTURE: usize = 24;

/// Maximum number of panels of a chart per cell.
const PANELS_PER_CELL: usize = 3;

/// The name of a picture of a chart without its ending, relative to the run directory. Pictures are counted from 0; the name
/// of the first does not depend on how many there are.
pub(crate) fn picture_name(stem: &str, picture: usize) -> String {
    if picture == 0 { format!("{CHARTS}/{stem}") } else { format!("{CHARTS}/{stem}_{}", picture + 1) }
}

/// Returns the maximum number of pictures of a chart for a number of cells.
pub(super) fn most_pictures(cells: usize) -> usize {
    (cells * PANELS_PER_CELL).div_ceil(PANELS_PER_PICTURE).max(1)
}

/// The charts of a run, which a user's own may lie beside.
pub(crate) const CHART_STEMS: [&str; 12] = [
    "avg_latency_by_config",
    "p50_p95_comparison",
    "latency_by_prompt_size",
    "throughput_comparison",
    "latency_heatmap",
    "latency_by_load",
    "cost_and_latency",
    "tiers_against_default",
    "percentiles",
    "first_token",
    "output_tokens",
    "timeline",
];

/// Removes incomplete files that a kill has left.
///
/// # Errors
/// If the system reports an error.
pub(super) fn sweep(dir: &Directory, names: &[String]) -> io::Result<()> {
    // Earlier versions added an ending to the name.
    let parts: HashSet<String> = names.iter().map(|name| format!("{name}{PART}")).collect();
    for folder in ["", CHARTS, HISTOGRAMS] {
        let below = match dir.subdirectory(Path::new(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            below => below?,
        };
        for name in below.files()? {
            let full = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if is_temporary(&name) || parts.contains(&full) {
                below.remove(&name)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a directory for a run of the same cells.
    fn take_same(dir: &Path, existing: OnExisting) -> Result<RunDir, DirError> {
        take_for(dir, &crate::record::owned::files_of_run(&crate::report::tests::manifest()), existing)
    }

    /// A run and its report, as this tool leaves them.
    fn write_run(dir: &Path) -> Vec<String> {
        crate::report::tests::write_run(dir);
        let manifest = crate::report::tests::manifest();
        let names = crate::record::owned::files_of_run(&manifest);
        let files = Directory::open(dir).unwrap();
        for name in names.iter().filter(|name| *name != MANIFEST) {
            files.replace(name, b"x").unwrap();
        }
        let summary = serde_json::json!({
            "schema": 1,
            "run": { "run_id": manifest.run_id, "started": crate::units::timestamp::iso(manifest.started_ms), "tool_version": "0" },
            "cells": manifest.cells.iter().map(|cell| serde_json::json!({ "test_id": cell.cell.id })).collect::<Vec<_>>(),
        });
        files.replace(SUMMARY, summary.to_string().as_bytes()).unwrap();
        names
    }

    #[test]
    fn overwriting_removes_what_a_manifest_lists_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let ours = write_run(dir.path());
        let theirs = [
            "notes.md",
            ".DS_Store",
            "test_plan.md",
            "test_mine_stats.csv",
            "test_mine_report.html",
            "consolidated_results_20200101_000000.csv",
            "consolidated.csv",
            "charts/mine.png",
            "histograms/mine.hlog",
            "shard.json",
        ];
        for name in theirs {
            write(dir.path(), Path::new(name), b"x").unwrap();
        }
        for name in ["report.html.part", ".bedrock-plan-0123456789abcdef.part", "charts/timeline.svg.part"] {
            write(dir.path(), Path::new(name), b"x").unwrap();
        }
        assert!(matches!(take_same(dir.path(), OnExisting::Refuse), Err(DirError::Occupied { .. })));
        let taken = take_same(dir.path(), OnExisting::Overwrite).unwrap();
        assert_eq!(taken.journal.metadata().unwrap().len(), 0);
        assert!(ours.iter().all(|name| !dir.path().join(name).exists()));
        let mut left = taken.dir.files().unwrap();
        for folder in [CHARTS, HISTOGRAMS] {
            let below = taken.dir.subdirectory(Path::new(folder)).unwrap().files().unwrap();
            left.extend(below.iter().map(|name| format!("{folder}/{name}")));
        }
        let mut expected: Vec<&str> = theirs.iter().copied().chain([JOURNAL]).collect();
        left.sort_unstable();
        expected.sort_unstable();
        assert_eq!(left, expected);
    }

    #[test]
    fn what_no_manifest_lists_is_named_and_stays() {
        let names = [
            "plan.toml",
            "summary.md",
            "summary.json",
            "report.html",
            "manifest.json",
            "reservations.jsonl",
            "token_data.jsonl",
        ];
        for name in names {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), Path::new(name), b"{\"mine\": true}").unwrap();
            write(dir.path(), Path::new("notes.md"), b"x").unwrap();
            for existing in [OnExisting::Refuse, OnExisting::Resume, OnExisting::Overwrite] {
                let refused = take_same(dir.path(), existing).unwrap_err().to_string();
                assert!(refused.ends_with(&format!("no run of bedrock-plan wrote: `{name}`")), "{refused}");
                assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"{\"mine\": true}");
            }
        }
        // A run that was killed before its report owns no report.
        let dir = tempfile::tempdir().unwrap();
        crate::report::tests::write_run(dir.path());
        write(dir.path(), Path::new("summary.md"), b"mine").unwrap();
        let refused = take_same(dir.path(), OnExisting::Overwrite).unwrap_err();
        assert!(matches!(&refused, DirError::Foreign { names, .. } if *names == ["summary.md"]), "{refused}");
        assert!(dir.path().join(MANIFEST).exists() && fs::metadata(dir.path().join(JOURNAL)).unwrap().len() > 0);
    }

    #[test]
    fn records_without_their_manifest_are_those_of_a_run() {
        let dir = tempfile::tempdir().unwrap();
        crate::report::tests::write_run(dir.path());
        fs::remove_file(dir.path().join(MANIFEST)).unwrap();
        write(dir.path(), Path::new(PLAN), b"x").unwrap();
        assert!(matches!(take_same(dir.path(), OnExisting::Refuse), Err(DirError::Occupied { .. })));
        let taken = take_same(dir.path(), OnExisting::Overwrite).unwrap();
        assert_eq!(taken.dir.files().unwrap(), [JOURNAL]);
    }

    #[test]
    fn a_long_list_of_names_is_cut() {
        let names: Vec<String> = (0..4_012).map(|number| number.to_string()).collect();
        assert_eq!(listed(&names), "`0`, `1`, `2`, `3`, `4`, `5`, `6`, `7`, `8`, `9` and 4002 more");
    }

    #[test]
    fn a_directory_has_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        let first = take(&path, false).unwrap();
        assert!(matches!(take(&path, true), Err(DirError::Locked { .. })));
        drop(first);
        assert!(take(&path, false).is_ok());
    }
}
