//! The content of a comparison, computed once, and one function per format. As in a report, formats do not access the
//! disk and compute nothing.

mod json;
mod page;
mod view;

pub(crate) use json::{json, schema};
pub(super) use page::Page;
pub(crate) use view::{About, CompareView, RowView, build, side, tally};

use super::markdown::bounded;
use super::templates::Templates;
use super::{ReportError, html};

/// Renders Markdown for a pull request from `templates/compare.md`.
///
/// # Errors
/// If the template has an error.
pub(crate) fn markdown(view: &CompareView, templates: &Templates) -> Result<Vec<u8>, ReportError> {
    let markdown = templates.render("compare.md", &Page { view, rows: view.rows_in_order() })?;
    Ok(bounded(markdown, "`compare --format json` prints all of it"))
}

/// Renders a page from `templates/compare.html`.
///
/// # Errors
/// If the template has an error.
pub(crate) fn html(view: &CompareView, templates: &Templates) -> Result<Vec<u8>, ReportError> {
    html::comparison(&Page { view, rows: view.rows_in_order() }, templates)
}
