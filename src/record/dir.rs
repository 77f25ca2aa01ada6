//! The run directory: who may write it, and how. The lock is on the journal itself; every file but
//! the journal is written beside and renamed, so that nobody ever sees half of one.

use super::manifest::Manifest;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// One line per request.
pub(crate) const JOURNAL: &str = "token_data.jsonl";
/// Everything but the records.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The resolved plan.
pub(crate) const PLAN: &str = "plan.toml";
/// How much of the budget may have been spent.
pub(crate) const RESERVATIONS: &str = "reservations.jsonl";
/// Behind the name of a file that is being written.
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
    dir.join(MANIFEST).exists()
        || fs::metadata(dir.join(JOURNAL)).is_ok_and(|journal| journal.is_file() && journal.len() > 0)
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
        let at = |source| DirError::Io { path: dir.to_owned(), source };
        taken.journal.set_len(0).map_err(at)?;
        remove_ours(dir, |_| true).map_err(at)?;
    }
    Ok(taken)
}

/// Makes the directory with its parents and locks it, whatever it holds.
pub(super) fn lock(dir: &Path) -> Result<RunDir, DirError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| DirError::Io { path, source }
    };
    create_dir(dir).map_err(at(dir))?;
    let path = dir.join(JOURNAL);
    let journal = private(OpenOptions::new().append(true).create(true)).open(&path).map_err(at(&path))?;
    match journal.try_lock() {
        Ok(()) => Ok(RunDir { path: dir.to_owned(), journal }),
        Err(TryLockError::WouldBlock) => Err(DirError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(at(&path)(source)),
    }
}

/// Nobody but its owner reads what is made so, where the platform can: a report tells what an account asks, and
/// records may have prompts.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

pub(super) fn create(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().write(true).create(true).truncate(true)).open(path)
}

/// As [`private`], with its parents.
fn create_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Writes a file beside its place and renames it, parents included.
///
/// # Errors
/// When the system refuses.
pub(crate) fn write(dir: &Path, name: &Path, bytes: &[u8]) -> Result<(), DirError> {
    let path = dir.join(name);
    let result = (|| {
        if let Some(parent) = path.parent() {
            create_dir(parent)?;
        }
        let mut beside = path.clone().into_os_string();
        beside.push(PART);
        create(beside.as_ref())?.write_all(bytes)?;
        fs::rename(&beside, &path)
    })();
    result.map_err(|source| DirError::Io { path, source })
}

/// Writes the manifest whole.
///
/// # Errors
/// When the system refuses.
pub(crate) fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<(), DirError> {
    let mut text = serde_json::to_string_pretty(manifest)
        .map_err(|error| DirError::Io { path: dir.join(MANIFEST), source: error.into() })?;
    text.push('\n');
    let name = Path::new(MANIFEST);
    let synced = (|| {
        let beside = dir.join(format!("{MANIFEST}{PART}"));
        let mut file = create(&beside)?;
        file.write_all(text.as_bytes())?;
        // A rename may reach the disk before the bytes do: after a power cut the manifest would be empty.
        file.sync_all()?;
        fs::rename(&beside, dir.join(name))?;
        // And a name may be lost that is not in the directory yet.
        if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
    })();
    synced.map_err(|source| DirError::Io { path: dir.join(name), source })
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
pub(super) fn sweep(dir: &Path) -> io::Result<()> {
    remove_ours(dir, |name| name.ends_with(PART))
}

/// Removes those of this tool's files whose names are wanted; nothing else is ever removed.
fn remove_ours(dir: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    remove_files(dir, |name| wanted(name) && is_ours(name))?;
    let charts = dir.join(CHARTS);
    if charts.is_dir() {
        remove_files(&charts, |name| wanted(name) && is_chart(name))?;
        // Only an empty directory can be removed so: a chart of the user's own keeps it.
        let _ = fs::remove_dir(&charts);
    }
    let histograms = dir.join(HISTOGRAMS);
    if histograms.is_dir() {
        let is_histogram = |name: &str| Path::new(whole(name)).extension().is_some_and(|extension| extension == "hlog");
        remove_files(&histograms, |name| wanted(name) && is_histogram(name))?;
        let _ = fs::remove_dir(&histograms);
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

fn remove_files(dir: &Path, ours: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let is_file = entry.file_type()?.is_file();
        if is_file && entry.file_name().to_str().is_some_and(&ours) {
            fs::remove_file(entry.path())?;
        }
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
