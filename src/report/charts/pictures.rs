//! The pictures of a figure: how many there are, and which panels each contains.

use super::figure::Figure;
use super::panel;
use crate::record::dir::PANELS_PER_PICTURE;
use std::ops::Range;

/// Maximum number of pixels of a picture.
pub(super) const MOST_PIXELS: f64 = 20e6;

/// Internal error: a figure could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ChartError(pub(super) String);

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
