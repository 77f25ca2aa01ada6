//! Charts: neutral figures, laid out once and drawn as SVG or PNG by the same code. This module knows numbers and names
//! only, not plans, cells or statistics. It needs no system fonts and no C libraries.

mod bars;
mod canvas;
mod figure;
mod forest;
mod frame;
mod heat;
mod lines;
mod panel;
mod pictures;
mod png;
mod split;
mod style;
pub(crate) mod svg;
#[cfg(test)]
pub(crate) mod tests;
mod timeline;

pub(crate) use figure::{
    Axis, Bar, BarFigure, BarPanel, Body, Bucket, Figure, ForestFigure, ForestPanel, ForestRow, Group, HeatFigure,
    HeatPanel, Join, Limit, Line, LineFigure, LinePanel, Point, Scale, Series, Span, TimelineFigure,
};
pub(crate) use pictures::{ChartError, panels_count, panels_of_picture, pictures_count};
pub(crate) use style::BLOCKED;

pub(crate) use split::split;

/// Renders a picture of a figure as PNG; `picture` is counted from 0. The scale is two pixels per CSS pixel, or fewer
/// if the picture would exceed 20 megapixels. The output is deterministic.
///
/// # Errors
/// If the picture has no size.
pub(crate) fn png(figure: &Figure, picture: usize) -> Result<Vec<u8>, ChartError> {
    png::render(figure, picture)
}

/// Returns the legend of a figure for a page: names, each with the CSS class of its colour.
pub(crate) fn legend(figure: &Figure) -> Vec<(String, String)> {
    let series = figure.series.iter().filter(|_| figure.series.len() > 1);
    series.map(|series| (series.name.clone(), format!("f{}", frame::paint(&figure.body, series).class()))).collect()
}

/// Returns the ends of the colour scale of a heat map, for a page.
pub(crate) fn scale(figure: &Figure) -> Option<(String, String)> {
    match &figure.body {
        Body::Heat(heat) => heat::ends(heat),
        _ => None,
    }
}
