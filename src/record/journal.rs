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

/// Returns the start of every line of a cell, including the comma.
pub(crate) fn identity(run_id: &str, cell: &Cell) -> String {
    open_object(fields(run_id, cell))
}

/// Returns the fields that identify a cell in its lines.
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

/// Returns the start of the line of a pre-flight request, which belongs to no cell.
pub(crate) fn probe_identity(run_id: &str, probe: &Probe) -> String {
    let mut fields = Map::new();
    fields.insert("run_id".into(), run_id.into());
    if let Ok(Value::Object(probe)) = serde_json::to_value(probe) {
        fields.extend(probe);
    }
    open_object(fields)
}

fn open_object(fields: Map<String, Value>) -> String {
    let mut text = Value::Object(fields).to_string();
    text.pop();
    text.push(',');
    text
}

/// Returns the identities of a run: its cells in matrix order, then its probes.
pub(crate) fn identities(manifest: &Manifest) -> Vec<String> {
    let cells = manifest.cells.iter().map(|planned| identity(&manifest.run_id, &planned.cell));
    let probes = manifest.preflight.iter().map(|checked| probe_identity(&manifest.run_id, &checked.probe));
    cells.chain(probes).collect()
}

/// The open journal. It holds the lock of the run directory until it is dropped.
#[derive(Debug)]
pub(crate) struct Journal {
    out: BufWriter<File>,
    identities: Vec<String>,
    line: Vec<u8>,
}

impl Journal {
    /// Appends to a file that [`super::dir`] opened and locked; `identities` are those of [`identities`].
    pub(crate) fn new(file: File, identities: Vec<String>) -> Self {
        Self { out: BufWriter::with_capacity(1 << 18, file), identities, line: Vec::with_capacity(1_024) }
    }

    /// Appends one line.
    ///
    /// # Errors
    /// If the disk is full or not available.
    pub(crate) fn append(&mut self, owner: usize, record: &Record) -> io::Result<()> {
        self.line.clear();
        self.line.extend_from_slice(self.identities[owner].as_bytes());
        append_record(&mut self.line, record)?;
        checksum::append(&mut self.line);
        self.out.write_all(&self.line)
    }

    /// Passes buffered lines to the system.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Whether `path` is still the path of the open file.
    ///
    /// # Errors
    /// If the file does not exist, or the system reports an error.
    pub(crate) fn is_at(&self, path: &Path) -> io::Result<bool> {
        let current = std::fs::metadata(path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let open = self.out.get_ref().metadata()?;
            Ok((current.dev(), current.ino()) == (open.dev(), open.ino()))
        }
        #[cfg(not(unix))]
        Ok(current.is_file())
    }

    /// Like [`Self::flush`], and waits until the lines are on the disk.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_data()
    }
}

/// Appends the fields of a record to an identity, without the closing brace.
fn append_record(line: &mut Vec<u8>, record: &Record) -> serde_json::Result<()> {
    let brace = line.len();
    serde_json::to_writer(&mut *line, record)?;
    line.remove(brace);
    line.pop();
    Ok(())
}

/// Returns the checksum of the canonical form of a record.
pub(super) fn canonical_checksum(identity: &str, record: &Record) -> Option<u32> {
    let mut line = identity.as_bytes().to_vec();
    append_record(&mut line, record).ok()?;
    Some(checksum::compute(&line))
}
