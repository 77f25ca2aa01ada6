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

/// The most pixels of a picture.
const MOST_PIXELS: f64 = 20e6;

/// A fault of this tool: numbers were there and could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ChartError(String);

impl ChartError {
    /// A picture with a side of no length, CSS pixels.
    pub(crate) fn no_size(width: f64, height: f64) -> Self {
        Self(format!("{width} x {height} is no size of a picture"))
    }
}

/// How many panels a figure has, one at least: a figure without any has one that says so.
pub(crate) fn panels_count(figure: &Figure) -> usize {
    panel::count(&figure.body).max(1)
}

/// How many pictures a figure takes, at [`PANELS_PER_PICTURE`] panels each.
pub(crate) fn pictures_count(figure: &Figure) -> usize {
    panels_count(figure).div_ceil(PANELS_PER_PICTURE)
}

/// The panels of a picture of a figure, which is counted from 0.
pub(crate) fn panels_of_picture(figure: &Figure, picture: usize) -> Range<usize> {
    let first = picture * PANELS_PER_PICTURE;
    first..panels_count(figure).min(first + PANELS_PER_PICTURE)
}

/// A picture of a figure, counted from 0, at two pixels per CSS pixel, and fewer where it would have more than 20
/// megapixels. The same figure gives the same bytes.
///
/// # Errors
/// When it has no size.
pub(crate) fn png(figure: &Figure, picture: usize) -> Result<Vec<u8>, ChartError> {
    png::render(figure, picture)
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
