//! What all figures have around their body: title, banner, legend, notes; and the grid of panels.

use super::figure::{Body, Figure};
use super::ink::{Ink, Type};
use super::style::{INK, SOFT, WARN, WARN_PAPER, fit, series, width};
use super::{ChartError, bars, heat};
use plotters::prelude::DrawingBackend;

const MARGIN: f64 = 24.0;
const TITLE: f64 = 20.0;
const SMALL: f64 = 12.0;
const LINE: f64 = 18.0;
/// Between panels.
const GAP: f64 = 28.0;
/// A legend's square and what follows it.
const SWATCH: f64 = 12.0;

/// Where everything goes.
pub(super) struct Layout {
    pub(super) width: f64,
    pub(super) height: f64,
    legend: Vec<Vec<(usize, String)>>,
    notes: Vec<String>,
    body_top: f64,
    columns: usize,
    panel: (f64, f64),
}

/// A panel's place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    /// It begins a row, so that it has the axis' labels.
    pub(super) first: bool,
}

/// Measures a figure.
pub(super) fn layout(figure: &Figure) -> Layout {
    let (count, panel) = match &figure.body {
        Body::Bars(bars) => (bars.panels.len(), bars::panel_size(bars)),
        Body::Heat(heat) => (heat.panels.len(), heat::panel_size(heat)),
    };
    let side = match figure.body {
        Body::Bars(_) => bars::AXIS,
        Body::Heat(_) => heat::SIDE,
    };
    let columns = columns(count, panel.0);
    let rows = count.max(1).div_ceil(columns);
    let banner = figure.banner.as_ref().map_or(0.0, |banner| width(banner, SMALL, true) + 40.0);
    let wanted = columns as f64 * (panel.0 + GAP) - GAP + side;
    let title = width(&figure.title, TITLE, true) + banner;
    let width = (wanted.max(title).max(560.0) + 2.0 * MARGIN).min(4_000.0);
    let legend = match &figure.body {
        Body::Bars(bars) => legend(&bars.series, width - 2.0 * MARGIN),
        Body::Heat(_) => Vec::new(),
    };
    let notes = wrap(&figure.notes, width - 2.0 * MARGIN);
    let body_top = MARGIN + TITLE + 8.0 + LINE + 10.0 + legend.len() as f64 * LINE + 14.0;
    let body = rows as f64 * (panel.1 + GAP) - GAP;
    let height = body_top + body + 16.0 + notes.len() as f64 * LINE + MARGIN;
    Layout { width, height, legend, notes, body_top, columns, panel }
}

/// Draws a figure.
pub(super) fn draw<DB: DrawingBackend>(ink: &Ink<DB>, figure: &Figure, layout: &Layout) -> Result<(), ChartError> {
    let inner = layout.width - 2.0 * MARGIN;
    let mut y = MARGIN + TITLE / 2.0;
    ink.text(&fit(&figure.title, TITLE, true, inner), MARGIN, y, Type::new(TITLE, INK).bold())?;
    if let Some(banner) = &figure.banner {
        let room = width(banner, SMALL, true) + 20.0;
        ink.block(layout.width - MARGIN - room, y - 13.0, room, 26.0, WARN_PAPER)?;
        ink.text(banner, layout.width - MARGIN - room / 2.0, y, Type::new(SMALL, WARN).bold().centred())?;
    }
    y += TITLE / 2.0 + 8.0 + LINE / 2.0;
    ink.text(&fit(&figure.subtitle, SMALL, false, inner), MARGIN, y, Type::new(SMALL, SOFT))?;
    y += LINE / 2.0 + 10.0 + LINE / 2.0;
    for line in &layout.legend {
        let mut x = MARGIN;
        for (index, name) in line {
            ink.block(x, y - SWATCH / 2.0, SWATCH, SWATCH, series(*index))?;
            ink.text(name, x + SWATCH + 6.0, y, Type::new(SMALL, INK))?;
            x += SWATCH + 6.0 + width(name, SMALL, false) + 18.0;
        }
        y += LINE;
    }
    let place = |index: usize| Place {
        left: MARGIN + bars::AXIS + (index % layout.columns) as f64 * (layout.panel.0 + GAP),
        top: layout.body_top + (index / layout.columns) as f64 * (layout.panel.1 + GAP),
        width: layout.panel.0,
        height: layout.panel.1,
        first: index.is_multiple_of(layout.columns),
    };
    match &figure.body {
        Body::Bars(figure) => bars::draw(ink, figure, place)?,
        Body::Heat(figure) => heat::draw(ink, figure, place)?,
    }
    let mut y = layout.height - MARGIN - layout.notes.len() as f64 * LINE + LINE / 2.0;
    for note in &layout.notes {
        ink.text(note, MARGIN, y, Type::new(SMALL, SOFT))?;
        y += LINE;
    }
    Ok(())
}

/// Panels beside each other: few wide ones, more narrow ones.
fn columns(count: usize, width: f64) -> usize {
    let fit = (1_500.0 / (width + GAP)).floor().max(1.0) as usize;
    match count {
        0 | 1 => 1,
        2 | 4 => 2.min(fit),
        _ => 3.min(fit),
    }
}

/// The legend's lines. One series needs none.
fn legend(names: &[String], room: f64) -> Vec<Vec<(usize, String)>> {
    if names.len() < 2 {
        return Vec::new();
    }
    let mut lines: Vec<Vec<(usize, String)>> = vec![Vec::new()];
    let mut used = 0.0;
    for (index, name) in names.iter().enumerate() {
        let name = fit(name, SMALL, false, 320.0);
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
fn wrap(notes: &[String], room: f64) -> Vec<String> {
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
