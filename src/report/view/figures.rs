//! The data of the five charts. A chart pools the samples of what it does not show; an axis that it
//! does not name and that has several values adds panels.

use super::RunView;
use super::names::{group, join, label, title, varying};
use super::text;
use crate::report::charts::{Bar, BarFigure, BarPanel, Body, Figure, Group, HeatFigure, HeatPanel};
use crate::stats::{Pool, Summary};

/// The axes that the old tool's charts know.
const NAMED: [&str; 4] = ["region_prefix", "service_tier", "prompt_size", "users"];

/// What is drawn of a pool: a number, its interval, and what is written.
type Value = fn(&Pool) -> Bar;

pub(super) fn figures(run: &RunView, summary: &Summary) -> Vec<(&'static str, Figure)> {
    let marks = |mut notes: Vec<String>| {
        match run.invalid.len() {
            0 => {}
            1..=3 => notes.extend(run.invalid.iter().cloned()),
            n => notes.push(format!(
                "INVALID: this machine spoiled the numbers of {n} cells; the first is {}",
                run.invalid[0]
            )),
        }
        notes.extend(Some(run.calibration.clone()).filter(|said| !said.is_empty()));
        notes
    };
    let figure = |title: &str, notes: Vec<String>, body: Body| Figure {
        title: title.into(),
        subtitle: format!("{}, {}", run.name, run.started),
        banner: run.simulated.then(|| "SIMULATED".into()),
        notes: marks(notes),
        body,
    };
    let ms = "response time, ms";
    let who = if run.include_failures {
        "Of the requests in each cell's latency window, failed and throttled ones included."
    } else {
        "Of the successes in each cell's latency window."
    };
    let pooled = |over: &[&str]| pooled_over(summary, over, who);
    vec![
        (
            "avg_latency_by_config",
            figure(
                "Average response time by configuration",
                pooled(&[]),
                bars(summary, &["region_prefix", "prompt_size"], &["users"], &["service_tier"], ms, &[("", average)]),
            ),
        ),
        (
            "p50_p95_comparison",
            figure(
                "P50 and P95 response time",
                pooled(&["users"]),
                bars(
                    summary,
                    &["prompt_size"],
                    &["service_tier", "region_prefix"],
                    &[],
                    ms,
                    &[("P50", p50), ("P95", p95)],
                ),
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
                pooled_over(
                    summary,
                    &["prompt_size"],
                    "Requests of any outcome that ended in each cell's latency window.",
                ),
                bars(
                    summary,
                    &[],
                    &["users"],
                    &["service_tier", "region_prefix"],
                    "requests per second",
                    &[("", throughput)],
                ),
            ),
        ),
        (
            "latency_heatmap",
            figure("Average response time by tier and prompt size", pooled(&["users"]), heat(summary, ms)),
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

fn average(pool: &Pool) -> Bar {
    Bar::plain(pool.latency.mean_ms, text::ms_or_nothing(pool.latency.mean_ms))
}

fn p50(pool: &Pool) -> Bar {
    percentile(pool, 0.50)
}

fn p95(pool: &Pool) -> Bar {
    percentile(pool, 0.95)
}

fn throughput(pool: &Pool) -> Bar {
    Bar::plain(pool.requests_per_sec, text::rate(pool.requests_per_sec))
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
    }
}

/// Axes that a chart does not name and on which the cells differ.
fn extra(summary: &Summary) -> Vec<&'static str> {
    varying(summary, &NAMED)
}

/// Panels, groups and series by axes; `values` adds a series each where it has several.
fn bars(
    summary: &Summary,
    panels: &[&str],
    groups: &[&str],
    series: &[&str],
    unit: &str,
    values: &[(&str, Value)],
) -> Body {
    let extra = extra(summary);
    let panels: Vec<&str> = extra.iter().copied().chain(panels.iter().copied()).collect();
    let fields: Vec<&str> = panels.iter().chain(groups).chain(series).copied().collect();
    let (in_panel, in_group) = (panels.len(), panels.len() + groups.len());
    let mut figure = BarFigure { unit: unit.into(), series: Vec::new(), panels: Vec::new() };
    for pool in summary.pool(&fields) {
        let panel = title(summary, &panels, &pool.key[..in_panel]);
        let group = group(groups, &pool.key[in_panel..in_group]);
        let of = join(&pool.key[in_group..]);
        for (name, value) in values {
            let series = if name.is_empty() { of.clone() } else { (*name).to_owned() };
            put(&mut figure, &panel, &group, &series, value(&pool));
        }
    }
    Body::Bars(figure)
}

/// Average, P50 and P95 in a panel each: bars by tier, grouped by prompt size.
fn by_prompt_size(summary: &Summary, unit: &str) -> Body {
    let extra = extra(summary);
    let fields: Vec<&str> = extra.iter().copied().chain(["prompt_size", "service_tier"]).collect();
    let mut figure = BarFigure { unit: unit.into(), series: Vec::new(), panels: Vec::new() };
    let pools = summary.pool(&fields);
    for (name, value) in [("Average", average as Value), ("P50", p50), ("P95", p95)] {
        for pool in &pools {
            let (front, rest) = pool.key.split_at(extra.len());
            let front = title(summary, &extra, front);
            let panel = if front.is_empty() { name.to_owned() } else { format!("{name}, {front}") };
            put(&mut figure, &panel, &rest[0].to_string(), &rest[1].to_string(), value(pool));
        }
    }
    Body::Bars(figure)
}

fn heat(summary: &Summary, unit: &str) -> Body {
    let panels: Vec<&str> = extra(summary).into_iter().chain(["region_prefix"]).collect();
    let fields: Vec<&str> = panels.iter().copied().chain(["service_tier", "prompt_size"]).collect();
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
        panel.squares.push((row, column, average(&pool)));
    }
    Body::Heat(figure)
}

fn put(figure: &mut BarFigure, panel: &str, group: &str, series: &str, bar: Bar) {
    let series = find_or_push(&mut figure.series, |known| known == series, || series.to_owned());
    let panel = find_or_push(
        &mut figure.panels,
        |known| known.title == panel,
        || BarPanel { title: panel.into(), groups: Vec::new() },
    );
    let groups = &mut figure.panels[panel].groups;
    let group = find_or_push(groups, |known| known.label == group, || Group { label: group.into(), bars: Vec::new() });
    groups[group].bars.push((series, bar));
}

/// The index of an item, which is made where there is none.
fn find_or_push<T>(items: &mut Vec<T>, is: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> usize {
    items.iter().position(is).unwrap_or_else(|| {
        items.push(make());
        items.len() - 1
    })
}
