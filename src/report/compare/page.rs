//! The context of the templates of a comparison.

use super::view::{CompareView, RowView};

/// Context of the templates.
#[derive(serde::Serialize)]
pub(in crate::report) struct Page<'a> {
    pub(in crate::report) view: &'a CompareView,
    /// Rows in display order, those that need attention first.
    pub(super) rows: Vec<&'a RowView>,
}
