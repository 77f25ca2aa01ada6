//! Bodies of replies: JSON, and frames of a stream.

use super::cache::CacheTokens;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::Receiver;

/// Token counts in Bedrock's wire format: `inputTokens` excludes cached tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names)] // names of the wire format
pub(super) struct Usage {
    pub(super) input_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) total_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_read_input_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_write_input_tokens: Option<u32>,
}

impl Usage {
    pub(super) fn new(input_tokens: u32, output_tokens: u32, hits: CacheTokens) -> Self {
        let cached = hits.read + hits.written > 0;
        Self {
            input_tokens: input_tokens - hits.read - hits.written,
            output_tokens,
            total_tokens: input_tokens + output_tokens,
            cache_read_input_tokens: cached.then_some(hits.read),
            cache_write_input_tokens: cached.then_some(hits.written),
        }
    }
}

/// Returns the body of a Converse reply.
pub(super) fn converse_body(
    reasoning: &str,
    text: &str,
    stop_reason: &str,
    usage: Usage,
    latency_ms: u64,
    tier: &str,
) -> String {
    let reasoning = (!reasoning.is_empty())
        .then(|| serde_json::json!({ "reasoningContent": { "reasoningText": { "text": reasoning } } }));
    let answer = (!text.is_empty()).then(|| serde_json::json!({ "text": text }));
    let content: Vec<serde_json::Value> = reasoning.into_iter().chain(answer).collect();
    serde_json::json!({
        "metrics": { "latencyMs": latency_ms },
        "output": { "message": { "content": content, "role": "assistant" } },
        "serviceTier": { "type": tier },
        "stopReason": stop_reason,
        "usage": usage,
    })
    .to_string()
}

const WORDS: [&str; 16] = [
    "the ", "load ", "test ", "asks ", "a ", "model ", "and ", "this ", "text ", "is ", "what ", "it ", "says ", "in ",
    "reply", ". ",
];

/// Returns one word per token.
pub(super) fn words(from: u32, to: u32) -> String {
    (from..to).map(|index| WORDS[index as usize % WORDS.len()]).collect()
}

/// Callback, called once after the last byte of a body was handed to the connection.
pub(super) type OnDone = Box<dyn FnOnce() + Send>;

/// The body of a reply.
pub(super) enum ReplyBody {
    /// A body that is complete from the start; `broken` closes the connection after half of it.
    Whole { bytes: Option<Bytes>, broken: bool, done: Option<OnDone> },
    /// Frames of a stream. The body polls `sending`, which produces them: it ends when the body is dropped, and the body
    /// is dropped when its client disconnects.
    Frames {
        sending: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
        frames: Receiver<Result<Bytes, io::Error>>,
        done: Option<OnDone>,
    },
}

impl ReplyBody {
    pub(super) fn whole(text: String, done: OnDone) -> Self {
        Self::Whole { bytes: Some(text.into()), broken: false, done: Some(done) }
    }
}

fn notify(done: &mut Option<OnDone>) {
    if let Some(done) = done.take() {
        done();
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole { bytes, broken: false, done } => {
                let frame = bytes.take().map(|bytes| Ok(Frame::data(bytes)));
                notify(done);
                Poll::Ready(frame)
            }
            Self::Whole { bytes, broken: true, done } => {
                if let Some(bytes) = bytes.take() {
                    Poll::Ready(Some(Ok(Frame::data(bytes.slice(..bytes.len() / 2)))))
                } else {
                    notify(done);
                    Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
                }
            }
            Self::Frames { sending, frames, done } => {
                if sending.as_mut().is_some_and(|sending| sending.as_mut().poll(cx).is_ready()) {
                    *sending = None;
                }
                let frame = std::task::ready!(frames.poll_recv(cx));
                if frame.is_none() {
                    notify(done);
                }
                Poll::Ready(frame.map(|frame| frame.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole { bytes: None, broken: false, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { bytes, .. } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Frames { .. } => SizeHint::default(),
        }
    }
}
