//! Data of the five charts of the original tool. A chart pools the samples over the axes that it does not show. Any
//! other axis that the chart does not name adds panels if it has several values.

use super::names::{self, Coordinates, TIER, group, join, label};
use super::text;
use crate::report::charts::{Bar, BarFigure, BarPanel, Body, Figure, Group, HeatFigure, HeatPanel, Series, split};
use crate::result::{RunInfo, Validity};
use crate::stats::{Pool, Summary};
use crate::units::Keyed;
use std::collections::HashMap;

/// Axes that the charts of the original tool show.
const NAMED: [&str; 4] = ["region_prefix", "service_tier", "prompt_size", "users"];

/// Function that turns a pool into a bar: value, interval and label.
type Value = fn(&Pool) -> Bar;

/// Maximum number of values of an axis that a note lists.
const NAMED_VALUES: usize = 20;

/// Header data that all charts of a run share.
pub(super) struct Frame<'a> {
    run: &'a RunInfo,
    /// Source of chart titles.
    pub(super) names: &'a Coordinates,
    /// Marks of the run that every chart must show.
    marks: Vec<String>,
}

impl<'a> Frame<'a> {
    pub(super) fn new(run: &'a RunInfo, names: &'a Coordinates, summary: &Summary) -> Self {
        let invalid = summary.cells.iter().filter(|cell| matches!(cell.validity, Validity::Invalid(_)));
        let mut marks: Vec<String> = invalid.map(|cell| format!("{}: {}", cell.cell.id, cell.validity)).collect();
        if marks.len() > 3 {
            marks = vec![format!(
                "INVALID: this machine spoiled the numbers of {} cells; the first is {}",
                marks.len(),
                marks[0]
            )];
        }
        marks.extend(run.running.as_ref().map(|running| format!("RUNNING: {running}")));
        marks.extend(run.calibration.clone());
        Self { run, names, marks }
    }

    /// Returns the notes of a chart of the reported latencies.
    pub(super) fn of_latencies(&self, mut notes: Vec<String>) -> Vec<String> {
        if self.run.include_failures {
            notes.push("The latencies shown here include failed and throttled requests.".into());
        }
        notes
    }

    /// Returns the notes of a chart of the latencies that verdicts are based on.
    pub(super) fn of_verdicts(&self, mut notes: Vec<String>) -> Vec<String> {
        if self.run.include_failures {
            notes.push("The latencies compared here do not include failed requests.".into());
        }
        notes
    }

    /// Returns a chart with title, subtitle, banner and marks.
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
            body: split(body),
        }
    }
}

pub(super) fn figures(frame: &Frame, summary: &Summary) -> Vec<(&'static str, Figure)> {
    let ms = "response time, ms";
    let who = if frame.run.include_failures {
        "Of the requests in each cell's latency window. Hatching: no data, or unreliable cells."
    } else {
        "Of the successes in each cell's latency window. Hatching: no data, or unreliable cells."
    };
    let pooled = |over: &[&str]| frame.of_latencies(pooled_over(frame.names, over, who));
    let ended = "Requests of any outcome that ended in each cell's latency window.";
    let figure = |title: &str, notes, (series, body)| frame.figure(title, notes, series, body);
    vec![
        (
            "avg_latency_by_config",
            figure(
                "Average response time by configuration",
                pooled(&[]),
                bars(frame, summary, &["region_prefix", "prompt_size"], &["users"], &[TIER], ms, &[("", average)]),
            ),
        ),
        (
            "p50_p95_comparison",
            figure(
                "P50 and P95 response time",
                pooled(&["users"]),
                bars(
                    frame,
                    summary,
                    &["prompt_size"],
                    &[TIER, "region_prefix"],
                    &[],
                    ms,
                    &[("P50", p50), ("P95", p95)],
                ),
            ),
        ),
        (
            "latency_by_prompt_size",
            figure(
                "Response time by prompt size",
                pooled(&["users", "region_prefix"]),
                by_prompt_size(frame, summary, ms),
            ),
        ),
        (
            "throughput_comparison",
            figure(
                "Throughput",
                pooled_over(frame.names, &["prompt_size"], ended),
                bars(
                    frame,
                    summary,
                    &[],
                    &["users"],
                    &[TIER, "region_prefix"],
                    "requests per second",
                    &[("", throughput)],
                ),
            ),
        ),
        (
            "latency_heatmap",
            figure(
                "Average response time by tier and prompt size",
                pooled(&["users"]),
                (Vec::new(), heat(frame, summary, ms)),
            ),
        ),
    ]
}

/// Returns notes on the axes that a chart pools, for axes on which the cells differ.
fn pooled_over(names: &Coordinates, fields: &[&str], who: &str) -> Vec<String> {
    let several: Vec<String> = fields
        .iter()
        .filter_map(|field| {
            let values = names.values(field);
            let mut keys: Vec<String> = values.iter().take(NAMED_VALUES).map(ToString::to_string).collect();
            if values.len() > NAMED_VALUES {
                keys.push(format!("and {} more", values.len() - NAMED_VALUES));
            }
            (keys.len() > 1).then(|| format!("{} {}", label(field), keys.join(", ")))
        })
        .collect();
    let mut notes = vec![who.to_owned()];
    if !several.is_empty() {
        notes.push(format!("Pooled over {}.", several.join("; ")));
    }
    notes
}

/// Returns the bar of a pool, flagged if some of its cells are unreliable.
fn drawn(pool: &Pool, value: Value) -> Bar {
    let bar = value(pool);
    match pool.invalid {
        0 => bar,
        1 => Bar { is_unreliable: true, tooltip: " (one cell in it is INVALID)".into(), ..bar },
        n => Bar { is_unreliable: true, tooltip: format!(" ({n} cells in it are INVALID)"), ..bar },
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

/// Returns the bar of a percentile, without an interval, since the cells of a pool are not one population. If the percentile is too uncertain, the bar has no value and its
/// label gives the reason.
fn percentile(pool: &Pool, p: f64) -> Bar {
    use crate::result::Quality;
    let percentile = pool.latency.percentile(p);
    let label = text::percentile(percentile, pool.latency.observations());
    let shown = percentile.filter(|percentile| percentile.quality != Quality::TooFew);
    Bar { value: shown.map(|percentile| percentile.value_ms), label, ..Bar::default() }
}

/// Returns the axes on which the cells differ and that no chart names.
fn extra(names: &Coordinates) -> Vec<&'static str> {
    names.varying(&NAMED)
}

/// Returns panels, groups and series by axes. `values` adds one series each if it has several entries. The tier sets
/// the colour, whether it is a panel, a group or a series.
fn bars(
    frame: &Frame,
    summary: &Summary,
    panels: &[&str],
    groups: &[&str],
    series: &[&str],
    unit: &str,
    values: &[(&str, Value)],
) -> (Vec<Series>, Body) {
    let extra = extra(frame.names);
    let panels: Vec<&str> = extra.iter().copied().chain(panels.iter().copied()).collect();
    let fields: Vec<&str> = panels.iter().chain(groups).chain(series).copied().collect();
    let (in_panel, in_group) = (panels.len(), panels.len() + groups.len());
    let mut builder = Builder::new(unit);
    for pool in summary.pool(&fields) {
        let panel = frame.names.title(&panels, &pool.key[..in_panel]);
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

/// Returns one panel each for average, P50 and P95: bars by tier, grouped by prompt size.
fn by_prompt_size(frame: &Frame, summary: &Summary, unit: &str) -> (Vec<Series>, Body) {
    let extra = extra(frame.names);
    let fields: Vec<&str> = extra.iter().copied().chain(["prompt_size", TIER]).collect();
    let mut builder = Builder::new(unit);
    let pools = summary.pool(&fields);
    for (name, value) in [("Average", average as Value), ("P50", p50), ("P95", p95)] {
        for pool in &pools {
            let (front, rest) = pool.key.split_at(extra.len());
            let front = frame.names.title(&extra, front);
            let panel = if front.is_empty() { name.to_owned() } else { format!("{name}, {front}") };
            let tier = rest[1].to_string();
            let series = builder.of_tier(&tier, tier.clone());
            builder.put(&panel, (&rest[0].to_string(), None), &series, drawn(pool, value));
        }
    }
    builder.done()
}

/// Builder of a bar chart that collects bars by panel, group and series.
struct Builder {
    unit: String,
    series: Keyed<String, Series>,
    /// Number of series per hue.
    hues: HashMap<usize, usize>,
    panels: Keyed<String, (String, Keyed<String, Group>)>,
}

impl Builder {
    fn new(unit: &str) -> Self {
        Self { unit: unit.into(), series: Keyed::default(), hues: HashMap::new(), panels: Keyed::default() }
    }

    /// Returns a series of a tier. Several series of one tier, such as one per region, alternate between two tones.
    fn of_tier(&self, tier: &str, name: String) -> Series {
        if let Some(place) = self.series.find(&name) {
            return self.series.items[place].clone();
        }
        let hue = names::hue(tier);
        let before = self.hues.get(&hue).copied().unwrap_or(0);
        Series { pale: before % 2 == 1, ..Series::new(name, hue) }
    }

    fn put(&mut self, panel: &str, (group, hue): (&str, Option<usize>), series: &Series, mut bar: Bar) {
        let parts = [panel, group, series.name.as_str()];
        let place = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
        bar.tooltip = format!("{place}: {}{}", bar.label, bar.tooltip);
        let hues = &mut self.hues;
        let series = self.series.place(series.name.clone(), || {
            *hues.entry(series.hue).or_default() += 1;
            series.clone()
        });
        let (_, groups) = self.panels.entry(panel.to_owned(), || (panel.to_owned(), Keyed::default()));
        let group = groups.entry(group.to_owned(), || Group { label: group.into(), hue, bars: Vec::new() });
        group.bars.push((series, bar));
    }

    fn done(self) -> (Vec<Series>, Body) {
        let panels = self.panels.items.into_iter().map(|(title, groups)| BarPanel { title, groups: groups.items });
        (self.series.items, Body::Bars(BarFigure { unit: self.unit, panels: panels.collect() }))
    }
}

/// Panel of a heat map under construction.
#[derive(Default)]
struct HeatBuilder {
    title: String,
    rows: Keyed<String, String>,
    columns: Keyed<String, String>,
    squares: Vec<(usize, usize, Bar)>,
}

fn heat(frame: &Frame, summary: &Summary, unit: &str) -> Body {
    let panels: Vec<&str> = extra(frame.names).into_iter().chain(["region_prefix"]).collect();
    let fields: Vec<&str> = panels.iter().copied().chain([TIER, "prompt_size"]).collect();
    let mut built: Keyed<String, HeatBuilder> = Keyed::default();
    for pool in summary.pool(&fields) {
        let (front, rest) = pool.key.split_at(panels.len());
        let title = frame.names.title(&panels, front);
        let panel = built.entry(title.clone(), || HeatBuilder { title, ..HeatBuilder::default() });
        let row = panel.rows.place(rest[0].to_string(), || rest[0].to_string());
        let column = panel.columns.place(rest[1].to_string(), || rest[1].to_string());
        let square = drawn(&pool, average);
        let tooltip = format!("{} / {}: {}{}", rest[0], rest[1], square.label, square.tooltip);
        panel.squares.push((row, column, Bar { tooltip, ..square }));
    }
    let done = |HeatBuilder { title, rows, columns, squares }| HeatPanel {
        title,
        rows: rows.items,
        columns: columns.items,
        squares,
    };
    Body::Heat(HeatFigure { unit: unit.into(), panels: built.items.into_iter().map(done).collect() })
}

/// Returns the index of the first item that matches `is`; appends the result of `make` if there is none.
pub(super) fn find_or_push<T>(items: &mut Vec<T>, is: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> usize {
    items.iter().position(is).unwrap_or_else(|| {
        items.push(make());
        items.len() - 1
    })
}
