//! The view of one cell.

use super::cost;
use super::entry::Entry;
use super::figures::Frame;
use super::machines::{self, MachineHealthRow};
use super::page::{self, PageView};
use super::slo::SloView;
use super::timing::{self, StageRow, TimingTable};
use super::{disturbances, names, request, text};
use crate::plan::Arrivals;
use crate::record::manifest::{CellRunReport, Manifest};
use crate::result::{CellResult, Coordinates, ThresholdResult};
use crate::stats::CellSummary;
use crate::stats::series::HistoryRow;
use crate::units::duration;
use serde::Serialize;

/// View of one cell; renderers only format it.
#[derive(Debug, Serialize)]
pub(crate) struct CellView {
    /// For example `us_flex_small_u30`.
    pub(crate) id: String,
    /// The numbers.
    pub(crate) result: CellResult,
    /// Coordinates of the cell, formatted.
    pub(crate) axes: Vec<Entry>,
    /// Verdicts of the thresholds on this cell.
    pub(crate) slo: Vec<ThresholdResult>,
    /// Settings of the cell other than its axes.
    pub(crate) facts: Vec<Entry>,
    /// Latency tables, formatted.
    pub(crate) timings: Vec<TimingTable>,
    /// Stages of the load profile, formatted.
    pub(crate) stage_rows: Vec<StageRow>,
    /// Token counts, formatted.
    pub(crate) tokens: Vec<Entry>,
    /// Cost, formatted.
    pub(crate) costs: Vec<Entry>,
    /// Measurement conditions, formatted.
    pub(crate) measured: Vec<Entry>,
    /// Client health per machine, if several machines made the run.
    pub(crate) machines: Vec<MachineHealthRow>,
    /// Additional content of the cell's page.
    pub(crate) page: PageView,
    /// Rows of Locust's history file.
    #[serde(skip)]
    pub(crate) history: Vec<HistoryRow>,
    /// Content of an `HdrHistogram` log file.
    #[serde(skip)]
    pub(crate) histogram: Vec<u8>,
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
    let slo = slo.of_cell(&cell.id);
    let result = super::result::cell(manifest, turns, further, &slo, summary);
    CellView {
        id: cell.id.clone(),
        axes: axes(&result.axes),
        slo,
        facts: facts(summary),
        timings: timing::tables(&result, caption(manifest, summary), further),
        stage_rows: timing::stages(&result),
        tokens: tokens(summary),
        costs: cost::entries(summary),
        measured: measured(manifest, summary, turns),
        machines: machines::of_cell(manifest, summary),
        page: page::view(frame, summary),
        history: summary.history.clone(),
        histogram: summary.histogram.clone(),
        result,
    }
}

fn axes(coordinates: &Coordinates) -> Vec<Entry> {
    coordinates.0.iter().map(|(field, value)| Entry::new(names::label(field), value.to_string())).collect()
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
    facts.extend(request::request_entries(request));
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
    entries.extend(request::reply_entries(summary));
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
