//! What failed in a run: each kind once, with how often and where.

use super::cell::CellView;
use crate::stats::OTHER_MESSAGES;
use serde::Serialize;
use std::collections::HashMap;

/// One kind of failure.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    /// See `record::class`.
    pub(crate) class: String,
    /// The message, or its pattern where messages of this kind differ.
    pub(crate) message: String,
    /// How often, over all cells.
    pub(crate) count: u64,
    /// What to do; may be empty.
    pub(crate) hint: String,
    /// Ids, in matrix order.
    pub(crate) cells: Vec<String>,
}

/// By class and pattern, the most frequent first. What cells count together comes last.
pub(super) fn view(cells: &[CellView]) -> Vec<Failure> {
    let mut failures: Vec<Failure> = Vec::new();
    let mut places: HashMap<(&str, &str), usize> = HashMap::new();
    for (cell, error) in cells.iter().flat_map(|cell| cell.errors.iter().map(move |error| (cell, error))) {
        let place = *places.entry((&error.class, &error.pattern)).or_insert_with(|| {
            failures.push(Failure {
                class: error.class.clone(),
                message: error.message.clone(),
                count: 0,
                hint: error.hint.clone(),
                cells: Vec::new(),
            });
            failures.len() - 1
        });
        let failure = &mut failures[place];
        if failure.message != error.message {
            failure.message.clone_from(&error.pattern);
        }
        failure.count += error.count;
        failure.cells.push(cell.id.clone());
    }
    failures.sort_by_key(|failure| (failure.message == OTHER_MESSAGES, std::cmp::Reverse(failure.count)));
    failures
}
