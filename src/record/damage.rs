//! What of a journal could not be used: damaged lines, which no cell counts, and records that are there twice, which
//! count once.
//!
//! A damaged line does not say whose it was, but cell runs follow each other: between two records of one cell run it is
//! of that cell run, between records of two it is of one of them or of a cell run between them in the order, and before
//! the first or behind the last record it is of any cell run from the start or to the end of the order. All cells that it
//! may be of are affected, those of superseded attempts excepted: their records count in nothing.

use super::dir::{DirError, JOURNAL};
use super::manifest::Manifest;
use crate::files::Directory;
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Where damaged lines are copied to.
pub(crate) const QUARANTINE: &str = "quarantine.jsonl";

/// What was found in a whole journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Lines that are not records of this run.
    pub(crate) lines: u64,
    /// Records that were read before, and were dropped.
    pub(crate) duplicates: u64,
    /// By cell of the manifest.
    pub(crate) cells: Vec<CellDamage>,
    /// Where the damaged lines are: offset and length, bytes.
    extents: Vec<(u64, u64)>,
}

/// What of it bears on the numbers of a cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CellDamage {
    /// A damaged line may have been a record of it.
    pub(crate) is_damaged: bool,
    /// Records of it that were there twice.
    pub(crate) duplicates: u64,
}

impl Damage {
    /// Copies the damaged lines of the journal in `from` to [`QUARANTINE`] in `to`, as they are. An earlier copy is
    /// replaced; nothing is written where no line is damaged.
    ///
    /// # Errors
    /// When the journal cannot be read or the file cannot be written.
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

/// Finds the cells that damaged lines may be of, while a journal is read.
#[derive(Debug)]
pub(super) struct DamageLog {
    damage: Damage,
    /// The cell, and the last attempt, at each place of the order.
    order: Vec<(usize, u32)>,
    places: HashMap<(usize, u32), usize>,
    /// How many ranges of affected places begin at a place, less those that ended before it.
    affected: Vec<i64>,
    last: Option<CellRun>,
    /// Damaged lines follow [`Self::last`].
    is_open: bool,
}

impl DamageLog {
    pub(super) fn new(manifest: &Manifest) -> Self {
        let places = manifest.order.iter().enumerate().map(|(place, turn)| ((turn.cell, turn.repetition), place));
        Self {
            damage: Damage { cells: vec![CellDamage::default(); manifest.cells.len()], ..Damage::default() },
            order: manifest.order.iter().map(|turn| (turn.cell, turn.attempt)).collect(),
            places: places.collect(),
            affected: vec![0; manifest.order.len() + 1],
            last: None,
            is_open: false,
        }
    }

    /// A line that is not a record.
    pub(super) fn damaged(&mut self, offset: u64, length: u64) {
        self.damage.lines += 1;
        self.is_open = true;
        match self.damage.extents.last_mut() {
            Some((start, known)) if *start + *known == offset => *known += length,
            _ => self.damage.extents.push((offset, length)),
        }
    }

    /// A record of a cell.
    pub(super) fn record(&mut self, run: CellRun) {
        if std::mem::take(&mut self.is_open) {
            self.affect(Some(run));
        }
        self.last = Some(run);
    }

    /// A record that was read before; of a cell, or of a pre-flight request.
    pub(super) fn duplicate(&mut self, run: Option<CellRun>) {
        self.damage.duplicates += 1;
        if let Some(run) = run.filter(|run| self.is_last_attempt(*run)) {
            self.damage.cells[run.cell].duplicates += 1;
        }
    }

    /// What was found so far; behind the last line all of it.
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

    fn affect(&mut self, next: Option<CellRun>) {
        if let Some(range) = self.range(next) {
            mark(&mut self.affected, range);
        }
    }

    /// The first and the last place in the order that damaged lines between [`Self::last`] and `next` may be of.
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
