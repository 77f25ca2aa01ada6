//! Reads a run directory back. A last line without its end is what a crash leaves: it is dropped and
//! said; anything else that cannot be read is an error with its line.

use super::Record;
use super::dir::{JOURNAL, MANIFEST};
use super::journal::identities;
use super::manifest::{FORMAT, Manifest};
use crate::files::Directory;
use crate::units::id::is_id;
use crate::units::text::clean;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
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
    /// A line of the journal is not a record of this run.
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
    if head.format != FORMAT {
        return Err(wrong(format!("format {} is not the format {FORMAT} that this version reads", head.format)));
    }
    let manifest: Manifest = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    match contradiction(&manifest) {
        Some(message) => Err(wrong(message)),
        None => Ok(manifest),
    }
}

/// What in a manifest that can be read cannot be: somebody changed it by hand, or a disk did.
fn contradiction(manifest: &Manifest) -> Option<String> {
    let cells = manifest.cells.len();
    if let Some(planned) = manifest.cells.iter().find(|planned| !is_id(&planned.cell.id)) {
        return Some(format!("`{}` is not the id of a cell that bedrock-plan makes", clean(&planned.cell.id)));
    }
    if let Some(turn) = manifest.order.iter().find(|turn| turn.cell >= cells) {
        return Some(format!(
            "its order names the cell number {}, and it holds {cells}: a cell is missing",
            turn.cell + 1
        ));
    }
    let is_known = |id: &str| manifest.cells.iter().any(|planned| planned.cell.id == id);
    if let Some(turn) = manifest.turns.iter().find(|turn| !is_known(&turn.test_id)) {
        return Some(format!("it tells how {} ended, and holds no such cell", turn.test_id));
    }
    // Some file systems do not tell `A` from `a`: files of one would replace those of the other.
    let mut ids: Vec<String> = manifest.cells.iter().map(|planned| planned.cell.id.to_ascii_lowercase()).collect();
    ids.sort_unstable();
    ids.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| format!("it has the cell {} twice", pair[0]))
}

/// Whose a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// A cell's, by its place in matrix order.
    Cell(usize),
    /// A pre-flight request's, by its place in the manifest.
    Probe(usize),
}

/// The records of a run in the order in which they ended, each with whose it is.
pub(crate) struct Records {
    path: PathBuf,
    file: BufReader<File>,
    identities: Vec<String>,
    /// So many of them are cells', the others are probes'.
    cells: usize,
    last: usize,
    line: Vec<u8>,
    number: u64,
    /// Where the next line begins.
    next: u64,
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
        let file = Directory::open(dir).and_then(|dir| dir.read(JOURNAL));
        let file = file.map_err(|source| ReadError::Io { path: path.clone(), source })?;
        Ok(Self {
            path,
            file: BufReader::with_capacity(1 << 18, file),
            identities: identities(manifest),
            cells: manifest.cells.len(),
            last: 0,
            line: Vec::with_capacity(1_024),
            number: 0,
            next: 0,
            truncated: false,
        })
    }

    /// Where in the file the last record's line is, and how long it is with its end, bytes.
    pub(super) fn place(&self) -> (u64, u32) {
        (self.next - self.line.len() as u64, self.line.len() as u32)
    }

    fn wrong(&self, message: impl Into<String>) -> ReadError {
        ReadError::Line { path: self.path.clone(), line: self.number, message: message.into() }
    }

    /// Cells run one after the other, so the last line's cell is nearly always this line's too.
    fn whose(&self) -> Option<usize> {
        let is = |whose: &usize| self.line.starts_with(self.identities[*whose].as_bytes());
        std::iter::once(self.last)
            .filter(|whose| *whose < self.identities.len())
            .find(is)
            .or_else(|| (0..self.identities.len()).find(is))
    }

    /// Why a line belongs to no cell.
    fn stranger(&self) -> String {
        #[derive(Deserialize)]
        struct Identity {
            run_id: String,
            test_id: String,
        }
        match serde_json::from_slice::<Identity>(&self.line) {
            Ok(identity) if self.identities.iter().any(|known| known.contains(&identity.run_id)) => {
                format!("a record of the cell {}, which {MANIFEST} does not hold", clean(&identity.test_id))
            }
            Ok(_) => "a record of another run".into(),
            Err(_) => "not a record of a cell of this run".into(),
        }
    }

    fn parse(&mut self) -> Result<(Of, Record), ReadError> {
        let Some(whose) = self.whose() else {
            return Err(self.wrong(self.stranger()));
        };
        self.last = whose;
        let comma = self.identities[whose].len() - 1;
        self.line[comma] = b'{';
        let record = serde_json::from_slice(&self.line[comma..]).map_err(|error| {
            let message = error.to_string();
            self.wrong(message.split(" at line").next().unwrap_or_default())
        })?;
        let of = whose.checked_sub(self.cells).map_or(Of::Cell(whose), Of::Probe);
        Ok((of, record))
    }
}

impl Iterator for Records {
    type Item = Result<(Of, Record), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        self.number += 1;
        match self.file.read_until(b'\n', &mut self.line) {
            Err(source) => Some(Err(ReadError::Io { path: self.path.clone(), source })),
            Ok(0) => None,
            Ok(_) if self.line.last() != Some(&b'\n') => {
                self.truncated = true;
                None
            }
            Ok(length) => {
                self.next += length as u64;
                Some(self.parse())
            }
        }
    }
}
