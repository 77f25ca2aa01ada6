//! Warnings about the numbers of a cell: their keys in files and their texts for people.

/// What a reader of a cell's numbers should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warning {
    /// The window begins before the cell had settled.
    NotSettled,
    /// Some prompts were answered from the prompt cache.
    CacheReads,
    /// Some replies name another tier than was asked for.
    TierMismatch,
    /// Some that were to be cold came from the prompt cache.
    CacheContaminated,
    /// Some that were to be warm did not.
    WarmMiss,
    /// The run was stopped inside this cell.
    Interrupted,
    /// The cell is still running.
    InProgress,
    /// Streams came all at once.
    Bursts,
    /// Starts were dropped, since too many requests were in flight, or since they were overdue when the load ended.
    Dropped,
    /// Users waited for this machine.
    Idle,
    /// The service stood still, and a closed loop cannot see what that cost.
    Stalls,
    /// `min_samples` was not reached.
    TooFewSamples,
    /// Some replies were cut at `max_tokens`, and some were not.
    CutReplies,
    /// Reasoning was all that some streams had.
    NoAnswer,
    /// Some replies were blocked.
    Blocked,
    /// Some reported values were implausible and dropped.
    Implausible,
    /// The manifest counts requests that the journal does not hold.
    RecordsMissing,
    /// Some requests were in flight while this machine stood still.
    ClientStalled,
    /// The wall clock of a machine jumped.
    ClockJump,
    /// The client saw more and more time beyond the service's own latency.
    ClientOverhead,
    /// Damaged lines of the journal may be records of this cell.
    DamagedRecords,
    /// The journal holds records of this cell twice.
    DuplicateRecords,
    /// Prompts of a data set were sent more than once.
    RepeatedPrompts,
}

impl Warning {
    /// As in the files.
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
        }
    }

    /// For people, with what to do.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NotSettled => {
                "not settled: the ramp and one p95 take more than half of the test duration; test longer, or spawn faster"
            }
            Self::CacheReads => {
                "prompt cache: 1 % or more of the successes were answered from the prompt cache; prompts that are always the same measure a warm cache: cache_modes = [\"cold\"] or [\"warm\"] says which is meant"
            }
            Self::TierMismatch => {
                "another tier: some replies say that another service tier served them than was asked for; they are counted, and left out of these latencies"
            }
            Self::CacheContaminated => {
                "not cold: some replies were read from the prompt cache all the same; they are counted, and left out of these latencies"
            }
            Self::WarmMiss => {
                "not warm: some replies read nothing from the prompt cache; they are counted, and left out of these latencies (the shared prompt may be below the model's minimum of 1,024 tokens or more)"
            }
            Self::Interrupted => "the run was cut short inside this cell; `run --resume` runs it again",
            Self::InProgress => {
                "in progress: the cell is still running, and its numbers are of the requests that have ended"
            }
            Self::Bursts => {
                "bursts: 1 % or more of the streams came all at once; they have no time per token: compare whole replies"
            }
            Self::Dropped => {
                "starts were dropped: max_in_flight requests were in flight, or they were overdue at the end of the cell. The service saw less load than planned"
            }
            Self::Idle => {
                "idle: users spent more than 2 % of their time neither thinking nor waiting for an answer; this machine is too slow for so many"
            }
            Self::Stalls => {
                "stalls: the service stood still while users waited, and what they would have asked meanwhile is in no percentile of a closed loop; arrival_rates measure it"
            }
            Self::CutReplies => {
                "cut replies: max_tokens ended some replies and others ended by themselves, so that these latencies are of two kinds; raise max_tokens, or lower it until all are cut"
            }
            Self::NoAnswer => {
                "no answer: 1 % or more of the streams reasoned until they ended, and no text of an answer came; raise max_tokens, or ask for less reasoning (request.additional_fields)"
            }
            Self::Blocked => {
                "blocked replies: a guardrail, a filter or the model itself ended some replies without the answer; they are successes, and excluded from latencies, goodput and successes per second"
            }
            Self::Implausible => {
                "implausible values: some replies report negative or impossibly large tokens or latencies; these values are dropped: check what lies between this machine and Bedrock"
            }
            Self::RecordsMissing => {
                "records missing: the manifest counts more requests of this cell than the journal holds, so that these numbers are of a part, and the thresholds of the cell are INCONCLUSIVE; the journal was cut or changed after the run"
            }
            Self::ClientStalled => {
                "client stalled: some requests were in flight while this machine stood still; they are counted, and excluded from these latencies"
            }
            Self::ClockJump => {
                "clock jump: the wall clock of this machine jumped; times in the files follow the clock as it was at the start of the run"
            }
            Self::ClientOverhead => {
                "client overhead: p95 of our time minus the service's own latencyMs grew; this machine or the network added it, not the service"
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
            Self::TooFewSamples => "the latency window holds fewer successes than min_samples; raise max_duration",
        }
    }
}
