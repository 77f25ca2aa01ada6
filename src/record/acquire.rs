//! Whether a run may write a directory, and taking it for the run: its lock, and the removal of the files it replaces.

use super::dir::{DirError, JOURNAL, MANIFEST, OnExisting, RunDir, io_error, lock, sweep};
use super::owned::{Owned, refuse_foreign};
use crate::files::Directory;
use std::fs;
use std::io;
use std::path::Path;

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
    take_for(path, &[MANIFEST, super::dir::PLAN].map(str::to_owned), existing)
}

#[cfg(test)]
mod tests {
    use super::super::dir::{CHARTS, HISTOGRAMS, PLAN, SUMMARY, write};
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
    fn overwriting_removes_only_files_listed_in_a_manifest() {
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
    fn unlisted_files_are_reported_and_kept() {
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
    fn directory_has_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        let first = take(&path, false).unwrap();
        assert!(matches!(take(&path, true), Err(DirError::Locked { .. })));
        drop(first);
        assert!(take(&path, false).is_ok());
    }
}
