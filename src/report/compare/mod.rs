//! What a comparison says, computed once, and a function per format. As in a report, formats touch no disk
//! and compute nothing.

mod json;
mod view;

pub(crate) use json::{json, schema};
pub(crate) use view::{About, CompareView, RowView, Side, build, side, tally};

use super::markdown::bounded;
use super::templates::Templates;
use super::{ReportError, html};

/// For a pull request, from `templates/compare.md`.
///
/// # Errors
/// When the template is wrong.
pub(crate) fn markdown(view: &CompareView, templates: &Templates) -> Result<Vec<u8>, ReportError> {
    let markdown = templates.render("compare.md", &Page { view, rows: view.rows_in_order() })?;
    Ok(bounded(markdown, "`compare --format json` prints all of it"))
}

/// A page, from `templates/compare.html`.
///
/// # Errors
/// When the template is wrong.
pub(crate) fn html(view: &CompareView, templates: &Templates) -> Result<Vec<u8>, ReportError> {
    html::comparison(&Page { view, rows: view.rows_in_order() }, templates)
}

/// What the templates know.
#[derive(serde::Serialize)]
pub(super) struct Page<'a> {
    pub(super) view: &'a CompareView,
    /// What needs an eye first.
    rows: Vec<&'a RowView>,
}
