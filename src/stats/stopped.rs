//! Whether a cell ran as long as its plan says. One that did not is not compared with others: what stopped it (a slow
//! tier that broke a threshold, a budget that a dear tier used up) depends on what would be compared.

use super::summary::CellSummary;
use super::validity::Validity;
use crate::record::manifest::{TurnEnd, TurnReport};

/// What left a cell incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// `abort_on_fail`.
    Threshold,
    /// `[abort]`: its first requests were refused, or nearly all failed.
    AbortRule,
    /// A signal, or the end of the process.
    Interrupted,
    /// `[budget]`.
    Budget,
    /// Requests could no longer be signed.
    Credentials,
    /// The daily token quota of the model.
    DailyQuota,
    /// A planned repetition, or its last attempt, has no end and no record.
    Unfinished,
}

impl Stopped {
    /// Returns what stopped a cell; `None` if each of its planned repetitions came to its end. `turns` are those of the
    /// last attempts.
    pub(super) fn from_turns(turns: &[TurnReport], planned: usize) -> Option<Self> {
        let has = |end: TurnEnd| turns.iter().any(|turn| turn.end == end);
        // A cell that can be completed is called so, whatever else ended it.
        let causes = [
            (has(TurnEnd::Interrupted), Self::Interrupted),
            (has(TurnEnd::OutOfBudget), Self::Budget),
            (has(TurnEnd::LostCredentials), Self::Credentials),
            (has(TurnEnd::DailyQuota), Self::DailyQuota),
            (turns.len() < planned, Self::Unfinished),
            (has(TurnEnd::Aborted), Self::AbortRule),
            (has(TurnEnd::FailedEarly), Self::Threshold),
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
            Self::Credentials => "was stopped, since the credentials were lost",
            Self::DailyQuota => "was stopped, since the daily token quota is used up",
            Self::Unfinished => "lacks a repetition",
        }
    }
}

impl CellSummary {
    /// Returns why the cell is compared with no other cell, as a predicate: `is INVALID`.
    pub(crate) fn incomparable(&self) -> Option<String> {
        let excluded = match &self.validity {
            Validity::NotRun => "was not run".into(),
            Validity::Unsupported(why) | Validity::Refused(why) => format!("was left out: {why}"),
            Validity::Aborted => Stopped::AbortRule.predicate().into(),
            Validity::Invalid(_) => "is INVALID".into(),
            Validity::Ok => match (self.stopped, self.doubt()) {
                (Some(stopped), _) => stopped.predicate().into(),
                (None, Some(why)) => return Some(format!("is doubtful: {why}")),
                (None, None) => return None,
            },
        };
        Some(excluded)
    }
}
