//! The data of the five charts. A chart pools the samples of what it does not show; an axis that it
//! does not name and that has several values adds panels.

use super::RunView;
use super::names::{self, TIER, group, join, label, title, varying};
use super::text;
use crate::report::charts::{Bar, BarFigure, BarPanel, Body, Figure, Group, HeatFigure, HeatPanel, Series};
use crate::stats::{Pool, Summary};

/// The axes that the old tool's charts know.
const NAMED: [&str; 4] = ["region_prefix", "service_tier", "prompt_size", "users"];

/// What is drawn of a pool: a number, its interval, and what is written.
type Value = fn(&Pool) -> Bar;

/// Charts of a run, each with what heads it.
pub(super) struct Frame<'a> {
    run: &'a RunView,
    /// What every chart must say.
    marks: Vec<String>,
}

impl<'a> Frame<'a> {
    pub(super) fn new(run: &'a RunView) -> Self {
        let mut marks = match run.invalid.len() {
            0..=3 => run.invalid.clone(),
            n => {
                vec![format!("INVALID: this machine spoiled the numbers of {n} cells; the first is {}", run.invalid[0])]
            }
        };
        marks.extend(Some(run.calibration.clone()).filter(|said| !said.is_empty()));
        Self { run, marks }
    }

    /// A chart with what heads it.
    pub(super) fn figure(&self, title: &str, notes: Vec<String>, series: Vec<Series>, body: Body) -> Figure {
        Figure {
            title: title.into(),
            subtitle: format!("{}, {}", self.run.name, self.run.started),
            banner: match (self.run.simulated, self.run.not_aws) {
                (true, _) => Some("SIMULATED".into()),
                (false, true) => Some("NOT AWS".into()),
                (false, false) => None,
            },
            notes,
            marks: self.marks.clone(),
            series,
            body,
        }
    }
}

pub(super) fn figures(frame: &Frame, summary: &Summary) -> Vec<(&'static str, Figure)> {
    let ms = "response time, ms";
    let who = if frame.run.include_failures {
        "Of the requests in each cell's latency window, failed and throttled ones included. Hatched is what is not there, or not to be trusted."
    } else {
        "Of the successes in each cell's latency window. Hatched is what is not there, or not to be trusted."
    };
    let pooled = |over: &[&str]| pooled_over(summary, over, who);
    let ended = "Requests of any outcome that ended in each cell's latency window.";
    let figure = |title: &str, notes, (series, body)| frame.figure(title, notes, series, body);
    vec![
        (
            "avg_latency_by_config",
            figure(
                "Average response time by configuration",
                pooled(&[]),
                bars(summary, &["region_prefix", "prompt_size"], &["users"], &[TIER], ms, &[("", average)]),
            ),
        ),
        (
            "p50_p95_comparison",
            figure(
                "P50 and P95 response time",
                pooled(&["users"]),
                bars(summary, &["prompt_size"], &[TIER, "region_prefix"], &[], ms, &[("P50", p50), ("P95", p95)]),
            ),
        ),
        (
            "latency_by_prompt_size",
            figure("Response time by prompt size", pooled(&["users", "region_prefix"]), by_prompt_size(summary, ms)),
        ),
        (
            "throughput_comparison",
            figure(
                "Throughput",
                pooled_over(summary, &["prompt_size"], ended),
                bars(summary, &[], &["users"], &[TIER, "region_prefix"], "requests per second", &[("", throughput)]),
            ),
        ),
        (
            "latency_heatmap",
            figure(
                "Average response time by tier and prompt size",
                pooled(&["users"]),
                (Vec::new(), heat(summary, ms)),
            ),
        ),
    ]
}

/// What a chart takes together, if the cells differ there.
fn pooled_over(summary: &Summary, fields: &[&str], who: &str) -> Vec<String> {
    let several: Vec<String> = fields
        .iter()
        .filter_map(|field| {
            let keys: Vec<String> = summary.values(field).iter().map(ToString::to_string).collect();
            (keys.len() > 1).then(|| format!("{} {}", label(field), keys.join(", ")))
        })
        .collect();
    let mut notes = vec![who.to_owned()];
    if !several.is_empty() {
        notes.push(format!("Pooled over {}.", several.join("; ")));
    }
    notes
}

/// A number of a pool, marked where cells in it are not to be trusted.
fn drawn(pool: &Pool, value: Value) -> Bar {
    let bar = value(pool);
    match pool.invalid {
        0 => bar,
        1 => Bar { unfit: true, words: " (one cell in it is INVALID)".into(), ..bar },
        n => Bar { unfit: true, words: format!(" ({n} cells in it are INVALID)"), ..bar },
    }
}

fn average(pool: &Pool) -> Bar {
    let (value, label) = (pool.latency.mean_ms, text::ms_or_nothing(pool.latency.mean_ms));
    Bar { value, label, ..Bar::default() }
}

fn p50(pool: &Pool) -> Bar {
    percentile(pool, 0.50)
}

fn p95(pool: &Pool) -> Bar {
    percentile(pool, 0.95)
}

fn throughput(pool: &Pool) -> Bar {
    let (value, label) = (pool.requests_per_sec, text::rate(pool.requests_per_sec));
    Bar { value, label, ..Bar::default() }
}

/// A percentile with its interval; one that is too uncertain has no bar, but says why.
fn percentile(pool: &Pool, p: f64) -> Bar {
    use crate::stats::percentile::Quality;
    let percentile = pool.latency.percentile(p);
    let label = text::percentile(percentile, pool.latency.observations());
    let shown = percentile.filter(|percentile| percentile.quality != Quality::TooFew);
    Bar {
        value: shown.map(|percentile| percentile.value_ms),
        interval: shown.and_then(|percentile| percentile.low_ms.map(|low| (low, percentile.high_ms))),
        label,
        ..Bar::default()
    }
}

/// Axes that a chart does not name and on which the cells differ.
fn extra(summary: &Summary) -> Vec<&'static str> {
    varying(summary, &NAMED)
}

/// Panels, groups and series by axes; `values` adds a series each where it has several. The tier gives
/// the colour, wherever it stands.
fn bars(
    summary: &Summary,
    panels: &[&str],
    groups: &[&str],
    series: &[&str],
    unit: &str,
    values: &[(&str, Value)],
) -> (Vec<Series>, Body) {
    let extra = extra(summary);
    let panels: Vec<&str> = extra.iter().copied().chain(panels.iter().copied()).collect();
    let fields: Vec<&str> = panels.iter().chain(groups).chain(series).copied().collect();
    let (in_panel, in_group) = (panels.len(), panels.len() + groups.len());
    let mut builder = Builder::new(unit);
    for pool in summary.pool(&fields) {
        let panel = title(summary, &panels, &pool.key[..in_panel]);
        let group = group(groups, &pool.key[in_panel..in_group]);
        let tier = groups.iter().position(|field| *field == TIER).map(|at| pool.key[in_panel + at].to_string());
        let of = &pool.key[in_group..];
        for (index, (name, value)) in values.iter().enumerate() {
            let series = if name.is_empty() {
                builder.of_tier(&of[0].to_string(), join(of))
            } else {
                let last = index + 1 == values.len();
                Series { pale: !last, ..Series::new(*name, names::NEUTRAL) }
            };
            let hue = tier.as_deref().map(names::hue);
            builder.put(&panel, (&group, hue), &series, drawn(&pool, *value));
        }
    }
    builder.done()
}

/// Average, P50 and P95 in a panel each: bars by tier, grouped by prompt size.
fn by_prompt_size(summary: &Summary, unit: &str) -> (Vec<Series>, Body) {
    let extra = extra(summary);
    let fields: Vec<&str> = extra.iter().copied().chain(["prompt_size", TIER]).collect();
    let mut builder = Builder::new(unit);
    let pools = summary.pool(&fields);
    for (name, value) in [("Average", average as Value), ("P50", p50), ("P95", p95)] {
        for pool in &pools {
            let (front, rest) = pool.key.split_at(extra.len());
            let front = title(summary, &extra, front);
            let panel = if front.is_empty() { name.to_owned() } else { format!("{name}, {front}") };
            let tier = rest[1].to_string();
            let series = builder.of_tier(&tier, tier.clone());
            builder.put(&panel, (&rest[0].to_string(), None), &series, drawn(pool, value));
        }
    }
    builder.done()
}

/// Bars as they come, by panel, group and series.
struct Builder {
    series: Vec<Series>,
    figure: BarFigure,
}

impl Builder {
    fn new(unit: &str) -> Self {
        Self { series: Vec::new(), figure: BarFigure { unit: unit.into(), panels: Vec::new() } }
    }

    /// A series of a tier. Several of the same, such as one per region, take turns in tone.
    fn of_tier(&self, tier: &str, name: String) -> Series {
        let hue = names::hue(tier);
        let before = self.series.iter().take_while(|known| known.name != name).filter(|known| known.hue == hue).count();
        Series { pale: before % 2 == 1, ..Series::new(name, hue) }
    }

    fn put(&mut self, panel: &str, (group, hue): (&str, Option<usize>), series: &Series, mut bar: Bar) {
        let range = bar.interval.map(|(low, high)| format!(" (95 %: {})", text::range(Some(low), high)));
        let parts = [panel, group, series.name.as_str()];
        let place = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
        bar.words = format!("{place}: {}{}{}", bar.label, range.unwrap_or_default(), bar.words);
        let series = find_or_push(&mut self.series, |known| known.name == series.name, || series.clone());
        let panels = &mut self.figure.panels;
        let panel =
            find_or_push(panels, |known| known.title == panel, || BarPanel { title: panel.into(), groups: Vec::new() });
        let groups = &mut panels[panel].groups;
        let group =
            find_or_push(groups, |known| known.label == group, || Group { label: group.into(), hue, bars: Vec::new() });
        groups[group].bars.push((series, bar));
    }

    fn done(self) -> (Vec<Series>, Body) {
        (self.series, Body::Bars(self.figure))
    }
}

fn heat(summary: &Summary, unit: &str) -> Body {
    let panels: Vec<&str> = extra(summary).into_iter().chain(["region_prefix"]).collect();
    let fields: Vec<&str> = panels.iter().copied().chain([TIER, "prompt_size"]).collect();
    let mut figure = HeatFigure { unit: unit.into(), panels: Vec::new() };
    for pool in summary.pool(&fields) {
        let (front, rest) = pool.key.split_at(panels.len());
        let title = title(summary, &panels, front);
        let index = find_or_push(
            &mut figure.panels,
            |panel| panel.title == title,
            || HeatPanel { title: title.clone(), ..HeatPanel::default() },
        );
        let panel = &mut figure.panels[index];
        let row = find_or_push(&mut panel.rows, |row| *row == rest[0].to_string(), || rest[0].to_string());
        let column = find_or_push(&mut panel.columns, |column| *column == rest[1].to_string(), || rest[1].to_string());
        let square = drawn(&pool, average);
        let words = format!("{} / {}: {}{}", rest[0], rest[1], square.label, square.words);
        panel.squares.push((row, column, Bar { words, ..square }));
    }
    Body::Heat(figure)
}

/// The index of an item, which is made where there is none.
pub(super) fn find_or_push<T>(items: &mut Vec<T>, is: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> usize {
    items.iter().position(is).unwrap_or_else(|| {
        items.push(make());
        items.len() - 1
    })
}
