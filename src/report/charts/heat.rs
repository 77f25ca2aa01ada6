//! Panels of coloured squares with their number in each, on one scale with a colour bar.

use super::ChartError;
use super::figure::{HeatFigure, HeatPanel};
use super::frame::Place;
use super::ink::{Ink, Type};
use super::style::{GRID, INK, LABEL, PANEL_TITLE, PANEL_TITLE_ROOM, SOFT, fit, heat, readable_on, width};
use plotters::prelude::DrawingBackend;

const LABEL_ROOM: f64 = 22.0;
const SQUARE: (f64, f64) = (92.0, 54.0);
const BAR: (f64, f64) = (16.0, 190.0);
/// Room at the right for the colour bar with its labels.
pub(super) const SIDE: f64 = 110.0;

/// Every panel has the size of the largest.
pub(super) fn panel_size(figure: &HeatFigure) -> (f64, f64) {
    let most = |count: fn(&HeatPanel) -> usize| figure.panels.iter().map(count).max().unwrap_or(1).max(1) as f64;
    let wide = rows_room(figure) + most(|panel| panel.columns.len()) * SQUARE.0;
    let high = PANEL_TITLE_ROOM + most(|panel| panel.rows.len()) * SQUARE.1 + LABEL_ROOM;
    (wide, high.max(PANEL_TITLE_ROOM + BAR.1))
}

/// Room for the names of the rows.
fn rows_room(figure: &HeatFigure) -> f64 {
    let names = figure.panels.iter().flat_map(|panel| &panel.rows);
    names.map(|name| width(name, LABEL, false)).fold(20.0, f64::max).min(150.0) + 10.0
}

pub(super) fn draw<DB: DrawingBackend>(
    ink: &Ink<DB>,
    figure: &HeatFigure,
    place: impl Fn(usize) -> Place,
) -> Result<(), ChartError> {
    let values = figure.panels.iter().flat_map(|panel| &panel.squares).filter_map(|(_, _, bar)| bar.value);
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if !low.is_finite() {
        let at = place(0);
        return ink.text("no data", at.left, at.top + at.height / 2.0, Type::new(PANEL_TITLE, SOFT));
    }
    let share = |value: f64| if high > low { (value - low) / (high - low) } else { 0.5 };
    let names = rows_room(figure);
    for (index, panel) in figure.panels.iter().enumerate() {
        let at = place(index);
        // The axis' room at the left is a bar chart's: here the names of the rows are inside.
        let left = at.left - super::bars::AXIS + names;
        ink.text(
            &fit(&panel.title, PANEL_TITLE, true, at.width),
            left - names,
            at.top + 8.0,
            Type::new(PANEL_TITLE, INK).bold(),
        )?;
        let corner = |row: usize, column: usize| {
            (left + column as f64 * SQUARE.0, at.top + PANEL_TITLE_ROOM + row as f64 * SQUARE.1)
        };
        for (row, column, bar) in &panel.squares {
            let (x, y) = corner(*row, *column);
            let colour = bar.value.map_or(GRID, |value| heat(share(value)));
            ink.block(x + 1.0, y + 1.0, SQUARE.0 - 2.0, SQUARE.1 - 2.0, colour)?;
            let text = fit(&bar.label, PANEL_TITLE, false, SQUARE.0 - 8.0);
            ink.text(
                &text,
                x + SQUARE.0 / 2.0,
                y + SQUARE.1 / 2.0,
                Type::new(PANEL_TITLE, readable_on(colour)).centred(),
            )?;
        }
        for (row, name) in panel.rows.iter().enumerate() {
            let (x, y) = corner(row, 0);
            ink.text(
                &fit(name, LABEL, false, names - 10.0),
                x - 8.0,
                y + SQUARE.1 / 2.0,
                Type::new(LABEL, INK).right(),
            )?;
        }
        for (column, name) in panel.columns.iter().enumerate() {
            let (x, y) = corner(panel.rows.len(), column);
            ink.text(
                &fit(name, LABEL, false, SQUARE.0 - 6.0),
                x + SQUARE.0 / 2.0,
                y + 12.0,
                Type::new(LABEL, INK).centred(),
            )?;
        }
    }
    let first = place(0);
    let panels_end = (0..figure.panels.len()).map(|index| place(index).left + place(index).width).fold(0.0, f64::max);
    let left = panels_end - super::bars::AXIS + 44.0;
    colour_bar(ink, &figure.unit, low, high, left, first.top + PANEL_TITLE_ROOM)
}

fn colour_bar<DB: DrawingBackend>(
    ink: &Ink<DB>,
    unit: &str,
    low: f64,
    high: f64,
    left: f64,
    top: f64,
) -> Result<(), ChartError> {
    const STEPS: usize = 64;
    for step in 0..STEPS {
        let share = step as f64 / (STEPS - 1) as f64;
        let y = top + BAR.1 * (1.0 - (step + 1) as f64 / STEPS as f64);
        ink.block(left, y, BAR.0, BAR.1 / STEPS as f64 + 0.5, heat(share))?;
    }
    let marks = if high > low { vec![low, f64::midpoint(low, high), high] } else { vec![low] };
    for mark in marks {
        let share = if high > low { (mark - low) / (high - low) } else { 0.5 };
        let y = top + BAR.1 * (1.0 - share);
        ink.line((left + BAR.0, y), (left + BAR.0 + 4.0, y), 1.0, SOFT)?;
        ink.text(&crate::report::view::text::ms(mark), left + BAR.0 + 8.0, y, Type::new(LABEL, SOFT))?;
    }
    ink.text(unit, left - 10.0, top + BAR.1 / 2.0, Type::new(LABEL, SOFT).centred().upright())
}
