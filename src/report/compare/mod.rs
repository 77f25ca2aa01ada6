//! What a comparison says, computed once, and a function per format. As in a report, formats touch no disk
//! and compute nothing.

mod view;

pub(crate) use view::{About, CompareView, RowView, Side, build, side, tally};
