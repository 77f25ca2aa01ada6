//! The time line of a run in three strips on one time axis: requests that ended per second by outcome, server time and
//! client overhead of a request, and client lag.

use super::canvas::{Canvas, Position, TextStyle};
use super::figure::{Bucket, TimelineFigure};
use super::style::{BLOCKED, LABEL, PANEL_TITLE_ROOM, Paint, fit, tick_text, ticks, width};

const AXIS: f64 = 62.0;
const PLOT: f64 = 960.0;
const RATES: f64 = 150.0;
const SHARES: f64 = 80.0;
const LAG: f64 = 40.0;
const GAP: f64 = 30.0;
const NAMES: f64 = 22.0;

/// Size of the only panel.
pub(super) const SIZE: (f64, f64) =
    (AXIS + PLOT + 14.0, PANEL_TITLE_ROOM + NAMES + RATES + GAP + SHARES + GAP + LAG + 40.0);

/// Strip of the time line: its position, its height, and the value at its top.
struct Strip {
    top: f64,
    height: f64,
    highest: f64,
}

impl Strip {
    fn y(&self, value: f64) -> f64 {
        self.top + self.height * (1.0 - (value / self.highest).clamp(0.0, 1.0))
    }

    fn new(canvas: &mut Canvas, name: &str, (left, top): Position, height: f64, highest: f64) -> Self {
        let ticks = if height > 100.0 { ticks(highest) } else { few_ticks(highest) };
        let strip = Self { top, height, highest: ticks.last().copied().unwrap_or(1.0) };
        let step = ticks.get(1).copied().unwrap_or(1.0);
        for tick in &ticks {
            let y = strip.y(*tick);
            let paint = if *tick == 0.0 { Paint::Soft } else { Paint::Grid };
            canvas.line((left, y), (left + PLOT, y), 1.0, paint);
            canvas.text(&tick_text(*tick, step), left - 8.0, y, TextStyle::new(LABEL, Paint::Soft).right());
        }
        canvas.text(name, left, top - 10.0, TextStyle::new(LABEL, Paint::Soft));
        strip
    }
}

/// Returns two ticks: zero and one more.
fn few_ticks(highest: f64) -> Vec<f64> {
    ticks(highest).last().map_or_else(|| vec![0.0, 1.0], |last| vec![0.0, *last])
}

pub(super) fn draw(canvas: &mut Canvas, figure: &TimelineFigure, series: usize, at: Position) {
    let left = at.0 + AXIS;
    let highest = |value: &dyn Fn(&Bucket) -> f64| figure.buckets.iter().map(value).fold(0.0, f64::max);
    let mut top = at.1 + PANEL_TITLE_ROOM + NAMES;
    spans(canvas, figure, (left, top - 14.0), SIZE.1 - PANEL_TITLE_ROOM - 48.0);
    let most = highest(&|bucket| bucket.rates.iter().sum());
    let rates = Strip::new(canvas, "", (left, top), RATES, most);
    canvas.text(
        "ended per second",
        at.0 + 6.0,
        top + RATES / 2.0,
        TextStyle::new(LABEL, Paint::Soft).centred().rotated(),
    );
    top += RATES + GAP;
    let longest = highest(&|bucket| bucket.shares.map_or(0.0, |(server, client)| server + client));
    let name = "median success, ms: service time and client overhead";
    let shares = Strip::new(canvas, name, (left, top), SHARES, longest);
    top += SHARES + GAP;
    let latest = highest(&|bucket| bucket.lag_ms.unwrap_or(0.0)).max(figure.lag_limit_ms);
    let lag = Strip::new(canvas, "client lag, largest per interval, ms", (left, top), LAG, latest);
    let slot = PLOT / figure.buckets.len().max(1) as f64;
    let outcomes = series.saturating_sub(2);
    let level = |value: &dyn Fn(&Bucket) -> f64| figure.buckets.iter().map(value).collect::<Vec<f64>>();
    let mut below = level(&|_| 0.0);
    for outcome in 0..outcomes {
        let values = level(&|bucket| bucket.rates.get(outcome).copied().unwrap_or(0.0));
        // Blocked replies follow the five outcomes that are always drawn.
        let hue = if outcome < 5 { outcome } else { BLOCKED };
        below = layer(canvas, &rates, (left, slot), &below, &values, Some(outcome), Paint::Outcome(hue));
    }
    let server = level(&|bucket| bucket.shares.map_or(0.0, |(server, _)| server));
    let client = level(&|bucket| bucket.shares.map_or(0.0, |(_, client)| client));
    let below = layer(canvas, &shares, (left, slot), &level(&|_| 0.0), &server, Some(outcomes), Paint::Outcome(5));
    layer(canvas, &shares, (left, slot), &below, &client, Some(outcomes + 1), Paint::Outcome(6));
    let late = |spoiled: bool| {
        let limit = figure.lag_limit_ms;
        level(&|bucket| bucket.lag_ms.filter(|lag| (*lag > limit) == spoiled).unwrap_or(0.0))
    };
    layer(canvas, &lag, (left, slot), &level(&|_| 0.0), &late(false), None, Paint::Outcome(4));
    layer(canvas, &lag, (left, slot), &level(&|_| 0.0), &late(true), None, Paint::Limit);
    for (index, bucket) in figure.buckets.iter().enumerate() {
        let x = left + index as f64 * slot;
        canvas.mark([x, rates.top, slot, lag.top + LAG - rates.top], &bucket.tooltip);
    }
    let y = lag.y(figure.lag_limit_ms);
    canvas.dashed(vec![(left, y), (left + PLOT, y)], 1.0, Paint::Limit);
    time(canvas, figure, slot, (left, lag.top + LAG));
}

/// Draws one layer of a stack as steps on top of the layer below. Returns the upper edge of the layer.
fn layer(
    canvas: &mut Canvas,
    strip: &Strip,
    (left, slot): Position,
    below: &[f64],
    values: &[f64],
    series: Option<usize>,
    paint: Paint,
) -> Vec<f64> {
    canvas.set_series(series);
    let above: Vec<f64> = below.iter().zip(values).map(|(below, value)| below + value).collect();
    let x = |index: usize| left + index as f64 * slot;
    let mut from = 0;
    while let Some(start) = (from..values.len()).find(|index| values[*index] > 0.0) {
        let end = (start..values.len()).find(|index| values[*index] <= 0.0).unwrap_or(values.len());
        let steps = |levels: &[f64]| -> Vec<Position> {
            (start..end)
                .flat_map(|index| [(x(index), strip.y(levels[index])), (x(index + 1), strip.y(levels[index]))])
                .collect()
        };
        let mut outline = steps(&above);
        outline.extend(steps(below).into_iter().rev());
        canvas.area(outline, paint);
        from = end;
    }
    canvas.set_series(None);
    above
}

/// Draws a line at the start of each cell in the colour of its tier, and the cell's name if it fits.
fn spans(canvas: &mut Canvas, figure: &TimelineFigure, (left, top): Position, height: f64) {
    let slot = PLOT / figure.buckets.len().max(1) as f64;
    for span in &figure.spans {
        let (from, to) = (left + span.buckets.0 * slot, left + span.buckets.1 * slot);
        canvas.line((from, top + 5.0), (from, top + height), 1.0, Paint::Grid);
        canvas.block(from + 0.5, top + 6.0, (to - from - 1.0).max(0.5), 3.0, Paint::Hue(span.hue));
        if width(&span.name, LABEL - 1.0, false) < 2.0 * (to - from) {
            let name = fit(&span.name, LABEL - 1.0, false, to - from - 2.0);
            canvas.text(&name, from + 1.0, top - 2.0, TextStyle::new(LABEL - 1.0, Paint::Soft));
        }
        canvas.mark([from, top - 8.0, to - from, 20.0], &span.name);
    }
}

fn time(canvas: &mut Canvas, figure: &TimelineFigure, slot: f64, (left, top): Position) {
    let whole = figure.buckets.len() as f64 * figure.bucket_s;
    let marks = ticks(whole);
    let step = marks.get(1).copied().unwrap_or(1.0);
    for tick in marks.iter().filter(|tick| **tick <= whole + 1e-9) {
        let x = left + tick / figure.bucket_s * slot;
        canvas.line((x, top), (x, top + 4.0), 1.0, Paint::Soft);
        canvas.text(&tick_text(*tick, step), x, top + 12.0, TextStyle::new(LABEL, Paint::Soft).centred());
    }
    let caption = format!(
        "seconds of load, pauses between cells left out; {} s a column",
        tick_text(figure.bucket_s, figure.bucket_s)
    );
    canvas.text(&caption, left + PLOT / 2.0, top + 28.0, TextStyle::new(LABEL, Paint::Soft).centred());
}
