//! Optional request parameters of a cell, and properties of its replies.

use super::entry::Entry;
use super::text;
use crate::plan::Request;
use crate::stats::CellSummary;
use serde_json::Value;

/// Returns one entry per optional field that the plan sets in its request.
pub(super) fn request_entries(request: &Request) -> Vec<Entry> {
    let mut entries = Vec::new();
    if let Some(system) = &request.system {
        entries.push(Entry::new("system", system.clone()));
    }
    if !request.stop_sequences.is_empty() {
        let shown = request.stop_sequences.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ");
        entries.push(Entry::new("stop sequences", shown));
    }
    if let Some(performance) = request.performance {
        entries.push(Entry::new("performance", performance.key()));
    }
    if !request.additional_fields.is_empty() {
        let fields = Value::Object(request.additional_fields.clone());
        entries.push(Entry::new("additional fields", fields.to_string()));
    }
    entries
}

/// Returns how many of the replies in the latencies were cut at `max_tokens`, began with reasoning, or contained no
/// answer.
pub(super) fn reply_entries(summary: &CellSummary) -> Vec<Entry> {
    let replies = &summary.replies;
    let mut entries = Vec::new();
    if replies.cut > 0 {
        entries.push(Entry::new("cut at max_tokens", count_with_share(replies.cut, replies.successes, "replies")));
    }
    if replies.reasoned > 0 {
        let took = replies.reasoning_time_share.map(|share| {
            format!("; it took {} of the time to the last token at the median", text::percent(Some(share)))
        });
        let began = count_with_share(replies.reasoned, replies.streams, "streams");
        entries.push(Entry::new("began with reasoning", began + &took.unwrap_or_default()));
    }
    if replies.without_answer > 0 {
        entries.push(Entry::new(
            "reasoning and no answer",
            count_with_share(replies.without_answer, replies.streams, "streams"),
        ));
    }
    entries
}

/// Formats a count with its share: `3 of 40 streams (7.50 %)`.
fn count_with_share(part: u64, whole: u64, unit: &str) -> String {
    let count = |n: u64| text::thousands(n as f64, 0);
    let share = (whole > 0).then(|| part as f64 / whole as f64);
    format!("{} of {} {unit} ({})", count(part), count(whole), text::percent(share))
}
