//! Panels of grouped bars with whiskers, on one scale from zero.

use super::canvas::{Canvas, Position, TextStyle};
use super::figure::{Bar, BarFigure, BarPanel, Group, Series};
use super::style::{LABEL, PANEL_TITLE, PANEL_TITLE_ROOM, Paint, fit, tick_text, ticks, width};

/// Width reserved for the axis on the left.
const AXIS: f64 = 62.0;
const LABEL_ROOM: f64 = 24.0;
const PLOT: f64 = 220.0;
const GROUP_GAP: f64 = 18.0;

/// Returns the size of a panel. Every panel has the size of the largest.
pub(super) fn size(figure: &BarFigure) -> (f64, f64) {
    let slot = slot(figure);
    let used = |panel: &BarPanel| panel.groups.iter().map(|group| group_width(group, slot)).sum::<f64>() + GROUP_GAP;
    let title = |panel: &BarPanel| width(&panel.title, PANEL_TITLE, true).min(420.0) - AXIS;
    let widest = figure.panels.iter().map(|panel| used(panel).max(title(panel))).fold(240.0, f64::max);
    (AXIS + widest, PANEL_TITLE_ROOM + PLOT + LABEL_ROOM)
}

/// Returns the width per bar, which shrinks with the number of bars.
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

/// Position of a panel's plot area, and the value at its top.
struct Plot {
    left: f64,
    top: f64,
    width: f64,
    highest: f64,
}

impl Plot {
    fn y(&self, value: f64) -> f64 {
        self.top + PLOT * (1.0 - (value / self.highest).clamp(0.0, 1.0))
    }
}

/// Measurements that all panels share.
pub(super) struct Scales {
    /// Width of a panel.
    width: f64,
    /// See [`slot`].
    slot: f64,
    ticks: Vec<f64>,
}

pub(super) fn scales(figure: &BarFigure) -> Scales {
    let bars =
        || figure.panels.iter().flat_map(|panel| &panel.groups).flat_map(|group| &group.bars).map(|(_, bar)| bar);
    let tops = bars().filter_map(|bar| bar.value);
    let highest = tops.filter(|value| value.is_finite()).fold(0.0, f64::max);
    // 8 % headroom for the numbers above the bars.
    Scales { width: size(figure).0, slot: slot(figure), ticks: ticks(highest * 1.08) }
}

pub(super) fn draw(
    canvas: &mut Canvas,
    figure: &BarFigure,
    scales: &Scales,
    series: &[Series],
    index: usize,
    at: Position,
) {
    let ticks = &scales.ticks;
    let plot = Plot {
        left: at.0 + AXIS,
        top: at.1 + PANEL_TITLE_ROOM,
        width: scales.width - AXIS,
        highest: ticks.last().copied().unwrap_or(1.0),
    };
    let step = ticks.get(1).copied().unwrap_or(1.0);
    let across = |tick: &f64| vec![(plot.left, plot.y(*tick)), (plot.left + plot.width, plot.y(*tick))];
    canvas.strokes(ticks.iter().skip(1).map(across).collect(), 1.0, Paint::Grid);
    canvas.strokes(vec![across(&0.0)], 1.0, Paint::Soft);
    for tick in ticks {
        let y = plot.y(*tick);
        canvas.text(&tick_text(*tick, step), plot.left - 8.0, y, TextStyle::new(LABEL, Paint::Soft).right());
    }
    canvas.text(
        &figure.unit,
        at.0 + 6.0,
        plot.top + PLOT / 2.0,
        TextStyle::new(LABEL, Paint::Soft).centred().rotated(),
    );
    groups(canvas, &figure.panels[index], series, scales.slot, &plot);
}

fn groups(canvas: &mut Canvas, panel: &BarPanel, series: &[Series], slot: f64, plot: &Plot) {
    let used: f64 = panel.groups.iter().map(|group| group_width(group, slot)).sum();
    let mut left = plot.left + (plot.width - used) / 2.0;
    for group in &panel.groups {
        let room = group_width(group, slot);
        let mut bar_left = left + (room - group.bars.len() as f64 * slot) / 2.0;
        for (index, bar) in &group.bars {
            canvas.set_series(Some(*index));
            let hue = group.hue.unwrap_or(series[*index].hue);
            let paint = if series[*index].pale { Paint::Pale(hue) } else { Paint::Hue(hue) };
            one(canvas, bar, paint, bar_left, slot, plot);
            bar_left += slot;
        }
        canvas.set_series(None);
        let label = fit(&group.label, LABEL, false, room - 4.0);
        canvas.text(&label, left + room / 2.0, plot.y(0.0) + 12.0, TextStyle::new(LABEL, Paint::Ink).centred());
        left += room;
    }
}

fn one(canvas: &mut Canvas, bar: &Bar, paint: Paint, left: f64, slot: f64, plot: &Plot) {
    let (middle, base) = (left + slot / 2.0, plot.y(0.0));
    let gap = (slot * 0.08).min(3.0);
    let mut top = base;
    if let Some(value) = bar.value {
        top = plot.y(value);
        let area = [left + gap, top, slot - 2.0 * gap, (base - top).max(0.75)];
        canvas.block(area[0], area[1], area[2], area[3], paint);
        if bar.is_unreliable {
            canvas.hatch(area, Paint::Paper);
        }
    } else {
        // A hatched stub marks a missing value, since an empty place would look like zero.
        canvas.hatch([left + gap, base - 12.0, slot - 2.0 * gap, 12.0], Paint::Soft);
        top -= 12.0;
    }
    // If the whole reason does not fit, its first words are drawn.
    let short = bar.label.split(" (").next().unwrap_or_default();
    let label = [bar.label.as_str(), short].into_iter().find(|label| width(label, LABEL - 1.0, false) <= slot + 2.0);
    if let Some(label) = label {
        let paint = if bar.value.is_some() { Paint::Ink } else { Paint::Soft };
        canvas.text(label, middle, top - 8.0, TextStyle::new(LABEL - 1.0, paint).centred());
    }
    let head = (top - 14.0).max(plot.top);
    canvas.mark([left, head, slot, base - head], &bar.tooltip);
}
