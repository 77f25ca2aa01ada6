//! The samples and counters of one cell, while its records are read.

use super::errors::ErrorKinds;
use super::prompts::PromptCounts;
use super::sample::Sample;
use super::slowest::SlowestRequests;
use super::spend::Spend;
use super::stalls::Stalls;
use crate::matrix::Cell;
use crate::prices::Prices;
use crate::record::{ExclusionReason, Record};
use std::collections::BTreeMap;

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

#[cfg(test)]
pub(super) mod tests {
    use super::Sample;
    use crate::record::manifest::{CellRunEnd, CellRunReport};
    use crate::record::{Outcome, Phase};

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
