//! Charts against load, and percentile curves: one panel per context, one line per tier.

use super::cell::CellView;
use super::figures::{Frame, find_or_push};
use super::names::{self, Coordinates, TIER};
use super::overview::{context, load, load_name};
use super::{slo, text};
use crate::matrix::rule::matches;
use crate::matrix::{AxisValue, LOAD_FIELDS};
use crate::plan::Plan;
use crate::report::charts::{Axis, Body, Figure, Join, Limit, Line, LineFigure, LinePanel, Point, Scale, Series};
use crate::result::{Quality, Validity, Verdict};
use crate::stats::{CellSummary, Latency, Summary};
use crate::units::Keyed;
use crate::verdict::price::is_p95;
use std::collections::HashMap;

/// Percentile ranks of a curve, 0 to 1. Ranks that the sample size does not allow are omitted.
const CURVE: [f64; 14] = [0.0, 0.1, 0.25, 0.5, 0.66, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999];

/// Series of a chart against load: suffix of its name, whether it is pale, and the function that computes a cell's
/// point.
type Drawn = (&'static str, bool, fn(&CellSummary) -> Point);

/// Returns the chart of latency against load, with the plan's limits and the highest load that passes.
pub(super) fn latency(frame: &Frame, plan: &Plan, summary: &Summary, cells: &[CellView]) -> Figure {
    let drawn: [Drawn; 2] = [
        ("p50", true, |cell| percentile(Some(cell.reported_latency()), 0.50)),
        ("p95", false, |cell| percentile(Some(cell.reported_latency()), 0.95)),
    ];
    let (series, mut figure, inside) = by_load(frame.names, summary, &drawn, "response time, ms");
    for (panel, inside) in figure.panels.iter_mut().zip(inside) {
        let found: Vec<(&CellSummary, &CellView)> =
            inside.into_iter().map(|index| (&summary.cells[index], &cells[index])).collect();
        panel.limits = limits(plan, &found, &series);
        panel.captions = if plan.slo.is_empty() { Vec::new() } else { highest(&found) };
    }
    let notes = vec!["Whiskers: 95 % confidence intervals. Hollow markers: unreliable cells. Crosses: no data.".into()];
    frame.figure("Response time against load", frame.of_latencies(notes), series, Body::Lines(figure))
}

/// Returns the chart of time to first token against load, or `None` if no cell streams.
pub(super) fn first_token(frame: &Frame, summary: &Summary) -> Option<Figure> {
    summary.cells.iter().any(|cell| cell.ttft.is_some()).then(|| {
        let drawn: [Drawn; 2] = [
            ("p50", true, |cell| percentile(cell.ttft.as_ref(), 0.50)),
            ("p95", false, |cell| percentile(cell.ttft.as_ref(), 0.95)),
        ];
        let (series, figure, _) = by_load(frame.names, summary, &drawn, "time to first token, ms");
        let notes = vec!["From the send to the first content that is not empty, reasoning included.".into()];
        frame.figure("Time to first token against load", notes, series, Body::Lines(figure))
    })
}

/// Returns the chart of output tokens per second against load.
pub(super) fn output_tokens(frame: &Frame, summary: &Summary) -> Figure {
    let drawn: [Drawn; 1] = [("", false, |cell| {
        let flow = cell.output_token_rate;
        let value = cell.output_tokens_per_sec.filter(|_| cell.counts.total > 0);
        let interval = flow.and_then(|flow| Some((flow.low?, flow.high)));
        let range = interval.map(|(low, high)| format!(" (95 %: {})", text::range(Some(low), high)));
        Point {
            y: value,
            interval,
            tooltip: format!("{} tokens/s{}", text::rate(value), range.unwrap_or_default()),
            ..Point::default()
        }
    })];
    let (series, figure, _) = by_load(frame.names, summary, &drawn, "output tokens per second");
    let notes = vec!["Of the successes that ended in each cell's latency window.".into()];
    frame.figure("Output tokens per second against load", notes, series, Body::Lines(figure))
}

/// Returns the chart of percentile curves: one panel per load and context, one line per tier.
pub(super) fn percentiles(frame: &Frame, summary: &Summary) -> Figure {
    let fields = panel_fields(frame.names);
    let mut series: Keyed<String, Series> = Keyed::default();
    let mut panels: Keyed<String, LinePanel> = Keyed::default();
    for cell in &summary.cells {
        let of = series_of(&mut series, &cell.cell.service_tier, "", false);
        let title = join(&[frame.names.title(&fields, &context(cell, &fields)), load_name(cell)]);
        let panel = panels.entry(title.clone(), || LinePanel { title, ..LinePanel::default() });
        panel.lines.push(Line { series: of, join: Join::Plain, points: curve(cell) });
    }
    let figure = LineFigure {
        x: Axis { label: "percentile".into(), scale: Scale::Nines },
        y: Axis { label: "response time, ms".into(), scale: Scale::Linear },
        panels: panels.items,
    };
    let notes = vec!["Logarithmic percentile axis. Curves stop where there are too few samples.".into()];
    frame.figure("Percentiles of the response time", frame.of_latencies(notes), series.items, Body::Lines(figure))
}

fn curve(cell: &CellSummary) -> Vec<Point> {
    let latency = cell.reported_latency();
    let n = latency.observations();
    let allowed =
        |p: f64| p < 0.5 || latency.percentile(p).is_some_and(|percentile| percentile.quality != Quality::TooFew);
    let point = |p: f64| {
        let value = latency.value_ms(p)?;
        let named = [0.5, 0.95, 0.99, 0.999].contains(&p);
        let name = || format!("{}, p{}: {}", cell.cell.id, p * 100.0, text::percentile(latency.percentile(p), n));
        Some(Point { x: p, y: Some(value), tooltip: if named { name() } else { String::new() }, ..Point::default() })
    };
    CURVE.into_iter().take_while(|p| allowed(*p)).filter_map(point).collect()
}

/// Returns the axes that distinguish panels: all varying axes except tier and load.
fn panel_fields(names: &Coordinates) -> Vec<&'static str> {
    let but: Vec<&str> = LOAD_FIELDS.into_iter().chain([TIER]).collect();
    names.varying(&but)
}

/// Joins the non-empty parts with commas.
fn join(parts: &[String]) -> String {
    parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(", ")
}

fn series_of(series: &mut Keyed<String, Series>, tier: &str, part: &str, pale: bool) -> usize {
    let name = if part.is_empty() { tier.to_owned() } else { format!("{tier} {part}") };
    series.place(name.clone(), || Series { pale, ..Series::new(name, names::hue(tier)) })
}

/// Panel of a chart against load, under construction.
struct LoadPanel {
    title: String,
    /// Lines by the index of their series.
    lines: Keyed<usize, Line>,
    /// Indices of the panel's cells.
    cells: Vec<usize>,
}

/// Returns the series, the figure with one panel per context, and the indices of the cells of each panel.
fn by_load(
    names: &Coordinates,
    summary: &Summary,
    drawn: &[Drawn],
    unit: &str,
) -> (Vec<Series>, LineFigure, Vec<Vec<usize>>) {
    let (label, scale, places) = axis_of(summary);
    let fields = panel_fields(names);
    let tiers = names.values(TIER);
    let tier_places: HashMap<String, usize> =
        tiers.iter().enumerate().map(|(place, tier)| (tier.to_string(), place)).collect();
    // Named loads have no order and no values between them, so their points are not joined.
    let join = if scale == Scale::Linear { Join::Marked } else { Join::Apart };
    let mut series = Keyed::default();
    let mut panels: Keyed<String, LoadPanel> = Keyed::default();
    for (index, cell) in summary.cells.iter().enumerate() {
        let title = names.title(&fields, &context(cell, &fields));
        let panel = panels.entry(title.clone(), || LoadPanel { title, lines: Keyed::default(), cells: Vec::new() });
        panel.cells.push(index);
        for (part, pale, value) in drawn {
            let of = series_of(&mut series, &cell.cell.service_tier, part, *pale);
            let mut point = value(cell);
            point.x = match (&scale, load(cell).1) {
                (Scale::Names(_), _) => {
                    // On an axis of names, the tiers of one load are drawn side by side.
                    let beside = tier_places.get(&cell.cell.service_tier).copied().unwrap_or(0);
                    let shift = (beside as f64 + 0.5) / tiers.len().max(1) as f64 - 0.5;
                    places.find(&load_name(cell)).unwrap_or(0) as f64 + 0.6 * shift
                }
                (_, AxisValue::Count(count)) => count as f64,
                (_, AxisValue::Rate(rate)) => rate.0,
                _ => 0.0,
            };
            point.hollow = cell.validity != Validity::Ok;
            let state = if point.hollow { format!(" ({})", cell.validity) } else { String::new() };
            let part = if part.is_empty() { String::new() } else { format!(" {part}") };
            point.tooltip = format!("{}, {}{part}: {}{state}", cell.cell.service_tier, load_name(cell), point.tooltip);
            panel.lines.entry(of, || Line { series: of, join, points: Vec::new() }).points.push(point);
        }
    }
    let (mut panels, inside): (Vec<LinePanel>, Vec<Vec<usize>>) = panels
        .items
        .into_iter()
        .map(|LoadPanel { title, lines, cells }| {
            (LinePanel { title, lines: lines.items, ..LinePanel::default() }, cells)
        })
        .unzip();
    if scale == Scale::Linear {
        for line in panels.iter_mut().flat_map(|panel| &mut panel.lines) {
            line.points.sort_by(|a, b| a.x.total_cmp(&b.x));
        }
    }
    let figure = LineFigure { x: Axis { label, scale }, y: Axis { label: unit.into(), scale: Scale::Linear }, panels };
    (series.items, figure, inside)
}

/// Returns the label and the scale of the x axis, and the position of each load by name. Numeric loads of one kind get
/// a linear scale. Mixed kinds, profiles and a single load get names.
fn axis_of(summary: &Summary) -> (String, Scale, Keyed<String, String>) {
    let mut loads: Keyed<String, String> = Keyed::default();
    for cell in &summary.cells {
        let name = load_name(cell);
        loads.place(name.clone(), || name);
    }
    let first = summary.cells.first().map(load);
    let same = first.as_ref().is_some_and(|(field, value)| {
        !matches!(value, AxisValue::Text(_)) && summary.cells.iter().all(|cell| load(cell).0 == *field)
    });
    let (label, scale) = match first {
        Some((field, _)) if same && loads.items.len() > 1 => (names::label(field).into(), Scale::Linear),
        _ => ("load".into(), Scale::Names(loads.items.clone())),
    };
    (label, scale, loads)
}

/// Returns the point of a percentile with its interval. The point has no y value if the sample is too small.
fn percentile(latency: Option<&Latency>, p: f64) -> Point {
    let found = latency.and_then(|latency| latency.percentile(p));
    let shown = found.filter(|percentile| percentile.quality != Quality::TooFew);
    let n = latency.map_or(0, Latency::observations);
    let interval = shown.and_then(|percentile| Some((percentile.low_ms?, percentile.high_ms)));
    let range = interval.map(|(low, high)| format!(" (95 %: {})", text::range(Some(low), high)));
    let value = text::percentile(found, n);
    let unit = if value.starts_with(text::NOTHING) { "" } else { " ms" };
    Point {
        y: shown.map(|percentile| percentile.value_ms),
        interval,
        tooltip: format!("{value}{unit}{}", range.unwrap_or_default()),
        ..Point::default()
    }
}

/// Returns the plan's p95 limits for a panel. A limit that applies to one tier only has the colour of that tier.
fn limits(plan: &Plan, cells: &[(&CellSummary, &CellView)], series: &[Series]) -> Vec<Limit> {
    let mut limits = Vec::new();
    for (index, threshold) in plan.slo.iter().enumerate() {
        let meant: Vec<&CellSummary> =
            cells.iter().map(|(cell, _)| *cell).filter(|cell| matches(&threshold.when, &cell.cell)).collect();
        for bound in threshold.bounds.iter().filter(|bound| is_p95(bound)) {
            let tooltip = format!("{}: p95 {}", threshold.title(index), slo::shown(bound));
            if meant.len() == cells.len() {
                limits.push(Limit { y: bound.limit(), series: None, tooltip });
                continue;
            }
            let mut tiers: Vec<&str> = Vec::new();
            for cell in &meant {
                find_or_push(&mut tiers, |tier| *tier == cell.cell.service_tier, || &cell.cell.service_tier);
            }
            // The colour of a tier marks a limit that applies to this tier only.
            let of = match tiers.as_slice() {
                [] => continue,
                [tier] => series.iter().position(|series| series.name == format!("{tier} p95")),
                _ => None,
            };
            limits.push(Limit { y: bound.limit(), series: of, tooltip: format!("{tooltip} ({})", tiers.join(", ")) });
        }
    }
    limits
}

/// Tier with its cells.
type TierCells<'a> = (&'a str, Vec<&'a (&'a CellSummary, &'a CellView)>);

/// Returns one sentence per tier: the highest load up to which every load passes, and the verdict of the next one.
fn highest(cells: &[(&CellSummary, &CellView)]) -> Vec<String> {
    let mut tiers: Keyed<&str, TierCells> = Keyed::default();
    for entry in cells {
        let tier = entry.0.cell.service_tier.as_str();
        tiers.entry(tier, || (tier, Vec::new())).1.push(entry);
    }
    let sentence = |(tier, of): TierCells| {
        let mut of: Vec<_> = of.into_iter().filter(|(_, view)| view.result.verdict.is_some()).collect();
        of.sort_by(|a, b| load(a.0).1.cmp(&load(b.0).1));
        let first = of.first()?;
        if matches!(load(first.0).1, AxisValue::Text(_)) {
            return None;
        }
        let held = of.iter().take_while(|(_, view)| view.result.verdict == Some(Verdict::Pass)).count();
        let next = of.get(held).map(|(cell, view)| {
            let (_, word) = super::overview::words(view.result.verdict);
            format!("{}: {word}", load_name(cell))
        });
        Some(match (held, next) {
            (0, next) => format!("{tier}, {}", next.unwrap_or_default()),
            (held, None) => format!("{tier} passes up to {}, the highest load of the plan", load_name(of[held - 1].0)),
            (held, Some(next)) => format!("{tier} passes up to {}; {next}", load_name(of[held - 1].0)),
        })
    };
    tiers.items.into_iter().filter_map(sentence).collect()
}
