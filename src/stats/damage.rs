//! Effect of damaged and duplicate journal lines on the cells they may belong to.

use super::summary::{CellSummary, Summary};
use super::warning::Warning;
use crate::record::damage::Damage;

impl Summary {
    /// Adds the damage of the journal, with a warning for each affected cell.
    pub(crate) fn add_damage(&mut self, damage: Damage) {
        for (cell, found) in self.cells.iter_mut().zip(&damage.cells) {
            cell.warnings.extend(found.is_damaged.then_some(Warning::DamagedRecords));
            cell.warnings.extend((found.duplicates > 0).then_some(Warning::DuplicateRecords));
        }
        self.damage = damage;
    }
}

impl CellSummary {
    /// Returns why the records of the cell may be wrong; such a cell is INCONCLUSIVE and not compared.
    pub(crate) fn record_damage(&self) -> Option<&'static str> {
        self.warnings.iter().find_map(|warning| match warning {
            Warning::DamagedRecords => Some("some of its records may be damaged"),
            Warning::DuplicateRecords => Some("some of its records are duplicated in the journal"),
            Warning::RecordsMissing => Some("some of its records are missing from the journal"),
            _ => None,
        })
    }
}
