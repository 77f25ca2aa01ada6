//! What failed in a run: each kind once, with how often and where.

use super::cell::CellView;
use super::figures::find_or_push;
use serde::Serialize;

/// One kind of failure.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    /// See `record::class`.
    pub(crate) class: String,
    /// What was said.
    pub(crate) message: String,
    /// How often, over all cells.
    pub(crate) count: u64,
    /// What to do; may be empty.
    pub(crate) hint: String,
    /// Ids, in matrix order.
    pub(crate) cells: Vec<String>,
}

/// By class and message, the most frequent first.
pub(super) fn view(cells: &[CellView]) -> Vec<Failure> {
    let mut failures: Vec<Failure> = Vec::new();
    for cell in cells {
        for error in &cell.errors {
            let at = find_or_push(
                &mut failures,
                |known| known.class == error.class && known.message == error.message,
                || Failure {
                    class: error.class.clone(),
                    message: error.message.clone(),
                    count: 0,
                    hint: error.hint.clone(),
                    cells: Vec::new(),
                },
            );
            failures[at].count += error.count;
            failures[at].cells.push(cell.id.clone());
        }
    }
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    failures
}
