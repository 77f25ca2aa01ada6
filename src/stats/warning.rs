//! Warnings about the numbers of a cell: their keys in files and their texts for people.

/// A warning about the numbers of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warning {
    /// The latency window starts before the cell settled.
    NotSettled,
    /// Replies read from the prompt cache.
    CacheReads,
    /// Another tier than the requested one served some requests.
    TierMismatch,
    /// Replies of a cold cell read from the prompt cache.
    CacheContaminated,
    /// Replies of a warm cell did not read from the prompt cache.
    WarmMiss,
    /// The cell was interrupted.
    Interrupted,
    /// The cell is still running.
    InProgress,
    /// Streams arrived in one burst.
    Bursts,
    /// Starts were dropped: too many requests were in flight, or the load ended first.
    Dropped,
    /// Users were idle because this machine was too slow.
    Idle,
    /// The service stalled; a closed loop underestimates the effect.
    Stalls,
    /// Fewer samples than `min_samples`.
    TooFewSamples,
    /// Only some replies were truncated at `max_tokens`.
    CutReplies,
    /// Streams contained reasoning only.
    NoAnswer,
    /// Replies were blocked.
    Blocked,
    /// Implausible reported values were dropped.
    Implausible,
    /// The journal has fewer records than the manifest counts.
    RecordsMissing,
    /// Requests were in flight while this machine stood still.
    ClientStalled,
    /// The wall clock of a machine jumped.
    ClockJump,
    /// Client overhead grew.
    ClientOverhead,
    /// Damaged journal lines may be records of this cell.
    DamagedRecords,
    /// The journal contains duplicate records of this cell.
    DuplicateRecords,
    /// Prompts of a data set were repeated.
    RepeatedPrompts,
    /// The response times depend on when a request was sent: its time blocks differ.
    Uneven,
}

impl Warning {
    /// Returns the key used in result files.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::NotSettled => "not_settled",
            Self::CacheReads => "cache_reads",
            Self::TierMismatch => "tier_mismatch",
            Self::CacheContaminated => "cache_contaminated",
            Self::WarmMiss => "warm_miss",
            Self::Interrupted => "interrupted",
            Self::InProgress => "in_progress",
            Self::Bursts => "bursts",
            Self::Dropped => "dropped_starts",
            Self::Idle => "idle",
            Self::Stalls => "stalls",
            Self::TooFewSamples => "too_few_samples",
            Self::CutReplies => "cut_replies",
            Self::NoAnswer => "no_answer",
            Self::Blocked => "blocked_replies",
            Self::Implausible => "implausible_values",
            Self::RecordsMissing => "records_missing",
            Self::ClientStalled => "client_stalled",
            Self::ClockJump => "clock_jump",
            Self::ClientOverhead => "client_overhead",
            Self::DamagedRecords => "damaged_records",
            Self::DuplicateRecords => "duplicate_records",
            Self::RepeatedPrompts => "repeated_prompts",
            Self::Uneven => "uneven",
        }
    }

    /// Returns the text with the remedy.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NotSettled => {
                "not settled: the ramp and one p95 take more than half of test_duration; increase test_duration or spawn_rate"
            }
            Self::CacheReads => {
                "prompt cache: 1 % or more of the replies read from the prompt cache; set cache_modes = [\"cold\"] or [\"warm\"] to select what is measured"
            }
            Self::TierMismatch => {
                "another tier: another service tier than the requested one served some requests; they are counted but excluded from these latencies"
            }
            Self::CacheContaminated => {
                "not cold: some replies read from the prompt cache; they are counted but excluded from these latencies"
            }
            Self::WarmMiss => {
                "not warm: some replies did not read from the prompt cache; they are counted but excluded from these latencies (the shared prompt may be shorter than the model's minimum, 1,024 tokens or more)"
            }
            Self::Interrupted => "interrupted: the run ended during this cell; run it again with `run --resume`",
            Self::InProgress => {
                "in progress: the cell is still running; its numbers cover the requests that have ended"
            }
            Self::Bursts => {
                "bursts: 1 % or more of the streams arrived all at once and have no time per token; compare whole replies instead"
            }
            Self::Dropped => {
                "dropped starts: max_in_flight requests were in flight, or the cell ended first; the service received less load than planned"
            }
            Self::Idle => {
                "idle: users spent more than 2 % of their time neither thinking nor waiting for a reply; this machine is too slow for this number of users"
            }
            Self::Stalls => {
                "stalls: the service stalled while users waited; a closed loop sends no requests meanwhile, so these percentiles are too low; use arrival_rates"
            }
            Self::CutReplies => {
                "cut replies: some replies hit max_tokens and the others ended normally, so these latencies mix two reply lengths; raise max_tokens, or lower it until all replies hit it"
            }
            Self::NoAnswer => {
                "no answer: 1 % or more of the streams contained only reasoning; raise max_tokens, or reduce reasoning (request.additional_fields)"
            }
            Self::Blocked => {
                "blocked replies: a guardrail, a filter or the model blocked some replies; they count as successes but are excluded from latencies, goodput and successes per second"
            }
            Self::Implausible => {
                "implausible values: some replies report negative or impossibly large tokens or latencies; these values are dropped; check for a proxy between this machine and Bedrock"
            }
            Self::RecordsMissing => {
                "records missing: the journal contains fewer records of this cell than the manifest counts; these numbers are incomplete and the thresholds of the cell are INCONCLUSIVE; the journal was truncated or changed after the run"
            }
            Self::ClientStalled => {
                "client stalled: some requests were in flight while this machine stood still; they are counted but excluded from these latencies"
            }
            Self::ClockJump => {
                "clock jump: the wall clock of this machine jumped; times in the files use the clock at the start of the run"
            }
            Self::ClientOverhead => {
                "client overhead: the p95 of service time minus the service's latencyMs grew; this machine or the network added the time, not the service"
            }
            Self::DamagedRecords => {
                "damaged records: damaged lines of token_data.jsonl may be records of this cell; they are not counted, and the thresholds of the cell are INCONCLUSIVE; quarantine.jsonl contains them"
            }
            Self::DuplicateRecords => {
                "duplicate records: token_data.jsonl contains records of this cell twice; each is counted once, and the thresholds of the cell are INCONCLUSIVE"
            }
            Self::RepeatedPrompts => {
                "repeated prompts: the data set has fewer distinct prompts than requests were sent; prompt caching or memorised replies may make these latencies better than in production: use a larger data set, or cache_modes = [\"cold\"]"
            }
            Self::Uneven => {
                "uneven: the service was faster at some times than at others, so that the requests carry less information than independent ones; intervals allow for this: increase test_duration to narrow them"
            }
            Self::TooFewSamples => {
                "too few samples: the latency window contains fewer successes than min_samples; raise max_duration"
            }
        }
    }
}
