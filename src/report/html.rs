//! `test_{id}_report.html`: a page per cell, from `templates/cell.html`.

use super::templates::Templates;
use super::view::{CellView, RunView, TierView, View};
use super::{Rendered, ReportError};
use serde::Serialize;

/// What the template knows.
#[derive(Serialize)]
struct Page<'a> {
    run: &'a RunView,
    cell: &'a CellView,
    /// It against `default`.
    tier: Option<&'a TierView>,
    /// How to read that.
    caption: &'a str,
}

/// One page per cell.
pub(super) fn render(view: &View, templates: &Templates) -> Result<Vec<Rendered>, ReportError> {
    view.cells
        .iter()
        .map(|cell| {
            let tier = view.tiers.tiers.iter().find(|tier| tier.id == cell.id);
            let page = Page { run: &view.run, cell, tier, caption: &view.tiers.caption };
            let path = format!("test_{}_report.html", cell.id).into();
            Ok(Rendered { path, bytes: templates.render("cell.html", &page)? })
        })
        .collect()
}
