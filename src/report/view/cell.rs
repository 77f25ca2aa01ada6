//! The view of one cell.

use super::cost::{self, CostView};
use super::figures::Frame;
use super::machines::{self, MachineHealthRow};
use super::numbers::{CountsView, Numbers};
use super::page::{self, PageView};
use super::slo::{self, SloRow, SloView};
use super::timing::{self, StageRow, TimingTable};
use super::warnings::{self, WarningView};
use super::{asked, disturbances, text};
use crate::matrix::{AXES, AxisValue};
use crate::plan::Arrivals;
use crate::record::class;
use crate::record::manifest::{CellRunReport, Manifest};
use crate::stats::series::HistoryRow;
use crate::stats::{CellSummary, Health, Latency, StageSummary};
use crate::units::{duration, timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

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
    /// The response times that verdicts are based on: never those of failed requests. For files whose readers raise
    /// alarms.
    #[serde(skip)]
    pub(crate) judged: Numbers,
    /// `success_*`.
    pub(crate) success: Numbers,
    /// `service_*`, in an open loop.
    pub(crate) service: Option<Numbers>,
    /// `ttft_*`, of streams.
    pub(crate) ttft: Option<Numbers>,
    /// `ttfat_*`, of streams some of which began with reasoning.
    pub(crate) ttfat: Option<Numbers>,
    /// `tpot_*`, of streams.
    pub(crate) tpot: Option<Numbers>,
    /// The longest gap between two chunks, of streams.
    pub(crate) chunk_gap: Option<Numbers>,
    /// Of all streams, those that began with reasoning; 0 to 1, like the next three.
    pub(crate) reasoning_share: Option<f64>,
    /// See `stats::Replies`.
    pub(crate) reasoning_time_share: Option<f64>,
    /// Of all streams, those that came all at once.
    pub(crate) burst_share: Option<f64>,
    /// Of all replies, those that `max_tokens` cut.
    pub(crate) max_tokens_share: Option<f64>,
    /// Percentiles (0 to 100) that the plan asks for.
    pub(crate) further: Vec<(f64, Option<f64>)>,
    /// See `CellSummary`.
    pub(crate) output_tokens_per_sec: Option<f64>,
    /// See `CellSummary`.
    pub(crate) goodput: Option<f64>,
    /// See `CellSummary`.
    pub(crate) dropped: u64,
    /// What this machine did to the numbers.
    #[serde(skip)]
    pub(crate) health: Health,
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
    pub(crate) total_input_tokens: Option<u64>,
    /// See `stats::Tokens`.
    pub(crate) total_output_tokens: Option<u64>,
    /// Successes that were answered from a cache.
    pub(crate) cache_reads: u64,
    /// Successes served on another tier than asked for; like the next two in no latency.
    pub(crate) tier_mismatches: u64,
    /// Successes that were to be cold and were not.
    pub(crate) cache_contaminated: u64,
    /// Successes that were to be warm and were not.
    pub(crate) warm_misses: u64,
    /// Requests that were in flight while this machine stood still.
    pub(crate) client_stalled: u64,
    /// How often each of its prompts was sent.
    #[serde(skip)]
    pub(crate) prompts: Option<crate::stats::PromptUses>,
    /// Blocked replies by stop reason.
    pub(crate) blocked: BTreeMap<String, u64>,
    /// Reported values that were dropped because they are implausible.
    pub(crate) implausible: u64,
    /// The most frequent first.
    pub(crate) errors: Vec<ErrorView>,
    /// What thresholds say of it.
    pub(crate) slo: Vec<SloRow>,
    /// The same in one word; empty without thresholds.
    pub(crate) slo_verdict: &'static str,
    /// `ok`, or why the numbers may not be used.
    pub(crate) validity: String,
    /// What to know about the numbers.
    pub(crate) warnings: Vec<WarningView>,
    /// The numbers as people read them.
    pub(crate) shown: Shown,
    /// What was asked for, beside the axes.
    pub(crate) facts: Vec<Entry>,
    /// Times as people read them.
    pub(crate) timings: Vec<TimingTable>,
    /// The stages of a load profile.
    #[serde(skip)]
    pub(crate) stages: Vec<StageView>,
    /// The same as people read them.
    pub(crate) stage_rows: Vec<StageRow>,
    /// The tokens as people read them.
    pub(crate) tokens: Vec<Entry>,
    /// What its requests cost, if all of it is known.
    pub(crate) cost: Option<CostView>,
    /// The same as people read it.
    pub(crate) costs: Vec<Entry>,
    /// How it was measured.
    pub(crate) measured: Vec<Entry>,
    /// What each machine did to the numbers, where several made the run.
    pub(crate) machines: Vec<MachineHealthRow>,
    /// What its page has beside these.
    pub(crate) page: PageView,
    /// Locust's history.
    #[serde(skip)]
    pub(crate) history: Vec<HistoryRow>,
    /// An `HdrHistogram` log.
    #[serde(skip)]
    pub(crate) histogram: Vec<u8>,
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
    pub(super) fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self { label: label.into(), value: value.into() }
    }
}

/// A stage of a load profile.
#[derive(Debug)]
pub(crate) struct StageView {
    /// From the cell's start.
    pub(crate) start_s: f64,
    /// How long.
    pub(crate) length_s: f64,
    /// Its level, if it is of users.
    pub(crate) users: Option<u32>,
    /// Its level, if it is of arrivals per second.
    pub(crate) rate: Option<f64>,
    /// Of the requests that were due in it.
    pub(crate) counts: CountsView,
    /// As the cell's.
    pub(crate) latency: Numbers,
    /// See `StageSummary`.
    pub(crate) requests_per_sec: f64,
}

/// One kind of failure.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorView {
    /// See `record::class`.
    pub(crate) class: String,
    /// The message, or its pattern where messages of this kind differ.
    pub(crate) message: String,
    /// The pattern of the message: with the class it identifies the kind.
    #[serde(skip)]
    pub(crate) pattern: String,
    /// How often.
    pub(crate) count: u64,
    /// `2026-11-24T09:16:03Z`.
    pub(crate) first_seen: String,
    /// As above.
    pub(crate) last_seen: String,
    /// What to do.
    pub(crate) hint: String,
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
    /// Milliseconds.
    pub(crate) min: String,
    /// Milliseconds.
    pub(crate) max: String,
    /// Bytes of a reply's body, the mean.
    pub(crate) content_bytes: String,
    /// Per second.
    pub(crate) failures_per_sec: String,
    /// Of all requests.
    pub(crate) failure_rate: String,
    /// US dollars per thousand replies.
    pub(crate) cost_per_1k_requests: String,
}

pub(super) fn view(
    manifest: &Manifest,
    turns: &[&CellRunReport],
    frame: &Frame,
    further: &[f64],
    slo: &SloView,
    summary: &CellSummary,
) -> CellView {
    let cell = &summary.cell;
    let counts = summary.counts;
    let latency = summary.reported_latency();
    let shown = |p| text::percentile(latency.percentile(p), latency.observations());
    let numbers = |latency: Option<&Latency>| latency.map(|latency| Numbers::of(latency, further));
    let slo = slo.of_cell(&cell.id);
    CellView {
        id: cell.id.clone(),
        axes: AXES
            .iter()
            .map(|axis| AxisView { field: axis.field, label: axis.label, value: (axis.get)(cell) })
            .filter(|axis| axis.value != AxisValue::Absent)
            .collect(),
        counts: CountsView::of(counts),
        latency: Numbers::of(latency, further),
        success: Numbers::of(&summary.success, further),
        judged: Numbers::of(&summary.latency, further),
        service: numbers(summary.reported_service()),
        ttft: numbers(summary.ttft.as_ref()),
        ttfat: numbers(summary.ttfat.as_ref()),
        tpot: numbers(summary.tpot.as_ref()),
        chunk_gap: numbers(summary.chunk_gap.as_ref()),
        reasoning_share: summary.replies.reasoning_share(),
        reasoning_time_share: summary.replies.reasoning_time_share,
        burst_share: summary.replies.burst_share(),
        max_tokens_share: summary.replies.cut_share(),
        further: further.iter().map(|p| (*p, latency.value_ms(p / 100.0))).collect(),
        output_tokens_per_sec: summary.output_tokens_per_sec,
        goodput: summary.goodput,
        dropped: summary.dropped,
        health: summary.health.clone(),
        requests_per_sec: summary.requests_per_sec,
        failures_per_sec: summary.failures_per_sec,
        avg_content_bytes: summary.avg_content_bytes,
        avg_input_tokens: summary.tokens.avg_input,
        avg_output_tokens: summary.tokens.avg_output,
        total_input_tokens: summary.tokens.total_input,
        total_output_tokens: summary.tokens.total_output,
        cache_reads: summary.cache_reads,
        tier_mismatches: summary.tier_mismatches,
        cache_contaminated: summary.cache_contaminated,
        warm_misses: summary.warm_misses,
        client_stalled: summary.client_stalled,
        prompts: summary.prompts,
        blocked: summary.blocked.clone(),
        implausible: summary.implausible,
        errors: errors(summary),
        slo_verdict: slo::word(&slo),
        slo,
        validity: summary.validity.key(),
        warnings: warnings::view(manifest, summary, turns),
        shown: Shown {
            average: text::ms_or_nothing(latency.mean_ms),
            min: text::ms_or_nothing(latency.min_ms),
            max: text::ms_or_nothing(latency.max_ms),
            content_bytes: text::ms_or_nothing(summary.avg_content_bytes),
            failures_per_sec: text::rate(summary.failures_per_sec),
            p50: shown(0.50),
            p95: shown(0.95),
            p99: shown(0.99),
            requests_per_sec: text::rate(summary.requests_per_sec),
            failure_rate: text::percent(counts.failure_rate()),
            cost_per_1k_requests: cost::usd(summary.spend.per_1k_requests()),
        },
        facts: facts(summary),
        timings: timing::tables(summary, caption(manifest, summary), further),
        stages: summary.stages.iter().map(stage).collect(),
        stage_rows: timing::stages(summary),
        tokens: tokens(summary),
        cost: cost::cell(&summary.spend),
        costs: cost::entries(summary),
        measured: measured(manifest, summary, turns),
        machines: machines::of_cell(manifest, summary),
        page: page::view(frame, summary),
        history: summary.history.clone(),
        histogram: summary.histogram.clone(),
    }
}

fn errors(summary: &CellSummary) -> Vec<ErrorView> {
    let time = |seconds: f64| timestamp::iso((seconds * 1e3) as u64);
    let view = |error: &crate::stats::ErrorCount| ErrorView {
        class: error.class.clone(),
        message: error.message.clone(),
        pattern: error.pattern.clone(),
        count: error.count,
        first_seen: time(error.first_s),
        last_seen: time(error.last_s),
        hint: class::hint(&error.class, &error.message).unwrap_or_default().to_owned(),
    };
    summary.errors.iter().map(view).collect()
}

fn facts(summary: &CellSummary) -> Vec<Entry> {
    let (cell, load, request) = (&summary.cell, &summary.cell.load, &summary.cell.request);
    let mut facts = vec![
        Entry::new("model id sent", cell.full_model_id()),
        Entry::new("test duration", duration::format(cell.length())),
    ];
    facts.extend(summary.prompts.map(|prompts| Entry::new("prompts", prompts.to_string())));
    if cell.is_open() {
        let arrivals = match load.arrivals {
            Arrivals::Constant => "evenly spaced",
            Arrivals::Poisson => "Poisson",
        };
        facts.push(Entry::new("arrivals", format!("{arrivals}, at most {} in flight", load.max_in_flight)));
    } else {
        if cell.users.is_some() {
            facts.push(Entry::new("spawn rate", format!("{} users/s", load.spawn_rate)));
        }
        facts.push(Entry::new("think time", load.think_time.to_string()));
    }
    if let Some(requests) = load.requests {
        facts.push(Entry::new("requests at most", requests.to_string()));
    }
    if let Some(samples) = load.min_samples {
        let longest = duration::format(cell.max_length());
        facts.push(Entry::new("samples at least", format!("{samples}, within {longest}")));
    }
    facts.extend([
        Entry::new("temperature", request.temperature.to_string()),
        Entry::new("top-p", request.top_p.to_string()),
        Entry::new("timeout", duration::format(request.timeout)),
    ]);
    facts.extend(asked::request(request));
    facts
}

fn caption(manifest: &Manifest, summary: &CellSummary) -> String {
    let who =
        if manifest.plan.report.include_failures { "successes, failed and throttled requests" } else { "successes" };
    let window = if manifest.plan.report.include_ramp {
        "the ramp included".into()
    } else {
        format!("sent later than {:.1} s after the start", summary.window.start_ms / 1e3)
    };
    let latency = summary.reported_latency();
    let cut_off = match latency.cut_off {
        0 => String::new(),
        n => format!("; {n} more were cut off and enter the percentiles as \"at least this long\" (Kaplan-Meier)"),
    };
    format!("Of {} {who}, {window}{cut_off}", latency.n)
}

fn stage(stage: &StageSummary) -> StageView {
    StageView {
        start_s: stage.start_ms / 1e3,
        length_s: stage.length_ms / 1e3,
        users: stage.users,
        rate: stage.rate,
        counts: CountsView::of(stage.counts),
        latency: Numbers::of(&stage.latency, &[]),
        requests_per_sec: stage.requests_per_sec,
    }
}

fn tokens(summary: &CellSummary) -> Vec<Entry> {
    let mean = |tokens: Option<f64>| tokens.map_or_else(|| text::NOTHING.into(), |tokens| text::thousands(tokens, 1));
    let sum = |tokens: u64| text::thousands(tokens as f64, 0);
    let mut entries = vec![
        Entry::new("input, average", mean(summary.tokens.avg_input)),
        Entry::new("output, average", mean(summary.tokens.avg_output)),
        Entry::new("input, total", summary.tokens.total_input.map_or_else(|| text::NOTHING.into(), sum)),
        Entry::new("output, total", summary.tokens.total_output.map_or_else(|| text::NOTHING.into(), sum)),
        Entry::new("replies with cache reads", sum(summary.cache_reads)),
    ];
    let left_out = [
        ("not cold, excluded from the times", summary.cache_contaminated),
        ("not warm, excluded from the times", summary.warm_misses),
        ("served by another tier, excluded from the times", summary.tier_mismatches),
        (
            if summary.health.machines.is_empty() {
                "in flight while this machine stood still, excluded from the times"
            } else {
                "in flight while their machine stood still, excluded from the times"
            },
            summary.client_stalled,
        ),
    ];
    entries.extend(asked::replies(summary));
    entries.extend(summary.blocked.iter().map(|(reason, n)| {
        Entry::new("blocked, excluded from latencies", format!("{} with the stop reason {reason}", sum(*n)))
    }));
    if summary.implausible > 0 {
        entries.push(Entry::new("implausible values, dropped", sum(summary.implausible)));
    }
    entries.extend(left_out.iter().filter(|(_, n)| *n > 0).map(|(label, n)| Entry::new(*label, sum(*n))));
    entries
}

fn measured(manifest: &Manifest, summary: &CellSummary, turns: &[&CellRunReport]) -> Vec<Entry> {
    let opened: u64 = turns.iter().map(|turn| turn.connections_opened).sum();
    let reused: u64 = turns.iter().map(|turn| turn.connections_reused).sum();
    let spoken = summary.protocols.iter().map(|(name, count)| format!("{name} for {count} requests"));
    let spoken = spoken.collect::<Vec<_>>().join(", ");
    let health = &summary.health;
    let ms = |value: Option<f64>| value.map_or_else(|| text::NOTHING.into(), |value| format!("{} ms", text::ms(value)));
    let simulated = if manifest.simulated() { "; the simulator's share is in it" } else { "" };
    let mut entries = vec![
        Entry::new("latency window", format!("{:.1} s long", summary.window.length_s)),
        Entry::new(
            "connections",
            format!(
                "{opened} opened, {reused} requests reused one; {}",
                if spoken.is_empty() { "none answered" } else { &spoken }
            ),
        ),
        Entry::new(
            "send lag",
            format!("p50 {}, p99 {} from due to sent", ms(health.raw.send_lag_p50_ms), ms(health.raw.send_lag_p99_ms)),
        ),
        Entry::new(
            "ticker",
            format!("at most {} late, every 10 ms in the same runtime", ms(health.raw.ticker_worst_ms)),
        ),
        Entry::new(
            "CPU",
            if manifest.shards.is_some() {
                format!("{} of the cores of the busiest machine over the window", text::percent(health.raw.cpu_share))
            } else {
                format!(
                    "{} of {} over the window{simulated}",
                    text::percent(health.raw.cpu_share),
                    disturbances::cores(&manifest.machine)
                )
            },
        ),
    ];
    entries.extend(disturbances::entries(health));
    if let Some(idle) = health.idle_share {
        entries.push(Entry::new(
            "Little's law",
            format!("{} of the users' time was neither thought nor answer", text::percent(Some(idle))),
        ));
    }
    if health.server_p50_ms.is_some() {
        entries.push(Entry::new(
            "service's own latency",
            format!("p50 {}; the client saw {} more at the median", ms(health.server_p50_ms), ms(health.gap_p50_ms)),
        ));
    }
    if let Some(stall) = summary.stall_ms {
        entries.push(Entry::new("longest stall", format!("nothing ended for {} ms", text::ms(stall))));
    }
    if summary.ttft.is_some() {
        let per_user = summary.tpot.as_ref().and_then(|tpot| tpot.value_ms(0.5)).filter(|ms| *ms > 0.0);
        entries.push(Entry::new(
            "output tokens/s",
            format!(
                "{} in all, {} per user (1 / median time per token)",
                text::rate(summary.output_tokens_per_sec),
                text::rate(per_user.map(|ms| 1e3 / ms))
            ),
        ));
        let replies = &summary.replies;
        entries.push(Entry::new(
            "bursts",
            format!("{} streams came all at once ({})", replies.bursts, text::percent(replies.burst_share())),
        ));
    }
    if let Some(goodput) = summary.goodput {
        entries.push(Entry::new("goodput", format!("{} requests/s met every limit", text::rate(Some(goodput)))));
    }
    if summary.cell.is_open() {
        entries.push(Entry::new("dropped starts", summary.dropped.to_string()));
    } else {
        entries.push(Entry::new(
            "closed loop",
            "users wait for replies, so these percentiles omit requests that would have been sent while the service stalled; use arrival_rates to include them",
        ));
    }
    entries.push(Entry::new("repetitions", turns.len().to_string()));
    entries
}
