//! What a figure that stands alone has around its panels: title, banner, legend, notes; and the grid
//! of panels.

use super::figure::{Body, Figure, Series};
use super::ink::{Ink, Type};
use super::panel;
use super::style::{HEAT_STEPS, Paint, fit, width};

const MARGIN: f64 = 24.0;
const TITLE: f64 = 20.0;
const SMALL: f64 = 12.0;
const LINE: f64 = 18.0;
/// Between panels.
const GAP: f64 = 28.0;
/// A legend's square and what follows it.
const SWATCH: f64 = 12.0;
/// What panels beside each other take at most.
const WIDEST: f64 = 1_500.0;

/// Where everything goes.
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    legend: Vec<Vec<(usize, String)>>,
    scale: Option<(String, String)>,
    notes: Vec<String>,
    body_top: f64,
    columns: usize,
    panel: (f64, f64),
}

/// Measures a figure.
pub(super) fn layout(figure: &Figure) -> Layout {
    let (count, panel) = (panel::count(&figure.body), panel::size(figure));
    let columns = columns(count, panel.0);
    let rows = count.max(1).div_ceil(columns);
    let banner = figure.banner.as_ref().map_or(0.0, |banner| width(banner, SMALL, true) + 40.0);
    let wanted = columns as f64 * (panel.0 + GAP) - GAP;
    let title = width(&figure.title, TITLE, true) + banner;
    let width = wanted.max(title).max(560.0) + 2.0 * MARGIN;
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
    Layout { width, height, legend, scale, notes, body_top, columns, panel }
}

/// Draws a figure.
pub(super) fn draw(figure: &Figure, layout: &Layout) -> Ink {
    let mut ink = Ink::default();
    let inner = layout.width - 2.0 * MARGIN;
    let mut y = MARGIN + TITLE / 2.0;
    ink.text(&fit(&figure.title, TITLE, true, inner), MARGIN, y, Type::new(TITLE, Paint::Ink).bold());
    if let Some(banner) = &figure.banner {
        let room = width(banner, SMALL, true) + 20.0;
        ink.block(layout.width - MARGIN - room, y - 13.0, room, 26.0, Paint::WarnPaper);
        ink.text(banner, layout.width - MARGIN - room / 2.0, y, Type::new(SMALL, Paint::Warn).bold().centred());
    }
    y += TITLE / 2.0 + 8.0 + LINE / 2.0;
    ink.text(&fit(&figure.subtitle, SMALL, false, inner), MARGIN, y, Type::new(SMALL, Paint::Soft));
    y += LINE / 2.0 + 10.0 + LINE / 2.0;
    for line in &layout.legend {
        let mut x = MARGIN;
        for (index, name) in line {
            ink.of(Some(*index));
            swatch(&mut ink, &figure.body, &figure.series[*index], x, y);
            ink.text(name, x + SWATCH + 6.0, y, Type::new(SMALL, Paint::Ink));
            x += SWATCH + 6.0 + width(name, SMALL, false) + 18.0;
        }
        y += LINE;
    }
    ink.of(None);
    if let Some((low, high)) = &layout.scale {
        scale(&mut ink, low, high, y);
    }
    for index in 0..panel::count(&figure.body).max(1) {
        let left = MARGIN + (index % layout.columns) as f64 * (layout.panel.0 + GAP);
        let top = layout.body_top + (index / layout.columns) as f64 * (layout.panel.1 + GAP);
        panel::draw(&mut ink, figure, index, (left, top));
    }
    let mut y = layout.height - MARGIN - layout.notes.len() as f64 * LINE + LINE / 2.0;
    for note in &layout.notes {
        ink.text(note, MARGIN, y, Type::new(SMALL, Paint::Soft));
        y += LINE;
    }
    ink
}

fn swatch(ink: &mut Ink, body: &Body, series: &Series, x: f64, y: f64) {
    let paint = paint(body, series);
    match body {
        Body::Lines(_) | Body::Forest(_) => ink.marker((x + SWATCH / 2.0, y), series.shape, false, paint),
        Body::Bars(_) | Body::Heat(_) | Body::Timeline(_) => ink.block(x, y - SWATCH / 2.0, SWATCH, SWATCH, paint),
    }
}

/// The colour of a series.
pub(super) fn paint(body: &Body, series: &Series) -> Paint {
    match body {
        Body::Timeline(_) => Paint::Outcome(series.hue),
        _ if series.pale => Paint::Pale(series.hue),
        _ => Paint::Hue(series.hue),
    }
}

/// What the colours of a heat map go from and to.
fn scale(ink: &mut Ink, low: &str, high: &str, y: f64) {
    let mut x = MARGIN;
    ink.text(low, x, y, Type::new(SMALL, Paint::Ink));
    x += width(low, SMALL, false) + 8.0;
    for step in 0..=HEAT_STEPS {
        ink.block(x, y - SWATCH / 2.0, 14.0, SWATCH, Paint::Heat(step));
        x += 14.0;
    }
    ink.text(high, x + 8.0, y, Type::new(SMALL, Paint::Ink));
}

/// Panels beside each other: few wide ones, more narrow ones.
fn columns(count: usize, width: f64) -> usize {
    let fit = ((WIDEST + GAP) / (width + GAP)).floor().max(1.0) as usize;
    match count {
        0 | 1 => 1,
        2 | 4 => 2.min(fit),
        3..=9 => 3.min(fit),
        _ => fit,
    }
}

/// The legend's lines. One series needs none.
fn legend(series: &[Series], room: f64) -> Vec<Vec<(usize, String)>> {
    if series.len() < 2 {
        return Vec::new();
    }
    let mut lines: Vec<Vec<(usize, String)>> = vec![Vec::new()];
    let mut used = 0.0;
    for (index, series) in series.iter().enumerate() {
        let name = fit(&series.name, SMALL, false, 320.0);
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

/// Notes broken into lines at blanks.
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
