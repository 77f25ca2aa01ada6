//! What people see while and after a run. State becomes lines (pure), lines go to a terminal; where
//! there is none, plain lines go to stderr now and then. Knows report's view and units.

mod bar;
mod block;
pub(crate) mod compare;
mod display;
pub(crate) mod paint;
mod plain;
pub(crate) mod plan;
pub(crate) mod table;

pub(crate) use block::{Done, Phase, State};
pub(crate) use display::{Display, DisplayFailure, Handle, Mode};

/// Columns to use for tables: the terminal's, or 100 where there is none.
pub(crate) fn width() -> usize {
    console::Term::stdout().size_checked().map_or(100, |(_, columns)| usize::from(columns).max(60))
}
