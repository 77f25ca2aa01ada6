//! The run directory: who may write it, and how. The lock is on the journal itself; every file but
//! the journal is written beside and renamed, so that nobody ever sees half of one. All access goes through
//! [`Directory`], which follows no link.

use super::manifest::Manifest;
use crate::files::{Directory, is_temporary};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// One line per request.
pub(crate) const JOURNAL: &str = "token_data.jsonl";
/// Everything but the records.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The resolved plan.
pub(crate) const PLAN: &str = "plan.toml";
/// How much of the budget may have been spent.
pub(crate) const RESERVATIONS: &str = "reservations.jsonl";
/// Behind the name of a file that an earlier version was writing.
const PART: &str = ".part";
/// Where charts go.
pub(crate) const CHARTS: &str = "charts";

/// Where `HdrHistogram` logs go.
pub(crate) const HISTOGRAMS: &str = "histograms";

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirError {
    /// It holds the records of another run.
    #[error("{} already holds the records of a run", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process is writing it.
    #[error("{} is being written by another run", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// Somebody removed it, or put another file in its place.
    #[error("cannot write {}: it was removed or replaced during the run", path.display())]
    Removed {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A directory that is ours: locked as long as `journal` is open.
#[derive(Debug)]
pub(crate) struct RunDir {
    /// The directory.
    pub(crate) path: PathBuf,
    /// Its handle.
    pub(crate) dir: Directory,
    /// The locked journal, open at its end.
    pub(crate) journal: File,
}

/// Whether a directory may be taken, without changing anything on the disk.
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

fn is_occupied(dir: &Path) -> bool {
    Directory::open(dir).is_ok_and(|dir| {
        let has_records = || dir.read(JOURNAL).and_then(|journal| journal.metadata()).is_ok_and(|file| file.len() > 0);
        dir.has(MANIFEST).unwrap_or(true) || has_records()
    })
}

/// Makes the directory with its parents, locks it, and with `overwrite` removes what an earlier run
/// of this tool left there; nothing else is ever removed.
///
/// # Errors
/// As [`check`], and [`DirError::Locked`].
pub(crate) fn take(dir: &Path, overwrite: bool) -> Result<RunDir, DirError> {
    let taken = lock(dir)?;
    if is_occupied(dir) {
        if !overwrite {
            return Err(DirError::Occupied { dir: dir.to_owned() });
        }
        taken.journal.set_len(0).map_err(at(&dir.join(JOURNAL)))?;
        remove_ours(&taken.dir, |_| true).map_err(at(dir))?;
    }
    Ok(taken)
}

/// Makes the directory with its parents and locks it, whatever it holds.
pub(super) fn lock(path: &Path) -> Result<RunDir, DirError> {
    let dir = Directory::create(path).map_err(at(path))?;
    let file = path.join(JOURNAL);
    let journal = dir.append(JOURNAL).map_err(at(&file))?;
    match journal.try_lock() {
        Ok(()) => Ok(RunDir { path: path.to_owned(), dir, journal }),
        Err(TryLockError::WouldBlock) => Err(DirError::Locked { dir: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(at(&file)(source)),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DirError {
    let path = path.to_owned();
    move |source| DirError::Io { path, source }
}

/// Writes a file of a run directory, parents included.
///
/// # Errors
/// When the system refuses, or something in its place is a link.
pub(crate) fn write(dir: &Path, name: &Path, bytes: &[u8]) -> Result<(), DirError> {
    Directory::create(dir).and_then(|dir| dir.replace(name, bytes)).map_err(at(&dir.join(name)))
}

/// Writes the manifest whole, and waits until the disk has it.
///
/// # Errors
/// When the system refuses.
pub(crate) fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<(), DirError> {
    let mut text = serde_json::to_string_pretty(manifest).map_err(|error| at(&dir.join(MANIFEST))(error.into()))?;
    text.push('\n');
    let written = Directory::open(dir).and_then(|dir| dir.replace_synced(MANIFEST, text.as_bytes()));
    written.map_err(at(&dir.join(MANIFEST)))
}

/// Whether a name, relative to a run directory, is one that this tool writes.
fn is_ours(name: &str) -> bool {
    let name = whole(name);
    let cell = |suffix: &str| name.strip_prefix("test_").is_some_and(|rest| rest.ends_with(suffix));
    name == MANIFEST
        || name == PLAN
        || name == RESERVATIONS
        || name.strip_prefix("consolidated_results_").is_some_and(|rest| rest.strip_suffix(".csv").is_some())
        || name == "stages.csv"
        || ["slo.csv", "tiers.csv", "report.html", "summary.json", "summary.md"].contains(&name)
        || ["_stats.csv", "_stats_history.csv", "_failures.csv", "_report.html"].into_iter().any(cell)
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

/// What a kill left half written: never part of a run, and only ever ours.
///
/// # Errors
/// When the system refuses.
pub(super) fn sweep(dir: &Directory) -> io::Result<()> {
    remove_ours(dir, |name| name.ends_with(PART))
}

/// Removes those of this tool's files whose names are wanted; nothing else is ever removed.
fn remove_ours(dir: &Directory, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    remove_files(dir, |name| wanted(name) && is_ours(name))?;
    let is_histogram = |name: &str| Path::new(whole(name)).extension().is_some_and(|extension| extension == "hlog");
    for (folder, is_ours) in [(CHARTS, is_chart as fn(&str) -> bool), (HISTOGRAMS, is_histogram)] {
        match dir.subdirectory(Path::new(folder)) {
            Ok(below) => remove_files(&below, |name| wanted(name) && is_ours(name))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        // Only an empty directory can be removed so: a chart of the user's own keeps it.
        dir.remove_empty(folder);
    }
    Ok(())
}

fn is_chart(name: &str) -> bool {
    let name = whole(name);
    let stem = name.strip_suffix(".png").or_else(|| name.strip_suffix(".svg"));
    stem.is_some_and(|stem| CHART_STEMS.contains(&stem))
}

/// The name that a file has once it is written.
fn whole(name: &str) -> &str {
    name.strip_suffix(PART).unwrap_or(name)
}

fn remove_files(dir: &Directory, ours: impl Fn(&str) -> bool) -> io::Result<()> {
    for name in dir.files()?.iter().filter(|name| ours(name) || is_temporary(name)) {
        dir.remove(name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwriting_removes_what_this_tool_writes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let ours = [
            "manifest.json",
            "plan.toml",
            "reservations.jsonl",
            "consolidated_results_20261124_090000.csv",
            "test_us_flex_small_u1_stats.csv",
            "test_us_flex_small_u1_report.html.part",
            "charts/latency_heatmap.png",
            "report.html",
            "tiers.csv",
        ];
        let theirs = ["notes.md", "test_plan.md", "charts/mine.png", "consolidated.csv"];
        for name in ours.iter().chain(&theirs) {
            write(dir.path(), Path::new(name), b"x").unwrap();
        }
        fs::write(dir.path().join(JOURNAL), b"{}\n").unwrap();
        assert!(matches!(take(dir.path(), false), Err(DirError::Occupied { .. })));
        let taken = take(dir.path(), true).unwrap();
        assert_eq!(taken.journal.metadata().unwrap().len(), 0);
        assert!(ours.iter().all(|name| !dir.path().join(name).exists()));
        assert!(theirs.iter().all(|name| dir.path().join(name).exists()));
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
