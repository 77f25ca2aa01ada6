//! The tables that the original tool printed at the end of a run. They pool samples and never average percentiles or
//! averages.

use super::names::Coordinates;
use super::text;
use crate::stats::{Pool, Summary};
use serde::Serialize;

/// Small table with one number per group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// Group and its number.
    pub(crate) rows: Vec<(String, String)>,
}

type Number = fn(&Pool) -> String;

/// Returns the tables in the order of the original tool.
pub(super) fn tables(summary: &Summary, names: &Coordinates) -> Vec<Table> {
    let average: Number = |pool| with_unit(text::ms_or_nothing(pool.latency.mean_ms));
    let p95: Number = |pool| with_unit(text::percentile(pool.latency.percentile(0.95), pool.latency.observations()));
    let failures: Number = |pool| {
        format!("{} ({} of {})", text::percent(pool.counts.failure_rate()), pool.counts.failures(), pool.counts.total)
    };
    let input: Number =
        |pool| pool.tokens.avg_input.map_or_else(|| text::NOTHING.into(), |mean| text::thousands(mean, 1));
    let output: Number =
        |pool| pool.tokens.avg_output.map_or_else(|| text::NOTHING.into(), |mean| text::thousands(mean, 1));
    let all = names.varying(&[]);
    let configuration = if all.is_empty() { vec!["service_tier"] } else { all };
    let table = |title: &str, fields: &[&str], number: Number| Table {
        title: title.into(),
        rows: summary.pool(fields).iter().map(|pool| (name(pool), number(pool))).collect(),
    };
    vec![
        table("Average response time by service tier", &["service_tier"], average),
        table("Average response time by prompt size", &["prompt_size"], average),
        table("Average response time by region prefix", &["region_prefix"], average),
        table("P95 response time by service tier", &["service_tier"], p95),
        table("Failure rate by configuration", &configuration, failures),
        table("Average input tokens by prompt size", &["prompt_size"], input),
        table("Average output tokens by service tier", &["service_tier"], output),
    ]
}

/// Appends the unit to milliseconds; a reason for a missing value gets none.
fn with_unit(shown: String) -> String {
    if shown.starts_with(text::NOTHING) { shown } else { format!("{shown} ms") }
}

fn name(pool: &Pool) -> String {
    pool.key.iter().map(ToString::to_string).collect::<Vec<_>>().join(" / ")
}
