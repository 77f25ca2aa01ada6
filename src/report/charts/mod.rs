//! Charts: neutral figures, laid out once and drawn as SVG or PNG by the same code. Knows numbers and
//! names, nothing of plans, cells or statistics. Needs no system fonts and no C libraries.

mod bars;
mod figure;
mod frame;
mod heat;
mod ink;
mod png;
mod style;
#[cfg(test)]
pub(crate) mod svg;

pub(crate) use figure::{Bar, BarFigure, BarPanel, Body, Figure, Group, HeatFigure, HeatPanel};

/// A fault of this tool: numbers were there and could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ChartError(String);

/// A picture of a figure, at two pixels per CSS pixel. The same figure gives the same bytes.
///
/// # Errors
/// When the drawing library refuses.
pub(crate) fn png(figure: &Figure) -> Result<Vec<u8>, ChartError> {
    png::render(figure)
}
