//! `baseline`: adds runs to a baseline, prints it, and removes sessions from it. Sends no request.

use super::sessions::{read_baseline, read_session, write_baseline};
use super::stdout::print;
use crate::error::Error;
use crate::report::compare::{side, tally};
use crate::terminal;
use crate::terminal::table::MAX_LINES;
use crate::units::text::count;
use crate::verdict::baseline::{Session, proximity_warnings, sort_by_start};
use crate::verdict::compare::SECOND_LOOK;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Adds runs to a baseline file, which is created if it is missing. Sessions are kept in the order of their starts.
/// Cells without usable numbers are listed on stderr and left out. Returns the exit code.
///
/// # Errors
/// If a run is in the baseline already, if none of its cells can be added, or if a file cannot be read or written.
pub(super) fn add(dirs: &[PathBuf], path: &Path) -> Result<u8, Error> {
    let mut known = if path.exists() { read_baseline(path)? } else { Vec::new() };
    let mut new: Vec<Session> = Vec::new();
    let mut err = std::io::stderr();
    for dir in dirs {
        let (_, session) = read_session(dir)?;
        if known.iter().chain(&new).any(|known| known.id == session.id) {
            return Err(Error::SessionExists { dir: dir.clone(), id: session.id, path: path.to_owned() });
        }
        let excluded: Vec<String> = session
            .cells
            .iter()
            .filter_map(|cell| Some(format!("{}: {}", cell.test_id, cell.numbers.as_ref().err()?)))
            .collect();
        if excluded.len() == session.cells.len() {
            return Err(Error::NothingToAdd { dir: dir.clone(), reasons: excluded });
        }
        for reason in excluded.iter().take(MAX_LINES) {
            let _ = writeln!(err, "! excluded: {reason}");
        }
        let more = excluded.len().saturating_sub(MAX_LINES);
        if more > 0 {
            let _ = writeln!(err, "! ... and {more} more cells excluded; summary.json in {} lists them", dir.display());
        }
        new.push(session);
    }
    for warning in proximity_warnings(&known, &new) {
        let _ = writeln!(err, "! {warning}");
    }
    let added = count(new.len(), "session");
    known.extend(new);
    sort_by_start(&mut known);
    write_baseline(path, &known)?;
    let more = SECOND_LOOK.saturating_sub(known.len());
    let next = if more == 0 { String::new() } else { format!("; {more} more are needed to know its false-alarm rate") };
    let _ = writeln!(err, "{added} added to {}: {}{next}", path.display(), count(known.len(), "session"));
    Ok(0)
}

/// Prints the sessions of a baseline. Returns the exit code.
pub(super) fn show(path: &Path) -> Result<u8, Error> {
    let sessions = read_baseline(path)?;
    let sides: Vec<_> = sessions.iter().map(side).collect();
    let text = terminal::compare::baseline(&sides, &tally(&sessions), terminal::width(), &path.display().to_string());
    print(text.as_bytes())?;
    Ok(0)
}

/// Removes sessions from a baseline by their ids. Returns the exit code.
///
/// # Errors
/// If an id is not in the baseline; then the file is unchanged.
pub(super) fn remove(ids: &[String], path: &Path) -> Result<u8, Error> {
    let mut sessions = read_baseline(path)?;
    for id in ids {
        let before = sessions.len();
        sessions.retain(|session| session.id != *id);
        if sessions.len() == before {
            let known = sessions.iter().map(|session| session.id.clone()).collect();
            return Err(Error::NoSession { id: id.clone(), path: path.to_owned(), known });
        }
    }
    write_baseline(path, &sessions)?;
    let _ = writeln!(std::io::stderr(), "{} left in {}", count(sessions.len(), "session"), path.display());
    Ok(0)
}
