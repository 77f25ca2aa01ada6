//! Observation of a stream: times of its content, and whether it is complete.
//!
//! A stream is complete only with `messageStop` AND `metadata`: the SDK does not report an early end as an error. Times are
//! those at which bytes arrive in the connector, not those of decoding.

use super::answer::{Answer, Failure, Usage};
use super::connect::{REPLY_TOO_LONG, innermost_causes};
use super::reported::Reported;
use super::round_trip::RoundTrip;
use crate::record::{Record, class};
use crate::units::ms;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::operation::RequestId;
use aws_sdk_bedrockruntime::operation::converse_stream::ConverseStreamOutput as OpenStream;
use aws_sdk_bedrockruntime::types::error::ConverseStreamOutputError;
use aws_sdk_bedrockruntime::types::{
    ContentBlockDelta, ConverseStreamMetadataEvent, ConverseStreamOutput as Event, ReasoningContentBlockDelta,
};
use aws_smithy_types::event_stream::RawMessage;
use std::time::{Duration, Instant};

/// Maximum wait for the end of the body after the last event. A connection whose body was read to the end can be reused.
const END_GRACE: Duration = Duration::from_millis(200);

/// Observations of a stream so far; they remain if the stream is cut.
#[derive(Debug, Default, Clone)]
pub(super) struct StreamTally {
    /// Whether the headers were read: later failures belong to the stream.
    pub(super) opened: bool,
    /// Time of the first non-empty content, text or reasoning.
    pub(super) first_content: Option<Instant>,
    /// Time of the first text of the answer.
    pub(super) first_answer: Option<Instant>,
    /// Time of the last content.
    pub(super) last_content: Option<Instant>,
    /// Time of `metadata`.
    pub(super) metadata: Option<Instant>,
    /// Number of content events.
    pub(super) chunks: u32,
    /// Times between content events.
    gaps: Vec<Duration>,
    /// Fields of the reply so far.
    pub(super) answer: Answer,
    stopped: bool,
}

impl StreamTally {
    pub(super) fn new(keep_text: bool) -> Self {
        let answer = Answer { text: keep_text.then(String::new), ..Answer::default() };
        Self { answer, ..Self::default() }
    }

    /// Returns the median (nearest rank) and the maximum of the times between content events.
    pub(super) fn gaps(&self) -> Option<(Duration, Duration)> {
        let mut sorted = self.gaps.clone();
        sorted.sort_unstable();
        Some((*sorted.get(sorted.len().saturating_sub(1) / 2)?, *sorted.last()?))
    }

    /// Adds the observations to a record, also for an incomplete stream.
    pub(super) fn add_to(&self, record: &mut Record, sent: Instant) {
        let since_sent = |at: Instant| ms(at.saturating_duration_since(sent));
        record.ttft_ms = self.first_content.map(since_sent);
        record.ttfat_ms = self.first_answer.map(since_sent);
        record.e2e_ms = self.last_content.map(since_sent);
        record.chunks = Some(self.chunks);
        if let Some((median, longest)) = self.gaps() {
            record.chunk_gap_p50_ms = Some(ms(median));
            record.chunk_gap_max_ms = Some(ms(longest));
        }
        if record.request_id.is_none() {
            record.request_id.clone_from(&self.answer.request_id);
        }
        if let (Some(first), Some(last), Some(tokens)) = (self.first_content, self.last_content, record.output_tokens)
            && tokens >= 2
        {
            let us = last.saturating_duration_since(first).as_micros() as f64 / (tokens - 1) as f64;
            record.tpot_ms = Some(crate::units::us_to_ms(us.round() as u64));
        }
    }

    /// Reads a stream to its end. Observations are stored immediately, so that they remain if the stream is cut.
    pub(super) async fn read(&mut self, opened: OpenStream, round_trip: &RoundTrip) -> Result<(), Box<Failure>> {
        self.opened = true;
        self.answer.request_id = opened.request_id().map(str::to_owned);
        let mut stream = opened.stream;
        let mut completed: Option<Instant> = None;
        loop {
            let event = match completed {
                None => stream.recv().await,
                Some(completed) => {
                    let due = tokio::time::Instant::from_std(completed + END_GRACE);
                    match tokio::time::timeout_at(due, stream.recv()).await {
                        Ok(event) => event,
                        Err(_) => return self.content(),
                    }
                }
            };
            match event {
                Ok(Some(event)) => {
                    let facts = round_trip.facts();
                    self.handle_event(event, facts.last_byte.unwrap_or_else(Instant::now), facts.reported);
                    if completed.is_none() && self.is_complete() {
                        completed = Some(Instant::now());
                    }
                }
                // Errors after the end of the stream are ignored.
                Ok(None) | Err(_) if self.is_complete() => return self.content(),
                Ok(None) => return Err(self.incomplete("the stream ended before its last events")),
                Err(error) => return Err(self.failure(&error, round_trip)),
            }
        }
    }

    /// Returns whether the last events were read.
    pub(super) fn is_complete(&self) -> bool {
        self.stopped && self.metadata.is_some()
    }

    fn handle_event(&mut self, event: Event, at: Instant, reported: Option<Reported>) {
        match event {
            Event::ContentBlockDelta(event) => {
                if let (Some(kept), Some(ContentBlockDelta::Text(text))) = (&mut self.answer.text, event.delta()) {
                    kept.push_str(text);
                }
                if let Some(is_answer) = event.delta().and_then(content) {
                    if let Some(last) = self.last_content.replace(at) {
                        self.gaps.push(at.saturating_duration_since(last));
                    }
                    self.chunks += 1;
                    self.first_content.get_or_insert(at);
                    if is_answer {
                        self.first_answer.get_or_insert(at);
                    }
                }
            }
            Event::MessageStop(event) => {
                self.stopped = true;
                self.answer.stop_reason = Some(event.stop_reason().as_str().to_owned());
            }
            Event::Metadata(event) => {
                self.metadata = Some(at);
                self.metadata(&event, reported.unwrap_or(Reported::ALL));
            }
            _ => {}
        }
    }

    fn metadata(&mut self, event: &ConverseStreamMetadataEvent, reported: Reported) {
        (self.answer.usage, self.answer.implausible_values) = Usage::from_reply(event.usage(), reported);
        let latency_ms = event.metrics().map(aws_sdk_bedrockruntime::types::ConverseStreamMetrics::latency_ms);
        self.answer.server_latency_ms = latency_ms.filter(|_| reported.latency_ms);
        self.answer.resolved_service_tier = event.service_tier().map(|tier| tier.r#type().as_str().to_owned());
    }

    /// Fails if the reply has no content and reports none.
    pub(super) fn content(&self) -> Result<(), Box<Failure>> {
        if self.chunks > 0 || self.answer.has_result() {
            return Ok(());
        }
        Err(Failure::empty_reply(self.answer.clone()))
    }

    fn incomplete(&self, message: &str) -> Box<Failure> {
        let message = format!("{message}, after {} content events", self.chunks);
        self.failed("stream_incomplete", message)
    }

    fn failed(&self, class: &str, message: String) -> Box<Failure> {
        Box::new(Failure {
            class: class.into(),
            message,
            http_status: Some(200),
            request_id: self.answer.request_id.clone(),
            answer: self.answer.clone(),
        })
    }

    /// Returns the failure of a stream that stalled or exceeded the timeout.
    pub(super) fn timeout_failure(&self, timeout: Duration) -> Box<Failure> {
        let timeout = crate::units::duration::format(timeout);
        self.failed(
            "stream_timeout",
            format!("the stream was not complete within {timeout}, after {} content events", self.chunks),
        )
    }

    fn failure(&self, error: &SdkError<ConverseStreamOutputError, RawMessage>, round_trip: &RoundTrip) -> Box<Failure> {
        if let SdkError::ServiceError(service) = error {
            let error = service.err();
            // `code()` is `None` for exceptions inside a stream.
            let class = match error {
                ConverseStreamOutputError::InternalServerException(_) => "InternalServerException",
                ConverseStreamOutputError::ModelStreamErrorException(_) => "ModelStreamErrorException",
                ConverseStreamOutputError::ValidationException(_) => "ValidationException",
                ConverseStreamOutputError::ThrottlingException(_) => "ThrottlingException",
                ConverseStreamOutputError::ServiceUnavailableException(_) => "ServiceUnavailableException",
                _ => "other",
            };
            let message = error.message().unwrap_or_default();
            return self.failed(class::class_of_service_error(class, Some(200), message), message.to_owned());
        }
        let facts = round_trip.facts();
        if facts.failure == Some(REPLY_TOO_LONG) {
            return self.failed(REPLY_TOO_LONG, innermost_causes(error));
        }
        if facts.ended || facts.failure == Some("reset") {
            return self.incomplete("the connection was closed inside the stream");
        }
        self.failed("decode", innermost_causes(error))
    }
}

/// Returns whether the content of a delta belongs to the answer; `None` if it has no content.
fn content(delta: &ContentBlockDelta) -> Option<bool> {
    match delta {
        ContentBlockDelta::Text(text) => (!text.is_empty()).then_some(true),
        ContentBlockDelta::ReasoningContent(ReasoningContentBlockDelta::Text(text)) => {
            (!text.is_empty()).then_some(false)
        }
        ContentBlockDelta::ReasoningContent(ReasoningContentBlockDelta::RedactedContent(_)) => Some(false),
        ContentBlockDelta::ReasoningContent(_) | ContentBlockDelta::Citation(_) => None,
        _ => Some(true),
    }
}
