//! Charts: neutral figures, laid out once and drawn as SVG or PNG by the same code. Knows numbers and
//! names, nothing of plans, cells or statistics. Needs no system fonts and no C libraries.

mod bars;
mod figure;
mod forest;
mod frame;
mod heat;
mod ink;
mod lines;
mod panel;
mod png;
mod style;
pub(crate) mod svg;
#[cfg(test)]
pub(crate) mod tests;
mod timeline;

pub(crate) use figure::{
    Axis, Bar, BarFigure, BarPanel, Body, Bucket, Figure, ForestFigure, ForestPanel, ForestRow, Group, HeatFigure,
    HeatPanel, Join, Limit, Line, LineFigure, LinePanel, Point, Scale, Series, Span, TimelineFigure,
};
pub(crate) use style::BLOCKED;

/// A fault of this tool: numbers were there and could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ChartError(String);

/// A picture of a figure, at two pixels per CSS pixel. The same figure gives the same bytes.
///
/// # Errors
/// When the picture would be too large.
pub(crate) fn png(figure: &Figure) -> Result<Vec<u8>, ChartError> {
    png::render(figure)
}

/// The legend of a figure for a page: names, and the class of each colour.
pub(crate) fn legend(figure: &Figure) -> Vec<(String, String)> {
    let series = figure.series.iter().filter(|_| figure.series.len() > 1);
    series.map(|series| (series.name.clone(), format!("f{}", frame::paint(&figure.body, series).class()))).collect()
}

/// What the colours of a heat map go from and to, for a page.
pub(crate) fn scale(figure: &Figure) -> Option<(String, String)> {
    match &figure.body {
        Body::Heat(heat) => heat::ends(heat),
        _ => None,
    }
}
