//! Panels of points and lines with their intervals, on one scale from zero. A threshold is a horizontal line. A missing
//! value is a cross at the bottom, never a zero.

use super::canvas::{Canvas, OPEN, Position, TextStyle, Whisker};
use super::figure::{Join, Line, LineFigure, LinePanel, Point, Scale, Series};
use super::style::{LABEL, PANEL_TITLE_ROOM, Paint, fit, tick_text, ticks, width};

const AXIS: f64 = 62.0;
const RIGHT: f64 = 22.0;
const WIDTH: f64 = 260.0;
const PLOT: f64 = 190.0;
const BELOW: f64 = 42.0;
const SAY: f64 = 16.0;
/// Number of nines on the percentile scale: up to 99.9 %.
const NINES: f64 = 3.0;

/// Returns the size of a panel. Every panel has the size of the one with the most captions.
pub(super) fn size(figure: &LineFigure) -> (f64, f64) {
    (AXIS + WIDTH + RIGHT, PANEL_TITLE_ROOM + PLOT + BELOW + captions(figure) as f64 * SAY)
}

fn captions(figure: &LineFigure) -> usize {
    figure.panels.iter().map(|panel| panel.captions.len()).max().unwrap_or(0)
}

struct Plot<'a> {
    left: f64,
    top: f64,
    scale: &'a Scale,
    /// Values at the right and the upper edge.
    ends: Position,
}

impl Plot<'_> {
    fn x(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => value / self.ends.0,
            Scale::Names(names) => (value + 0.5) / names.len().max(1) as f64,
            Scale::Nines => -(1.0 - value).max(1e-9).log10() / NINES,
        };
        self.left + WIDTH * share.clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + PLOT * (1.0 - (value / self.ends.1).clamp(0.0, 1.0))
    }
}

/// Measurements that all panels share.
pub(super) struct Scales {
    x_ticks: Vec<f64>,
    y_ticks: Vec<f64>,
}

pub(super) fn scales(figure: &LineFigure) -> Scales {
    let points = || figure.panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    let ends = |interval: Option<(f64, Option<f64>)>| interval.and_then(|(_, high)| high);
    let top = |values: &mut dyn Iterator<Item = f64>| values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let x_top = top(&mut points().flat_map(|point| [Some(point.x), ends(point.across)]).flatten());
    let limits = figure.panels.iter().flat_map(|panel| &panel.limits).map(|limit| limit.y);
    let y_top = top(&mut points().flat_map(|point| [point.y, ends(point.interval)]).flatten());
    // A limit far above all values would compress the data, so the scale ignores it.
    let y_top = top(&mut limits.filter(|limit| *limit <= 2.5 * y_top).chain([y_top]));
    Scales { x_ticks: ticks(x_top), y_ticks: ticks(y_top * 1.04) }
}

pub(super) fn draw(
    canvas: &mut Canvas,
    figure: &LineFigure,
    scales: &Scales,
    series: &[Series],
    index: usize,
    at: Position,
) {
    let Scales { x_ticks, y_ticks } = scales;
    let last = |ticks: &[f64]| ticks.last().copied().unwrap_or(1.0);
    let plot = Plot {
        left: at.0 + AXIS,
        top: at.1 + PANEL_TITLE_ROOM,
        scale: &figure.x.scale,
        ends: (last(x_ticks), last(y_ticks)),
    };
    axes(canvas, figure, &plot, x_ticks, y_ticks, at);
    let panel = &figure.panels[index];
    limits_of(canvas, panel, series, &plot);
    for line in &panel.lines {
        canvas.set_series(Some(line.series));
        one(canvas, line, &series[line.series], &plot);
    }
    canvas.set_series(None);
    for (row, caption) in panel.captions.iter().enumerate() {
        let y = plot.top + PLOT + BELOW + row as f64 * SAY + SAY / 2.0;
        let caption = fit(caption, LABEL, false, AXIS + WIDTH + RIGHT - 4.0);
        canvas.text(&caption, at.0 + 4.0, y, TextStyle::new(LABEL, Paint::Ink));
    }
}

fn axes(canvas: &mut Canvas, figure: &LineFigure, plot: &Plot, x_ticks: &[f64], y_ticks: &[f64], at: Position) {
    let step = |ticks: &[f64]| ticks.get(1).copied().unwrap_or(1.0);
    let across = |tick: &f64| vec![(plot.left, plot.y(*tick)), (plot.left + WIDTH, plot.y(*tick))];
    canvas.strokes(y_ticks.iter().skip(1).map(across).collect(), 1.0, Paint::Grid);
    let mut axis = vec![across(&0.0)];
    for tick in y_ticks {
        let y = plot.y(*tick);
        let text = tick_text(*tick, step(y_ticks));
        canvas.text(&text, plot.left - 8.0, y, TextStyle::new(LABEL, Paint::Soft).right());
    }
    let below = plot.top + PLOT + 12.0;
    let labels: Vec<(f64, String)> = match plot.scale {
        Scale::Linear => x_ticks.iter().map(|tick| (plot.x(*tick), tick_text(*tick, step(x_ticks)))).collect(),
        Scale::Names(names) => {
            let room = WIDTH / names.len().max(1) as f64 - 4.0;
            let name =
                |(index, name): (usize, &String)| (plot.x(index as f64), fit(name, LABEL, false, room.max(30.0)));
            names.iter().enumerate().map(name).collect()
        }
        Scale::Nines => [(0.0, "0"), (0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9")]
            .map(|(p, name)| (plot.x(p), name.to_owned()))
            .to_vec(),
    };
    let mut free = f64::NEG_INFINITY;
    for (x, text) in labels {
        axis.push(vec![(x, plot.top + PLOT), (x, plot.top + PLOT + 4.0)]);
        let half = width(&text, LABEL, false) / 2.0;
        // A label that would overlap the previous one is omitted.
        if x - half > free {
            canvas.text(&text, x, below, TextStyle::new(LABEL, Paint::Soft).centred());
            free = x + half + 4.0;
        }
    }
    canvas.strokes(axis, 1.0, Paint::Soft);
    let middle = plot.left + WIDTH / 2.0;
    canvas.text(&figure.x.label, middle, below + 16.0, TextStyle::new(LABEL, Paint::Soft).centred());
    let y = plot.top + PLOT / 2.0;
    canvas.text(&figure.y.label, at.0 + 6.0, y, TextStyle::new(LABEL, Paint::Soft).centred().rotated());
}

fn limits_of(canvas: &mut Canvas, panel: &LinePanel, series: &[Series], plot: &Plot) {
    for limit in panel.limits.iter().filter(|limit| limit.y <= plot.ends.1) {
        canvas.set_series(limit.series);
        let y = plot.y(limit.y);
        let paint = limit.series.map_or(Paint::Limit, |index| Paint::Hue(series[index].hue));
        canvas.dashed(vec![(plot.left, y), (plot.left + WIDTH, y)], 1.5, paint);
        canvas.mark([plot.left, y - 3.0, WIDTH, 6.0], &limit.tooltip);
    }
    canvas.set_series(None);
}

fn one(canvas: &mut Canvas, line: &Line, series: &Series, plot: &Plot) {
    let paint = if series.pale { Paint::Pale(series.hue) } else { Paint::Hue(series.hue) };
    let at = |point: &Point| point.y.map(|y| (plot.x(point.x), plot.y(y)));
    // A line is interrupted at missing values.
    let runs: Vec<Vec<Position>> = line
        .points
        .split(|point| point.y.is_none())
        .map(|run| run.iter().filter_map(at).collect::<Vec<Position>>())
        .filter(|run| run.len() > 1)
        .collect();
    match line.join {
        Join::Apart => {}
        Join::Marked | Join::Plain if runs.is_empty() => {}
        Join::Marked | Join::Plain => canvas.strokes(runs, 1.75, paint),
        Join::Dashed => runs.into_iter().for_each(|run| canvas.dashed(run, 1.25, Paint::Soft)),
    }
    canvas.whiskers(&whiskers(line, plot), paint);
    let marked = matches!(line.join, Join::Marked | Join::Apart);
    for point in &line.points {
        let position = at(point).unwrap_or((plot.x(point.x), plot.top + PLOT - 5.0));
        if point.y.is_none() {
            canvas.cross(position, Paint::Soft);
        }
        if marked && point.y.is_some() {
            canvas.marker(position, series.shape, point.hollow, paint);
        }
        canvas.mark([position.0 - 8.0, position.1 - 8.0, 16.0, 16.0], &point.tooltip);
    }
}

/// Returns the intervals of a line's points, of y and of x.
fn whiskers(line: &Line, plot: &Plot) -> Vec<Whisker> {
    let mut whiskers = Vec::new();
    for point in &line.points {
        let Some(y) = point.y else { continue };
        if let Some((low, high)) = point.interval {
            let (from, to) = (plot.y(low), high.map_or((plot.y(y) - OPEN).max(plot.top), |high| plot.y(high)));
            whiskers.push(Whisker { at: plot.x(point.x), from, to, open: high.is_none(), cap: 3.5, horizontal: false });
        }
        if let Some((low, high)) = point.across {
            let (from, to) =
                (plot.x(low), high.map_or((plot.x(point.x) + OPEN).min(plot.left + WIDTH), |high| plot.x(high)));
            whiskers.push(Whisker { at: plot.y(y), from, to, open: high.is_none(), cap: 3.5, horizontal: true });
        }
    }
    whiskers
}
