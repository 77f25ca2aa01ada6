//! The time line of a run: what ended per second and how, the service's and the client's share of a
//! request's time, and how late this machine was. Three strips over one axis of time.

use super::figure::{Bucket, TimelineFigure};
use super::ink::{Ink, Spot, Type};
use super::style::{LABEL, PANEL_TITLE_ROOM, Paint, fit, tick_text, ticks, width};

const AXIS: f64 = 62.0;
const PLOT: f64 = 960.0;
const RATES: f64 = 150.0;
const SHARES: f64 = 80.0;
const LAG: f64 = 40.0;
const GAP: f64 = 30.0;
const NAMES: f64 = 22.0;

/// Of the only panel there is.
pub(super) const SIZE: (f64, f64) =
    (AXIS + PLOT + 14.0, PANEL_TITLE_ROOM + NAMES + RATES + GAP + SHARES + GAP + LAG + 40.0);

/// A strip: where it is, how high, and what its top stands for.
struct Strip {
    top: f64,
    height: f64,
    highest: f64,
}

impl Strip {
    fn y(&self, value: f64) -> f64 {
        self.top + self.height * (1.0 - (value / self.highest).clamp(0.0, 1.0))
    }

    fn new(ink: &mut Ink, name: &str, (left, top): Spot, height: f64, highest: f64) -> Self {
        let ticks = if height > 100.0 { ticks(highest) } else { few_ticks(highest) };
        let strip = Self { top, height, highest: ticks.last().copied().unwrap_or(1.0) };
        let step = ticks.get(1).copied().unwrap_or(1.0);
        for tick in &ticks {
            let y = strip.y(*tick);
            let paint = if *tick == 0.0 { Paint::Soft } else { Paint::Grid };
            ink.line((left, y), (left + PLOT, y), 1.0, paint);
            ink.text(&tick_text(*tick, step), left - 8.0, y, Type::new(LABEL, Paint::Soft).right());
        }
        ink.text(name, left, top - 10.0, Type::new(LABEL, Paint::Soft));
        strip
    }
}

/// Zero and one more.
fn few_ticks(highest: f64) -> Vec<f64> {
    ticks(highest).last().map_or_else(|| vec![0.0, 1.0], |last| vec![0.0, *last])
}

pub(super) fn draw(ink: &mut Ink, figure: &TimelineFigure, series: usize, at: Spot) {
    let left = at.0 + AXIS;
    let highest = |value: &dyn Fn(&Bucket) -> f64| figure.buckets.iter().map(value).fold(0.0, f64::max);
    let mut top = at.1 + PANEL_TITLE_ROOM + NAMES;
    spans(ink, figure, (left, top - 14.0), SIZE.1 - PANEL_TITLE_ROOM - 48.0);
    let most = highest(&|bucket| bucket.rates.iter().sum());
    let rates = Strip::new(ink, "", (left, top), RATES, most);
    ink.text("ended per second", at.0 + 6.0, top + RATES / 2.0, Type::new(LABEL, Paint::Soft).centred().upright());
    top += RATES + GAP;
    let longest = highest(&|bucket| bucket.shares.map_or(0.0, |(server, client)| server + client));
    let name = "median success, ms: the service's own time, and what came on top of it";
    let shares = Strip::new(ink, name, (left, top), SHARES, longest);
    top += SHARES + GAP;
    let latest = highest(&|bucket| bucket.lag_ms.unwrap_or(0.0)).max(figure.lag_limit_ms);
    let lag = Strip::new(ink, "how late this machine was at worst, ms", (left, top), LAG, latest);
    let slot = PLOT / figure.buckets.len().max(1) as f64;
    let outcomes = series.saturating_sub(2);
    for (index, bucket) in figure.buckets.iter().enumerate() {
        let x = left + index as f64 * slot;
        stack(ink, &rates, x, slot, bucket.rates.iter().copied().take(outcomes).enumerate());
        if let Some((server, client)) = bucket.shares {
            stack(ink, &shares, x, slot, [(5, server), (6, client)].into_iter());
        }
        if let Some(late) = bucket.lag_ms {
            let spoiled = late > figure.lag_limit_ms;
            ink.of(None);
            let paint = if spoiled { Paint::Limit } else { Paint::Outcome(4) };
            ink.block(x, lag.y(late), slot, lag.top + LAG - lag.y(late), paint);
        }
        ink.of(None);
        ink.mark([x, rates.top, slot, lag.top + LAG - rates.top], &bucket.words);
    }
    let y = lag.y(figure.lag_limit_ms);
    ink.dashed(vec![(left, y), (left + PLOT, y)], 1.0, Paint::Limit);
    time(ink, figure, slot, (left, lag.top + LAG));
}

/// Blocks on top of each other, each with its outcome.
fn stack(ink: &mut Ink, strip: &Strip, x: f64, slot: f64, parts: impl Iterator<Item = (usize, f64)>) {
    let mut below = 0.0;
    for (outcome, value) in parts.filter(|(_, value)| *value > 0.0) {
        ink.of(Some(outcome));
        let (from, to) = (strip.y(below), strip.y(below + value));
        ink.block(x, to, slot, from - to, Paint::Outcome(outcome));
        below += value;
    }
    ink.of(None);
}

/// A line where a cell begins, in the colour of its tier, and its name where there is room.
fn spans(ink: &mut Ink, figure: &TimelineFigure, (left, top): Spot, height: f64) {
    let slot = PLOT / figure.buckets.len().max(1) as f64;
    for span in &figure.spans {
        let (from, to) = (left + span.buckets.0 * slot, left + span.buckets.1 * slot);
        ink.line((from, top + 5.0), (from, top + height), 1.0, Paint::Grid);
        ink.block(from + 0.5, top + 6.0, (to - from - 1.0).max(0.5), 3.0, Paint::Hue(span.hue));
        if width(&span.name, LABEL - 1.0, false) < 2.0 * (to - from) {
            let name = fit(&span.name, LABEL - 1.0, false, to - from - 2.0);
            ink.text(&name, from + 1.0, top - 2.0, Type::new(LABEL - 1.0, Paint::Soft));
        }
        ink.mark([from, top - 8.0, to - from, 20.0], &span.name);
    }
}

fn time(ink: &mut Ink, figure: &TimelineFigure, slot: f64, (left, top): Spot) {
    let whole = figure.buckets.len() as f64 * figure.bucket_s;
    let marks = ticks(whole);
    let step = marks.get(1).copied().unwrap_or(1.0);
    for tick in marks.iter().filter(|tick| **tick <= whole + 1e-9) {
        let x = left + tick / figure.bucket_s * slot;
        ink.line((x, top), (x, top + 4.0), 1.0, Paint::Soft);
        ink.text(&tick_text(*tick, step), x, top + 12.0, Type::new(LABEL, Paint::Soft).centred());
    }
    let said = format!(
        "seconds of load, pauses between cells left out; {} s a column",
        tick_text(figure.bucket_s, figure.bucket_s)
    );
    ink.text(&said, left + PLOT / 2.0, top + 28.0, Type::new(LABEL, Paint::Soft).centred());
}
