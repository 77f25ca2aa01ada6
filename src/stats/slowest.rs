//! The slowest requests of a cell, with the fields that a support case needs. Requests in flight during a stall of this
//! machine are excluded.

use super::stalls::Stalls;
use crate::record::{Outcome, Phase, Record, compact_shard};

/// Number of requests kept per cell.
const KEPT: usize = 10;

/// A slow request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SlowRequest {
    /// Response time, milliseconds.
    pub(crate) response_ms: f64,
    /// Start, milliseconds from the start of the cell run.
    pub(crate) start_ms: f64,
    /// End, epoch seconds.
    pub(crate) ended_s: f64,
    /// When in its cell's life it was sent.
    pub(crate) phase: Phase,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Why, where it did not succeed.
    pub(crate) class: String,
    /// Request id for AWS support; empty without a reply.
    pub(crate) request_id: String,
    /// Of a stream, milliseconds.
    pub(crate) ttft_ms: Option<f64>,
    /// The service's own latency, milliseconds.
    pub(crate) server_ms: Option<i64>,
    /// Tokens, if the reply reported them.
    pub(crate) output_tokens: Option<u64>,
    repetition: u32,
    shard: Option<u16>,
}

/// The slowest requests while records come in, those that met a stall apart, so that none of these takes the place of
/// one that did not. Whether a stall counts is known at the end.
#[derive(Debug, Clone, Default)]
pub(super) struct SlowestRequests {
    calm: Vec<SlowRequest>,
    stalled: Vec<SlowRequest>,
}

impl SlowestRequests {
    /// Takes a request in, if it is one of the slowest. `stalls` are all that may count.
    pub(super) fn keep(&mut self, record: &Record, stalls: Option<&Stalls>) {
        let start_ms = record.due_ms.unwrap_or(record.sent_ms);
        let met = |stalls: &Stalls| {
            stalls.touches(
                (record.repetition, compact_shard(record.shard)),
                start_ms,
                start_ms + record.response_time_ms,
            )
        };
        keep(if stalls.is_some_and(met) { &mut self.stalled } else { &mut self.calm }, record);
    }

    /// Returns the slowest requests that met no stall that counts, the slowest first.
    pub(super) fn finish(self, stalls: &Stalls) -> Vec<SlowRequest> {
        let met = |slow: &SlowRequest| {
            stalls.touches((slow.repetition, slow.shard), slow.start_ms, slow.start_ms + slow.response_ms)
        };
        let mut slowest = self.calm;
        slowest.extend(self.stalled);
        slowest.retain(|slow| !met(slow));
        slowest.sort_by(|a, b| b.response_ms.total_cmp(&a.response_ms));
        slowest.truncate(KEPT);
        slowest
    }
}

fn keep(slowest: &mut Vec<SlowRequest>, record: &Record) {
    let ms = record.response_time_ms;
    if slowest.len() >= KEPT && slowest.last().is_some_and(|last| last.response_ms >= ms) {
        return;
    }
    let at = slowest.partition_point(|known| known.response_ms >= ms);
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let slow = SlowRequest {
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
        repetition: record.repetition,
        shard: compact_shard(record.shard),
    };
    slowest.insert(at, slow);
    slowest.truncate(KEPT);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::disturbance::Stall;
    use crate::record::request::tests::record;

    #[test]
    fn slowest_requests_are_kept_in_order() {
        let mut slowest = SlowestRequests::default();
        for ms in (0..100_u32).map(|n| f64::from(n * 37 % 100)) {
            slowest.keep(&Record { response_time_ms: ms, ..record() }, None);
        }
        let kept: Vec<f64> = slowest.finish(&Stalls::default()).iter().map(|slow| slow.response_ms).collect();
        assert_eq!(kept, (90..100).rev().map(f64::from).collect::<Vec<_>>());
    }

    #[test]
    fn stalled_requests_are_excluded() {
        let mut turn = super::super::collect::tests::turn();
        turn.disturbances.stalls = vec![Stall { from_ms: 1_000.0, length_ms: 5_000.0, suspended_ms: 0.0 }];
        let (all, counting) = (Stalls::of_turns([&turn]), Stalls::of_turns([&turn]));
        let mut slowest = SlowestRequests::default();
        // Twenty of 6 s that were in flight during the stall, then twelve of up to 1.2 s after it.
        for n in 0..32 {
            let (sent_ms, response_time_ms) =
                if n < 20 { (500.0, 6_000.0) } else { (7_000.0, f64::from(n - 19) * 100.0) };
            slowest.keep(&Record { sent_ms, due_ms: None, response_time_ms, ..record() }, Some(&all));
        }
        let kept: Vec<f64> = slowest.clone().finish(&counting).iter().map(|slow| slow.response_ms).collect();
        assert_eq!(kept, (3..=12).rev().map(|n| f64::from(n) * 100.0).collect::<Vec<_>>());
        // A stall that turns out not to count excludes none.
        assert!(slowest.finish(&Stalls::default()).iter().all(|slow| slow.response_ms > 5_999.0));
    }
}
