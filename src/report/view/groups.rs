//! Warnings of all cells by kind, each with its cells and the text of the first as an example.

use super::cell::CellView;
use serde::Serialize;
use std::collections::HashMap;

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
    let mut groups: Vec<WarningGroup> = Vec::new();
    let mut places: HashMap<&'static str, usize> = HashMap::new();
    let mut put = |key: &'static str, cell: &CellView, text: String| {
        let place = *places.entry(key).or_insert(groups.len());
        if let Some(group) = groups.get_mut(place) {
            group.is_same &= group.text == text;
            group.cells.push(cell.id.clone());
        } else {
            groups.push(WarningGroup { key, text, is_same: true, cells: vec![cell.id.clone()] });
        }
    };
    for cell in cells {
        match cell.validity.as_str() {
            "not_run" => put("not_run", cell, "not run".into()),
            excluded if excluded.starts_with("unsupported") => {
                put("unsupported", cell, format!("left out: {excluded}"));
            }
            excluded if excluded.starts_with("refused") => put("refused", cell, format!("left out: {excluded}")),
            _ => {}
        }
        for warning in &cell.warnings {
            put(warning.key, cell, warning.text.clone());
        }
    }
    groups
}
