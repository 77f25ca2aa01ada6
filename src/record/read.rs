//! Reads a run directory. A crash may leave a last line without an end: it is dropped and reported. A damaged line is
//! skipped and counted, see [`super::damage`]; an intact line of another run is an error with its line number.

use super::damage::{CellRun, Damage, DamageLog};
use super::dir::{JOURNAL, MANIFEST};
use super::lines::{LineEnd, Lines};
use super::manifest::{CHECKED_FORMAT, FORMAT, Manifest, OLDEST_FORMAT};
use super::seen::SeenRequests;
use super::{Record, check, checksum, journal};
use crate::files::Directory;
use crate::units::explained::Explained;
use crate::units::text::clean;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// Why a run directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The manifest is missing.
    #[error("{} is not the results directory of a run: {why}", dir.display())]
    NotARun { dir: PathBuf, why: &'static str },
    /// A later version of this tool wrote the manifest.
    #[error("{}: format {format} is newer than the format {FORMAT} that this version reads", path.display())]
    Newer {
        path: PathBuf,
        format: u32,
        /// The version that wrote it.
        tool_version: String,
    },
    /// The manifest is invalid.
    #[error("{}: {message}", path.display())]
    Manifest { path: PathBuf, message: String },
    /// A line of the journal is an intact record of another run.
    #[error("{}:{line}: {message}", path.display())]
    Line {
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        message: String,
    },
}

impl Explained for ReadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotARun { .. } | Self::Io { .. } => {
                Some("a results directory contains manifest.json and token_data.jsonl".into())
            }
            Self::Newer { tool_version, .. } => {
                Some(format!("use bedrock-plan {tool_version}, which wrote it, or a later version"))
            }
            Self::Manifest { .. } | Self::Line { .. } => None,
        }
    }
}

/// Reads `manifest.json`.
///
/// # Errors
/// If it is missing, malformed, of an unknown format, or inconsistent.
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
        _ if !dir.exists() => ReadError::NotARun { dir: dir.to_owned(), why: "it does not exist" },
        _ if !dir.is_dir() => ReadError::NotARun { dir: dir.to_owned(), why: "it is a file" },
        io::ErrorKind::NotFound => ReadError::NotARun { dir: dir.to_owned(), why: "it contains no manifest.json" },
        _ => ReadError::Io { path: path.clone(), source },
    })?;
    let wrong = |message: String| ReadError::Manifest { path: path.clone(), message };
    let head: Head = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if head.format > FORMAT {
        return Err(ReadError::Newer { path, format: head.format, tool_version: head.tool_version });
    }
    if head.format < OLDEST_FORMAT {
        return Err(wrong(format!("unknown format `{}`: expected {OLDEST_FORMAT} to {FORMAT}", head.format)));
    }
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    check::manifest(&manifest).map_err(wrong)?;
    Ok(manifest)
}

/// The owner of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordOwner {
    /// A cell, by its index in matrix order.
    Cell(usize),
    /// A pre-flight probe, by its index in the manifest.
    Probe(usize),
}

/// The records of a run in the order of their ends, each with its owner. Duplicate records and damaged lines are skipped,
/// and counted in [`Records::damage`].
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
    seen: SeenRequests,
    damage: DamageLog,
    /// Offset and length of the sequences of lines of each cell, bytes.
    extents: Vec<Vec<(u64, u64)>>,
    /// The last line had no end and was dropped.
    pub(crate) truncated: bool,
}

impl Records {
    /// Opens `token_data.jsonl`.
    ///
    /// # Errors
    /// If it cannot be opened.
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
            seen: SeenRequests::default(),
            damage: DamageLog::new(manifest),
            extents: vec![Vec::new(); manifest.cells.len()],
            truncated: false,
        })
    }

    /// Returns the damage of the lines read so far.
    pub(crate) fn damage(&self) -> Damage {
        self.damage.finish()
    }

    /// Returns the records that were read, by cell.
    pub(crate) fn by_cell(self) -> CellRecords {
        CellRecords(Self { seen: SeenRequests::default(), ..self })
    }

    /// Returns the offset of the last line in the file, and its length with its end, bytes.
    pub(super) fn place(&self) -> (u64, u64) {
        (self.lines.offset, self.lines.length)
    }

    /// Reads a line. The inner option is `None` if the line is damaged or a duplicate.
    pub(super) fn next_line(&mut self) -> Option<Result<Option<(RecordOwner, Record)>, ReadError>> {
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
            self.damage.add_damaged_line(self.lines.offset, self.lines.length);
            return Some(Ok(None));
        };
        self.last = owner;
        let record_owner = owner.checked_sub(self.cells.len()).map_or(RecordOwner::Cell(owner), RecordOwner::Probe);
        let Record { repetition, cell_attempt: attempt, .. } = record;
        let run = matches!(record_owner, RecordOwner::Cell(_)).then_some(CellRun { cell: owner, repetition, attempt });
        if !self.seen.insert(owner, &record) {
            self.damage.add_duplicate(run);
            return Some(Ok(None));
        }
        if let Some(run) = run {
            self.damage.add_record(run);
            let (offset, length) = self.place();
            match self.extents[owner].last_mut() {
                Some((start, known)) if *start + *known == offset => *known += length,
                _ => self.extents[owner].push((offset, length)),
            }
        }
        Some(Ok(Some((record_owner, record))))
    }

    /// Parses the last line. Returns the index of its identity and its record, or `None` if it is damaged.
    fn parse(&mut self) -> Result<Option<(usize, Record)>, ReadError> {
        let checksum = checksum::verify(&self.lines.text);
        let is_as_written = checksum == Some(true) || checksum.is_none() && !self.is_checked;
        if is_as_written && let Some(owner) = self.owner() {
            let comma = self.identities[owner].len() - 1;
            self.lines.text[comma] = b'{';
            return Ok(serde_json::from_slice(&self.lines.text[comma..]).ok().map(|record| (owner, record)));
        }
        self.parse_rewritten(checksum == Some(true))
    }

    /// Returns the index of the identity that the line starts with. Cells run one after the other, so it is nearly always
    /// that of the previous line.
    fn owner(&self) -> Option<usize> {
        #[derive(Deserialize)]
        struct Id {
            test_id: Option<String>,
        }
        let starts_line = |owner: &usize| self.lines.text.starts_with(self.identities[*owner].as_bytes());
        if self.last < self.identities.len() && starts_line(&self.last) {
            return Some(self.last);
        }
        match serde_json::from_slice::<Id>(&self.lines.text).ok()?.test_id {
            Some(id) => self.cells.get(&id).copied().filter(starts_line),
            None => (self.cells.len()..self.identities.len()).find(starts_line),
        }
    }

    /// Like [`Self::parse`] for a line that another program rewrote: its values are compared, and the checksum is that of the
    /// canonical form.
    ///
    /// # Errors
    /// If the line is intact and belongs to another run, or to a cell that is not in the manifest.
    fn parse_rewritten(&self, is_intact: bool) -> Result<Option<(usize, Record)>, ReadError> {
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
                    Err(self.wrong(format!("a record of the cell `{}`, which is not in {MANIFEST}", clean(id))))
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

/// The records of a run that was read, by cell.
pub(crate) struct CellRecords(Records);

impl CellRecords {
    /// Passes the records of a cell to a function, once, without duplicates and damaged lines.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub(crate) fn read(&mut self, cell: usize, with: &mut dyn FnMut(&Record)) -> Result<(), ReadError> {
        let Self(records) = self;
        for (offset, length) in std::mem::take(&mut records.extents[cell]) {
            records.lines.seek(offset).map_err(|source| ReadError::Io { path: records.path.clone(), source })?;
            let mut left = length;
            while left > 0
                && let Some(entry) = records.next_line()
            {
                if let Some((_, record)) = entry? {
                    with(&record);
                }
                left = left.saturating_sub(records.lines.length);
            }
        }
        Ok(())
    }
}

impl Iterator for Records {
    type Item = Result<(RecordOwner, Record), ReadError>;

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
