//! `charts/*.png` and `charts/*.svg`: every chart of a run, the five of the old tool among them.

use super::templates::Templates;
use super::view::View;
use super::{Rendered, ReportError, charts};

/// Each chart as a picture, and as SVG.
pub(super) fn render(view: &View, _: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let mut files = Vec::new();
    for (stem, figure) in &view.charts {
        files.push(Rendered { path: format!("charts/{stem}.png").into(), bytes: charts::png(figure)? });
        files.push(Rendered {
            path: format!("charts/{stem}.svg").into(),
            bytes: charts::svg::file(figure).into_bytes(),
        });
    }
    Ok(files)
}
