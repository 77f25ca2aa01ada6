//! Cost per 1,000 replies against p95: at each load one point per model and tier, and the efficient frontier. The
//! frontier joins the points that no other point beats in both cost and p95.

use super::figures::Frame;
use super::names::{self, TIER};
use super::overview::{context, load_name};
use super::{cost, text};
use crate::matrix::LOAD_FIELDS;
use crate::report::charts::{Axis, Body, Figure, Join, Line, LineFigure, LinePanel, Point, Scale, Series};
use crate::result::{Quality, Validity};
use crate::stats::{CellSummary, Summary};
use crate::units::Keyed;
use std::collections::HashMap;

/// Title of a panel with its points.
type PanelPoints<'a> = (String, Vec<&'a (&'a CellSummary, Point)>);

/// Returns the chart, or `None` if no cell has both a cost and a p95.
pub(super) fn figure(frame: &Frame, summary: &Summary) -> Option<Figure> {
    let points: Vec<(&CellSummary, Point)> =
        summary.cells.iter().filter_map(|cell| Some((cell, point(cell)?))).collect();
    if points.is_empty() {
        return None;
    }
    let but: Vec<&str> = LOAD_FIELDS.into_iter().chain([TIER, "model_id"]).collect();
    let fields = frame.names.varying(&but);
    let models = frame.names.values("model_id").iter().enumerate();
    let models: HashMap<String, usize> = models.map(|(place, model)| (model.to_string(), place)).collect();
    let panels_by = |with_load: bool| {
        let mut panels: Keyed<String, PanelPoints> = Keyed::default();
        for entry in &points {
            let mut title = frame.names.title(&fields, &context(entry.0, &fields));
            if with_load {
                let load = load_name(entry.0);
                title = if title.is_empty() { load } else { format!("{title}, {load}") };
            }
            panels.entry(title.clone(), || (title, Vec::new())).1.push(entry);
        }
        panels.items
    };
    let mut panels = panels_by(true);
    // If no load has more than one point, all loads share a panel, since there is nothing to choose between at one
    // load.
    let is_choice = panels.iter().any(|(_, points)| points.len() > 1);
    if !is_choice {
        panels = panels_by(false);
    }
    let mut series: Keyed<String, Series> = Keyed::default();
    let panels: Vec<LinePanel> = panels
        .into_iter()
        .map(|(title, points)| {
            let mut lines = Vec::new();
            if is_choice {
                lines.extend(frontier(&points).map(|points| Line { series: 0, join: Join::Dashed, points }));
            }
            for (cell, point) in points {
                let of = series_of(&mut series, frame, &models, cell);
                lines.push(Line { series: of, join: Join::Apart, points: vec![point.clone()] });
            }
            LinePanel { title, lines, ..LinePanel::default() }
        })
        .collect();
    let axis = |label: &str| Axis { label: label.into(), scale: Scale::Linear };
    let figure = LineFigure { x: axis("p95 of the response time, ms"), y: axis("USD per 1,000 replies"), panels };
    let mut notes = vec!["Whiskers: 95 % confidence intervals. Hollow markers: unreliable cells.".into()];
    if is_choice {
        notes.insert(
            0,
            "Dashed line: efficient frontier (no cell is better in both cost and p95). Lower left is better.".into(),
        );
    }
    Some(frame.figure("Cost against latency", frame.of_verdicts(notes), series.items, Body::Lines(figure)))
}

fn series_of(
    series: &mut Keyed<String, Series>,
    frame: &Frame,
    models: &HashMap<String, usize>,
    cell: &CellSummary,
) -> usize {
    let tier = &cell.cell.service_tier;
    let shape = models.get(&cell.cell.model_id).copied().unwrap_or(0);
    let name = if models.len() > 1 {
        format!("{} {tier}", frame.names.title(&["model_id"], &context(cell, &["model_id"])))
    } else {
        tier.clone()
    };
    series.place(name.clone(), || Series { shape, ..Series::new(name, names::hue(tier)) })
}

fn point(cell: &CellSummary) -> Option<Point> {
    let p95 =
        cell.latency.percentile(0.95).filter(|p95| !matches!(p95.quality, Quality::TooFew | Quality::Censored))?;
    let usd = cell.spend.per_1k_requests()?;
    let interval = cell.spend.per_1k_interval();
    let why = cell.incomparable_reason();
    let validity_note = match (&cell.validity, &why) {
        (Validity::Ok, Some(why)) => format!(" ({why})"),
        (Validity::Ok, None) => String::new(),
        (validity, _) => format!(" ({validity})"),
    };
    let range = interval.map_or_else(String::new, |(low, high)| {
        format!(" (95 %: {} to {})", cost::shown(Some(low)), cost::shown(Some(high)))
    });
    Some(Point {
        x: p95.value_ms,
        y: Some(usd),
        across: p95.low_ms.map(|low| (low, p95.high_ms)),
        interval: interval.map(|(low, high)| (low, Some(high))),
        hollow: why.is_some(),
        tooltip: format!(
            "{}: p95 {} ms (95 %: {}), {} USD{range}{validity_note}",
            cell.cell.id,
            text::ms(p95.value_ms),
            text::range(p95.low_ms, p95.high_ms),
            cost::shown(Some(usd))
        ),
    })
}

/// Returns the reliable points that no other beats in both cost and p95, the fastest first; `None` if there are fewer
/// than two.
fn frontier(points: &[&(&CellSummary, Point)]) -> Option<Vec<Point>> {
    let mut sorted: Vec<&Point> = points.iter().map(|(_, point)| point).filter(|point| !point.hollow).collect();
    sorted.sort_by(|a, b| a.x.total_cmp(&b.x).then(a.y.unwrap_or(0.0).total_cmp(&b.y.unwrap_or(0.0))));
    let mut best = f64::INFINITY;
    let mut line = Vec::new();
    for point in sorted {
        let usd = point.y.unwrap_or(f64::INFINITY);
        if usd < best {
            best = usd;
            line.push(Point { x: point.x, y: point.y, ..Point::default() });
        }
    }
    (line.len() > 1).then_some(line)
}
