//! Resumes a run: opens its directory and determines the outstanding cell runs. All complete records are kept, even after a
//! kill or a power failure: an incomplete cell run is repeated as the next attempt, and only records of the last attempt
//! count.

use super::dir::{DirError, JOURNAL, MANIFEST, RunDir, lock, sweep};
use super::lines::{LineEnd, Lines};
use super::manifest::{CellRunReport, Manifest};
use super::owned::files_of_run;
use super::read::{self, ReadError, RecordOwner, Records};
use crate::files::Directory;
use crate::matrix::order::PlannedRun;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

/// Part of the name of a file with records without a manifest.
const ORPHANED: &str = "orphaned";

/// Part of the name of a file with the text after a damage.
const DAMAGED: &str = "damaged";

/// The run in a results directory.
#[derive(Debug)]
pub(crate) enum ExistingRun {
    /// No run that could be resumed, and why.
    Missing(&'static str),
    /// A run in a directory that is now locked.
    Found(RunDir, Box<Manifest>),
}

/// Why a run cannot be resumed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResumeError {
    /// The directory is locked or cannot be written.
    #[error("{0}")]
    Dir(#[from] DirError),
    /// The run cannot be read.
    #[error("{0}")]
    Read(#[from] ReadError),
}

/// Locks a results directory and reads its run. A torn line at the end of the journal is removed.
///
/// # Errors
/// When another process writes it, or it cannot be read or written.
pub(crate) fn open_existing(dir: &Path) -> Result<ExistingRun, ResumeError> {
    if !dir.exists() {
        return Ok(ExistingRun::Missing("the directory does not exist"));
    }
    let mut taken = lock(dir)?;
    let at = |source| DirError::Io { path: dir.join(JOURNAL), source };
    if !taken.dir.has(MANIFEST).map_err(at)? {
        let orphans = taken.journal.metadata().map_err(at)?.len() > 0;
        if orphans {
            let copy = |mut to| io::copy(&mut taken.dir.read(JOURNAL)?, &mut to);
            create_unused(&taken.dir, ORPHANED).and_then(copy).map_err(at)?;
            taken.journal.set_len(0).map_err(at)?;
        }
        let why = if orphans {
            "it contains records without a manifest (they are kept in token_data.orphaned.jsonl)"
        } else {
            "it contains no run"
        };
        return Ok(ExistingRun::Missing(why));
    }
    let manifest = read::manifest(dir)?;
    truncate_damaged_tail(dir, &mut taken.journal).map_err(at)?;
    sweep(&taken.dir, &files_of_run(&manifest)).map_err(at)?;
    Ok(ExistingRun::Found(taken, Box::new(manifest)))
}

/// Truncates the journal after its last complete line before the first damage. A kill leaves a torn line; a power failure
/// can leave zeros followed by complete lines: the text from the damage on is copied to another file first.
fn truncate_damaged_tail(dir: &Path, journal: &mut File) -> io::Result<()> {
    let dir = Directory::open(dir)?;
    let mut lines = Lines::open(&dir)?;
    let damaged = loop {
        match lines.read()? {
            None => break false,
            Some(LineEnd::Torn) => break lines.text.contains(&0),
            Some(LineEnd::TooLong) => break true,
            Some(LineEnd::Whole) if lines.text.first() != Some(&b'{') || lines.text.contains(&0) => break true,
            Some(LineEnd::Whole) => {}
        }
    };
    if damaged {
        let mut rest = dir.read(JOURNAL)?;
        rest.seek(SeekFrom::Start(lines.offset))?;
        io::copy(&mut rest, &mut create_unused(&dir, DAMAGED)?)?;
    }
    journal.set_len(lines.offset)
}

/// Creates a file with an unused name, so that no earlier copy is replaced.
fn create_unused(dir: &Directory, name: &str) -> io::Result<File> {
    let numbered = (2..).map(|number| format!("token_data.{name}.{number}.jsonl"));
    for name in std::iter::once(format!("token_data.{name}.jsonl")).chain(numbered) {
        match dir.create_new(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created,
        }
    }
    unreachable!("numbers do not end")
}

/// Returns the order with increased attempts, and the indices in it of the outstanding cell runs. Finished and aborted cell
/// runs are kept unless `is_rerun` selects their cell.
///
/// # Errors
/// When the journal cannot be read.
pub(crate) fn outstanding_runs(
    dir: &Path,
    manifest: &Manifest,
    is_rerun: impl Fn(&str) -> bool,
) -> Result<(Vec<PlannedRun>, Vec<usize>), ReadError> {
    let mut seen: HashMap<(usize, u32), u32> = HashMap::new();
    let mut counts: HashMap<(usize, u32, u32), u64> = HashMap::new();
    for entry in Records::open(dir, manifest)? {
        let (RecordOwner::Cell(cell), record) = entry? else { continue };
        let last = seen.entry((cell, record.repetition)).or_default();
        *last = (*last).max(record.cell_attempt);
        if record.phase.is_load() {
            *counts.entry((cell, record.repetition, record.cell_attempt)).or_default() += 1;
        }
    }
    let (reports, excluded) = (manifest.last_reports(), manifest.excluded());
    let mut order = manifest.order.clone();
    let mut places = Vec::new();
    for (place, run) in order.iter_mut().enumerate() {
        let id = &manifest.cells[run.cell].cell.id;
        let report = reports.get(id, run.repetition);
        // An unsupported cell counts as done unless it is selected again.
        let is_complete = |report: &CellRunReport| {
            let recorded = counts.get(&(run.cell, run.repetition, report.attempt)).copied().unwrap_or(0);
            !report.end.is_incomplete() && recorded >= report.requests
        };
        let done = report.is_some_and(is_complete) || excluded.is_unsupported(&manifest.cells[run.cell].cell);
        if done && !is_rerun(id) {
            continue;
        }
        let seen = seen.get(&(run.cell, run.repetition)).copied().unwrap_or(0);
        let reported = report.map_or(0, |report| report.attempt);
        run.attempt = seen.max(reported) + 1;
        places.push(place);
    }
    Ok((order, places))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn damaged_tail_is_truncated_and_complete_lines_stay() {
        let long = format!("{{{}\n", "x".repeat(200_000));
        let cases = [
            ("", ""),
            ("{\"a\":1}\n{\"b\"", "{\"a\":1}\n"),
            ("{\"a\"", ""),
            ("{\"a\":1}\n", "{\"a\":1}\n"),
            ("{\"a\":1}\n\0\0\0\0", "{\"a\":1}\n"),
            ("{\"a\":1}\n\0\0\n\0", "{\"a\":1}\n"),
            ("{\"a\":1}\n\0\0\0\n{\"b\":2}\n", "{\"a\":1}\n"),
        ];
        let cut = [&long, "{yyyy"].concat();
        for (left, kept) in cases.into_iter().chain([(cut.as_str(), long.as_str())]) {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(JOURNAL), left).unwrap();
            let mut taken = lock(dir.path()).unwrap();
            truncate_damaged_tail(dir.path(), &mut taken.journal).unwrap();
            assert!(fs::read_to_string(dir.path().join(JOURNAL)).unwrap() == kept, "{left:.40}");
            let aside = fs::read_to_string(dir.path().join("token_data.damaged.jsonl")).unwrap_or_default();
            assert_eq!(left.contains('\0'), !aside.is_empty(), "{left:.40}");
            #[cfg(unix)]
            if !aside.is_empty() {
                use std::os::unix::fs::PermissionsExt;
                let mode = fs::metadata(dir.path().join("token_data.damaged.jsonl")).unwrap().permissions().mode();
                assert_eq!(mode & 0o077, 0, "private like the journal");
            }
            assert!(aside.is_empty() || [kept, &aside].concat() == left, "nothing is lost");
        }
    }

    #[test]
    fn only_partial_files_of_a_kill_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        crate::report::tests::write_run(dir.path());
        fs::create_dir(dir.path().join("charts")).unwrap();
        let ours = ["manifest.json.part", "report.html.part", "charts/timeline.svg.part"];
        let kept = ["notes.part", "charts/mine.svg.part", "manifest.json", JOURNAL];
        for name in ours.iter().chain(&kept[..2]) {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        assert!(matches!(open_existing(dir.path()), Ok(ExistingRun::Found(..))));
        let is_there = |name: &&str| dir.path().join(name).exists();
        assert!(!ours.iter().any(&is_there) && kept.iter().all(is_there));
    }

    #[test]
    fn directory_without_a_run_is_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        assert!(
            matches!(open_existing(&path), Ok(ExistingRun::Missing("the directory does not exist"))) && !path.exists()
        );
        fs::create_dir(&path).unwrap();
        assert!(matches!(open_existing(&path), Ok(ExistingRun::Missing("it contains no run"))));
        fs::write(path.join(JOURNAL), "{\"a\":1}\n").unwrap();
        let Ok(ExistingRun::Missing(why)) = open_existing(&path) else { panic!("a journal alone is not a run") };
        assert!(why.contains("without a manifest"), "{why}");
        let taken = lock(&path).unwrap();
        assert_eq!(taken.journal.metadata().unwrap().len(), 0);
        assert_eq!(fs::read_to_string(path.join("token_data.orphaned.jsonl")).unwrap(), "{\"a\":1}\n");
        assert!(matches!(open_existing(&path), Err(ResumeError::Dir(DirError::Locked { .. }))));
    }
}
