//! The statistics of one cell.

use super::compared::ComparedValues;
use super::confidence::ConfidenceInterval;
use super::health::Health;
use super::latency::Latency;
use super::overhead::OverheadGrowth;
use super::phases::PhaseSummary;
use super::pooled::PooledLatencies;
use super::replies::Replies;
use super::sample::Sample;
use super::series::HistoryRow;
use super::slowest::SlowRequest;
use super::spend::Spend;
use super::stopped::Stopped;
use super::tokens::TokenSums;
use super::warning::Warning;
use super::window::Window;
use crate::matrix::Cell;
use crate::result::{Counts, ErrorCount, Percentile, PromptUses, Stage, Times, Tokens, Validity};
use std::collections::{BTreeMap, HashMap};

/// Statistics of one cell.
#[derive(Debug)]
pub(crate) struct CellSummary {
    pub(crate) cell: Cell,
    /// All requests, ramp and drain included.
    pub(crate) counts: Counts,
    /// Whether any request received an HTTP status.
    pub(crate) answered: bool,
    /// Latency window.
    pub(crate) window: Window,
    /// Response times on which all verdicts are based. Reports show [`Self::reported_latency`].
    pub(crate) latency: Latency,
    /// Latency of the successes only (`success_*`).
    pub(crate) success: Times,
    /// Requests of any outcome that ended inside the window, per second.
    pub(crate) requests_per_sec: Option<f64>,
    /// Failures among them.
    pub(crate) failures_per_sec: Option<f64>,
    /// Mean size of a reply's body, bytes.
    pub(crate) avg_content_bytes: Option<f64>,
    /// Tokens of the successes.
    pub(crate) tokens: Tokens,
    /// Cost of its requests.
    pub(crate) spend: Spend,
    /// Response time from the send, in an open loop. Reports show [`Self::reported_service`].
    pub(crate) service: Option<Latency>,
    /// The same two with failed and throttled requests as events; `None` without `include_failures`.
    pub(super) pooled: Option<PooledLatencies>,
    /// Time to the first content, of streams.
    pub(crate) ttft: Option<Latency>,
    /// Time to the first content that is not reasoning, if some streams began with reasoning.
    pub(crate) ttfat: Option<Latency>,
    /// Time per output token, of streams.
    pub(crate) tpot: Option<Latency>,
    /// The longest time between two content events, of streams.
    pub(crate) chunk_gap: Option<Latency>,
    /// Properties of the replies in the window.
    pub(crate) replies: Replies,
    /// Output tokens of successes that ended inside the window, per second.
    pub(crate) output_tokens_per_sec: Option<f64>,
    /// Requests that met every limit of `[goodput]`, per second of the window; `None` without limits.
    pub(crate) goodput: Option<f64>,
    /// Starts prevented by `max_in_flight`, or overdue when the load ended.
    pub(crate) dropped: u64,
    /// Requests per protocol.
    pub(crate) protocols: BTreeMap<String, u64>,
    /// Client health.
    pub(crate) health: Health,
    /// Longest stall of the service that a closed loop hides, milliseconds.
    pub(crate) stall_ms: Option<f64>,
    /// The stages of a load profile.
    pub(crate) stages: Vec<Stage>,
    /// Phases of the cell.
    pub(crate) phases: Vec<PhaseSummary>,
    /// Uses of each prompt; `None` without requests.
    pub(crate) prompts: Option<PromptUses>,
    /// The slowest requests of any outcome, the slowest first.
    pub(crate) slowest: Vec<SlowRequest>,
    /// The successes of the window as an interval log of `HdrHistogram`.
    pub(crate) histogram: Vec<u8>,
    /// Successes that report cache reads.
    pub(crate) cache_reads: u64,
    /// Successes served by another tier than requested.
    pub(crate) tier_mismatches: u64,
    /// Successes that should have been cold but read from the cache.
    pub(crate) cache_contaminated: u64,
    /// Successes that should have been warm but did not read from the cache.
    pub(crate) warm_misses: u64,
    /// Requests of any outcome that were in flight while this machine stood still.
    pub(crate) client_stalled: u64,
    /// Growth of the client overhead with the load, if any.
    pub(crate) overhead: Option<OverheadGrowth>,
    /// Blocked replies by stop reason; they are successes.
    pub(crate) blocked: BTreeMap<String, u64>,
    /// Reported values that were dropped because they are implausible.
    pub(crate) implausible: u64,
    /// Errors by kind, the most frequent first.
    pub(crate) errors: Vec<ErrorCount>,
    /// Whether the numbers may be used.
    pub(crate) validity: Validity,
    /// Cause of an incomplete cell, which is not compared. `None` if it never started.
    pub(crate) stopped: Option<Stopped>,
    /// Missing shards; `None` if all are complete.
    pub(crate) missing: Option<String>,
    /// Warnings about the numbers.
    pub(crate) warnings: Vec<Warning>,
    /// History, one row per second.
    pub(crate) history: Vec<HistoryRow>,
    /// Successes that report no tier although one was requested; the requested tier is assumed.
    pub(crate) unreported_tiers: u64,
    /// Intervals of the quantities that thresholds limit, by the index of the threshold and of its bound.
    pub(crate) bounds: HashMap<(usize, usize), ConfidenceInterval>,
    /// Output tokens per second with their interval.
    pub(crate) output_token_rate: Option<ConfidenceInterval>,
    pub(super) compared: ComparedValues,
    /// p95 of the client overhead, if there are enough samples.
    pub(super) overhead_p95: Option<Percentile>,
    pub(super) token_sums: TokenSums,
    /// Empty once the summary is complete: see [`CellSummary::drop_samples`].
    pub(super) samples: Vec<Sample>,
    /// Length of the load by repetition, from the first start until no further request started, milliseconds.
    pub(super) load_ms: BTreeMap<u32, f64>,
}

impl CellSummary {
    /// Returns the number of blocked replies.
    pub(crate) fn blocked_count(&self) -> u64 {
        self.blocked.values().sum()
    }

    /// Returns the response times that reports show: with `include_failures` also those of failed requests.
    pub(crate) fn reported_latency(&self) -> &Latency {
        self.pooled.as_ref().map_or(&self.latency, |pooled| &pooled.latency)
    }

    /// Returns the service times that reports show, in an open loop.
    pub(crate) fn reported_service(&self) -> Option<&Latency> {
        self.pooled.as_ref().map_or(self.service.as_ref(), |pooled| pooled.service.as_ref())
    }

    /// Returns why the cell is not compared, as a predicate: `is INVALID`.
    pub(crate) fn incomparable_reason(&self) -> Option<String> {
        let excluded = match &self.validity {
            Validity::NotRun => "was not run".into(),
            Validity::Unsupported(why) | Validity::Refused(why) => format!("was skipped: {why}"),
            Validity::Aborted => Stopped::AbortRule.predicate().into(),
            Validity::Invalid(_) => "is INVALID".into(),
            Validity::Ok => match (self.stopped, self.record_damage()) {
                (Some(stopped), _) => stopped.predicate().into(),
                (None, Some(why)) => return Some(format!("is incomplete: {why}")),
                (None, None) => return None,
            },
        };
        Some(excluded)
    }

    /// Returns why the records of the cell may be wrong; such a cell is INCONCLUSIVE and not compared.
    pub(crate) fn record_damage(&self) -> Option<&'static str> {
        self.warnings.iter().find_map(|warning| match warning {
            Warning::DamagedRecords => Some("some of its records may be damaged"),
            Warning::DuplicateRecords => Some("some of its records are duplicated in the journal"),
            Warning::RecordsMissing => Some("some of its records are missing from the journal"),
            _ => None,
        })
    }
}
