//! Warnings and failures of all cells, each said once with the cells that it is about.

use super::cell::CellView;
use super::text;
use serde::Serialize;

/// Cells named before the others are only counted.
const NAMED: usize = 3;

/// Something that holds for some cells.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    /// For machines: a warning's key, or an error's class.
    pub(crate) key: String,
    /// For people.
    pub(crate) text: String,
    /// What to do; may be empty.
    pub(crate) hint: String,
    /// Requests that it happened to; of warnings 0.
    pub(crate) count: u64,
    /// Ids, in matrix order.
    pub(crate) cells: Vec<String>,
    /// The same for people: `a, b, c and 12 more`.
    pub(crate) where_shown: String,
}

/// Warnings, and what did not run.
pub(super) fn told(cells: &[CellView]) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    for cell in cells {
        if cell.validity == "not_run" {
            put(&mut told, "not_run", "not run", "", 0, &cell.id);
        }
        for warning in &cell.warnings {
            put(&mut told, warning.key, &warning.text, "", 0, &cell.id);
        }
    }
    shown(told)
}

/// Failures by class and message, the most frequent first.
pub(super) fn failures(cells: &[CellView]) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    for cell in cells {
        for error in &cell.errors {
            put(&mut told, &error.class, &error.message, &error.hint, error.count, &cell.id);
        }
    }
    told.sort_by_key(|told| std::cmp::Reverse(told.count));
    shown(told)
}

fn put(told: &mut Vec<Told>, key: &str, text: &str, hint: &str, count: u64, cell: &str) {
    let index = told.iter().position(|told| told.key == key && told.text == text).unwrap_or_else(|| {
        let (key, text, hint) = (key.to_owned(), text.to_owned(), hint.to_owned());
        told.push(Told { key, text, hint, count: 0, cells: Vec::new(), where_shown: String::new() });
        told.len() - 1
    });
    told[index].count += count;
    if told[index].cells.last().is_none_or(|last| last != cell) {
        told[index].cells.push(cell.to_owned());
    }
}

fn shown(mut told: Vec<Told>) -> Vec<Told> {
    for told in &mut told {
        let more = told.cells.len().saturating_sub(NAMED);
        told.where_shown = told.cells.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        if more > 0 {
            told.where_shown += &format!(" and {} more", text::thousands(more as f64, 0));
        }
    }
    told
}
