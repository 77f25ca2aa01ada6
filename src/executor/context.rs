//! What the requests of a cell have in common, whatever they are sent for: the load, priming or pre-flight.

use super::answer::{Answer, Failure};
use super::bedrock::{Bedrock, Reply};
use super::clock::Clock;
use super::port::{Event, EventSink, Gate, Refusal, RefusalReason};
use super::prepared::{Prepared, RequestNumber};
use super::redact::redact_record;
use crate::matrix::Cell;
use crate::matrix::order::PlannedRun;
use crate::record::{ExclusionReason, Outcome, Phase, Record, class, is_blocked};
use crate::units::ms;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Maximum plausible difference by which a server latency exceeds the client's own time, in milliseconds.
const LATENCY_TOLERANCE_MS: f64 = 1_000.0;

/// Everything that sending and recording a request requires. Immutable.
pub(super) struct CellContext {
    pub(super) bedrock: Arc<Bedrock>,
    pub(super) prepared: Arc<Prepared>,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) emit: EventSink,
    pub(super) cell: Arc<Cell>,
    pub(super) run: PlannedRun,
    /// Index of the shard, if there are several.
    pub(super) shard_index: Option<u32>,
    pub(super) clock: Clock,
    /// Start of the cell run, from which the times of its records count.
    pub(super) start: Instant,
    /// Cancelled: requests in flight are abandoned.
    pub(super) abandon: CancellationToken,
}

impl CellContext {
    /// Sends a request and waits for its end.
    pub(super) async fn send(&self, number: RequestNumber) -> Reply {
        self.bedrock.send(&self.prepared, number, &self.abandon).await
    }

    /// Calls the gate until it decides about a request outside the load. Returns whether the request may be sent.
    pub(super) async fn wait_for_admission(&self, admit: impl Fn() -> Result<(), Refusal>) -> bool {
        loop {
            match admit() {
                Err(Refusal { reason: RefusalReason::NotReserved, .. }) => tokio::select! {
                    () = self.gate.wait_for_reservation() => {}
                    () = self.abandon.cancelled() => return false,
                },
                decided => return decided.is_ok(),
            }
        }
    }

    /// Returns the record of a request with an intended start, from which the response time of an open loop counts.
    pub(super) fn record(&self, user: Option<u32>, seq: u64, intended: Instant, phase: Phase, reply: Reply) -> Record {
        let Reply { sent, ended, facts, stream, answer } = reply;
        let (outcome, answer, failure) = match answer {
            Some(Ok(answer)) => (Outcome::Succeeded, answer, None),
            Some(Err(failure)) => {
                let Failure { class, message, http_status, request_id, answer } = *failure;
                (class::outcome(&class), answer, Some((class, message, http_status, request_id)))
            }
            None => (Outcome::Censored, Answer::default(), None),
        };
        let (error_class, error_message, http_status, request_id) = match failure {
            Some((class, message, status, request_id)) => (Some(class), Some(message), status, request_id),
            None => (None, None, (outcome == Outcome::Succeeded).then_some(200), None),
        };
        let since = |start: Instant, end: Instant| ms(end.saturating_duration_since(start));
        let usage = answer.usage;
        let is_open = user.is_none();
        let validity = match outcome {
            Outcome::Succeeded if answer.stop_reason.as_deref().is_some_and(is_blocked) => {
                Some(ExclusionReason::Blocked)
            }
            Outcome::Succeeded => ExclusionReason::from_reply(
                &self.cell,
                answer.resolved_service_tier.as_deref(),
                usage.cache_read_tokens,
            ),
            _ => None,
        };
        let most_ms = since(sent, ended) + LATENCY_TOLERANCE_MS;
        let server_latency_ms = answer.server_latency_ms.filter(|ms| (0.0..=most_ms).contains(&(*ms as f64)));
        let dropped = u32::from(server_latency_ms != answer.server_latency_ms);
        let implausible_values = Some(answer.implausible_values + dropped).filter(|values| *values > 0);
        let mut record = Record {
            timestamp: self.clock.epoch_us(ended) as f64 / 1e6,
            response_time_ms: since(if is_open { intended } else { sent }, ended),
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            total_tokens: usage.total_tokens,
            success: outcome == Outcome::Succeeded,
            repetition: self.run.repetition,
            cell_attempt: self.run.attempt,
            shard: self.shard_index,
            user,
            seq,
            phase,
            outcome,
            error_class,
            error_message,
            http_status,
            request_id: answer.request_id.or(request_id),
            stop_reason: answer.stop_reason,
            resolved_service_tier: answer.resolved_service_tier,
            validity,
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            server_latency_ms,
            implausible_values,
            due_ms: is_open.then(|| since(self.start, intended)),
            sent_ms: since(self.start, sent),
            send_lag_ms: since(intended, sent),
            service_time_ms: is_open.then(|| since(sent, ended)),
            ttft_ms: None,
            ttfat_ms: None,
            e2e_ms: None,
            tpot_ms: None,
            chunks: None,
            chunk_gap_p50_ms: None,
            chunk_gap_max_ms: None,
            prompt: None,
            prompt_text: None,
            reply_text: answer.text,
            prompt_line: None,
            prompt_same_as: None,
            response_bytes: facts.response_bytes,
            connection: facts.connection,
            protocol: facts.protocol.map(str::to_owned),
            connect_ms: facts.connect.map(ms),
        };
        if let Some(tally) = stream {
            tally.add_to(&mut record, sent);
        }
        redact_record(&self.bedrock.secrets, &mut record);
        record
    }

    /// Returns the record of a request outside the load.
    pub(super) fn record_outside_load(&self, number: usize, phase: Phase, reply: Reply) -> Record {
        let record = self.record(None, number as u64, reply.sent, phase, reply);
        Record { validity: None, due_ms: None, service_time_ms: None, ..record }
    }

    /// Adds the prompt's name, line and text to a record.
    pub(super) fn add_prompt(&self, record: &mut Record, number: RequestNumber) {
        if let Some(choice) = self.prepared.choice(self.prepared.prompt_index(number)) {
            record.prompt = (choice.name != self.cell.prompt_size).then(|| choice.name.clone());
            (record.prompt_line, record.prompt_same_as) = (choice.line, choice.same_as);
        }
        let secrets = &self.bedrock.secrets;
        record.prompt_text = self.prepared.prompt_text(number).map(|text| secrets.mask_values(&text).into_owned());
    }

    /// Passes the record of an ended request to the gate, and then to the recorder.
    pub(super) fn emit_ended(&self, record: Record) {
        self.gate.settle(&record);
        (self.emit)(Event::Ended { cell: self.run.cell, record: Box::new(record) });
    }
}
