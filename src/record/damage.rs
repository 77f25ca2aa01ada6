//! Damage of a journal: damaged lines, which are not counted, and duplicate records, which are counted once.
//!
//! The owner of a damaged line is unknown, but cell runs follow each other: between two records of one cell run it belongs to
//! that cell run, between records of two it belongs to one of them or to a cell run between them in the order. Before the
//! first record it belongs to any cell run up to it, after the last record to any cell run from it on. All cells that may
//! own it are affected, except for superseded attempts, whose records are not counted.

use super::dir::{DirError, JOURNAL};
use super::manifest::Manifest;
use crate::files::Directory;
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The file that damaged lines are copied to.
pub(crate) const QUARANTINE: &str = "quarantine.jsonl";

/// The damage of a journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Lines that are not records of this run.
    pub(crate) lines: u64,
    /// Duplicate records, which were skipped.
    pub(crate) duplicates: u64,
    /// Damage per cell, in the order of the manifest.
    pub(crate) cells: Vec<CellDamage>,
    /// Offset and length of the damaged lines, bytes.
    extents: Vec<(u64, u64)>,
}

/// The damage that affects a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CellDamage {
    /// A damaged line may belong to the cell.
    pub(crate) is_damaged: bool,
    /// Duplicate records of the cell.
    pub(crate) duplicates: u64,
}

impl Damage {
    /// Copies the damaged lines of the journal in `from` to [`QUARANTINE`] in `to`, as they are. An earlier copy is
    /// replaced; nothing is written without damaged lines.
    ///
    /// # Errors
    /// If the journal cannot be read or the file cannot be written.
    pub(crate) fn quarantine(&self, from: &Path, to: &Path) -> Result<(), DirError> {
        if self.extents.is_empty() {
            return Ok(());
        }
        let copied = (|| {
            let mut journal = BufReader::new(Directory::open(from)?.read(JOURNAL)?);
            Directory::create(to)?.replace_with(Path::new(QUARANTINE), |out| {
                self.extents.iter().try_for_each(|(offset, length)| {
                    journal.seek(SeekFrom::Start(*offset))?;
                    io::copy(&mut (&mut journal).take(*length), out).map(drop)
                })
            })
        })();
        copied.map_err(|source| DirError::Io { path: to.join(QUARANTINE), source })
    }
}

/// A cell run at one of its attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CellRun {
    pub(super) cell: usize,
    pub(super) repetition: u32,
    pub(super) attempt: u32,
}

/// Determines the cells that damaged lines may belong to, while a journal is read.
#[derive(Debug)]
pub(super) struct DamageLog {
    damage: Damage,
    /// The cell, and the last attempt, at each place of the order.
    order: Vec<(usize, u32)>,
    places: HashMap<(usize, u32), usize>,
    /// Ranges of affected places that start at a place, minus those that end before it.
    affected: Vec<i64>,
    last: Option<CellRun>,
    /// Damaged lines follow [`Self::last`].
    is_open: bool,
}

impl DamageLog {
    pub(super) fn new(manifest: &Manifest) -> Self {
        let places = manifest.order.iter().enumerate().map(|(place, run)| ((run.cell, run.repetition), place));
        Self {
            damage: Damage { cells: vec![CellDamage::default(); manifest.cells.len()], ..Damage::default() },
            order: manifest.order.iter().map(|run| (run.cell, run.attempt)).collect(),
            places: places.collect(),
            affected: vec![0; manifest.order.len() + 1],
            last: None,
            is_open: false,
        }
    }

    /// Adds a line that is not a record.
    pub(super) fn add_damaged_line(&mut self, offset: u64, length: u64) {
        self.damage.lines += 1;
        self.is_open = true;
        match self.damage.extents.last_mut() {
            Some((start, known)) if *start + *known == offset => *known += length,
            _ => self.damage.extents.push((offset, length)),
        }
    }

    /// Adds a record of a cell.
    pub(super) fn add_record(&mut self, run: CellRun) {
        if std::mem::take(&mut self.is_open) {
            self.mark_affected(Some(run));
        }
        self.last = Some(run);
    }

    /// Adds a duplicate record of a cell, or of a pre-flight request.
    pub(super) fn add_duplicate(&mut self, run: Option<CellRun>) {
        self.damage.duplicates += 1;
        if let Some(run) = run.filter(|run| self.is_last_attempt(*run)) {
            self.damage.cells[run.cell].duplicates += 1;
        }
    }

    /// Returns the damage of the lines read so far.
    pub(super) fn finish(&self) -> Damage {
        let mut damage = self.damage.clone();
        let mut affected = self.affected.clone();
        if let Some(range) = self.range(None).filter(|_| self.is_open) {
            mark(&mut affected, range);
        }
        let mut ranges = 0;
        for ((cell, _), change) in self.order.iter().zip(affected) {
            ranges += change;
            damage.cells[*cell].is_damaged |= ranges > 0;
        }
        damage
    }

    fn mark_affected(&mut self, next: Option<CellRun>) {
        if let Some(range) = self.range(next) {
            mark(&mut self.affected, range);
        }
    }

    /// Returns the first and the last place in the order that may own damaged lines between [`Self::last`] and `next`.
    fn range(&self, next: Option<CellRun>) -> Option<(usize, usize)> {
        if next.is_some_and(|next| self.last == Some(next) && !self.is_last_attempt(next)) {
            return None;
        }
        let end = self.order.len().checked_sub(1)?;
        let place = |run: Option<CellRun>| run.and_then(|run| self.places.get(&(run.cell, run.repetition)).copied());
        let (from, to) = (place(self.last).unwrap_or(0), place(next).unwrap_or(end));
        Some((from.min(to), from.max(to)))
    }

    fn is_last_attempt(&self, run: CellRun) -> bool {
        let place = self.places.get(&(run.cell, run.repetition));
        place.is_none_or(|place| self.order[*place].1 == run.attempt)
    }
}

fn mark(affected: &mut [i64], (from, to): (usize, usize)) {
    affected[from] += 1;
    affected[to + 1] -= 1;
}
