//! The panels of a figure: how many, how large, and the code that draws one. Each has axes of its own,
//! so that it can stand anywhere.

use super::figure::{Body, Figure};
use super::ink::{Ink, Spot, Type};
use super::style::{PANEL_TITLE, Paint, fit};
use super::{bars, forest, heat, lines, timeline};

/// How many panels a figure has.
pub(super) fn count(body: &Body) -> usize {
    match body {
        Body::Bars(figure) => figure.panels.len(),
        Body::Heat(figure) => figure.panels.len(),
        Body::Lines(figure) => figure.panels.len(),
        Body::Forest(figure) => figure.panels.len(),
        Body::Timeline(figure) => usize::from(!figure.buckets.is_empty()),
    }
}

/// Every panel has the size of the largest: width and height.
pub(super) fn size(figure: &Figure) -> (f64, f64) {
    match &figure.body {
        _ if count(&figure.body) == 0 => (320.0, 60.0),
        Body::Bars(bars) => bars::size(bars),
        Body::Heat(heat) => heat::size(heat),
        Body::Lines(lines) => lines::size(lines),
        Body::Forest(forest) => forest::size(forest),
        Body::Timeline(_) => timeline::SIZE,
    }
}

/// What a panel is called; may be empty.
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

/// Draws one panel with its upper left corner at a spot.
pub(super) fn draw(ink: &mut Ink, figure: &Figure, index: usize, at: Spot) {
    let (width, height) = size(figure);
    if index >= count(&figure.body) {
        ink.text("no data", at.0 + 8.0, at.1 + height / 2.0, Type::new(PANEL_TITLE, Paint::Soft));
        return;
    }
    let name = fit(title(&figure.body, index), PANEL_TITLE, true, width - 4.0);
    ink.text(&name, at.0 + 2.0, at.1 + 9.0, Type::new(PANEL_TITLE, Paint::Ink).bold());
    match &figure.body {
        Body::Bars(bars) => bars::draw(ink, bars, &figure.series, index, at),
        Body::Heat(heat) => heat::draw(ink, heat, index, at),
        Body::Lines(lines) => lines::draw(ink, lines, &figure.series, index, at),
        Body::Forest(forest) => forest::draw(ink, forest, &figure.series, index, at),
        Body::Timeline(timeline) => timeline::draw(ink, timeline, figure.series.len(), at),
    }
    ink.of(None);
}
