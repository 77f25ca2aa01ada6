//! `charts/*.png` and `charts/*.svg`: every chart of a run, including the five of the original tool.

use super::charts::{self, ChartError, Figure};
use super::templates::Templates;
use super::view::View;
use super::{Rendered, ReportError};
use crate::record::dir::picture_name;

/// Renders each chart as PNG pictures and as SVG. A picture that cannot be drawn does not prevent the others.
pub(super) fn render(view: &View, _: &Templates) -> Result<Vec<Rendered>, ReportError> {
    draw(view, charts::png)
}

/// Renders charts as [`render`] does, with the given function that draws a picture of a figure.
pub(super) fn draw(
    view: &View,
    png: impl Fn(&Figure, usize) -> Result<Vec<u8>, ChartError>,
) -> Result<Vec<Rendered>, ReportError> {
    let (mut drawn, mut failed) = (Vec::new(), Vec::new());
    for (stem, figure) in &view.charts {
        for picture in 0..charts::pictures_count(figure) {
            let name = picture_name(stem, picture);
            match png(figure, picture) {
                Ok(bytes) => drawn.push(Rendered { path: format!("{name}.png").into(), bytes }),
                Err(error) => failed.push(format!("{name}.png: {error}")),
            }
            let bytes = charts::svg::file(figure, picture).into_bytes();
            drawn.push(Rendered { path: format!("{name}.svg").into(), bytes });
        }
    }
    if failed.is_empty() { Ok(drawn) } else { Err(ReportError::Pictures { drawn, failed }) }
}
