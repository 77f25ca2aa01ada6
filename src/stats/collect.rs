//! The samples and counters of one cell.

use super::errors::ErrorKinds;
use super::prompts::PromptCounts;
use super::slowest::SlowestRequests;
use super::spend::Spend;
use super::stalls::Stalls;
use crate::matrix::Cell;
use crate::prices::Prices;
use crate::record::{ExclusionReason, Outcome, Phase, Record, class, compact_shard, is_blocked};
use std::collections::BTreeMap;

/// The part of a record that statistics need.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // independent properties of a record
pub(crate) struct Sample {
    /// From the start of the cell run to the send, or to the intended start in an open loop, milliseconds.
    pub(crate) start_ms: f64,
    /// Response time, milliseconds.
    pub(crate) response_ms: f64,
    /// Service time, milliseconds.
    pub(crate) service_ms: f64,
    /// Send lag, milliseconds.
    pub(crate) send_lag_ms: f64,
    /// Time to the first content of a stream, from the send, milliseconds.
    pub(crate) ttft_ms: Option<f64>,
    /// Time to the first content that is not reasoning, milliseconds.
    pub(crate) ttfat_ms: Option<f64>,
    /// Time to the last content, milliseconds.
    pub(crate) e2e_ms: Option<f64>,
    /// Time per output token of a stream, milliseconds.
    pub(crate) tpot_ms: Option<f64>,
    /// The longest time between two content events, milliseconds.
    pub(crate) chunk_gap_max_ms: Option<f32>,
    /// The service's own latency, milliseconds.
    pub(crate) server_ms: Option<f32>,
    /// When it ended, epoch seconds.
    pub(crate) ended_s: f64,
    /// Reported input tokens.
    pub(crate) input_tokens: Option<u32>,
    /// Reported output tokens.
    pub(crate) output_tokens: Option<u32>,
    /// Bytes of the body.
    pub(crate) response_bytes: u32,
    /// Repetition, from 1.
    pub(crate) repetition: u32,
    /// Shard that sent the request, from 0; `None` without shards.
    pub(crate) shard: Option<u16>,
    /// Phase of the cell at the send.
    pub(crate) phase: Phase,
    pub(crate) outcome: Outcome,
    /// The service was overloaded (503, also inside a stream), as opposed to an exhausted quota.
    pub(crate) overloaded: bool,
    /// The request timed out: its true time is longer.
    pub(crate) timed_out: bool,
    /// The reply reports tokens read from the prompt cache.
    pub(crate) cache_read: bool,
    /// The reply hit `max_tokens`.
    pub(crate) cut: bool,
    /// Why the sample is excluded from latencies.
    pub(crate) unfit: Option<ExclusionReason>,
    /// Sent after another shard had ended its load.
    pub(crate) is_late: bool,
    /// Time block of the latency window in which it started, from 0; see [`super::blocks`].
    pub(crate) block: u8,
}

/// Running sums of a cell.
#[derive(Debug, Clone, Default)]
pub(super) struct CellAccumulator {
    pub(super) samples: Vec<Sample>,
    pub(super) slowest: SlowestRequests,
    /// Requests per protocol.
    pub(super) protocols: BTreeMap<String, u64>,
    pub(super) errors: ErrorKinds,
    /// At least one request received an HTTP status.
    pub(super) answered: bool,
    /// Successes that report no tier although one was requested.
    pub(super) unreported_tiers: u64,
    /// Cost of the requests.
    pub(super) spend: Spend,
    /// Blocked replies by stop reason.
    pub(super) blocked: BTreeMap<String, u64>,
    /// Reported values that were dropped because they are implausible.
    pub(super) implausible: u64,
    /// How often each prompt was sent.
    pub(super) prompts: PromptCounts,
}

/// Maximum distinct stop reasons of blocked replies; further ones are counted as `other`.
const MAX_STOP_REASONS: usize = 20;

/// What the records of a cell are interpreted with.
#[derive(Debug, Clone, Copy)]
pub(super) struct CellContext<'a> {
    pub(super) cell: &'a Cell,
    pub(super) prices: &'a Prices,
    /// Stalls of the machine that may matter.
    pub(super) stalls: Option<&'a Stalls>,
}

impl CellAccumulator {
    /// Adds a record. A record that does not count (outside the load, or of an abandoned attempt) is only a cost.
    pub(super) fn add(&mut self, context: CellContext, record: &Record, counts: bool) {
        self.spend.add(context.prices, context.cell, record, counts);
        if !counts {
            return;
        }
        let tier_requested = context.cell.service_tier != "none";
        self.unreported_tiers += u64::from(tier_requested && record.success && record.resolved_service_tier.is_none());
        self.answered |= record.http_status.is_some();
        self.implausible += u64::from(record.implausible_values.unwrap_or(0));
        let sample = Sample::from_record(record);
        if sample.unfit == Some(ExclusionReason::Blocked) {
            let reason = record.stop_reason.as_deref().unwrap_or("other");
            let is_known = self.blocked.len() < MAX_STOP_REASONS || self.blocked.contains_key(reason);
            *self.blocked.entry(if is_known { reason } else { "other" }.to_owned()).or_default() += 1;
        }
        self.samples.push(sample);
        self.prompts.add(record);
        self.slowest.keep(record, context.stalls);
        if let Some(protocol) = &record.protocol {
            match self.protocols.get_mut(protocol) {
                Some(count) => *count += 1,
                None => drop(self.protocols.insert(protocol.clone(), 1)),
            }
        }
        if record.outcome.is_failure() {
            let (class, message) = (record.error_class.as_deref(), record.error_message.as_deref());
            self.errors.add(class.unwrap_or_default(), message.unwrap_or_default(), record.timestamp);
        }
    }
}

impl Sample {
    /// Extracts the sample of a record.
    pub(crate) fn from_record(record: &Record) -> Self {
        Self {
            start_ms: record.due_ms.unwrap_or(record.sent_ms),
            response_ms: record.response_time_ms,
            service_ms: record.service_time_ms.unwrap_or(record.response_time_ms),
            send_lag_ms: record.send_lag_ms,
            ttft_ms: record.ttft_ms,
            ttfat_ms: record.ttfat_ms,
            e2e_ms: record.e2e_ms,
            tpot_ms: record.tpot_ms,
            chunk_gap_max_ms: record.chunk_gap_max_ms.map(|ms| ms as f32),
            server_ms: record.server_latency_ms.map(|ms| ms as f32),
            ended_s: record.timestamp,
            input_tokens: record.input_tokens.map(saturate),
            output_tokens: record.output_tokens.map(saturate),
            response_bytes: record.response_bytes.map_or(0, saturate),
            repetition: record.repetition,
            shard: compact_shard(record.shard),
            phase: record.phase,
            outcome: record.outcome,
            overloaded: record.http_status == Some(503)
                || record.error_class.as_deref() == Some("ServiceUnavailableException"),
            timed_out: record.error_class.as_deref().is_some_and(class::is_timeout),
            cache_read: record.cache_read_tokens.is_some_and(|tokens| tokens > 0),
            cut: record.stop_reason.as_deref() == Some("max_tokens"),
            unfit: record.validity.or_else(|| blocked(record)),
            is_late: false,
            block: 0,
        }
    }

    /// Returns whether the stream arrived in one burst: less than 5 % of its time lies between first and last content.
    /// Its time per token is meaningless.
    pub(crate) fn is_burst(&self) -> bool {
        self.tpot_ms.is_some() && self.ttft_ms.zip(self.e2e_ms).is_some_and(|(ttft, e2e)| e2e - ttft < 0.05 * e2e)
    }
}

/// Detects blocked replies in journals of earlier versions, which lack a validity.
fn blocked(record: &Record) -> Option<ExclusionReason> {
    (record.success && record.stop_reason.as_deref().is_some_and(is_blocked)).then_some(ExclusionReason::Blocked)
}

fn saturate(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Outcome, Phase, Sample};
    use crate::record::manifest::{CellRunEnd, CellRunReport};

    /// A second in which nothing happened, for tests of other files.
    pub(in crate::stats) fn turn() -> CellRunReport {
        CellRunReport {
            test_id: "cell".into(),
            repetition: 1,
            attempt: 1,
            started_ms: 0,
            ended_ms: 0,
            load_ms: 1_000.0,
            end: CellRunEnd::Finished,
            reason: None,
            failed: None,
            requests: 0,
            connections_opened: 0,
            connections_reused: 0,
            dropped: 0,
            starts_waited: None,
            user_ms: 0.0,
            think_ms: 0.0,
            series: Vec::new(),
            shard: None,
            late_ms: None,
            disturbances: crate::record::disturbance::Disturbances::default(),
            parts: Vec::new(),
        }
    }

    /// A success of no length, for tests of other files.
    pub(in crate::stats) fn sample() -> Sample {
        Sample {
            start_ms: 0.0,
            response_ms: 0.0,
            service_ms: 0.0,
            send_lag_ms: 0.0,
            ttft_ms: None,
            ttfat_ms: None,
            e2e_ms: None,
            tpot_ms: None,
            chunk_gap_max_ms: None,
            server_ms: None,
            ended_s: 0.0,
            input_tokens: None,
            output_tokens: None,
            response_bytes: 0,
            repetition: 1,
            shard: None,
            phase: Phase::Steady,
            outcome: Outcome::Succeeded,
            overloaded: false,
            timed_out: false,
            cache_read: false,
            cut: false,
            unfit: None,
            is_late: false,
            block: 0,
        }
    }

    #[test]
    fn stream_that_arrives_at_once_is_a_burst() {
        let stream =
            |ttft_ms, e2e_ms| Sample { ttft_ms: Some(ttft_ms), e2e_ms: Some(e2e_ms), tpot_ms: Some(1.0), ..sample() };
        assert!(stream(960.0, 1_000.0).is_burst());
        assert!(!stream(940.0, 1_000.0).is_burst());
        assert!(!Sample { tpot_ms: None, ..stream(1_000.0, 1_000.0) }.is_burst(), "one token is no burst");
    }
}
