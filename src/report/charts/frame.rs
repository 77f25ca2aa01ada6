//! The surroundings of a figure in a file of its own: title, banner, legend and notes, and the grid of panels.

use super::canvas::{Canvas, TextStyle};
use super::figure::{Body, Figure, Series};
use super::panel::{self, Measured};
use super::pictures::{panels_of_picture, pictures_count};
use super::style::{HEAT_STEPS, Paint, fit, width};
use std::ops::Range;

const MARGIN: f64 = 24.0;
const TITLE: f64 = 20.0;
const SMALL: f64 = 12.0;
const LINE: f64 = 18.0;
/// Distance between panels.
const GAP: f64 = 28.0;
/// Size of a legend's colour swatch.
const SWATCH: f64 = 12.0;
/// Maximum total width of panels side by side.
const WIDEST: f64 = 1_500.0;

/// Maximum number of series in a legend.
const MOST_NAMES: usize = 48;

/// Positions and sizes of all elements of a picture.
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    /// Legend lines: series indices with names. An entry without a series states how many series were omitted.
    legend: Vec<Vec<(Option<usize>, String)>>,
    scale: Option<(String, String)>,
    notes: Vec<String>,
    body_top: f64,
    columns: usize,
    title: String,
    panels: Range<usize>,
    measured: Measured,
}

/// Measures a picture of a figure; `picture` is counted from 0. All pictures of a figure have the same scales.
pub(super) fn layout(figure: &Figure, picture: usize) -> Layout {
    let (panels, measured) = (panels_of_picture(figure, picture), panel::measure(figure));
    let (count, panel) = (panels.len(), measured.size);
    let columns = columns(count, panel.0);
    let rows = count.max(1).div_ceil(columns);
    let banner = figure.banner.as_ref().map_or(0.0, |banner| width(banner, SMALL, true) + 40.0);
    let wanted = columns as f64 * (panel.0 + GAP) - GAP;
    let title = match pictures_count(figure) {
        1 => figure.title.clone(),
        all => format!("{} ({} of {all})", figure.title, picture + 1),
    };
    let titled = width(&title, TITLE, true) + banner;
    let width = wanted.max(titled).max(560.0) + 2.0 * MARGIN;
    let scale = match &figure.body {
        Body::Heat(heat) => super::heat::ends(heat),
        _ => None,
    };
    let legend = legend(&figure.series, width - 2.0 * MARGIN);
    let notes = wrap(figure.notes.iter().chain(&figure.marks), width - 2.0 * MARGIN);
    let lines = legend.len() + usize::from(scale.is_some());
    let body_top = MARGIN + TITLE + 8.0 + LINE + 10.0 + lines as f64 * LINE + 14.0;
    let body = rows as f64 * (panel.1 + GAP) - GAP;
    let height = body_top + body + 16.0 + notes.len() as f64 * LINE + MARGIN;
    Layout { width, height, legend, scale, notes, body_top, columns, title, panels, measured }
}

/// Draws a figure.
pub(super) fn draw(figure: &Figure, layout: &Layout) -> Canvas {
    let mut canvas = Canvas::default();
    let inner = layout.width - 2.0 * MARGIN;
    let mut y = MARGIN + TITLE / 2.0;
    canvas.text(&fit(&layout.title, TITLE, true, inner), MARGIN, y, TextStyle::new(TITLE, Paint::Ink).bold());
    if let Some(banner) = &figure.banner {
        let room = width(banner, SMALL, true) + 20.0;
        canvas.block(layout.width - MARGIN - room, y - 13.0, room, 26.0, Paint::WarnPaper);
        canvas.text(banner, layout.width - MARGIN - room / 2.0, y, TextStyle::new(SMALL, Paint::Warn).bold().centred());
    }
    y += TITLE / 2.0 + 8.0 + LINE / 2.0;
    canvas.text(&fit(&figure.subtitle, SMALL, false, inner), MARGIN, y, TextStyle::new(SMALL, Paint::Soft));
    y += LINE / 2.0 + 10.0 + LINE / 2.0;
    for line in &layout.legend {
        let mut x = MARGIN;
        for (index, name) in line {
            canvas.set_series(*index);
            if let Some(index) = index {
                swatch(&mut canvas, &figure.body, &figure.series[*index], x, y);
            }
            canvas.text(name, x + SWATCH + 6.0, y, TextStyle::new(SMALL, Paint::Ink));
            x += SWATCH + 6.0 + width(name, SMALL, false) + 18.0;
        }
        y += LINE;
    }
    canvas.set_series(None);
    if let Some((low, high)) = &layout.scale {
        scale(&mut canvas, low, high, y);
    }
    let (wide, high) = layout.measured.size;
    for (place, index) in layout.panels.clone().enumerate() {
        let left = MARGIN + (place % layout.columns) as f64 * (wide + GAP);
        let top = layout.body_top + (place / layout.columns) as f64 * (high + GAP);
        panel::draw(&mut canvas, figure, &layout.measured, index, (left, top));
    }
    let mut y = layout.height - MARGIN - layout.notes.len() as f64 * LINE + LINE / 2.0;
    for note in &layout.notes {
        canvas.text(note, MARGIN, y, TextStyle::new(SMALL, Paint::Soft));
        y += LINE;
    }
    canvas
}

fn swatch(canvas: &mut Canvas, body: &Body, series: &Series, x: f64, y: f64) {
    let paint = paint(body, series);
    match body {
        Body::Lines(_) | Body::Forest(_) => canvas.marker((x + SWATCH / 2.0, y), series.shape, false, paint),
        Body::Bars(_) | Body::Heat(_) | Body::Timeline(_) => canvas.block(x, y - SWATCH / 2.0, SWATCH, SWATCH, paint),
    }
}

/// Returns the colour of a series.
pub(super) fn paint(body: &Body, series: &Series) -> Paint {
    match body {
        Body::Timeline(_) => Paint::Outcome(series.hue),
        _ if series.pale => Paint::Pale(series.hue),
        _ => Paint::Hue(series.hue),
    }
}

/// Draws the colour scale of a heat map with its lowest and highest value.
fn scale(canvas: &mut Canvas, low: &str, high: &str, y: f64) {
    let mut x = MARGIN;
    canvas.text(low, x, y, TextStyle::new(SMALL, Paint::Ink));
    x += width(low, SMALL, false) + 8.0;
    for step in 0..=HEAT_STEPS {
        canvas.block(x, y - SWATCH / 2.0, 14.0, SWATCH, Paint::Heat(step));
        x += 14.0;
    }
    canvas.text(high, x + 8.0, y, TextStyle::new(SMALL, Paint::Ink));
}

/// Returns the number of panels per row: few wide panels or more narrow ones.
fn columns(count: usize, width: f64) -> usize {
    let fit = ((WIDEST + GAP) / (width + GAP)).floor().max(1.0) as usize;
    match count {
        0 | 1 => 1,
        2 | 4 => 2.min(fit),
        3..=9 => 3.min(fit),
        _ => fit,
    }
}

/// Returns the lines of the legend. A single series needs no legend.
fn legend(series: &[Series], room: f64) -> Vec<Vec<(Option<usize>, String)>> {
    if series.len() < 2 {
        return Vec::new();
    }
    let named = series.iter().enumerate().take(MOST_NAMES).map(|(index, series)| (Some(index), series.name.clone()));
    let more = series.len().saturating_sub(MOST_NAMES);
    let more = (more > 0).then(|| (None, format!("and {more} more")));
    let mut lines: Vec<Vec<(Option<usize>, String)>> = vec![Vec::new()];
    let mut used = 0.0;
    for (index, name) in named.chain(more) {
        let name = fit(&name, SMALL, false, 320.0);
        let wanted = SWATCH + 6.0 + width(&name, SMALL, false) + 18.0;
        if used + wanted > room && used > 0.0 {
            lines.push(Vec::new());
            used = 0.0;
        }
        used += wanted;
        if let Some(line) = lines.last_mut() {
            line.push((index, name));
        }
    }
    lines
}

/// Wraps notes into lines at spaces.
fn wrap<'a>(notes: impl Iterator<Item = &'a String>, room: f64) -> Vec<String> {
    let mut lines = Vec::new();
    for note in notes {
        let mut line = String::new();
        for word in note.split_whitespace() {
            let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
            if width(&longer, SMALL, false) > room && !line.is_empty() {
                lines.push(std::mem::replace(&mut line, word.to_owned()));
            } else {
                line = longer;
            }
        }
        lines.push(fit(&line, SMALL, false, room));
    }
    lines
}
