//! What damaged and duplicate lines of the journal mean for the cells that they may belong to.

use super::summary::{CellSummary, Summary};
use super::warning::Warning;
use crate::record::damage::Damage;

impl Summary {
    /// Adds what the journal's reader could not use, with a warning to each cell that it may bear on.
    pub(crate) fn add_damage(&mut self, damage: Damage) {
        for (cell, found) in self.cells.iter_mut().zip(&damage.cells) {
            cell.warnings.extend(found.is_damaged.then_some(Warning::DamagedRecords));
            cell.warnings.extend((found.duplicates > 0).then_some(Warning::DuplicateRecords));
        }
        self.damage = damage;
    }
}

impl CellSummary {
    /// Why its records may not be what was measured; no threshold or comparison decides on such a cell.
    pub(crate) fn doubt(&self) -> Option<&'static str> {
        self.warnings.iter().find_map(|warning| match warning {
            Warning::DamagedRecords => Some("some of its records may be damaged"),
            Warning::DuplicateRecords => Some("some of its records are in the journal twice"),
            Warning::RecordsMissing => Some("some of its records are missing in the journal"),
            _ => None,
        })
    }
}
