//! `ConverseStream`'s frames: `application/vnd.amazon.eventstream`, one chunk a frame.

use super::fault::StreamFault;
use super::freeze::Freezer;
use super::reply::{Usage, words};
use super::server::FirstToken;
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// Deltas hold as many tokens as it takes to send about so many of them a second.
const CHUNKS_PER_SECOND: f64 = 20.0;

/// What a stream will say and when.
pub(super) struct Script {
    /// The first so many of the output tokens.
    pub(super) reasoning_tokens: u32,
    pub(super) output_tokens: u32,
    pub(super) tpot: Duration,
    pub(super) stop_reason: &'static str,
    pub(super) usage: Usage,
    pub(super) tier: String,
    pub(super) received: Instant,
    pub(super) fault: Option<StreamFault>,
    /// Told when the first token goes out.
    pub(super) told: FirstToken,
}

/// Sends the script from its first token on. A receiver that is gone ends it.
pub(super) async fn play(script: Script, frames: Sender<Result<Bytes, io::Error>>, freezer: Freezer) {
    // An error means that the client has gone: there is nobody left to tell.
    let _ = play_to_end(script, &frames, freezer).await;
}

async fn play_to_end(script: Script, frames: &Sender<Result<Bytes, io::Error>>, freezer: Freezer) -> Result<(), Gone> {
    let first_token = Instant::now();
    let tokens_per_chunk =
        (1.0 / (CHUNKS_PER_SECOND * script.tpot.as_secs_f64().max(1e-6))).round().clamp(1.0, 1e6) as u32;
    send(frames, event("messageStart", &json!({ "role": "assistant" }))).await?;
    let mut sent = 0;
    let answer_block = u32::from(script.reasoning_tokens > 0);
    while sent < script.output_tokens {
        let next = (sent + if sent == 0 { 1 } else { tokens_per_chunk }).min(script.output_tokens);
        let reasons = sent < script.reasoning_tokens;
        let next = if reasons { next.min(script.reasoning_tokens) } else { next };
        tokio::time::sleep_until((first_token + script.tpot * (next - 1)).into()).await;
        freezer.thaw().await;
        script.told.get_or_init(Instant::now);
        let text = json!({ "text": words(sent, next) });
        let (block, delta) = if reasons { (0, json!({ "reasoningContent": text })) } else { (answer_block, text) };
        send(frames, event("contentBlockDelta", &json!({ "contentBlockIndex": block, "delta": delta }))).await?;
        sent = next;
        if reasons && sent == script.reasoning_tokens && sent < script.output_tokens {
            send(frames, event("contentBlockStop", &json!({ "contentBlockIndex": 0 }))).await?;
        }
        if sent * 2 >= script.output_tokens
            && let Some(fault) = &script.fault
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
    let last = if script.reasoning_tokens < script.output_tokens { answer_block } else { 0 };
    send(frames, event("contentBlockStop", &json!({ "contentBlockIndex": last }))).await?;
    send(frames, event("messageStop", &json!({ "stopReason": script.stop_reason }))).await?;
    if script.fault == Some(StreamFault::NoMetadata) {
        return Ok(());
    }
    let latency_ms = script.received.elapsed().as_millis() as u64;
    let metadata = json!({
        "usage": script.usage,
        "metrics": { "latencyMs": latency_ms },
        "serviceTier": { "type": script.tier },
    });
    send(frames, event("metadata", &metadata)).await
}

/// The client is gone.
struct Gone;

async fn send(frames: &Sender<Result<Bytes, io::Error>>, frame: Bytes) -> Result<(), Gone> {
    frames.send(Ok(frame)).await.map_err(|_| Gone)
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
        Err(error) => unreachable!("short headers and payloads can be written: {error}"),
    }
}
