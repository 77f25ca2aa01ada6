//! Effect of damaged and duplicate journal lines on the cells they may belong to.

use super::summary::Summary;
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
