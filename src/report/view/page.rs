//! Additional content of a cell's page: charts over time, the distribution, phases, and the slowest requests.

use super::entry::Entry;
use super::figures::Frame;
use super::text;
use crate::record::Phase;
use crate::report::charts::{Axis, Body, Figure, Join, Line, LineFigure, LinePanel, Point, Scale, Series};
use crate::result::{LEVELS, Quality};
use crate::stats::series::HistoryRow;
use crate::stats::{CellSummary, Latency};
use crate::units::timestamp;
use serde::Serialize;

/// Maximum number of points of a line over time. It shows every trend and keeps the page small.
const POINTS: usize = 120;

/// Number of bins of a distribution.
const BINS: usize = 40;

/// Indices of percentiles in Locust's list of percentile ranks.
const P50: usize = 0;
const P95: usize = 5;

/// Hues of the palette.
const BLUE: usize = 0;
const AMBER: usize = 1;
const GREEN: usize = 2;
const RED: usize = 5;

/// Additional content of a cell's page.
#[derive(Debug, Serialize)]
pub(crate) struct PageView {
    /// Response-time percentiles at Locust's ranks, formatted.
    pub(crate) percentiles: Vec<Entry>,
    /// One row per phase in which requests were sent.
    pub(crate) phases: Vec<PhaseRow>,
    /// Slowest requests, the slowest first.
    pub(crate) slowest: Vec<SlowRow>,
    /// Whether requests in flight during a standstill of this machine were excluded from the slowest.
    pub(crate) excludes_stalled: bool,
    /// Charts, keyed by the stem of their file name.
    #[serde(skip)]
    pub(crate) figures: Vec<(&'static str, Figure)>,
}

/// Phase of a cell, formatted.
#[derive(Debug, Serialize)]
pub(crate) struct PhaseRow {
    /// `ramp`, `steady` or `drain`.
    pub(crate) name: &'static str,
    /// Explanation of the phase.
    pub(crate) what: &'static str,
    /// Number of requests sent in the phase.
    pub(crate) requests: String,
    /// Failures as a percentage of the phase's requests.
    pub(crate) failure_rate: String,
    /// Milliseconds, or the reason why it is not shown.
    pub(crate) p50: String,
    /// Milliseconds, or the reason why it is not shown.
    pub(crate) p95: String,
}

/// Slow request, formatted.
#[derive(Debug, Serialize)]
pub(crate) struct SlowRow {
    /// Response time, milliseconds.
    pub(crate) response: String,
    /// Start, seconds from the start of the cell run.
    pub(crate) start: String,
    /// Time of its end, UTC.
    pub(crate) ended: String,
    /// See [`PhaseRow::name`].
    pub(crate) phase: &'static str,
    /// `succeeded`, or the kind of failure.
    pub(crate) end: String,
    /// Latency that the service reported, milliseconds.
    pub(crate) server: String,
    /// Time to first token, milliseconds.
    pub(crate) ttft: String,
    pub(crate) output_tokens: String,
    /// Request id for AWS support; may be empty.
    pub(crate) request_id: String,
}

pub(super) fn view(frame: &Frame, summary: &CellSummary) -> PageView {
    let latency = summary.reported_latency();
    let n = latency.observations();
    let level = |p: f64| Entry {
        label: format!("{}%", text::number(p * 100.0)),
        // The maximum is shown for any sample size.
        value: if p < 1.0 { text::percentile(latency.percentile(p), n) } else { text::ms_or_nothing(latency.max_ms) },
    };
    PageView {
        percentiles: LEVELS.map(level).into(),
        phases: summary.phases.iter().map(|of| phase(of, summary)).collect(),
        slowest: summary.slowest.iter().map(slow).collect(),
        excludes_stalled: summary.client_stalled > 0,
        figures: figures(frame, summary),
    }
}

fn name(phase: Phase) -> (&'static str, &'static str) {
    match phase {
        Phase::Ramp => ("ramp", "sent before all users were there"),
        Phase::Drain => ("drain", "still running when nothing more was started"),
        _ => ("steady", "sent after the ramp, ended before the deadline"),
    }
}

fn phase(phase: &crate::stats::PhaseSummary, summary: &CellSummary) -> PhaseRow {
    let (name, what) = name(phase.phase);
    let what = if phase.phase == Phase::Drain && summary.health.machines.len() > 1 {
        "still running when the first machine started nothing more, or sent later"
    } else {
        what
    };
    let shown = |p| text::percentile(phase.latency.percentile(p), phase.latency.observations());
    PhaseRow {
        name,
        what,
        requests: text::thousands(phase.counts.total as f64, 0),
        failure_rate: text::percent(phase.counts.failure_rate()),
        p50: shown(0.50),
        p95: shown(0.95),
    }
}

fn slow(slow: &crate::stats::SlowRequest) -> SlowRow {
    let end = format!("{:?}", slow.outcome).to_lowercase();
    let count = |tokens: u64| text::thousands(tokens as f64, 0);
    SlowRow {
        response: text::ms(slow.response_ms),
        start: text::thousands(slow.start_ms / 1e3, 1),
        ended: timestamp::iso((slow.ended_s * 1e3) as u64),
        phase: name(slow.phase).0,
        end: if slow.class.is_empty() { end } else { slow.class.clone() },
        server: text::ms_or_nothing(slow.server_ms.map(|ms| ms as f64)),
        ttft: text::ms_or_nothing(slow.ttft_ms),
        output_tokens: slow.output_tokens.map_or_else(|| text::NOTHING.into(), count),
        request_id: slow.request_id.clone(),
    }
}

fn figures(frame: &Frame, summary: &CellSummary) -> Vec<(&'static str, Figure)> {
    let rows = thinned(&summary.history);
    let mut figures = Vec::new();
    if !rows.is_empty() {
        figures.extend(over_time(frame, summary, &rows));
    }
    figures.extend(distribution(frame, summary.reported_latency()).map(|figure| ("distribution", figure)));
    figures.extend(curves(frame, summary).map(|figure| ("curves", figure)));
    figures
}

/// Returns every nth row, at most about [`POINTS`] rows. Each row covers the last ten seconds, so steps of up to 10
/// omit no data.
fn thinned(rows: &[HistoryRow]) -> Vec<&HistoryRow> {
    let step = rows.len().div_ceil(POINTS).max(1);
    rows.iter().enumerate().filter(|(index, row)| index % step == 0 || row.second == 1).map(|(_, row)| row).collect()
}

/// Function that returns a value of a row.
type Value = fn(&HistoryRow) -> Option<f64>;

/// Line of a chart over time: its name, its hue, and the function that returns its value in a row.
type Drawn<'a> = (&'a str, usize, &'a dyn Fn(&HistoryRow) -> Option<f64>);

fn over_time(frame: &Frame, summary: &CellSummary, rows: &[&HistoryRow]) -> Vec<(&'static str, Figure)> {
    let over_ten = || vec!["Sliding window of ten seconds; ramp and drain included.".to_owned()];
    let lag = "Lag of a 10 ms ticker in the measuring process; large values may be part of the response times.";
    let requests: Value = |row| Some(row.requests_per_sec);
    let failures: Value = |row| Some(row.failures_per_sec);
    let p50: Value = |row| row.percentiles_ms.map(|levels| levels[P50]);
    let p95: Value = |row| row.percentiles_ms.map(|levels| levels[P95]);
    let in_flight: Value = |row| row.in_flight.map(f64::from);
    let users: Value = |row| Some(f64::from(row.users));
    let ticker: Value = |row| row.ticker_ms;
    let rate = |value: f64| format!("{} per second", text::ms(value));
    let ms = |value: f64| format!("{} ms", text::ms(value));
    let count = |value: f64| text::thousands(value, 0);
    let rates: [Drawn; 2] = [("requests", BLUE, &requests), ("failures", RED, &failures)];
    let times: [Drawn; 2] = [("p50", BLUE, &p50), ("p95", AMBER, &p95)];
    let there: [Drawn; 2] = [("users", BLUE, &users), ("in flight", GREEN, &in_flight)];
    let (there, title, unit) = if summary.cell.is_open() {
        (&there[1..], "Requests in flight", "requests")
    } else {
        (&there[..], "Users and requests in flight", "users, requests")
    };
    let whose = if summary.health.machines.len() > 1 { "The latest machine's lag" } else { "This machine's lag" };
    let late: [Drawn; 1] = [("ticker", BLUE, &ticker)];
    let figures = [
        ("requests", timed(frame, rows, "Requests per second", "per second", &rates, &rate, over_ten())),
        (
            "times",
            timed(frame, rows, "Response times", "response time, ms", &times, &ms, frame.of_latencies(over_ten())),
        ),
        ("users", timed(frame, rows, title, unit, there, &count, Vec::new())),
        ("lag", timed(frame, rows, whose, "late by, ms", &late, &ms, vec![lag.to_owned()])),
    ];
    figures.into_iter().filter_map(|(stem, figure)| Some((stem, figure?))).collect()
}

/// Returns a chart over time, or `None` if there is no data.
fn timed(
    frame: &Frame,
    rows: &[&HistoryRow],
    title: &str,
    unit: &str,
    drawn: &[Drawn],
    shown: &dyn Fn(f64) -> String,
    notes: Vec<String>,
) -> Option<Figure> {
    let lines: Vec<Line> = drawn
        .iter()
        .enumerate()
        .flat_map(|(series, (name, _, value))| {
            parts(rows, series, value, &|row, y| format!("{name} at {} s: {}", row.second, shown(y)))
        })
        .collect();
    let series = drawn.iter().map(|(name, hue, _)| Series::new(*name, *hue)).collect();
    let axis = |label: &str| Axis { label: label.into(), scale: Scale::Linear };
    let is_empty = lines.is_empty();
    let panel = LinePanel { lines, ..LinePanel::default() };
    let body = LineFigure { x: axis("seconds from the start"), y: axis(unit), panels: vec![panel] };
    (!is_empty).then(|| frame.figure(title, notes, series, Body::Lines(body)))
}

/// Returns one line per uninterrupted stretch. A line ends if a row has no value or another cell run begins.
fn parts(
    rows: &[&HistoryRow],
    series: usize,
    value: &dyn Fn(&HistoryRow) -> Option<f64>,
    tooltip: &dyn Fn(&HistoryRow, f64) -> String,
) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut is_open = false;
    for row in rows {
        let Some(y) = value(row) else {
            is_open = false;
            continue;
        };
        let point = Point { x: row.second as f64, y: Some(y), tooltip: tooltip(row, y), ..Point::default() };
        match lines.last_mut() {
            Some(line) if is_open && row.second > 1 => line.points.push(point),
            _ => lines.push(Line { series, join: Join::Plain, points: vec![point] }),
        }
        is_open = true;
    }
    lines
}

/// Returns the distribution of the response times in the latency window, up to slightly above p99.
fn distribution(frame: &Frame, latency: &Latency) -> Option<Figure> {
    let top_ms = latency.value_ms(0.99)? * 1.05;
    let (counts, beyond) = latency.bins(top_ms, BINS);
    let width_ms = top_ms / BINS as f64;
    let mut points = Vec::with_capacity(2 * BINS);
    for (bin, count) in counts.iter().enumerate() {
        let (from, to) = (bin as f64 * width_ms, (bin + 1) as f64 * width_ms);
        let tooltip =
            format!("{} to {} ms: {} requests", text::ms(from), text::ms(to), text::thousands(*count as f64, 0));
        let point = |x, tooltip| Point { x, y: Some(*count as f64), tooltip, ..Point::default() };
        points.extend([point(from, String::new()), point(f64::midpoint(from, to), tooltip), point(to, String::new())]);
    }
    let body = LineFigure {
        x: Axis { label: "response time, ms".into(), scale: Scale::Linear },
        y: Axis { label: format!("requests in each {} ms", text::ms(width_ms)), scale: Scale::Linear },
        panels: vec![LinePanel { lines: vec![Line { series: 0, join: Join::Plain, points }], ..LinePanel::default() }],
    };
    let notes = if beyond > 0 {
        vec![format!("{} requests took longer and are not in the picture.", text::thousands(beyond as f64, 0))]
    } else {
        Vec::new()
    };
    Some(frame.figure(
        "Distribution of the response times",
        frame.of_latencies(notes),
        vec![Series::new("requests", BLUE)],
        Body::Lines(body),
    ))
}

/// Returns the percentile curves of the response time and, for streams, of the time to first token.
fn curves(frame: &Frame, summary: &CellSummary) -> Option<Figure> {
    const CURVE: [f64; 16] = [0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999];
    let of = |latency: &Latency, series: usize, name: &str| {
        let allowed =
            |p: f64| p < 0.5 || latency.percentile(p).is_some_and(|percentile| percentile.quality != Quality::TooFew);
        let point = |p: f64| {
            let y = latency.value_ms(p)?;
            Some(Point {
                x: p,
                y: Some(y),
                tooltip: format!("{name}, p{}: {} ms", text::number(p * 100.0), text::ms(y)),
                ..Point::default()
            })
        };
        let points = CURVE.into_iter().take_while(|p| allowed(*p)).filter_map(point).collect();
        Line { series, join: Join::Plain, points }
    };
    let mut lines = vec![of(summary.reported_latency(), 0, "response time")];
    let mut series = vec![Series::new("response time", BLUE)];
    if let Some(ttft) = &summary.ttft {
        lines.push(of(ttft, 1, "first token"));
        series.push(Series::new("time to first token", GREEN));
    }
    if lines.iter().all(|line| line.points.is_empty()) {
        return None;
    }
    let body = LineFigure {
        x: Axis { label: "percentile".into(), scale: Scale::Nines },
        y: Axis { label: "ms".into(), scale: Scale::Linear },
        panels: vec![LinePanel { lines, ..LinePanel::default() }],
    };
    let notes = vec!["Logarithmic percentile axis. Curves stop where there are too few samples.".to_owned()];
    Some(frame.figure("Percentiles", frame.of_latencies(notes), series, Body::Lines(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_percentiles_are_theirs() {
        assert!((LEVELS[P50] - 0.50).abs() < 1e-9 && (LEVELS[P95] - 0.95).abs() < 1e-9);
    }
}
