//! `charts/*.png`: the five charts of the old tool.

use super::templates::Templates;
use super::view::View;
use super::{Rendered, ReportError, charts};

/// One picture per chart.
pub(super) fn render(view: &View, _: &Templates) -> Result<Vec<Rendered>, ReportError> {
    view.charts
        .iter()
        .map(|(stem, figure)| Ok(Rendered { path: format!("charts/{stem}.png").into(), bytes: charts::png(figure)? }))
        .collect()
}
