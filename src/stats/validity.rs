//! Validity of a cell: whether its numbers can be used, and the reason if not.

use super::health::Health;
use crate::matrix::Cell;
use crate::record::manifest::{CellRunEnd, CellRunReport};
use crate::record::probe::ExcludedCells;

/// Validity of the numbers of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Validity {
    /// Usable.
    Ok,
    /// It never started.
    NotRun,
    /// The service does not support the tier; the error of the pre-flight.
    Unsupported(String),
    /// A permanent error of the pre-flight.
    Refused(String),
    /// All of its first requests failed permanently.
    Aborted,
    /// The client was too slow, or a shard is missing; the reason.
    Invalid(String),
}

impl Validity {
    /// Returns the text used in result files.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Ok => "ok".into(),
            Self::NotRun => "not_run".into(),
            Self::Unsupported(why) => format!("unsupported: {why}"),
            Self::Refused(why) => format!("refused: {why}"),
            Self::Aborted => "aborted".into(),
            Self::Invalid(reason) => format!("INVALID: {reason}"),
        }
    }

    /// Determines the validity from the cell runs, the missing shards and the client health.
    pub(super) fn new(
        excluded: &ExcludedCells,
        cell: &Cell,
        turns: &[CellRunReport],
        missing: Option<&str>,
        health: &Health,
    ) -> Self {
        let reasons = || health.invalid.iter().map(String::as_str);
        match turns {
            [] => not_run(excluded, cell),
            _ if missing.is_some() => {
                Self::Invalid(missing.into_iter().chain(reasons()).collect::<Vec<_>>().join("; "))
            }
            turns if turns.iter().any(|turn| turn.end == CellRunEnd::Aborted) => Self::Aborted,
            _ if !health.invalid.is_empty() => Self::Invalid(reasons().collect::<Vec<_>>().join("; ")),
            _ => Self::Ok,
        }
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
