//! One request, whatever its end. Times are milliseconds with three decimals on one monotonic
//! clock; what does not apply is left out of the line.

use super::Unfit;
use crate::matrix::order;
use serde::{Deserialize, Serialize};

/// When in its cell's life a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Sent before all users had been spawned.
    Ramp,
    /// Sent after the ramp, ended before the deadline.
    Steady,
    /// Still running at the deadline.
    Drain,
    /// Sent before the load, to fill the prompt cache: it is paid for, and in no cell's numbers.
    Priming,
    /// Sent before the first cell, to learn what can be asked: it is paid for, and in no cell.
    Preflight,
}

impl Phase {
    /// Whether a request of this phase is part of its cell's load.
    pub(crate) fn is_load(self) -> bool {
        !matches!(self, Self::Priming | Self::Preflight)
    }
}

/// How a request ended: four populations that are never pooled by accident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// A reply with content, or one that reports output tokens.
    Succeeded,
    /// `ThrottlingException` or `ServiceQuotaExceededException`.
    Throttled,
    /// Any other error.
    Failed,
    /// Still running when the run had to stop: neither a success nor a failure is known.
    Censored,
}

impl Outcome {
    /// The old tool's failures: throttled and failed.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Throttled | Self::Failed)
    }
}

/// Whether a request paid for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Connection {
    /// Opened for this request.
    New,
    /// Idle since an earlier request.
    Reused,
}

/// What is written of one request beside the identity of its cell (run, test id, axes), which the
/// journal writes in front.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// When the request ended, epoch seconds with a fraction.
    pub(crate) timestamp: f64,
    /// From the send (open loop: from the intended start) to the last byte.
    pub(crate) response_time_ms: f64,
    /// Tokens of the prompt, as the reply's usage says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input_tokens: Option<u64>,
    /// Tokens of the reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output_tokens: Option<u64>,
    /// Their sum, as the service says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) total_tokens: Option<u64>,
    /// `outcome` is `succeeded`; kept for readers of the old tool's file.
    pub(crate) success: bool,
    /// Which run of the matrix, from 1.
    pub(crate) repetition: u32,
    /// Which attempt at its turn, from 1; only the last one counts.
    #[serde(default = "order::first_attempt", skip_serializing_if = "order::is_first")]
    pub(crate) cell_attempt: u32,
    /// The machine that sent it, from 0, where several made the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<u32>,
    /// The virtual user, from 0 in each cell; an open loop has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<u32>,
    /// The order of the starts in the cell, from 0; where several machines made the run, the i-th of n has every
    /// n-th number from i on.
    pub(crate) seq: u64,
    /// When in the cell's life it was sent.
    pub(crate) phase: Phase,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// The SDK exception's name, or a class of ours (`record::class`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_class: Option<String>,
    /// At most 500 characters, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error_message: Option<String>,
    /// Of the reply, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) http_status: Option<u16>,
    /// What AWS support asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    /// `end_turn`, `max_tokens`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop_reason: Option<String>,
    /// The tier that served it, where the reply says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resolved_service_tier: Option<String>,
    /// Why a success says nothing about its cell's latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) validity: Option<Unfit>,
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
    /// From the send to the first content that is not empty (streams; so are the next ones).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttft_ms: Option<f64>,
    /// From the send to the first text of the answer, reasoning aside.
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
    /// The median time between two of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chunk_gap_p50_ms: Option<f64>,
    /// The longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chunk_gap_max_ms: Option<f64>,
    /// The prompt that was drawn, where the prompt size is a mix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt: Option<String>,
    /// What was said, system text first; only where the plan asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_text: Option<String>,
    /// What was answered, without reasoning; as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reply_text: Option<String>,
    /// The line of a data set that was drawn, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_line: Option<u32>,
    /// The first line of the data set with the same prompt, where that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_same_as: Option<u32>,
    /// Bytes of the reply's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response_bytes: Option<u64>,
    /// Whether it paid for a connection; nothing where none was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<Connection>,
    /// `http/1.1`, or whatever was spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<String>,
    /// What a new connection took: name, TCP, TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connect_ms: Option<f64>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Record;

    /// A success of no length, for tests of other rooms.
    pub(crate) fn record() -> Record {
        serde_json::from_value(serde_json::json!({
            "timestamp": 0.0, "response_time_ms": 0.0, "success": true, "repetition": 1, "seq": 0,
            "phase": "steady", "outcome": "succeeded", "sent_ms": 0.0,
        }))
        .unwrap()
    }
}
