//! The run directory: its lock and the rules for writing files. The journal itself is locked; every other file is replaced
//! atomically. All access uses [`Directory`], which follows no link.

use super::manifest::Manifest;
use crate::files::{Directory, is_temporary};
use std::collections::HashSet;
use std::fs::{File, TryLockError};
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

/// What a directory is used for when an error occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirUse {
    /// The results directory before the start: no request was sent.
    Results,
    /// The directory that another subcommand writes.
    Target,
    /// The directory of a run that has sent requests.
    Written,
}

impl DirError {
    /// Returns a line that states the fix.
    pub(crate) fn hint(&self, use_of_dir: DirUse) -> Option<&'static str> {
        match (self, use_of_dir) {
            (Self::Occupied { .. }, DirUse::Results) => Some(
                "choose another --results-dir (it may contain {name} and {started}), or add --overwrite to replace the results",
            ),
            (Self::Occupied { .. }, DirUse::Target) => Some("choose another --to"),
            (Self::Locked { .. }, DirUse::Results) => Some("wait for that run to end, or choose another --results-dir"),
            (Self::Foreign { .. }, DirUse::Results | DirUse::Target) => Some(
                "move or rename them, or choose another directory; --overwrite replaces only what bedrock-plan wrote",
            ),
            (Self::Foreign { .. }, DirUse::Written) => {
                Some("the records are kept: move or rename these files, then run `bedrock-plan report DIR`")
            }
            (Self::Removed { .. }, DirUse::Written) => Some(
                "the run was stopped because it could not write records: run it again, and keep its directory in place",
            ),
            (Self::Io { .. }, DirUse::Written) => {
                Some("the records are kept: free some space, then run `bedrock-plan report DIR`")
            }
            _ => None,
        }
    }
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

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DirError {
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

    #[test]
    fn long_list_of_names_is_cut() {
        let names: Vec<String> = (0..4_012).map(|number| number.to_string()).collect();
        assert_eq!(listed(&names), "`0`, `1`, `2`, `3`, `4`, `5`, `6`, `7`, `8`, `9` and 4002 more");
    }
}
