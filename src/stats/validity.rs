//! Validity of a cell: whether its numbers can be used, and the reason if not.

use super::health::Health;
use crate::matrix::Cell;
use crate::record::manifest::{CellRunEnd, CellRunReport};
use crate::record::probe::ExcludedCells;
use crate::result::Validity;

/// Determines the validity from the cell runs, the missing shards and the client health.
pub(super) fn determine(
    excluded: &ExcludedCells,
    cell: &Cell,
    turns: &[CellRunReport],
    missing: Option<&str>,
    health: &Health,
) -> Validity {
    let reasons = || health.invalid.iter().map(String::as_str);
    match turns {
        [] => not_run(excluded, cell),
        _ if missing.is_some() => {
            Validity::Invalid(missing.into_iter().chain(reasons()).collect::<Vec<_>>().join("; "))
        }
        turns if turns.iter().any(|turn| turn.end == CellRunEnd::Aborted) => Validity::Aborted,
        _ if !health.invalid.is_empty() => Validity::Invalid(reasons().collect::<Vec<_>>().join("; ")),
        _ => Validity::Ok,
    }
}

/// Determines why a cell was not run.
fn not_run(excluded: &ExcludedCells, cell: &Cell) -> Validity {
    let Some(checked) = excluded.get(cell) else { return Validity::NotRun };
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let error = match text(&checked.error_message) {
        message if message.is_empty() => text(&checked.error_class),
        message => message,
    };
    if excluded.is_unsupported(cell) { Validity::Unsupported(error) } else { Validity::Refused(error) }
}
