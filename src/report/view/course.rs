//! The time line of a run, the forest plot of tiers against `default`, and the errors by class.

use super::cell::CellView;
use super::failures::Failure;
use super::figures::Frame;
use super::tiers::{TierRow, TierView, TiersView};
use super::{names, text};
use crate::matrix::LOAD_FIELDS;
use crate::report::charts::{
    BLOCKED, Body, Bucket, Figure, ForestFigure, ForestPanel, ForestRow, Series, Span, TimelineFigure,
};
use crate::result::Difference;
use crate::stats::Summary;
use crate::stats::timeline;
use crate::units::Keyed;
use serde::Serialize;

/// Send lag above which a cell is considered late, milliseconds; see `stats::health`.
const LATE_MS: f64 = 5.0;

/// Returns the time line of the run, or `None` if no cell ran.
pub(super) fn timeline(frame: &Frame, summary: &Summary) -> Option<Figure> {
    let line = &summary.timeline;
    if line.buckets.is_empty() {
        return None;
    }
    let name = |stretch: &timeline::CellRunSpan| {
        let id = &summary.cells[stretch.cell].cell.id;
        if stretch.repetition > 1 { format!("{id} #{}", stretch.repetition) } else { id.clone() }
    };
    let span = |stretch: &timeline::CellRunSpan| Span {
        buckets: (stretch.start_s / line.bucket_s, stretch.end_s / line.bucket_s),
        name: name(stretch),
        hue: names::hue(&summary.cells[stretch.cell].cell.service_tier),
    };
    let has_blocked = line.buckets.iter().any(|bucket| bucket.blocked > 0);
    let outcomes = outcomes(has_blocked);
    let bucket = |(index, bucket): (usize, &timeline::Bucket)| {
        let per_second = |n: u64| if bucket.covered_s > 0.0 { n as f64 / bucket.covered_s } else { 0.0 };
        let timeline::Bucket { succeeded, throttled, overloaded, failed, censored, blocked, .. } = *bucket;
        let mut rates = [succeeded, throttled, overloaded, failed, censored, blocked].map(per_second).to_vec();
        rates.truncate(outcomes.len());
        let start_s = index as f64 * line.bucket_s;
        let cells = line.turns.iter().filter(|turn| turn.start_s < start_s + line.bucket_s && turn.end_s > start_s);
        let mut tooltip = format!("{} s", text::thousands(start_s, usize::from(line.bucket_s < 1.0)));
        for cell in cells.take(2) {
            tooltip += &format!(", {}", name(cell));
        }
        for (series, rate) in outcomes.iter().zip(&rates).filter(|(_, rate)| **rate > 0.0) {
            tooltip += &format!("; {} {}/s", series.name, text::ms(*rate));
        }
        if let Some((server, client)) = bucket.shares_ms {
            tooltip += &format!("; median {} + {} ms", text::ms(server), text::ms(client));
        }
        if let Some(lag) = bucket.lag_ms {
            tooltip += &format!("; {} ms late", text::ms(lag));
        }
        Bucket { rates, shares: bucket.shares_ms, lag_ms: bucket.lag_ms, tooltip }
    };
    let figure = TimelineFigure {
        bucket_s: line.bucket_s,
        buckets: line.buckets.iter().enumerate().map(bucket).collect(),
        spans: line.turns.iter().map(span).collect(),
        lag_limit_ms: LATE_MS,
    };
    let is_one = summary.cells.iter().all(|cell| cell.health.machines.is_empty());
    let (machines, subject) = if is_one { ("this machine", "it") } else { ("the machines", "one of them") };
    let notes = vec![format!(
        "Top: cells, coloured by tier. Bottom: lag of sends and of a 10 ms ticker on {machines}; above the dashed line, {subject} was late by more than 5 ms."
    )];
    let mut series = outcomes;
    series.extend([Series::new("the service's own time", 5), Series::new("on top of it", 6)]);
    Some(frame.figure("The run in time", notes, series, Body::Timeline(Box::new(figure))))
}

/// Returns the series of request outcomes. Status 429 is separate from 503. Blocked replies are separate from other
/// successes if there are any.
fn outcomes(has_blocked: bool) -> Vec<Series> {
    let names = ["succeeded", "throttled (429)", "overloaded (503)", "failed otherwise", "cut off"];
    let mut series: Vec<Series> = names.into_iter().enumerate().map(|(index, name)| Series::new(name, index)).collect();
    series.extend(has_blocked.then(|| Series::new("blocked", BLOCKED)));
    series
}

/// Returns the forest plot of each tier's ratio to `default` with its interval, or `None` if no tiers could be
/// compared.
pub(super) fn forest(frame: &Frame, tiers: &TiersView) -> Option<Figure> {
    let compared = |(row, _): &(&Difference, &TierRow)| row.metric.starts_with('p') || row.metric.starts_with("ttft");
    let mut series: Keyed<String, Series> = Keyed::default();
    let mut panels: Keyed<String, ForestPanel> = Keyed::default();
    let but: Vec<&str> = LOAD_FIELDS.into_iter().chain([names::TIER]).collect();
    let fields = frame.names.varying(&but);
    for tier in &tiers.tiers {
        let key: Vec<_> =
            fields.iter().filter_map(|field| tier.context.iter().find(|(known, _)| known == field)).collect();
        let values: Vec<_> = key.iter().map(|(_, value)| value.clone()).collect();
        let title = frame.names.title(&fields, &values);
        let panel = panels.entry(title.clone(), || ForestPanel { title, rows: Vec::new() });
        let name = &tier.result.service_tier;
        let of = series.place(name.clone(), || Series::new(name.clone(), names::hue(name)));
        let rows = tier.result.differences.iter().zip(&tier.rows).filter(compared);
        if tier.is_compared {
            panel.rows.extend(rows.map(|row| forest_row(of, tier, row)));
        } else {
            panel.rows.extend(rows.take(1).map(|row| ForestRow {
                label: format!("{name}, {}", load_of(tier)),
                tooltip: format!("{}: {}", tier.result.test_id, tier.result.sentence),
                ..forest_row(of, tier, row)
            }));
        }
    }
    if !panels.items.iter().flat_map(|panel| &panel.rows).any(|row| row.ratio.is_some()) {
        return None;
    }
    let body = ForestFigure { sides: ("slower".into(), "faster".into()), panels: panels.items };
    let notes = frame.of_verdicts(vec![format!("{}.", tiers.caption)]);
    Some(frame.figure("Tiers against default", notes, series.items, Body::Forest(body)))
}

/// Returns the load of a comparison as text: `20 users`.
fn load_of(tier: &TierView) -> String {
    let load = tier.context.iter().filter(|(field, _)| LOAD_FIELDS.contains(field));
    load.map(|(field, value)| names::counted(field, value)).find(|name| !name.is_empty()).unwrap_or_default()
}

fn forest_row(series: usize, tier: &TierView, (difference, shown): (&Difference, &TierRow)) -> ForestRow {
    let interval = difference.ratio_low.zip(difference.ratio).zip(difference.ratio_high);
    let (load, metric) = (load_of(tier), difference.metric.replace('_', " "));
    ForestRow {
        series,
        label: format!("{} {metric}, {load}", tier.result.service_tier),
        ratio: interval.map(|((low, ratio), high)| (low, ratio, high)),
        shown: if interval.is_some() { format!("{} ({})", shown.ratio, shown.interval) } else { "not compared".into() },
        tooltip: format!(
            "{}, {metric}: {} ({})",
            tier.result.test_id,
            shown.verdict,
            if difference.basis.is_empty() { "nothing to compare" } else { &difference.basis }
        ),
    }
}

/// Class of errors over the whole run.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorClass {
    /// See `record::class`.
    pub(crate) class: String,
    /// Number of errors.
    pub(crate) count: u64,
    /// Percentage of all requests of the run.
    pub(crate) share: String,
    /// Number of cells with an error of this class.
    pub(crate) cells: usize,
    /// The most frequent messages, each with its count.
    pub(crate) messages: Vec<(String, u64)>,
    /// Number of messages that are not listed.
    pub(crate) more: usize,
    /// UTC, for example `2026-11-24T09:16:03Z`.
    pub(crate) first_seen: String,
    /// UTC, in the same format.
    pub(crate) last_seen: String,
    /// Suggested fix.
    pub(crate) hint: String,
}

/// Returns the error classes of the run, the most frequent first. `failures` must be the failures of the same cells.
pub(super) fn errors(summary: &Summary, cells: &[CellView], failures: &[Failure]) -> Vec<ErrorClass> {
    const LISTED: usize = 3;
    let total: u64 = summary.cells.iter().map(|cell| cell.counts.total).sum();
    // Each with the last cell that was counted.
    let mut classes: Keyed<(&str, &str), (ErrorClass, Option<usize>)> = Keyed::default();
    for (index, error) in
        cells.iter().enumerate().flat_map(|(index, cell)| cell.result.errors.iter().map(move |error| (index, error)))
    {
        let new = || ErrorClass {
            class: error.class.clone(),
            count: 0,
            share: String::new(),
            cells: 0,
            messages: Vec::new(),
            more: 0,
            first_seen: error.first_seen.clone(),
            last_seen: error.last_seen.clone(),
            hint: error.hint.clone(),
        };
        let (class, counted) = classes.entry((&error.class, &error.hint), || (new(), None));
        class.count += error.count;
        if error.first_seen < class.first_seen {
            class.first_seen.clone_from(&error.first_seen);
        }
        if error.last_seen > class.last_seen {
            class.last_seen.clone_from(&error.last_seen);
        }
        class.cells += usize::from(*counted != Some(index));
        *counted = Some(index);
    }
    for failure in failures {
        let Some(place) = classes.find(&(&failure.class, &failure.hint)) else { continue };
        let (class, _) = &mut classes.items[place];
        if class.messages.len() < LISTED {
            class.messages.push((failure.message.clone(), failure.count));
        } else {
            class.more += 1;
        }
    }
    let mut classes: Vec<ErrorClass> = classes.items.into_iter().map(|(class, _)| class).collect();
    for class in &mut classes {
        class.share = text::percent((total > 0).then(|| class.count as f64 / total as f64));
    }
    classes.sort_by_key(|class| std::cmp::Reverse(class.count));
    classes
}
