//! The slowest requests of a cell, with what a support case asks for.

use crate::record::{Outcome, Phase, Record};

/// How many are kept of a cell.
const KEPT: usize = 10;

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slow {
    /// From its start to its end, milliseconds.
    pub(crate) response_ms: f64,
    /// From the start of its turn, milliseconds.
    pub(crate) start_ms: f64,
    /// When it ended, epoch seconds.
    pub(crate) ended_s: f64,
    /// When in its cell's life it was sent.
    pub(crate) phase: Phase,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Why, where it did not succeed.
    pub(crate) class: String,
    /// What AWS support asks for; empty where no reply came.
    pub(crate) request_id: String,
    /// Of a stream, milliseconds.
    pub(crate) ttft_ms: Option<f64>,
    /// The service's own latency, milliseconds.
    pub(crate) server_ms: Option<i64>,
    /// Tokens, where the reply said.
    pub(crate) output_tokens: Option<u64>,
}

/// Takes a request in, if it is one of the slowest.
pub(super) fn keep(slowest: &mut Vec<Slow>, record: &Record) {
    let ms = record.response_time_ms;
    if slowest.len() >= KEPT && slowest.last().is_some_and(|last| last.response_ms >= ms) {
        return;
    }
    let at = slowest.partition_point(|known| known.response_ms >= ms);
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let slow = Slow {
        response_ms: ms,
        start_ms: record.due_ms.unwrap_or(record.sent_ms),
        ended_s: record.timestamp,
        phase: record.phase,
        outcome: record.outcome,
        class: text(&record.error_class),
        request_id: text(&record.request_id),
        ttft_ms: record.ttft_ms,
        server_ms: record.server_latency_ms,
        output_tokens: record.output_tokens,
    };
    slowest.insert(at, slow);
    slowest.truncate(KEPT);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::request::tests::record;

    #[test]
    fn the_slowest_are_kept_in_order() {
        let mut slowest = Vec::new();
        for ms in (0..100_u32).map(|n| f64::from(n * 37 % 100)) {
            keep(&mut slowest, &Record { response_time_ms: ms, ..record() });
        }
        let kept: Vec<f64> = slowest.iter().map(|slow| slow.response_ms).collect();
        assert_eq!(kept, (90..100).rev().map(f64::from).collect::<Vec<_>>());
    }
}
