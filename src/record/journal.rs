//! `token_data.jsonl`: one line per request, appended as it ends. A line is the identity of its cell
//! (run, test id, axes), which is serialised once, the record, and a checksum ([`super::checksum`]).

use super::manifest::Manifest;
use super::probe::Probe;
use super::{Record, checksum};
use crate::matrix::{AXES, Cell};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// What every line of a cell begins with, up to and with a comma.
pub(crate) fn identity(run_id: &str, cell: &Cell) -> String {
    head(fields(run_id, cell))
}

/// The fields that identify a cell in its lines.
fn fields(run_id: &str, cell: &Cell) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("run_id".into(), run_id.into());
    fields.insert("test_id".into(), cell.id.clone().into());
    for axis in AXES {
        let value = serde_json::to_value((axis.get)(cell)).unwrap_or(Value::Null);
        if !value.is_null() {
            fields.insert(axis.field.into(), value);
        }
    }
    fields
}

/// What the line of a pre-flight request begins with: it belongs to no cell.
pub(crate) fn identity_of_probe(run_id: &str, probe: &Probe) -> String {
    let mut fields = Map::new();
    fields.insert("run_id".into(), run_id.into());
    if let Ok(Value::Object(probe)) = serde_json::to_value(probe) {
        fields.extend(probe);
    }
    head(fields)
}

fn head(fields: Map<String, Value>) -> String {
    let mut text = Value::Object(fields).to_string();
    text.pop();
    text.push(',');
    text
}

/// Who the lines of a run's journal may speak of: its cells in matrix order, then its probes.
pub(crate) fn identities(manifest: &Manifest) -> Vec<String> {
    let cells = manifest.cells.iter().map(|planned| identity(&manifest.run_id, &planned.cell));
    let probes = manifest.preflight.iter().map(|checked| identity_of_probe(&manifest.run_id, &checked.probe));
    cells.chain(probes).collect()
}

/// The open journal. It holds the lock of the run directory as long as it lives.
#[derive(Debug)]
pub(crate) struct Journal {
    out: BufWriter<File>,
    identities: Vec<String>,
    line: Vec<u8>,
}

impl Journal {
    /// Appends to a file that [`super::dir`] opened and locked; `identities` as [`identities`] gives them.
    pub(crate) fn new(file: File, identities: Vec<String>) -> Self {
        Self { out: BufWriter::with_capacity(1 << 18, file), identities, line: Vec::with_capacity(1_024) }
    }

    /// Appends one line.
    ///
    /// # Errors
    /// When the disk is full or gone.
    pub(crate) fn append(&mut self, whose: usize, record: &Record) -> io::Result<()> {
        self.line.clear();
        self.line.extend_from_slice(self.identities[whose].as_bytes());
        append_record(&mut self.line, record)?;
        checksum::append(&mut self.line);
        self.out.write_all(&self.line)
    }

    /// Hands what is buffered to the system.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Whether `path` still names the file that is written.
    ///
    /// # Errors
    /// When the system does not say, or there is no such file.
    pub(crate) fn is_at(&self, path: &Path) -> io::Result<bool> {
        let there = std::fs::metadata(path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let ours = self.out.get_ref().metadata()?;
            Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino()))
        }
        #[cfg(not(unix))]
        Ok(there.is_file())
    }

    /// As [`Self::flush`], and waits until the disk has it.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_data()
    }
}

/// Adds the fields of a record behind an identity, without the closing brace.
fn append_record(line: &mut Vec<u8>, record: &Record) -> serde_json::Result<()> {
    let brace = line.len();
    serde_json::to_writer(&mut *line, record)?;
    line.remove(brace);
    line.pop();
    Ok(())
}

/// The checksum that a record has in its canonical spelling.
pub(super) fn canonical_checksum(identity: &str, record: &Record) -> Option<u32> {
    let mut line = identity.as_bytes().to_vec();
    append_record(&mut line, record).ok()?;
    Some(checksum::of(&line))
}
