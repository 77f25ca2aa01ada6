//! The record of a request. Times are milliseconds with three decimals on one monotonic clock; fields that do not apply are
//! omitted.

use super::ExclusionReason;
use crate::matrix::order;
use serde::{Deserialize, Serialize};

/// The phase of a cell in which a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Sent before all users had been spawned.
    Ramp,
    /// Sent after the ramp, ended before the deadline.
    Steady,
    /// Still running at the deadline.
    Drain,
    /// Sent before the load to fill the prompt cache: charged, but not counted in the cell.
    Priming,
    /// Sent before the first cell as a pre-flight probe: charged, but part of no cell.
    Preflight,
}

impl Phase {
    /// Whether a request of this phase is part of its cell's load.
    pub(crate) fn is_load(self) -> bool {
        !matches!(self, Self::Priming | Self::Preflight)
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// A reply with content, or one that reports output tokens.
    Succeeded,
    /// `ThrottlingException` or `ServiceQuotaExceededException`.
    Throttled,
    /// Any other error.
    Failed,
    /// Still in flight at the drain bound: its result is unknown.
    Censored,
}

impl Outcome {
    /// Whether it counts as a failure: throttled or failed.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Throttled | Self::Failed)
    }
}

/// Whether a request opened its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Connection {
    /// Opened for this request.
    New,
    /// Idle since an earlier request.
    Reused,
}

/// The fields of a request in the journal after the identity of its cell (run, test id, axes).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// End of the request, epoch seconds with a fraction.
    pub(crate) timestamp: f64,
    /// Time from the send (open loop: from the intended start) to the last byte.
    pub(crate) response_time_ms: f64,
    /// Tokens of the prompt, as reported in the usage of the reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input_tokens: Option<u64>,
    /// Tokens of the reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output_tokens: Option<u64>,
    /// Their sum, as reported by the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) total_tokens: Option<u64>,
    /// Whether `outcome` is `succeeded`; for readers of the previous tool's format.
    pub(crate) success: bool,
    /// Repetition of the matrix, from 1.
    pub(crate) repetition: u32,
    /// Attempt of the cell run, from 1; only the last one counts.
    #[serde(default = "order::first_attempt", skip_serializing_if = "order::is_first")]
    pub(crate) cell_attempt: u32,
    /// Index of the shard, from 0, in a sharded run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<u32>,
    /// The virtual user, from 0 in each cell; an open loop has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<u32>,
    /// Number of the start in the cell, from 0; shard i of n uses every n-th number from i on.
    pub(crate) seq: u64,
    pub(crate) phase: Phase,
    pub(crate) outcome: Outcome,
    /// Name of the SDK exception, or a class of `record::class`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_class: Option<String>,
    /// At most 500 characters, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_message: Option<String>,
    /// HTTP status of the reply, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) http_status: Option<u16>,
    /// Request id for AWS support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    /// `end_turn`, `max_tokens`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop_reason: Option<String>,
    /// The tier that served it, if the reply reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resolved_service_tier: Option<String>,
    /// Why a success is excluded from the latencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) validity: Option<ExclusionReason>,
    /// Input tokens read from the prompt cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_read_tokens: Option<u64>,
    /// Input tokens written to the prompt cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_write_tokens: Option<u64>,
    /// Bedrock's own `metrics.latencyMs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_latency_ms: Option<i64>,
    /// Values of the reply, such as negative token counts, that were dropped because they are implausible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) implausible_values: Option<u32>,
    /// From the cell's start to the intended start (open loop).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due_ms: Option<f64>,
    /// From the cell's start to the send.
    pub(crate) sent_ms: f64,
    /// From the moment the request was due (open loop: its intended start; closed loop: the end of
    /// the think time) to the send: what this machine added.
    #[serde(default)]
    pub(crate) send_lag_ms: f64,
    /// From the send to the last byte (open loop).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service_time_ms: Option<f64>,
    /// From the send to the first non-empty content (streams only, like the following fields).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttft_ms: Option<f64>,
    /// From the send to the first text of the answer after reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttfat_ms: Option<f64>,
    /// From the send to the last content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) e2e_ms: Option<f64>,
    /// (`e2e_ms` - `ttft_ms`) / (output tokens - 1), from two tokens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tpot_ms: Option<f64>,
    /// Content events; a token need not be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chunks: Option<u32>,
    /// Median time between content events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chunk_gap_p50_ms: Option<f64>,
    /// Maximum time between content events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chunk_gap_max_ms: Option<f64>,
    /// The selected prompt, if the prompt size is a mix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt: Option<String>,
    /// Text of the prompt, system text first; only if the plan records text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_text: Option<String>,
    /// Text of the reply without reasoning; only if the plan records text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply_text: Option<String>,
    /// The selected line of a data set, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_line: Option<u32>,
    /// The first line of the data set with the same prompt, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_same_as: Option<u32>,
    /// Bytes of the reply's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response_bytes: Option<u64>,
    /// Whether it opened a connection; `None` if no connection was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<Connection>,
    /// HTTP version, such as `http/1.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<String>,
    /// Time to open a new connection: name, TCP, TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connect_ms: Option<f64>,
}

/// Returns the index of a shard in the two bytes that a sample keeps; a larger index becomes `u16::MAX`.
pub(crate) fn compact_shard(shard: Option<u32>) -> Option<u16> {
    shard.map(|shard| u16::try_from(shard).unwrap_or(u16::MAX))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Record;

    /// Returns a success with zero times, for tests of other modules.
    pub(crate) fn record() -> Record {
        serde_json::from_value(serde_json::json!({
            "timestamp": 0.0, "response_time_ms": 0.0, "success": true, "repetition": 1, "seq": 0,
            "phase": "steady", "outcome": "succeeded", "sent_ms": 0.0,
        }))
        .unwrap()
    }
}
