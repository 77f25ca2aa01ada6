//! What a stream says while it comes: when its content arrived, whether it came to its end.
//!
//! A stream is complete only with `messageStop` AND `metadata`: the SDK reports an early end as a
//! silent end. Times are those of the bytes' arrival in the connector, not of their decoding.

use super::bedrock::{Answer, Failure, Usage};
use super::exchange::Exchange;
use super::reported::Reported;
use crate::record::{Record, class};
use crate::units::ms;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::operation::RequestId;
use aws_sdk_bedrockruntime::operation::converse_stream::ConverseStreamOutput as Opened;
use aws_sdk_bedrockruntime::types::error::ConverseStreamOutputError;
use aws_sdk_bedrockruntime::types::{
    ContentBlockDelta, ConverseStreamMetadataEvent, ConverseStreamOutput as Event, ReasoningContentBlockDelta,
};
use aws_smithy_types::event_stream::RawMessage;
use std::time::{Duration, Instant};

/// How long a connection may stay open after the last event. A reply that has ended is not kept waiting; a connection
/// whose end was read can be used again.
const END_GRACE: Duration = Duration::from_millis(200);

/// What was seen of a stream until now; it outlives a stream that is cut.
#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    /// The headers of the reply were read: from here on a failure is the stream's.
    pub(super) opened: bool,
    /// The first content that is not empty, text or reasoning.
    pub(super) first_content: Option<Instant>,
    /// The first text of the answer itself.
    pub(super) first_answer: Option<Instant>,
    /// The last content.
    pub(super) last_content: Option<Instant>,
    /// When `metadata` was read.
    pub(super) metadata: Option<Instant>,
    /// Content events.
    pub(super) chunks: u32,
    /// Between one content event and the next.
    gaps: Vec<Duration>,
    /// What was said so far.
    pub(super) answer: Answer,
    stopped: bool,
}

impl Tally {
    pub(super) fn new(keeps_text: bool) -> Self {
        let answer = Answer { text: keeps_text.then(String::new), ..Answer::default() };
        Self { answer, ..Self::default() }
    }

    /// The median (nearest rank) and the longest time between two content events.
    pub(super) fn gaps(&self) -> Option<(Duration, Duration)> {
        let mut sorted = self.gaps.clone();
        sorted.sort_unstable();
        Some((*sorted.get(sorted.len().saturating_sub(1) / 2)?, *sorted.last()?))
    }

    /// What a stream adds to a record, also one that did not come to its end.
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

    /// Reads a stream to its end. What is seen is in the tally as it comes, so that a stream which is
    /// cut from outside leaves what it said.
    pub(super) async fn read(&mut self, opened: Opened, exchange: &Exchange) -> Result<(), Box<Failure>> {
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
                    let facts = exchange.facts();
                    self.take(event, facts.last_byte.unwrap_or_else(Instant::now), facts.reported);
                    if completed.is_none() && self.is_complete() {
                        completed = Some(Instant::now());
                    }
                }
                // Nothing that comes after the end can take it back.
                Ok(None) | Err(_) if self.is_complete() => return self.content(),
                Ok(None) => return Err(self.incomplete("the stream ended before its last events")),
                Err(error) => return Err(self.failure(&error, exchange)),
            }
        }
    }

    /// Whether the last events have been read: what follows changes nothing.
    pub(super) fn is_complete(&self) -> bool {
        self.stopped && self.metadata.is_some()
    }

    fn take(&mut self, event: Event, at: Instant, reported: Option<Reported>) {
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
        (self.answer.usage, self.answer.implausible_values) = Usage::read(event.usage(), reported);
        let latency_ms = event.metrics().map(aws_sdk_bedrockruntime::types::ConverseStreamMetrics::latency_ms);
        self.answer.server_latency_ms = latency_ms.filter(|_| reported.latency_ms);
        self.answer.resolved_service_tier = event.service_tier().map(|tier| tier.r#type().as_str().to_owned());
    }

    /// A reply without content is a failure only where it says itself that it has none.
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

    /// A stream that stalled, or was too slow for the timeout.
    pub(super) fn timed_out(&self, timeout: Duration) -> Box<Failure> {
        let timeout = crate::units::duration::format(timeout);
        self.failed(
            "stream_timeout",
            format!("the stream was not complete within {timeout}, after {} content events", self.chunks),
        )
    }

    fn failure(&self, error: &SdkError<ConverseStreamOutputError, RawMessage>, exchange: &Exchange) -> Box<Failure> {
        if let SdkError::ServiceError(service) = error {
            let error = service.err();
            // `code()` is empty for exceptions inside a stream.
            let class = match error {
                ConverseStreamOutputError::InternalServerException(_) => "InternalServerException",
                ConverseStreamOutputError::ModelStreamErrorException(_) => "ModelStreamErrorException",
                ConverseStreamOutputError::ValidationException(_) => "ValidationException",
                ConverseStreamOutputError::ThrottlingException(_) => "ThrottlingException",
                ConverseStreamOutputError::ServiceUnavailableException(_) => "ServiceUnavailableException",
                _ => "other",
            };
            let message = error.message().unwrap_or_default();
            return self.failed(class::of_service_error(class, Some(200), message), message.to_owned());
        }
        let facts = exchange.facts();
        if facts.failure == Some(super::connect::TOO_LONG) {
            return self.failed(super::connect::TOO_LONG, super::bedrock::deepest(error));
        }
        if facts.ended || facts.failure == Some("reset") {
            return self.incomplete("the stream broke off");
        }
        self.failed("decode", super::bedrock::deepest(error))
    }
}

/// Whether a delta has content, and if so whether it belongs to the answer.
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
