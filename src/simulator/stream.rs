//! Frames of `ConverseStream` (`application/vnd.amazon.eventstream`), one chunk per frame.

use super::fault::StreamFault;
use super::freeze::FreezeSchedule;
use super::reply::{Usage, words};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// Approximate number of deltas per second; it sets the number of tokens per delta.
const CHUNKS_PER_SECOND: f64 = 20.0;

/// Time at which the first token was sent; unset before that.
pub(super) type FirstToken = Arc<OnceLock<Instant>>;

/// Content and timing of a stream.
pub(super) struct StreamReply {
    /// Number of output tokens, from the start, that are reasoning.
    pub(super) reasoning_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) tpot: Duration,
    pub(super) stop_reason: &'static str,
    pub(super) usage: Usage,
    pub(super) tier: String,
    pub(super) received: Instant,
    pub(super) fault: Option<StreamFault>,
    /// Set when the first token is sent.
    pub(super) first_token: FirstToken,
}

/// Sends the frames of the reply. Ends early if the client disconnects.
pub(super) async fn send_reply(
    reply: StreamReply,
    frames: Sender<Result<Bytes, io::Error>>,
    freeze_schedule: FreezeSchedule,
) {
    // An error means that the client has disconnected, which is not an error of the server.
    let _ = send_frames(reply, &frames, freeze_schedule).await;
}

async fn send_frames(
    reply: StreamReply,
    frames: &Sender<Result<Bytes, io::Error>>,
    freeze_schedule: FreezeSchedule,
) -> Result<(), Disconnected> {
    let first_token = Instant::now();
    let tokens_per_chunk =
        (1.0 / (CHUNKS_PER_SECOND * reply.tpot.as_secs_f64().max(1e-6))).round().clamp(1.0, 1e6) as u32;
    send(frames, event("messageStart", &json!({ "role": "assistant" }))).await?;
    let mut sent = 0;
    let answer_block = u32::from(reply.reasoning_tokens > 0);
    while sent < reply.output_tokens {
        let next = (sent + if sent == 0 { 1 } else { tokens_per_chunk }).min(reply.output_tokens);
        let is_reasoning = sent < reply.reasoning_tokens;
        let next = if is_reasoning { next.min(reply.reasoning_tokens) } else { next };
        tokio::time::sleep_until((first_token + reply.tpot * (next - 1)).into()).await;
        freeze_schedule.wait_if_frozen().await;
        reply.first_token.get_or_init(Instant::now);
        let text = json!({ "text": words(sent, next) });
        let (block, delta) = if is_reasoning { (0, json!({ "reasoningContent": text })) } else { (answer_block, text) };
        send(frames, event("contentBlockDelta", &json!({ "contentBlockIndex": block, "delta": delta }))).await?;
        sent = next;
        if is_reasoning && sent == reply.reasoning_tokens && sent < reply.output_tokens {
            send(frames, event("contentBlockStop", &json!({ "contentBlockIndex": 0 }))).await?;
        }
        if sent * 2 >= reply.output_tokens
            && let Some(fault) = &reply.fault
        {
            match fault {
                StreamFault::Exception(refusal) => {
                    return send(frames, exception(refusal.name, &json!({ "message": refusal.message }))).await;
                }
                StreamFault::Truncated => {
                    let frame =
                        event("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": { "text": "cut" } }));
                    return send(frames, frame.slice(..frame.len() / 2)).await;
                }
                StreamFault::Stall => std::future::pending().await,
                StreamFault::NoStop => return Ok(()),
                StreamFault::NoMetadata => {}
            }
        }
    }
    let last = if reply.reasoning_tokens < reply.output_tokens { answer_block } else { 0 };
    send(frames, event("contentBlockStop", &json!({ "contentBlockIndex": last }))).await?;
    send(frames, event("messageStop", &json!({ "stopReason": reply.stop_reason }))).await?;
    if reply.fault == Some(StreamFault::NoMetadata) {
        return Ok(());
    }
    let latency_ms = reply.received.elapsed().as_millis() as u64;
    let metadata = json!({
        "usage": reply.usage,
        "metrics": { "latencyMs": latency_ms },
        "serviceTier": { "type": reply.tier },
    });
    send(frames, event("metadata", &metadata)).await
}

/// The client has disconnected.
struct Disconnected;

async fn send(frames: &Sender<Result<Bytes, io::Error>>, frame: Bytes) -> Result<(), Disconnected> {
    frames.send(Ok(frame)).await.map_err(|_| Disconnected)
}

fn event(name: &str, payload: &Value) -> Bytes {
    frame("event", ":event-type", name, payload)
}

fn exception(name: &str, payload: &Value) -> Bytes {
    frame("exception", ":exception-type", name, payload)
}

fn frame(kind: &str, type_header: &'static str, name: &str, payload: &Value) -> Bytes {
    let text = |value: &str| HeaderValue::String(value.to_owned().into());
    let message = Message::new(payload.to_string())
        .add_header(Header::new(type_header, text(name)))
        .add_header(Header::new(":content-type", text("application/json")))
        .add_header(Header::new(":message-type", text(kind)));
    let mut bytes = Vec::new();
    match write_message_to(&message, &mut bytes) {
        Ok(()) => bytes.into(),
        Err(error) => unreachable!("a frame with short headers can be written: {error}"),
    }
}
