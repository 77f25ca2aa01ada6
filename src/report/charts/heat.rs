//! Panels of coloured squares on one scale, each square with its number.

use super::canvas::{Canvas, Position, TextStyle};
use super::figure::{HeatFigure, HeatPanel};
use super::style::{HEAT_STEPS, LABEL, PANEL_TITLE, PANEL_TITLE_ROOM, Paint, fit, width};

const LABEL_ROOM: f64 = 22.0;
const SQUARE: (f64, f64) = (92.0, 54.0);

/// Returns the size of a panel. Every panel has the size of the largest.
pub(super) fn size(figure: &HeatFigure) -> (f64, f64) {
    let most = |count: fn(&HeatPanel) -> usize| figure.panels.iter().map(count).max().unwrap_or(1).max(1) as f64;
    let wide = names_room(figure) + most(|panel| panel.columns.len()) * SQUARE.0;
    let titles = figure.panels.iter().map(|panel| width(&panel.title, PANEL_TITLE, true)).fold(0.0, f64::max);
    let high = PANEL_TITLE_ROOM + most(|panel| panel.rows.len()) * SQUARE.1 + LABEL_ROOM;
    (wide.max(titles.min(420.0)), high)
}

/// Returns the width reserved for the row labels.
fn names_room(figure: &HeatFigure) -> f64 {
    let names = figure.panels.iter().flat_map(|panel| &panel.rows);
    names.map(|name| width(name, LABEL, false)).fold(20.0, f64::max).min(150.0) + 10.0
}

/// Returns the lowest and the highest value.
fn extremes(figure: &HeatFigure) -> Option<(f64, f64)> {
    let values = figure.panels.iter().flat_map(|panel| &panel.squares).filter_map(|(_, _, bar)| bar.value);
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    low.is_finite().then_some((low, high))
}

/// Returns the ends of the colour scale, with the unit.
pub(super) fn ends(figure: &HeatFigure) -> Option<(String, String)> {
    let (low, high) = extremes(figure)?;
    let number = crate::report::view::text::ms;
    Some((format!("{}: {}", figure.unit, number(low)), number(high)))
}

/// Measurements that all panels share.
pub(super) struct Scales {
    /// Width reserved for the row labels.
    names: f64,
    /// Lowest and highest value.
    extremes: Option<(f64, f64)>,
}

pub(super) fn scales(figure: &HeatFigure) -> Scales {
    Scales { names: names_room(figure), extremes: extremes(figure) }
}

pub(super) fn draw(canvas: &mut Canvas, figure: &HeatFigure, scales: &Scales, index: usize, at: Position) {
    let panel = &figure.panels[index];
    let step = |value: f64| match scales.extremes {
        Some((low, high)) if high > low => ((value - low) / (high - low) * HEAT_STEPS as f64).round() as usize,
        _ => HEAT_STEPS / 2,
    };
    let names = scales.names;
    let corner = |row: usize, column: usize| {
        (at.0 + names + column as f64 * SQUARE.0, at.1 + PANEL_TITLE_ROOM + row as f64 * SQUARE.1)
    };
    for (row, column, bar) in &panel.squares {
        let (x, y) = corner(*row, *column);
        let area = [x + 1.0, y + 1.0, SQUARE.0 - 2.0, SQUARE.1 - 2.0];
        let paint = bar.value.map_or(Paint::Grid, |value| Paint::Heat(step(value)));
        canvas.block(area[0], area[1], area[2], area[3], paint);
        let text = fit(&bar.label, PANEL_TITLE, false, SQUARE.0 - 8.0);
        let style = TextStyle::new(PANEL_TITLE, paint.readable_on()).centred();
        if bar.value.is_none() || bar.is_unreliable {
            canvas.hatch(area, Paint::Paper);
            // A background behind the number keeps it readable.
            let room = width(&text, PANEL_TITLE, false) + 8.0;
            canvas.block(x + (SQUARE.0 - room) / 2.0, y + SQUARE.1 / 2.0 - 9.0, room, 18.0, paint);
        }
        canvas.text(&text, x + SQUARE.0 / 2.0, y + SQUARE.1 / 2.0, style);
        canvas.mark(area, &bar.tooltip);
    }
    for (row, name) in panel.rows.iter().enumerate() {
        let (x, y) = corner(row, 0);
        let name = fit(name, LABEL, false, names - 10.0);
        canvas.text(&name, x - 8.0, y + SQUARE.1 / 2.0, TextStyle::new(LABEL, Paint::Ink).right());
    }
    for (column, name) in panel.columns.iter().enumerate() {
        let (x, y) = corner(panel.rows.len(), column);
        let name = fit(name, LABEL, false, SQUARE.0 - 6.0);
        canvas.text(&name, x + SQUARE.0 / 2.0, y + 12.0, TextStyle::new(LABEL, Paint::Ink).centred());
    }
}
