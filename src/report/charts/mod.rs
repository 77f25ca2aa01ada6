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
mod png;
mod split;
mod style;
pub(crate) mod svg;
#[cfg(test)]
pub(crate) mod tests;
mod timeline;

use crate::record::dir::PANELS_PER_PICTURE;
use std::ops::Range;

pub(crate) use figure::{
    Axis, Bar, BarFigure, BarPanel, Body, Bucket, Figure, ForestFigure, ForestPanel, ForestRow, Group, HeatFigure,
    HeatPanel, Join, Limit, Line, LineFigure, LinePanel, Point, Scale, Series, Span, TimelineFigure,
};
pub(crate) use style::BLOCKED;

pub(crate) use split::split;

/// Maximum number of pixels of a picture.
const MOST_PIXELS: f64 = 20e6;

/// Internal error: a figure could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ChartError(String);

impl ChartError {
    /// Creates the error for a picture with a zero side; lengths in CSS pixels.
    pub(crate) fn no_size(width: f64, height: f64) -> Self {
        Self(format!("{width} x {height} is no size of a picture"))
    }
}

/// Returns the number of panels, at least 1: a figure without panels gets one that states that there is no data.
pub(crate) fn panels_count(figure: &Figure) -> usize {
    panel::count(&figure.body).max(1)
}

/// Returns the number of pictures of a figure, with [`PANELS_PER_PICTURE`] panels each.
pub(crate) fn pictures_count(figure: &Figure) -> usize {
    panels_count(figure).div_ceil(PANELS_PER_PICTURE)
}

/// Returns the panel indices of a picture; `picture` is counted from 0.
pub(crate) fn panels_of_picture(figure: &Figure, picture: usize) -> Range<usize> {
    let first = picture * PANELS_PER_PICTURE;
    first..panels_count(figure).min(first + PANELS_PER_PICTURE)
}

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
