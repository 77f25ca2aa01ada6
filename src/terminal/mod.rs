//! Terminal output during and after a run: pure functions format the state as lines, a thread displays them. Without a
//! terminal, log lines go to stderr. Uses the view of `report`, and units.

mod bar;
mod block;
pub(crate) mod compare;
mod display;
pub(crate) mod paint;
mod plain;
pub(crate) mod plan;
mod progress_view;
pub(crate) mod table;

pub(crate) use block::{FinishedCell, Phase, ProgressState};
pub(crate) use display::{Display, DisplayFailure, DisplayHandle, DisplayMode};

/// Returns the width for tables: that of the terminal, or 100 columns.
pub(crate) fn width() -> usize {
    console::Term::stdout().size_checked().map_or(100, |(_, columns)| usize::from(columns).max(60))
}
