//! The panels of a figure: number, size, and the code that draws one. Each panel has its own axes, so that it can be
//! placed anywhere.

use super::canvas::{Canvas, Position, TextStyle};
use super::figure::{Body, Figure};
use super::style::{PANEL_TITLE, Paint, fit};
use super::{bars, forest, heat, lines, timeline};

/// Returns the number of panels of a figure.
pub(super) fn count(body: &Body) -> usize {
    match body {
        Body::Bars(figure) => figure.panels.len(),
        Body::Heat(figure) => figure.panels.len(),
        Body::Lines(figure) => figure.panels.len(),
        Body::Forest(figure) => figure.panels.len(),
        Body::Timeline(figure) => usize::from(!figure.buckets.is_empty()),
    }
}

/// Measurements shared by all panels of a figure. They depend on every panel.
pub(super) struct Measured {
    /// Width and height of a panel; every panel has the size of the largest.
    pub(super) size: (f64, f64),
    scales: Scales,
}

/// Scales by kind of chart.
enum Scales {
    None,
    Bars(bars::Scales),
    Heat(heat::Scales),
    Lines(lines::Scales),
    Forest(forest::Scales),
}

/// Measures all panels of a figure.
pub(super) fn measure(figure: &Figure) -> Measured {
    let (size, scales) = match &figure.body {
        _ if count(&figure.body) == 0 => ((320.0, 60.0), Scales::None),
        Body::Bars(bars) => (bars::size(bars), Scales::Bars(bars::scales(bars))),
        Body::Heat(heat) => (heat::size(heat), Scales::Heat(heat::scales(heat))),
        Body::Lines(lines) => (lines::size(lines), Scales::Lines(lines::scales(lines))),
        Body::Forest(forest) => (forest::size(forest), Scales::Forest(forest::scales(forest))),
        Body::Timeline(_) => (timeline::SIZE, Scales::None),
    };
    Measured { size, scales }
}

/// Returns the title of a panel; may be empty.
pub(super) fn title(body: &Body, index: usize) -> &str {
    let title = match body {
        Body::Bars(figure) => figure.panels.get(index).map(|panel| &panel.title),
        Body::Heat(figure) => figure.panels.get(index).map(|panel| &panel.title),
        Body::Lines(figure) => figure.panels.get(index).map(|panel| &panel.title),
        Body::Forest(figure) => figure.panels.get(index).map(|panel| &panel.title),
        Body::Timeline(_) => None,
    };
    title.map_or("", String::as_str)
}

/// Draws one panel with its upper left corner at a point.
pub(super) fn draw(canvas: &mut Canvas, figure: &Figure, measured: &Measured, index: usize, at: Position) {
    let (width, height) = measured.size;
    if index >= count(&figure.body) {
        canvas.text("no data", at.0 + 8.0, at.1 + height / 2.0, TextStyle::new(PANEL_TITLE, Paint::Soft));
        return;
    }
    let name = fit(title(&figure.body, index), PANEL_TITLE, true, width - 4.0);
    canvas.text(&name, at.0 + 2.0, at.1 + 9.0, TextStyle::new(PANEL_TITLE, Paint::Ink).bold());
    match (&figure.body, &measured.scales) {
        (Body::Bars(bars), Scales::Bars(scales)) => bars::draw(canvas, bars, scales, &figure.series, index, at),
        (Body::Heat(heat), Scales::Heat(scales)) => heat::draw(canvas, heat, scales, index, at),
        (Body::Lines(lines), Scales::Lines(scales)) => lines::draw(canvas, lines, scales, &figure.series, index, at),
        (Body::Forest(forest), Scales::Forest(scales)) => {
            forest::draw(canvas, forest, scales, &figure.series, index, at);
        }
        (Body::Timeline(timeline), _) => timeline::draw(canvas, timeline, figure.series.len(), at),
        _ => {}
    }
    canvas.set_series(None);
}
