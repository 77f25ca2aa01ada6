//! What failed in a run: each kind once, with how often and where.

use super::cell::CellView;
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
            let is = |known: &&mut Failure| known.class == error.class && known.message == error.message;
            if let Some(known) = failures.iter_mut().find(is) {
                known.count += error.count;
                known.cells.push(cell.id.clone());
            } else {
                failures.push(Failure {
                    class: error.class.clone(),
                    message: error.message.clone(),
                    count: error.count,
                    hint: error.hint.clone(),
                    cells: vec![cell.id.clone()],
                });
            }
        }
    }
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    failures
}
