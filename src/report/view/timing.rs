//! Latencies of a cell as tables for people: one table per metric, one row per statistic.

use super::text;
use crate::result::{CellResult, Stage, Times, reported_ranks};
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
pub(super) fn tables(result: &CellResult, caption: String, further: &[f64]) -> Vec<TimingTable> {
    let table = |title, caption: &str, times: &Times| TimingTable {
        title,
        caption: caption.into(),
        rows: rows(times, further),
    };
    let mut tables = vec![TimingTable {
        title: if result.service_time.is_some() {
            "Response times, ms (from the intended start)"
        } else {
            "Response times, ms"
        },
        caption,
        rows: rows(&result.response_time, further),
    }];
    let others = [
        ("Service times, ms (from the send)", "Of the same requests", &result.service_time),
        (
            "Time to first token, ms",
            "From the send to the first content that is not empty, reasoning included",
            &result.time_to_first_token,
        ),
        ("Time to first answer token, ms", "As above, reasoning left out", &result.time_to_first_answer_token),
        (
            "Time per output token, ms",
            "(last content - first content) / (output tokens - 1), of streams that did not come all at once",
            &result.time_per_output_token,
        ),
        (
            "Longest gap between two chunks, ms",
            "Of each successful stream; a chunk need not be one token",
            &result.longest_chunk_gap,
        ),
    ];
    for (title, caption, times) in others {
        tables.extend(times.as_ref().map(|times| table(title, caption, times)));
    }
    tables
}

fn rows(times: &Times, further: &[f64]) -> Vec<TimingRow> {
    let plain = |label: &str, value| TimingRow {
        label: label.into(),
        value: text::ms_or_nothing(value),
        interval: String::new(),
    };
    let mut rows = vec![plain("average", times.mean_ms), plain("min", times.min_ms), plain("max", times.max_ms)];
    rows.extend(reported_ranks(further).into_iter().map(|rank| {
        TimingRow {
            label: format!("p{rank}"),
            value: text::percentile_of_times(times, rank / 100.0),
            interval: times
                .percentile(rank / 100.0)
                .map_or_else(String::new, |percentile| text::range(percentile.low_ms, percentile.high_ms)),
        }
    }));
    rows
}

/// Returns the stages of a cell's load profile.
pub(super) fn stages(result: &CellResult) -> Vec<StageRow> {
    let row = |stage: &Stage| {
        let seconds = |s: f64| text::thousands(s, 1);
        let shown = |level| text::percentile_of_times(&stage.response_time, level);
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
    result.stages.iter().map(row).collect()
}
