//! The view of one cell.

use super::text;
use crate::matrix::{AXES, AxisValue};
use crate::record::class;
use crate::record::manifest::{Manifest, TurnReport};
use crate::stats::series::{LEVELS, Row};
use crate::stats::{CellSummary, Latency};
use crate::units::{duration, timestamp};
use serde::Serialize;

/// One cell, ready to be drawn.
#[derive(Debug, Serialize)]
pub(crate) struct CellView {
    /// `us_flex_small_u30`.
    pub(crate) id: String,
    /// Its coordinates, one for every axis.
    pub(crate) axes: Vec<AxisView>,
    /// How requests ended.
    pub(crate) counts: CountsView,
    /// `avg/min/max` and `p..`.
    pub(crate) latency: Numbers,
    /// `success_*`.
    pub(crate) success: Numbers,
    /// See `CellSummary`.
    pub(crate) requests_per_sec: Option<f64>,
    /// See `CellSummary`.
    pub(crate) failures_per_sec: Option<f64>,
    /// See `CellSummary`.
    pub(crate) avg_content_bytes: Option<f64>,
    /// See `stats::Tokens`.
    pub(crate) avg_input_tokens: Option<f64>,
    /// See `stats::Tokens`.
    pub(crate) avg_output_tokens: Option<f64>,
    /// See `stats::Tokens`.
    pub(crate) total_input_tokens: u64,
    /// See `stats::Tokens`.
    pub(crate) total_output_tokens: u64,
    /// Successes that were answered from a cache.
    pub(crate) cache_reads: u64,
    /// Successes served on another tier.
    pub(crate) other_tier: u64,
    /// The most frequent first.
    pub(crate) errors: Vec<ErrorView>,
    /// `ok`, or why the numbers may not be used.
    pub(crate) validity: &'static str,
    /// What to know about the numbers.
    pub(crate) warnings: Vec<WarningView>,
    /// The numbers as people read them.
    pub(crate) shown: Shown,
    /// What was asked for, beside the axes.
    pub(crate) facts: Vec<Entry>,
    /// What the latencies are of.
    pub(crate) latency_caption: String,
    /// The latencies as people read them.
    pub(crate) latencies: Vec<LatencyRow>,
    /// The tokens as people read them.
    pub(crate) tokens: Vec<Entry>,
    /// How it was measured.
    pub(crate) measured: Vec<Entry>,
    /// Locust's history.
    #[serde(skip)]
    pub(crate) history: Vec<Row>,
}

impl CellView {
    /// A coordinate as text, by its column.
    pub(crate) fn axis(&self, field: &str) -> String {
        self.axes.iter().find(|axis| axis.field == field).map(|axis| axis.value.to_string()).unwrap_or_default()
    }
}

/// A coordinate.
#[derive(Debug, Serialize)]
pub(crate) struct AxisView {
    /// The column.
    pub(crate) field: &'static str,
    /// For people.
    pub(crate) label: &'static str,
    /// Where.
    pub(crate) value: AxisValue,
}

/// A label and a text.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    /// For people.
    pub(crate) label: String,
    /// For people.
    pub(crate) value: String,
}

impl Entry {
    fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: value.into() }
    }
}

/// A latency as people read it.
#[derive(Debug, Serialize)]
pub(crate) struct LatencyRow {
    /// `p95`.
    pub(crate) label: &'static str,
    /// Milliseconds, or why not.
    pub(crate) value: String,
    /// Its 95 % interval; empty for what has none.
    pub(crate) interval: String,
}

/// How requests ended.
#[derive(Debug, Serialize)]
pub(crate) struct CountsView {
    /// All.
    pub(crate) total: u64,
    /// See `Outcome`.
    pub(crate) succeeded: u64,
    /// Throttled and failed.
    pub(crate) failures: u64,
    /// See `Outcome`.
    pub(crate) throttled: u64,
    /// See `Outcome`.
    pub(crate) failed: u64,
    /// See `Outcome`.
    pub(crate) censored: u64,
}

/// Latencies for machines, milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Numbers {
    /// Observations, those cut off too.
    pub(crate) n: usize,
    /// Arithmetic mean.
    pub(crate) mean: Option<f64>,
    /// Smallest.
    pub(crate) min: Option<f64>,
    /// Largest.
    pub(crate) max: Option<f64>,
    /// At the levels of Locust's files.
    pub(crate) levels: [Option<f64>; LEVELS.len()],
    /// What p95 is worth.
    pub(crate) p95_quality: Option<&'static str>,
    /// What p99 is worth.
    pub(crate) p99_quality: Option<&'static str>,
}

impl Numbers {
    fn of(latency: &Latency) -> Self {
        let quality = |p| latency.percentile(p).map(|percentile| percentile.quality.key());
        Self {
            n: latency.observations(),
            mean: latency.mean_ms,
            min: latency.min_ms,
            max: latency.max_ms,
            levels: LEVELS.map(|p| latency.value_ms(p)),
            p95_quality: quality(0.95),
            p99_quality: quality(0.99),
        }
    }

    /// The value at one of Locust's levels.
    pub(crate) fn at(&self, p: f64) -> Option<f64> {
        LEVELS.iter().position(|level| (level - p).abs() < 1e-9).and_then(|index| self.levels[index])
    }
}

/// One kind of failure.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorView {
    /// See `record::class`.
    pub(crate) class: String,
    /// What was said.
    pub(crate) message: String,
    /// How often.
    pub(crate) count: u64,
    /// `2026-11-24T09:16:03Z`.
    pub(crate) first_seen: String,
    /// As above.
    pub(crate) last_seen: String,
    /// What to do.
    pub(crate) hint: String,
}

/// What to know about the numbers.
#[derive(Debug, Serialize)]
pub(crate) struct WarningView {
    /// For machines.
    pub(crate) key: &'static str,
    /// For people.
    pub(crate) text: String,
}

/// Numbers as people read them.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    /// Milliseconds.
    pub(crate) average: String,
    /// Milliseconds, or why not.
    pub(crate) p50: String,
    /// As above.
    pub(crate) p95: String,
    /// As above.
    pub(crate) p99: String,
    /// Per second.
    pub(crate) requests_per_sec: String,
    /// Of all requests.
    pub(crate) failure_rate: String,
}

pub(super) fn view(manifest: &Manifest, summary: &CellSummary) -> CellView {
    let cell = &summary.cell;
    let counts = summary.counts;
    let latency = &summary.latency;
    let shown = |p| text::percentile(latency.percentile(p), latency.observations());
    let turns: Vec<&TurnReport> = manifest.turns.iter().filter(|turn| turn.test_id == cell.id).collect();
    CellView {
        id: cell.id.clone(),
        axes: AXES
            .iter()
            .map(|axis| AxisView { field: axis.field, label: axis.label, value: (axis.get)(cell) })
            .collect(),
        counts: CountsView {
            total: counts.total,
            succeeded: counts.succeeded,
            failures: counts.failures(),
            throttled: counts.throttled,
            failed: counts.failed,
            censored: counts.censored,
        },
        latency: Numbers::of(latency),
        success: Numbers::of(&summary.success),
        requests_per_sec: summary.requests_per_sec,
        failures_per_sec: summary.failures_per_sec,
        avg_content_bytes: summary.avg_content_bytes,
        avg_input_tokens: summary.tokens.avg_input,
        avg_output_tokens: summary.tokens.avg_output,
        total_input_tokens: summary.tokens.total_input,
        total_output_tokens: summary.tokens.total_output,
        cache_reads: summary.cache_reads,
        other_tier: summary.other_tier,
        errors: errors(summary),
        validity: summary.validity.key(),
        warnings: warnings(summary, &turns),
        shown: Shown {
            average: text::ms_or_nothing(latency.mean_ms),
            p50: shown(0.50),
            p95: shown(0.95),
            p99: shown(0.99),
            requests_per_sec: text::rate(summary.requests_per_sec),
            failure_rate: text::percent(counts.failure_rate()),
        },
        facts: facts(summary),
        latency_caption: caption(manifest, summary),
        latencies: latencies(latency),
        tokens: tokens(summary),
        measured: measured(summary, &turns),
        history: summary.history.clone(),
    }
}

fn errors(summary: &CellSummary) -> Vec<ErrorView> {
    let time = |seconds: f64| timestamp::iso((seconds * 1e3) as u64);
    let view = |error: &crate::stats::ErrorCount| ErrorView {
        class: error.class.clone(),
        message: error.message.clone(),
        count: error.count,
        first_seen: time(error.first_s),
        last_seen: time(error.last_s),
        hint: class::hint(&error.class, &error.message).unwrap_or_default().to_owned(),
    };
    summary.errors.iter().map(view).collect()
}

fn warnings(summary: &CellSummary, turns: &[&TurnReport]) -> Vec<WarningView> {
    let reasons = turns.iter().filter_map(|turn| turn.reason.as_ref());
    let told = reasons.map(|reason| WarningView { key: "aborted", text: format!("stopped early: {reason}") });
    told.chain(summary.warnings.iter().map(|warning| WarningView { key: warning.key(), text: warning.text().into() }))
        .collect()
}

fn facts(summary: &CellSummary) -> Vec<Entry> {
    let (load, request) = (&summary.cell.load, &summary.cell.request);
    vec![
        Entry::new("model id sent", summary.cell.full_model_id()),
        Entry::new("test duration", duration::format(load.test_duration)),
        Entry::new("spawn rate", format!("{} users/s", load.spawn_rate)),
        Entry::new("think time", load.think_time.to_string()),
        Entry::new("max tokens", request.max_tokens.to_string()),
        Entry::new("temperature", request.temperature.to_string()),
        Entry::new("top-p", request.top_p.to_string()),
        Entry::new("timeout", duration::format(request.timeout)),
    ]
}

fn caption(manifest: &Manifest, summary: &CellSummary) -> String {
    let who =
        if manifest.plan.report.include_failures { "successes, failed and throttled requests" } else { "successes" };
    let window = if manifest.plan.report.include_ramp {
        "the ramp included".into()
    } else {
        format!("sent later than {:.1} s after the start", summary.window.start_ms / 1e3)
    };
    let cut_off = match summary.latency.cut_off {
        0 => String::new(),
        n => format!("; {n} more were cut off and enter the percentiles as \"at least this long\" (Kaplan-Meier)"),
    };
    format!("Of {} {who}, {window}{cut_off}", summary.latency.n)
}

fn latencies(latency: &Latency) -> Vec<LatencyRow> {
    let plain = |label, value| LatencyRow { label, value: text::ms_or_nothing(value), interval: String::new() };
    let mut rows = vec![plain("average", latency.mean_ms), plain("min", latency.min_ms), plain("max", latency.max_ms)];
    for (label, p) in [("p50", 0.50), ("p90", 0.90), ("p95", 0.95), ("p99", 0.99)] {
        let percentile = latency.percentile(p);
        let interval = percentile.map_or_else(String::new, |percentile| {
            let low = percentile.low_ms.map_or_else(|| "open".into(), text::ms);
            let high = percentile.high_ms.map_or_else(|| "open".into(), text::ms);
            format!("{low} to {high}")
        });
        rows.push(LatencyRow { label, value: text::percentile(percentile, latency.observations()), interval });
    }
    rows
}

fn tokens(summary: &CellSummary) -> Vec<Entry> {
    let mean = |tokens: Option<f64>| tokens.map_or_else(|| text::NOTHING.into(), |tokens| text::thousands(tokens, 1));
    let sum = |tokens: u64| text::thousands(tokens as f64, 0);
    vec![
        Entry::new("input, average", mean(summary.tokens.avg_input)),
        Entry::new("output, average", mean(summary.tokens.avg_output)),
        Entry::new("input, total", sum(summary.tokens.total_input)),
        Entry::new("output, total", sum(summary.tokens.total_output)),
        Entry::new("replies with cache reads", sum(summary.cache_reads)),
    ]
}

fn measured(summary: &CellSummary, turns: &[&TurnReport]) -> Vec<Entry> {
    let opened: u64 = turns.iter().map(|turn| turn.connections_opened).sum();
    let reused: u64 = turns.iter().map(|turn| turn.connections_reused).sum();
    vec![
        Entry::new("latency window", format!("{:.1} s long", summary.window.length_s)),
        Entry::new("connections", format!("{opened} opened, {reused} requests reused one")),
        Entry::new("repetitions", turns.len().to_string()),
    ]
}
