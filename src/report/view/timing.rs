//! Latencies of a cell as tables for people: one table per metric, one row per statistic.

use super::text;
use crate::result::Stage;
use crate::stats::{CellSummary, Latency};
use serde::Serialize;

/// Latency table of one metric.
#[derive(Debug, Serialize)]
pub(crate) struct TimingTable {
    /// Display name of the metric.
    pub(crate) title: &'static str,
    /// Description of the sample.
    pub(crate) caption: String,
    /// One row per statistic.
    pub(crate) rows: Vec<TimingRow>,
}

/// Statistic, formatted.
#[derive(Debug, Serialize)]
pub(crate) struct TimingRow {
    /// For example `p95`.
    pub(crate) label: String,
    /// Milliseconds, or the reason why it is not shown.
    pub(crate) value: String,
    /// 95 % interval; empty for a statistic without one.
    pub(crate) interval: String,
}

/// Stage of a load profile, formatted.
#[derive(Debug, Serialize)]
pub(crate) struct StageRow {
    /// For example `30s to 1m 40s`.
    pub(crate) span: String,
    /// For example `to 100 users`.
    pub(crate) load: String,
    /// Number of requests whose intended start lies in the stage.
    pub(crate) requests: u64,
    /// Failures as a percentage of these requests.
    pub(crate) failure_rate: String,
    pub(crate) requests_per_sec: String,
    /// Milliseconds, or the reason why it is not shown.
    pub(crate) p50: String,
    /// Milliseconds, or the reason why it is not shown.
    pub(crate) p95: String,
}

/// Returns the latency tables of a cell. `caption` describes the response-time sample, `further` contains the
/// additional percentile ranks of the plan.
pub(super) fn tables(summary: &CellSummary, caption: String, further: &[f64]) -> Vec<TimingTable> {
    let of = |title, caption: &str, latency: &Latency| TimingTable {
        title,
        caption: caption.into(),
        rows: rows(latency, further),
    };
    let mut tables = vec![TimingTable {
        title: if summary.service.is_some() {
            "Response times, ms (from the intended start)"
        } else {
            "Response times, ms"
        },
        caption,
        rows: rows(summary.reported_latency(), further),
    }];
    let others = [
        ("Service times, ms (from the send)", "Of the same requests", summary.reported_service()),
        (
            "Time to first token, ms",
            "From the send to the first content that is not empty, reasoning included",
            summary.ttft.as_ref(),
        ),
        ("Time to first answer token, ms", "As above, reasoning left out", summary.ttfat.as_ref()),
        (
            "Time per output token, ms",
            "(last content - first content) / (output tokens - 1), of streams that did not come all at once",
            summary.tpot.as_ref(),
        ),
        (
            "Longest gap between two chunks, ms",
            "Of each successful stream; a chunk need not be one token",
            summary.chunk_gap.as_ref(),
        ),
    ];
    for (title, caption, latency) in others {
        tables.extend(latency.map(|latency| of(title, caption, latency)));
    }
    tables
}

fn rows(latency: &Latency, further: &[f64]) -> Vec<TimingRow> {
    let plain = |label: &str, value| TimingRow {
        label: label.into(),
        value: text::ms_or_nothing(value),
        interval: String::new(),
    };
    let mut rows = vec![plain("average", latency.mean_ms), plain("min", latency.min_ms), plain("max", latency.max_ms)];
    let mut levels = vec![50.0, 90.0, 95.0, 99.0];
    levels.extend(further.iter().filter(|p| ![50.0, 90.0, 95.0, 99.0].contains(*p)));
    levels.sort_by(f64::total_cmp);
    for level in levels {
        let percentile = latency.percentile(level / 100.0);
        let interval = percentile.map_or_else(String::new, |percentile| {
            let low = percentile.low_ms.map_or_else(|| "open".into(), text::ms);
            let high = percentile.high_ms.map_or_else(|| "open".into(), text::ms);
            format!("{low} to {high}")
        });
        let value = text::percentile(percentile, latency.observations());
        rows.push(TimingRow { label: format!("p{level}"), value, interval });
    }
    rows
}

/// Returns the stages of a cell's load profile.
pub(super) fn stages(summary: &CellSummary) -> Vec<StageRow> {
    let row = |stage: &Stage| {
        let seconds = |s: f64| text::thousands(s, 1);
        let shown = |p| text::percentile(stage.response_time.percentile(p).copied(), stage.response_time.samples);
        StageRow {
            span: format!("{} s to {} s", seconds(stage.start_s), seconds(stage.start_s + stage.length_s)),
            load: match (stage.users, stage.arrivals_per_sec) {
                (Some(users), _) => format!("to {users} users"),
                (_, rate) => format!("to {} requests/s", rate.unwrap_or(0.0)),
            },
            requests: stage.counts.total,
            failure_rate: text::percent(stage.counts.failure_rate()),
            requests_per_sec: text::rate(Some(stage.requests_per_sec)),
            p50: shown(0.50),
            p95: shown(0.95),
        }
    };
    summary.stages.iter().map(row).collect()
}
