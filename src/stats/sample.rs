//! The part of a record that statistics need.

use crate::record::{ExclusionReason, Outcome, Phase, Record, class, compact_shard, is_blocked};

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
