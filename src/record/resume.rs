//! What an earlier run left in its directory, and what of it is still to be run. Whatever ended that
//! run, a kill or a power cut included, its whole records are kept: a turn that did not come to its
//! end is run again under the next attempt, and only the last attempt's records count.

use super::dir::{DirError, JOURNAL, MANIFEST, RunDir, lock, sweep};
use super::lines::{LineEnd, Lines};
use super::manifest::{Manifest, TurnReport};
use super::owned::files_of;
use super::read::{self, Of, ReadError, Records};
use crate::files::Directory;
use crate::matrix::order::Turn;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

/// Records that no manifest tells the meaning of.
const ORPHANED: &str = "orphaned";

/// What follows a damage.
const DAMAGED: &str = "damaged";

/// What stands in a results directory.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing that could be gone on with; why.
    Nothing(&'static str),
    /// A run; its directory is locked from here on.
    Run(RunDir, Box<Manifest>),
}

/// Why a directory cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResumeError {
    /// It is another run's, or cannot be written.
    #[error("{0}")]
    Dir(#[from] DirError),
    /// What is there cannot be read.
    #[error("{0}")]
    Read(#[from] ReadError),
}

/// Locks a results directory and looks at what it holds. Half a line at the journal's end is cut off.
///
/// # Errors
/// When another process writes it, or it cannot be read or written.
pub(crate) fn look(dir: &Path) -> Result<Found, ResumeError> {
    if !dir.exists() {
        return Ok(Found::Nothing("there is no such directory yet"));
    }
    let mut taken = lock(dir)?;
    let at = |source| DirError::Io { path: dir.join(JOURNAL), source };
    if !taken.dir.has(MANIFEST).map_err(at)? {
        let orphans = taken.journal.metadata().map_err(at)?.len() > 0;
        if orphans {
            let copy = |mut to| io::copy(&mut taken.dir.read(JOURNAL)?, &mut to);
            free(&taken.dir, ORPHANED).and_then(copy).map_err(at)?;
            taken.journal.set_len(0).map_err(at)?;
        }
        let why = if orphans {
            "it has records and no manifest (they are kept in token_data.orphaned.jsonl)"
        } else {
            "it holds no run"
        };
        return Ok(Found::Nothing(why));
    }
    let manifest = read::manifest(dir)?;
    mend(dir, &mut taken.journal).map_err(at)?;
    sweep(&taken.dir, &files_of(&manifest)).map_err(at)?;
    Ok(Found::Run(taken, Box::new(manifest)))
}

/// Cuts the journal back to its last whole line before the first damage. A kill leaves half a line; a power cut can
/// leave zeros where text should be, and behind them lines that are whole: those are kept aside.
fn mend(dir: &Path, journal: &mut File) -> io::Result<()> {
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
        io::copy(&mut rest, &mut free(&dir, DAMAGED)?)?;
    }
    journal.set_len(lines.offset)
}

/// Creates a file under a name that nothing has yet: what was kept aside earlier stays.
fn free(dir: &Directory, name: &str) -> io::Result<File> {
    let numbered = (2..).map(|number| format!("token_data.{name}.{number}.jsonl"));
    for name in std::iter::once(format!("token_data.{name}.jsonl")).chain(numbered) {
        match dir.create_new(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created,
        }
    }
    unreachable!("numbers do not end")
}

/// The order with the attempts that follow, and the places in it of the turns that are to be run.
/// Finished and aborted turns are kept, unless `again` says of a cell that it is to run once more.
///
/// # Errors
/// When the journal cannot be read.
pub(crate) fn outstanding(
    dir: &Path,
    manifest: &Manifest,
    again: impl Fn(&str) -> bool,
) -> Result<(Vec<Turn>, Vec<usize>), ReadError> {
    let mut seen: HashMap<(usize, u32), u32> = HashMap::new();
    let mut counts: HashMap<(usize, u32, u32), u64> = HashMap::new();
    for entry in Records::open(dir, manifest)? {
        let (Of::Cell(cell), record) = entry? else { continue };
        let last = seen.entry((cell, record.repetition)).or_default();
        *last = (*last).max(record.cell_attempt);
        if record.phase.is_load() {
            *counts.entry((cell, record.repetition, record.cell_attempt)).or_default() += 1;
        }
    }
    let (reports, excluded) = (manifest.last_reports(), manifest.excluded());
    let mut order = manifest.order.clone();
    let mut places = Vec::new();
    for (place, turn) in order.iter_mut().enumerate() {
        let id = &manifest.cells[turn.cell].cell.id;
        let report = reports.get(id, turn.repetition);
        // What the service does not have is done with, until somebody asks for it again.
        let is_whole = |report: &TurnReport| {
            let there = counts.get(&(turn.cell, turn.repetition, report.attempt)).copied().unwrap_or(0);
            !report.end.is_broken() && there >= report.requests
        };
        let done = report.is_some_and(is_whole) || excluded.is_unsupported(&manifest.cells[turn.cell].cell);
        if done && !again(id) {
            continue;
        }
        let seen = seen.get(&(turn.cell, turn.repetition)).copied().unwrap_or(0);
        let reported = report.map_or(0, |report| report.attempt);
        turn.attempt = seen.max(reported) + 1;
        places.push(place);
    }
    Ok((order, places))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn half_a_line_and_zeros_are_cut_off_and_whole_lines_stay() {
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
            mend(dir.path(), &mut taken.journal).unwrap();
            assert!(fs::read_to_string(dir.path().join(JOURNAL)).unwrap() == kept, "{left:.40}");
            let aside = fs::read_to_string(dir.path().join("token_data.damaged.jsonl")).unwrap_or_default();
            assert_eq!(left.contains('\0'), !aside.is_empty(), "{left:.40}");
            #[cfg(unix)]
            if !aside.is_empty() {
                use std::os::unix::fs::PermissionsExt;
                let mode = fs::metadata(dir.path().join("token_data.damaged.jsonl")).unwrap().permissions().mode();
                assert_eq!(mode & 0o077, 0, "as the journal, its owner's alone");
            }
            assert!(aside.is_empty() || [kept, &aside].concat() == left, "nothing is thrown away");
        }
    }

    #[test]
    fn what_a_kill_left_half_written_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        crate::report::tests::write_run(dir.path());
        fs::create_dir(dir.path().join("charts")).unwrap();
        let ours = ["manifest.json.part", "report.html.part", "charts/timeline.svg.part"];
        let kept = ["notes.part", "charts/mine.svg.part", "manifest.json", JOURNAL];
        for name in ours.iter().chain(&kept[..2]) {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        assert!(matches!(look(dir.path()), Ok(Found::Run(..))));
        let is_there = |name: &&str| dir.path().join(name).exists();
        assert!(!ours.iter().any(&is_there) && kept.iter().all(is_there));
    }

    #[test]
    fn what_holds_no_run_starts_afresh_and_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        assert!(matches!(look(&path), Ok(Found::Nothing("there is no such directory yet"))) && !path.exists());
        fs::create_dir(&path).unwrap();
        assert!(matches!(look(&path), Ok(Found::Nothing("it holds no run"))));
        fs::write(path.join(JOURNAL), "{\"a\":1}\n").unwrap();
        let Ok(Found::Nothing(why)) = look(&path) else { panic!("a journal alone is no run") };
        assert!(why.contains("no manifest"), "{why}");
        let taken = lock(&path).unwrap();
        assert_eq!(taken.journal.metadata().unwrap().len(), 0);
        assert_eq!(fs::read_to_string(path.join("token_data.orphaned.jsonl")).unwrap(), "{\"a\":1}\n");
        assert!(matches!(look(&path), Err(ResumeError::Dir(DirError::Locked { .. }))));
    }
}
