//! Ratios with their intervals, one row each, on one logarithmic scale around 1.

use super::canvas::{Canvas, Position, TextStyle, Whisker};
use super::figure::{ForestFigure, ForestPanel, Series};
use super::style::{LABEL, PANEL_TITLE_ROOM, Paint, fit, width};

const NAME: f64 = 148.0;
const PLOT: f64 = 96.0;
const SHOWN: f64 = 112.0;
const ROW: f64 = 22.0;
const BELOW: f64 = 40.0;
/// Candidate end points of the scale. The scale is symmetric around 1.
const ENDS: [f64; 9] = [1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0];

/// Returns the size of a panel. Every panel has the size of the one with the most rows.
pub(super) fn size(figure: &ForestFigure) -> (f64, f64) {
    let most = figure.panels.iter().map(|panel| panel.rows.len()).max().unwrap_or(1);
    (NAME + PLOT + SHOWN, PANEL_TITLE_ROOM + most as f64 * ROW + BELOW)
}

/// Returns the ratio at the right edge.
fn end(figure: &ForestFigure) -> f64 {
    let ratios = figure.panels.iter().flat_map(|panel| &panel.rows).filter_map(|row| row.ratio);
    let furthest =
        ratios.flat_map(|(low, _, high)| [1.0 / low, high]).filter(|far| far.is_finite()).fold(1.0, f64::max);
    ENDS.into_iter().find(|end| *end >= furthest).unwrap_or(100.0)
}

/// Measurements that all panels share.
pub(super) struct Scales {
    /// Ratio at the right edge.
    end: f64,
}

pub(super) fn scales(figure: &ForestFigure) -> Scales {
    Scales { end: end(figure) }
}

pub(super) fn draw(
    canvas: &mut Canvas,
    figure: &ForestFigure,
    scales: &Scales,
    series: &[Series],
    index: usize,
    at: Position,
) {
    let end = scales.end;
    let (left, top) = (at.0 + NAME, at.1 + PANEL_TITLE_ROOM);
    let panel = &figure.panels[index];
    let bottom = top + panel.rows.len() as f64 * ROW;
    let x = |ratio: f64| left + PLOT / 2.0 * (1.0 + (ratio.ln() / end.ln()).clamp(-1.0, 1.0));
    for tick in [1.0 / end, 1.0, end] {
        let paint = if (tick - 1.0).abs() < 1e-9 { Paint::Soft } else { Paint::Grid };
        canvas.line((x(tick), top), (x(tick), bottom), 1.0, paint);
        let text = if tick < 0.1 { format!("{tick:.2}") } else { trimmed(tick) };
        canvas.text(&text, x(tick), bottom + 11.0, TextStyle::new(LABEL, Paint::Soft).centred());
    }
    let (less, more) = (format!("← {}", figure.sides.1), format!("{} →", figure.sides.0));
    let half = PLOT / 2.0 - 6.0;
    canvas.text(
        &fit(&less, LABEL, false, half + 60.0),
        x(1.0) - 6.0,
        bottom + 27.0,
        TextStyle::new(LABEL, Paint::Soft).right(),
    );
    canvas.text(
        &fit(&more, LABEL, false, half + 60.0),
        x(1.0) + 6.0,
        bottom + 27.0,
        TextStyle::new(LABEL, Paint::Soft),
    );
    rows(canvas, panel, series, (left, top), &x);
}

fn rows(canvas: &mut Canvas, panel: &ForestPanel, series: &[Series], (left, top): Position, x: &dyn Fn(f64) -> f64) {
    for (index, row) in panel.rows.iter().enumerate() {
        canvas.set_series(Some(row.series));
        let y = top + index as f64 * ROW + ROW / 2.0;
        let label = fit(&row.label, LABEL, false, NAME - 24.0);
        canvas.text(&label, left - 8.0, y, TextStyle::new(LABEL, Paint::Ink).right());
        let paint = Paint::Hue(series[row.series].hue);
        match row.ratio {
            Some((low, value, high)) => {
                let whisker = Whisker { at: y, from: x(low), to: x(high), open: false, cap: 4.0, horizontal: true };
                canvas.whiskers(&[whisker], paint);
                canvas.marker((x(value), y), series[row.series].shape, false, paint);
            }
            None => canvas.cross((x(1.0), y), Paint::Soft),
        }
        let paint = if row.ratio.is_some() { Paint::Ink } else { Paint::Soft };
        let shown = fit(&row.shown, LABEL, false, SHOWN - 14.0);
        canvas.text(&shown, left + PLOT + 8.0, y, TextStyle::new(LABEL, paint));
        canvas.mark([left - NAME, y - ROW / 2.0, NAME + PLOT + width(&shown, LABEL, false) + 8.0, ROW], &row.tooltip);
    }
}

/// Formats a ratio without trailing zeros: `1.25`, `2`, `0.33`.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
