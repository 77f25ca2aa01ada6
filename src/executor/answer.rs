//! The answer to a request, or its failure, as data.

use super::reported::Reported;
use crate::record::is_blocked;
use aws_sdk_bedrockruntime::types::TokenUsage;

/// Fields of a reply.
#[derive(Debug, Default, Clone)]
pub(crate) struct Answer {
    pub(crate) request_id: Option<String>,
    pub(crate) stop_reason: Option<String>,
    pub(crate) resolved_service_tier: Option<String>,
    pub(crate) usage: Usage,
    pub(crate) server_latency_ms: Option<i64>,
    /// Number of token counts dropped as implausible.
    pub(crate) implausible_values: u32,
    /// Text of the reply, if it is recorded.
    pub(crate) text: Option<String>,
}

impl Answer {
    /// Returns whether a reply without content is valid: it reports output tokens, or it was blocked.
    pub(super) fn has_result(&self) -> bool {
        self.usage.output_tokens.unwrap_or(0) > 0 || self.stop_reason.as_deref().is_some_and(is_blocked)
    }
}

/// Token counts, as far as the reply reports them.
#[derive(Debug, Default, Clone, Copy)]
#[allow(clippy::struct_field_names)] // names of the record fields
pub(crate) struct Usage {
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) total_tokens: Option<u64>,
    pub(crate) cache_read_tokens: Option<u64>,
    pub(crate) cache_write_tokens: Option<u64>,
}

/// Maximum plausible token count, more than any context window.
const MAX_PLAUSIBLE_TOKENS: u64 = 100_000_000;

impl Usage {
    /// Returns the reported token counts, and the number of counts dropped as implausible.
    pub(super) fn from_reply(usage: Option<&TokenUsage>, reported: Reported) -> (Self, u32) {
        let Some(usage) = usage else { return (Self::default(), 0) };
        let mut implausible = 0;
        let mut count = |is_reported: bool, number: i32| {
            let plausible = u64::try_from(number).ok().filter(|tokens| *tokens <= MAX_PLAUSIBLE_TOKENS);
            implausible += u32::from(is_reported && plausible.is_none());
            plausible.filter(|_| is_reported)
        };
        let read = Self {
            input_tokens: count(reported.input_tokens, usage.input_tokens()),
            output_tokens: count(reported.output_tokens, usage.output_tokens()),
            total_tokens: count(reported.total_tokens, usage.total_tokens()),
            cache_read_tokens: usage.cache_read_input_tokens().and_then(|number| count(true, number)),
            cache_write_tokens: usage.cache_write_input_tokens().and_then(|number| count(true, number)),
        };
        (read, implausible)
    }
}

/// A failure: data, not an error of the tool.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Error class, see `record::class`.
    pub(crate) class: String,
    pub(crate) message: String,
    pub(crate) http_status: Option<u16>,
    pub(crate) request_id: Option<String>,
    /// Fields of a reply without content.
    pub(crate) answer: Answer,
}

impl Failure {
    pub(super) fn empty_reply(answer: Answer) -> Box<Self> {
        Box::new(Self {
            class: "empty_reply".into(),
            message: "a reply without content and without output tokens".into(),
            http_status: Some(200),
            request_id: answer.request_id.clone(),
            answer,
        })
    }
}
