//! Reads a run directory back. A last line without its end is what a crash leaves: it is dropped and reported. A damaged
//! line is left out and counted, see [`super::damage`]; an intact line of another run is an error with its line number.

use super::damage::{CellRun, Damage, DamageLog};
use super::dir::{JOURNAL, MANIFEST};
use super::lines::{LineEnd, Lines};
use super::manifest::{CHECKED_FORMAT, FORMAT, Manifest, OLDEST_FORMAT};
use super::seen::Seen;
use super::{Record, check, checksum, journal};
use crate::files::Directory;
use crate::units::text::clean;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// Why a run directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// Not a run directory, or not readable.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No manifest is where one should be.
    #[error("{} is not the results directory of a run: {why}", dir.display())]
    NotARun {
        /// What was named.
        dir: PathBuf,
        /// What it lacks.
        why: &'static str,
    },
    /// A later version of this tool wrote it.
    #[error("{}: format {format} is newer than the format {FORMAT} that this version reads", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The version that wrote it.
        tool_version: String,
    },
    /// The manifest is not one.
    #[error("{}: {message}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A line of the journal is an intact record, and not one of this run.
    #[error("{}:{line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
}

/// Reads `manifest.json`.
///
/// # Errors
/// When it is missing, malformed, of another format, or at odds with itself.
pub(crate) fn manifest(dir: &Path) -> Result<Manifest, ReadError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        #[serde(default)]
        tool_version: String,
    }
    let path = dir.join(MANIFEST);
    let read = Directory::open(dir).and_then(|dir| dir.read_to_string(MANIFEST));
    let text = read.map_err(|source| match source.kind() {
        _ if !dir.exists() => ReadError::NotARun { dir: dir.to_owned(), why: "there is none" },
        _ if !dir.is_dir() => ReadError::NotARun { dir: dir.to_owned(), why: "it is a file" },
        io::ErrorKind::NotFound => {
            ReadError::NotARun { dir: dir.to_owned(), why: "it holds no manifest.json, which a run writes first" }
        }
        _ => ReadError::Io { path: path.clone(), source },
    })?;
    let wrong = |message: String| ReadError::Manifest { path: path.clone(), message };
    let head: Head = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if head.format > FORMAT {
        return Err(ReadError::Newer { path, format: head.format, tool_version: head.tool_version });
    }
    if head.format < OLDEST_FORMAT {
        return Err(wrong(format!("format `{}` is none: expected {OLDEST_FORMAT} to {FORMAT}", head.format)));
    }
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    check::manifest(&manifest).map_err(wrong)?;
    Ok(manifest)
}

/// Whose a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// A cell's, by its place in matrix order.
    Cell(usize),
    /// A pre-flight request's, by its place in the manifest.
    Probe(usize),
}

/// The records of a run in the order in which they ended, each with whose it is. Records that were read before and
/// damaged lines are left out, and are counted in [`Records::damage`].
pub(crate) struct Records {
    path: PathBuf,
    lines: Lines,
    run_id: String,
    /// See [`journal::identities`].
    identities: Vec<String>,
    /// The index of each cell by its id.
    cells: HashMap<String, usize>,
    /// Every line has a checksum.
    is_checked: bool,
    /// The index of the identity of the last record.
    last: usize,
    seen: Seen,
    damage: DamageLog,
    /// The last line had no end and was dropped.
    pub(crate) truncated: bool,
}

impl Records {
    /// Opens `token_data.jsonl`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn open(dir: &Path, manifest: &Manifest) -> Result<Self, ReadError> {
        let path = dir.join(JOURNAL);
        let lines = Directory::open(dir).and_then(|dir| Lines::open(&dir));
        let lines = lines.map_err(|source| ReadError::Io { path: path.clone(), source })?;
        let cells = manifest.cells.iter().enumerate().map(|(index, planned)| (planned.cell.id.clone(), index));
        Ok(Self {
            path,
            lines,
            run_id: manifest.run_id.clone(),
            identities: journal::identities(manifest),
            cells: cells.collect(),
            is_checked: manifest.format >= CHECKED_FORMAT,
            last: 0,
            seen: Seen::default(),
            damage: DamageLog::new(manifest),
            truncated: false,
        })
    }

    /// What could not be used of the lines that were read.
    pub(crate) fn damage(&self) -> Damage {
        self.damage.finish()
    }

    /// Where in the file the last line is, and how long it is with its end, bytes.
    pub(super) fn place(&self) -> (u64, u64) {
        (self.lines.offset, self.lines.length)
    }

    /// Reads a line; nothing is in it where it is damaged, or was read before.
    pub(super) fn next_line(&mut self) -> Option<Result<Option<(Of, Record)>, ReadError>> {
        let parsed = match self.lines.read() {
            Err(source) => return Some(Err(ReadError::Io { path: self.path.clone(), source })),
            Ok(None) => return None,
            Ok(Some(LineEnd::Torn)) => {
                self.truncated = true;
                return None;
            }
            Ok(Some(LineEnd::TooLong)) => None,
            Ok(Some(LineEnd::Whole)) => match self.parse() {
                Ok(parsed) => parsed.filter(|(_, record)| check::record(record).is_ok()),
                Err(error) => return Some(Err(error)),
            },
        };
        let Some((owner, record)) = parsed else {
            self.damage.damaged(self.lines.offset, self.lines.length);
            return Some(Ok(None));
        };
        self.last = owner;
        let of = owner.checked_sub(self.cells.len()).map_or(Of::Cell(owner), Of::Probe);
        let Record { repetition, cell_attempt: attempt, .. } = record;
        let run = matches!(of, Of::Cell(_)).then_some(CellRun { cell: owner, repetition, attempt });
        if !self.seen.insert(owner, &record) {
            self.damage.duplicate(run);
            return Some(Ok(None));
        }
        if let Some(run) = run {
            self.damage.record(run);
        }
        Some(Ok(Some((of, record))))
    }

    /// The record of the last line and the index of its identity; nothing where the line is damaged.
    fn parse(&mut self) -> Result<Option<(usize, Record)>, ReadError> {
        let checksum = checksum::verify(&self.lines.text);
        let is_as_written = checksum == Some(true) || checksum.is_none() && !self.is_checked;
        if is_as_written && let Some(owner) = self.owner() {
            let comma = self.identities[owner].len() - 1;
            self.lines.text[comma] = b'{';
            return Ok(serde_json::from_slice(&self.lines.text[comma..]).ok().map(|record| (owner, record)));
        }
        self.parse_other_spelling(checksum == Some(true))
    }

    /// The identity with which the line begins, letter by letter. Cells run one after the other: it is nearly always that
    /// of the line before.
    fn owner(&self) -> Option<usize> {
        #[derive(Deserialize)]
        struct Id {
            test_id: Option<String>,
        }
        let begins = |owner: &usize| self.lines.text.starts_with(self.identities[*owner].as_bytes());
        if self.last < self.identities.len() && begins(&self.last) {
            return Some(self.last);
        }
        match serde_json::from_slice::<Id>(&self.lines.text).ok()?.test_id {
            Some(id) => self.cells.get(&id).copied().filter(begins),
            None => (self.cells.len()..self.identities.len()).find(begins),
        }
    }

    /// As [`Self::parse`], of a line that another program spelled: its values count, and its checksum is that of the
    /// canonical spelling.
    ///
    /// # Errors
    /// When the line is of another run, or of a cell that the manifest does not hold, and is intact.
    fn parse_other_spelling(&self, is_intact: bool) -> Result<Option<(usize, Record)>, ReadError> {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice::<Value>(&self.lines.text) else { return Ok(None) };
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        let run_id = text("run_id").unwrap_or_default();
        let owner = match text("test_id") {
            _ if run_id != self.run_id => None,
            Some(id) => self.cells.get(id).copied(),
            None => (self.cells.len()..self.identities.len()).find(|owner| self.is_of(&fields, *owner)),
        };
        let Some(owner) = owner else {
            return match text("test_id") {
                _ if !is_intact => Ok(None),
                Some(id) if run_id == self.run_id => {
                    Err(self.wrong(format!("a record of the cell {}, which {MANIFEST} does not hold", clean(id))))
                }
                _ if run_id == self.run_id => Err(self.wrong("not a record of a cell of this run")),
                _ => Err(self.wrong("a record of another run")),
            };
        };
        if !self.is_of(&fields, owner) {
            return Ok(None);
        }
        let stored = fields.remove(checksum::KEY);
        let stored = stored.as_ref().and_then(Value::as_str).and_then(|digits| checksum::parse(digits.as_bytes()));
        let Ok(record) = serde_json::from_value::<Record>(Value::Object(fields)) else { return Ok(None) };
        let is_same = match stored {
            Some(_) if is_intact => true,
            Some(stored) => journal::canonical_checksum(&self.identities[owner], &record) == Some(stored),
            None => !self.is_checked,
        };
        Ok(is_same.then_some((owner, record)))
    }

    /// Whether a line has the values of an identity.
    fn is_of(&self, fields: &Map<String, Value>, owner: usize) -> bool {
        let identity = self.identities[owner].trim_end_matches(',');
        let Ok(identity) = serde_json::from_str::<Map<String, Value>>(&format!("{identity}}}")) else { return false };
        let same = |one: &Value, other: &Value| match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => one.to_bits() == other.to_bits(),
            _ => one == other,
        };
        identity.iter().all(|(key, value)| fields.get(key).is_some_and(|other| same(value, other)))
    }

    fn wrong(&self, message: impl Into<String>) -> ReadError {
        ReadError::Line { path: self.path.clone(), line: self.lines.number, message: message.into() }
    }
}

impl Iterator for Records {
    type Item = Result<(Of, Record), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_line()? {
                Ok(Some(entry)) => return Some(Ok(entry)),
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
