//! Panels of grouped bars with whiskers, on one scale that begins at zero.

use super::ChartError;
use super::figure::{Bar, BarFigure, BarPanel, Group};
use super::frame::Place;
use super::ink::{Ink, Type};
use super::style::{GRID, INK, LABEL, PANEL_TITLE, PANEL_TITLE_ROOM, SOFT, fit, series, tick_text, ticks, width};
use plotters::prelude::DrawingBackend;

/// Room for the axis at the left of a row.
pub(super) const AXIS: f64 = 64.0;
const LABEL_ROOM: f64 = 24.0;
const PLOT: f64 = 230.0;
const GROUP_GAP: f64 = 18.0;

/// Every panel has the size of the largest.
pub(super) fn panel_size(figure: &BarFigure) -> (f64, f64) {
    let slot = slot(figure);
    let width = |panel: &BarPanel| panel.groups.iter().map(|group| group_width(group, slot)).sum::<f64>() + GROUP_GAP;
    let title = |panel: &BarPanel| super::style::width(&panel.title, PANEL_TITLE, true).min(420.0);
    let widest = figure.panels.iter().map(|panel| width(panel).max(title(panel))).fold(240.0, f64::max);
    (widest, PANEL_TITLE_ROOM + PLOT + LABEL_ROOM)
}

/// The room of a bar: the more there are, the narrower.
fn slot(figure: &BarFigure) -> f64 {
    let bars = |panel: &BarPanel| panel.groups.iter().map(|group| group.bars.len()).sum::<usize>();
    match figure.panels.iter().map(bars).max().unwrap_or(0) {
        0..=12 => 46.0,
        13..=24 => 34.0,
        25..=60 => 20.0,
        _ => 9.0,
    }
}

fn group_width(group: &Group, slot: f64) -> f64 {
    let label = width(&group.label, LABEL, false).min(140.0);
    (group.bars.len() as f64 * slot).max(label) + GROUP_GAP
}

pub(super) fn draw<DB: DrawingBackend>(
    ink: &Ink<DB>,
    figure: &BarFigure,
    place: impl Fn(usize) -> Place,
) -> Result<(), ChartError> {
    let bars =
        || figure.panels.iter().flat_map(|panel| &panel.groups).flat_map(|group| &group.bars).map(|(_, bar)| bar);
    let tops = bars().flat_map(|bar| [bar.value, bar.interval.and_then(|(_, high)| high)]).flatten();
    let highest = tops.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let ticks = ticks(highest * 1.08);
    let slot = slot(figure);
    if figure.panels.is_empty() {
        let at = place(0);
        return ink.text("no data", at.left, at.top + at.height / 2.0, Type::new(PANEL_TITLE, SOFT));
    }
    for (index, panel) in figure.panels.iter().enumerate() {
        let at = place(index);
        axis(ink, &figure.unit, &ticks, at)?;
        one_panel(ink, panel, slot, at, *ticks.last().unwrap_or(&1.0))?;
    }
    Ok(())
}

/// The y of a value.
fn height_of(value: f64, at: Place, top_value: f64) -> f64 {
    at.top + PANEL_TITLE_ROOM + PLOT * (1.0 - (value / top_value).clamp(0.0, 1.0))
}

fn axis<DB: DrawingBackend>(ink: &Ink<DB>, unit: &str, ticks: &[f64], at: Place) -> Result<(), ChartError> {
    let top_value = *ticks.last().unwrap_or(&1.0);
    let step = ticks.get(1).copied().unwrap_or(1.0);
    for tick in ticks {
        let y = height_of(*tick, at, top_value);
        let colour = if *tick == 0.0 { SOFT } else { GRID };
        ink.line((at.left, y), (at.left + at.width, y), 1.0, colour)?;
        if at.first {
            ink.text(&tick_text(*tick, step), at.left - 8.0, y, Type::new(LABEL, SOFT).right())?;
        }
    }
    if at.first {
        let middle = at.top + PANEL_TITLE_ROOM + PLOT / 2.0;
        ink.text(unit, at.left - AXIS + 8.0, middle, Type::new(LABEL, SOFT).centred().upright())?;
    }
    Ok(())
}

fn one_panel<DB: DrawingBackend>(
    ink: &Ink<DB>,
    panel: &BarPanel,
    slot: f64,
    at: Place,
    top_value: f64,
) -> Result<(), ChartError> {
    ink.text(
        &fit(&panel.title, PANEL_TITLE, true, at.width),
        at.left,
        at.top + 8.0,
        Type::new(PANEL_TITLE, INK).bold(),
    )?;
    let used: f64 = panel.groups.iter().map(|group| group_width(group, slot)).sum();
    let mut left = at.left + (at.width - used) / 2.0;
    let base = height_of(0.0, at, top_value);
    for group in &panel.groups {
        let room = group_width(group, slot);
        let mut bar_left = left + (room - group.bars.len() as f64 * slot) / 2.0;
        for (of, bar) in &group.bars {
            one_bar(ink, *of, bar, bar_left, slot, (base, at, top_value))?;
            bar_left += slot;
        }
        let label = fit(&group.label, LABEL, false, room - 4.0);
        ink.text(&label, left + room / 2.0, base + 12.0, Type::new(LABEL, INK).centred())?;
        left += room;
    }
    Ok(())
}

fn one_bar<DB: DrawingBackend>(
    ink: &Ink<DB>,
    of: usize,
    bar: &Bar,
    left: f64,
    slot: f64,
    (base, at, top_value): (f64, Place, f64),
) -> Result<(), ChartError> {
    let middle = left + slot / 2.0;
    let mut top = base;
    if let Some(value) = bar.value {
        top = height_of(value, at, top_value);
        let gap = (slot * 0.08).min(3.0);
        ink.block(left + gap, top, slot - 2.0 * gap, (base - top).max(0.75), series(of))?;
    }
    if let Some((low, high)) = bar.interval {
        let upper = high.map_or(at.top + PANEL_TITLE_ROOM, |high| height_of(high, at, top_value));
        let lower = height_of(low, at, top_value);
        let cap = (slot * 0.16).min(5.0);
        ink.line((middle, lower), (middle, upper), 1.25, INK)?;
        ink.line((middle - cap, lower), (middle + cap, lower), 1.25, INK)?;
        match high {
            Some(_) => ink.line((middle - cap, upper), (middle + cap, upper), 1.25, INK)?,
            None => ink.arrow(middle, upper, INK)?,
        }
        top = top.min(upper);
    }
    // Where the whole reason has no room, its first words have.
    let short = bar.label.split(" (").next().unwrap_or_default();
    let label = [bar.label.as_str(), short].into_iter().find(|label| width(label, LABEL - 1.0, false) <= slot + 2.0);
    if let Some(label) = label {
        let colour = if bar.value.is_some() { INK } else { SOFT };
        ink.text(label, middle, top - 8.0, Type::new(LABEL - 1.0, colour).centred())?;
    }
    Ok(())
}
