//! What goes back: JSON bodies and the bodies' way onto the connection.

use super::cache::Hits;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc::Receiver;

/// Token counts as the wire has them: what was cached is not among `inputTokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::struct_field_names)] // the wire's names
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
    pub(super) fn new(input_tokens: u32, output_tokens: u32, hits: Hits) -> Self {
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

/// The body of a Converse reply.
pub(super) fn unary(
    reasoning: &str,
    text: &str,
    stop_reason: &str,
    usage: Usage,
    latency_ms: u64,
    tier: &str,
) -> String {
    let thought = (!reasoning.is_empty())
        .then(|| serde_json::json!({ "reasoningContent": { "reasoningText": { "text": reasoning } } }));
    let answer = (!text.is_empty()).then(|| serde_json::json!({ "text": text }));
    let content: Vec<serde_json::Value> = thought.into_iter().chain(answer).collect();
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

/// A word for a token.
pub(super) fn words(from: u32, to: u32) -> String {
    (from..to).map(|index| WORDS[index as usize % WORDS.len()]).collect()
}

/// Called once, when a body has been handed over whole.
pub(super) type Done = Box<dyn FnOnce() + Send>;

/// The bodies of this server.
pub(super) enum ReplyBody {
    /// Known from the start; the flag breaks the connection after half of it.
    Whole { bytes: Option<Bytes>, broken: bool, done: Option<Done> },
    /// Frames as they come. The body itself drives `playing`, which sends them: it ends when the body is dropped,
    /// and the body is dropped when its client goes away.
    Frames {
        playing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
        frames: Receiver<Result<Bytes, io::Error>>,
        done: Option<Done>,
    },
}

impl ReplyBody {
    pub(super) fn whole(text: String, done: Done) -> Self {
        Self::Whole { bytes: Some(text.into()), broken: false, done: Some(done) }
    }
}

fn tell(done: &mut Option<Done>) {
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
                tell(done);
                Poll::Ready(frame)
            }
            Self::Whole { bytes, broken: true, done } => {
                if let Some(bytes) = bytes.take() {
                    Poll::Ready(Some(Ok(Frame::data(bytes.slice(..bytes.len() / 2)))))
                } else {
                    tell(done);
                    Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
                }
            }
            Self::Frames { playing, frames, done } => {
                if playing.as_mut().is_some_and(|playing| playing.as_mut().poll(cx).is_ready()) {
                    *playing = None;
                }
                let frame = std::task::ready!(frames.poll_recv(cx));
                if frame.is_none() {
                    tell(done);
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
