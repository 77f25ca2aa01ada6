//! Warnings of all cells by kind, each with its cells and the text of the first as an example.

use super::cell::CellView;
use crate::result::Validity;
use crate::units::Keyed;
use serde::Serialize;

/// Warning with the cells that have it.
#[derive(Debug, Serialize)]
pub(crate) struct WarningGroup {
    /// Machine-readable kind.
    pub(crate) key: &'static str,
    /// Text of the warning in the first cell.
    pub(crate) text: String,
    /// Whether the text is the same in every cell.
    pub(crate) is_same: bool,
    /// Cell ids, in matrix order.
    pub(crate) cells: Vec<String>,
}

/// Groups the warnings in the order in which their kinds first occur.
pub(super) fn view(cells: &[CellView]) -> Vec<WarningGroup> {
    let mut groups: Keyed<&'static str, WarningGroup> = Keyed::default();
    let mut put = |key: &'static str, cell: &CellView, text: String| {
        let group = groups.entry(key, || WarningGroup { key, text: text.clone(), is_same: true, cells: Vec::new() });
        group.is_same &= group.text == text;
        group.cells.push(cell.id.clone());
    };
    for cell in cells {
        let validity = &cell.result.validity;
        match validity {
            Validity::NotRun => put("not_run", cell, "not run".into()),
            Validity::Unsupported(_) => put("unsupported", cell, format!("left out: {validity}")),
            Validity::Refused(_) => put("refused", cell, format!("left out: {validity}")),
            Validity::Ok | Validity::Aborted | Validity::Invalid(_) => {}
        }
        for warning in &cell.result.warnings {
            put(warning.key, cell, warning.text.clone());
        }
    }
    groups.items
}
