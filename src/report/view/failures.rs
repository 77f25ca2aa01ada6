//! Failures of a run: one entry per kind, with its count and its cells.

use super::cell::CellView;
use crate::stats::OTHER_MESSAGES;
use crate::units::Keyed;
use serde::Serialize;

/// One kind of failure.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    /// See `record::class`.
    pub(crate) class: String,
    /// The message, or its pattern if messages of this kind differ.
    pub(crate) message: String,
    /// Number of failures in all cells.
    pub(crate) count: u64,
    /// Suggested fix; may be empty.
    pub(crate) hint: String,
    /// Cell ids, in matrix order.
    pub(crate) cells: Vec<String>,
}

/// Groups failures by class and pattern, the most frequent first. Failures that cells report only as "other messages"
/// come last.
pub(super) fn view(cells: &[CellView]) -> Vec<Failure> {
    let mut failures: Keyed<(&str, &str), Failure> = Keyed::default();
    for (cell, error) in cells.iter().flat_map(|cell| cell.result.errors.iter().map(move |error| (cell, error))) {
        let failure = failures.entry((&error.class, &error.pattern), || Failure {
            class: error.class.clone(),
            message: error.message.clone(),
            count: 0,
            hint: error.hint.clone(),
            cells: Vec::new(),
        });
        if failure.message != error.message {
            failure.message.clone_from(&error.pattern);
        }
        failure.count += error.count;
        failure.cells.push(cell.id.clone());
    }
    let mut failures = failures.items;
    failures.sort_by_key(|failure| (failure.message == OTHER_MESSAGES, std::cmp::Reverse(failure.count)));
    failures
}
