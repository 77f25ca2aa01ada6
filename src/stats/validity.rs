//! Whether a cell's numbers may be used, and if not, why.

use super::health::Health;
use crate::matrix::Cell;
use crate::record::manifest::{TurnEnd, TurnReport};
use crate::record::probe::Excluded;

/// Whether a cell's numbers may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Validity {
    /// They may.
    Ok,
    /// It never started.
    NotRun,
    /// The service does not have its tier; what the pre-flight was told.
    Unsupported(String),
    /// The pre-flight was refused for good; why.
    Refused(String),
    /// Its first requests were all refused for good.
    Aborted,
    /// This machine spoiled them, or one of several did or is not here; why.
    Invalid(String),
}

impl Validity {
    /// As in the files.
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

    /// Of a cell, by the turns that it had, the machines that they lack, and what they did to those that are here.
    pub(super) fn of(
        excluded: &Excluded,
        cell: &Cell,
        turns: &[TurnReport],
        missing: Option<&str>,
        health: &Health,
    ) -> Self {
        let spoiled = || health.invalid.iter().map(String::as_str);
        match turns {
            [] => not_run(excluded, cell),
            _ if missing.is_some() => {
                Self::Invalid(missing.into_iter().chain(spoiled()).collect::<Vec<_>>().join("; "))
            }
            turns if turns.iter().any(|turn| turn.end == TurnEnd::Aborted) => Self::Aborted,
            _ if !health.invalid.is_empty() => Self::Invalid(spoiled().collect::<Vec<_>>().join("; ")),
            _ => Self::Ok,
        }
    }
}

/// Why a cell has no turn.
fn not_run(excluded: &Excluded, cell: &Cell) -> Validity {
    let Some(checked) = excluded.get(cell) else { return Validity::NotRun };
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let said = match text(&checked.error_message) {
        message if message.is_empty() => text(&checked.error_class),
        message => message,
    };
    if excluded.is_unsupported(cell) { Validity::Unsupported(said) } else { Validity::Refused(said) }
}
