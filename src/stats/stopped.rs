//! Cause of an incomplete cell. Incomplete cells are not compared: the cause (a slow tier that failed a threshold, an
//! expensive tier that exhausted the budget) depends on what would be compared.

use crate::record::manifest::{CellRunEnd, CellRunReport};

/// Cause of an incomplete cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// `abort_on_fail`.
    Threshold,
    /// `[abort]`: the first requests were refused, or nearly all failed.
    AbortRule,
    /// A signal, or the end of the process.
    Interrupted,
    /// `[budget]`.
    Budget,
    /// The credentials were lost.
    Credentials,
    /// The daily token quota of the model is exhausted.
    DailyQuota,
    /// A planned repetition, or its last attempt, has neither a report nor records.
    Unfinished,
}

impl Stopped {
    /// Returns the cause; `None` if all planned repetitions are complete. `turns` are the last attempts.
    pub(super) fn from_turns(turns: &[CellRunReport], planned: usize) -> Option<Self> {
        let has = |end: CellRunEnd| turns.iter().any(|turn| turn.end == end);
        // Resumable causes take precedence.
        let causes = [
            (has(CellRunEnd::Interrupted), Self::Interrupted),
            (has(CellRunEnd::OutOfBudget), Self::Budget),
            (has(CellRunEnd::LostCredentials), Self::Credentials),
            (has(CellRunEnd::DailyQuota), Self::DailyQuota),
            (turns.len() < planned, Self::Unfinished),
            (has(CellRunEnd::Aborted), Self::AbortRule),
            (has(CellRunEnd::FailedEarly), Self::Threshold),
        ];
        causes.into_iter().find_map(|(holds, cause)| holds.then_some(cause))
    }

    /// Returns whether `run --resume` runs the cell again.
    pub(crate) fn is_resumable(self) -> bool {
        !matches!(self, Self::Threshold | Self::AbortRule)
    }

    /// Continues a sentence about a cell: `was interrupted`.
    pub(crate) fn predicate(self) -> &'static str {
        match self {
            Self::Threshold => "was ended early by a threshold (abort_on_fail)",
            Self::AbortRule => "was stopped early",
            Self::Interrupted => "was interrupted",
            Self::Budget => "was stopped by the budget",
            Self::Credentials => "was stopped because the credentials were lost",
            Self::DailyQuota => "was stopped because the daily token quota is exhausted",
            Self::Unfinished => "is missing a repetition",
        }
    }
}
