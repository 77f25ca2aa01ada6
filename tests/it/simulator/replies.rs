//! Replies and streams, decoded by the Rust SDK.

use super::clients::Server;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::operation::RequestId;
use aws_sdk_bedrockruntime::operation::converse::ConverseOutput;
use aws_sdk_bedrockruntime::types::{
    CachePointBlock, CachePointType, ContentBlock, ContentBlockDelta, ConversationRole, ConverseStreamOutput,
    InferenceConfiguration, Message, ServiceTier, ServiceTierType, StopReason,
};
use bedrock_plan::simulator::Model;
use std::time::{Duration, Instant};

fn quick() -> Model {
    Model {
        ttft: Duration::from_millis(20),
        ttft_sigma: 0.0,
        prefill_per_token: Duration::ZERO,
        tpot: Duration::from_millis(1),
        tpot_sigma: 0.0,
        output_tokens: 30.0,
        output_tokens_sigma: 0.0,
        ..Model::default()
    }
}

fn message(blocks: Vec<ContentBlock>) -> Message {
    Message::builder().role(ConversationRole::User).set_content(Some(blocks)).build().unwrap()
}

fn text(text: &str) -> Message {
    message(vec![ContentBlock::Text(text.into())])
}

fn tier(name: &str) -> ServiceTier {
    ServiceTier::builder().r#type(ServiceTierType::from(name)).build().unwrap()
}

async fn converse(client: &Client, message: Message, name: &str, max_tokens: i32) -> ConverseOutput {
    client
        .converse()
        .model_id("us.amazon.nova-2-lite-v1:0")
        .messages(message)
        .service_tier(tier(name))
        .inference_config(InferenceConfiguration::builder().max_tokens(max_tokens).build())
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn reply_contains_usage_stop_reason_tier_and_latency() {
    let mut server = Server::start(quick()).await;
    let started = Instant::now();
    let output = converse(&server.client(), text("What is cloud computing?"), "priority", 100).await;
    let took = started.elapsed();
    let usage = output.usage().unwrap();
    assert_eq!((usage.input_tokens(), usage.output_tokens(), usage.total_tokens()), (6, 30, 36));
    assert_eq!(output.stop_reason(), &StopReason::EndTurn);
    assert_eq!(output.service_tier().unwrap().r#type().as_str(), "priority");
    let reply = output.output().unwrap().as_message().unwrap();
    assert!(!reply.content()[0].as_text().unwrap().is_empty());
    // 20 ms and 29 tokens of 1 ms, multiplied by 0.75 for priority.
    assert!(took >= Duration::from_millis(36), "{took:?}");
    let truth = server.truth.recv().await.unwrap();
    assert_eq!(Some(truth.request_id.as_str()), output.request_id());
    let measured_us = truth.replied_us - truth.received_us;
    assert!(measured_us >= 36_000 && measured_us <= took.as_micros() as u64, "{truth:?} {took:?}");
    assert!(truth.first_token_us.unwrap() - truth.received_us >= 15_000);
    let latency_ms = output.metrics().unwrap().latency_ms();
    assert!(latency_ms >= 36 && latency_ms as u64 <= measured_us / 1_000, "{latency_ms}");
}

#[tokio::test]
async fn reply_is_cut_at_max_tokens() {
    let server = Server::start(quick()).await;
    let output = converse(&server.client(), text("hello"), "default", 7).await;
    assert_eq!((output.usage().unwrap().output_tokens(), output.stop_reason()), (7, &StopReason::MaxTokens));
}

#[tokio::test]
async fn cached_tokens_are_reported_in_the_usage() {
    let server = Server::start(quick()).await;
    let client = server.client();
    let long = "word ".repeat(1_000);
    let cached = |output: &ConverseOutput| {
        let usage = output.usage().unwrap();
        (usage.cache_read_input_tokens(), usage.cache_write_input_tokens(), usage.input_tokens())
    };
    assert_eq!(cached(&converse(&client, text(&long), "default", 5).await), (Some(0), Some(1_250), 0));
    assert_eq!(cached(&converse(&client, text(&long), "default", 5).await), (Some(1_250), Some(0), 0));
    assert_eq!(cached(&converse(&client, text("short"), "default", 5).await), (None, None, 2));
    let server = Server::start(Model { implicit_cache: false, ..quick() }).await;
    let client = server.client();
    assert_eq!(cached(&converse(&client, text(&long), "default", 5).await), (None, None, 1_250));
    let explicit = || {
        let point = CachePointBlock::builder().r#type(CachePointType::Default).build().unwrap();
        message(vec![
            ContentBlock::Text(long.clone()),
            ContentBlock::CachePoint(point),
            ContentBlock::Text("and?".into()),
        ])
    };
    assert_eq!(cached(&converse(&client, explicit(), "default", 5).await), (Some(0), Some(1_250), 1));
    assert_eq!(cached(&converse(&client, explicit(), "default", 5).await), (Some(1_250), Some(0), 1));
}

#[tokio::test]
async fn substituted_tier_is_reported() {
    let server = Server::start(Model { flex_as_default: 1.0, ..quick() }).await;
    let output = converse(&server.client(), text("hello"), "flex", 5).await;
    assert_eq!(output.service_tier().unwrap().r#type().as_str(), "default");
    let server = Server::start(quick()).await;
    let output = converse(&server.client(), text("hello"), "flex", 5).await;
    assert_eq!(output.service_tier().unwrap().r#type().as_str(), "flex");
}

#[tokio::test]
async fn replies_are_slower_above_the_capacity() {
    let server = Server::start(Model { capacity: 2, output_tokens: 1.0, ..quick() }).await;
    let client = server.client();
    let requests = (0..8).map(|_| converse(&client, text("hello"), "default", 1));
    let mut slowest = 0;
    for output in join_all(requests).await {
        slowest = slowest.max(output.metrics().unwrap().latency_ms());
    }
    assert!(slowest >= 80, "the eighth request with a capacity of two takes four times 20 ms, not {slowest}");
}

/// Polls all futures concurrently.
async fn join_all<T: Send + 'static>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, slot) in pending.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
            {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test]
async fn requests_above_the_token_bucket_are_throttled() {
    let server = Server::start(Model { throttle_rate: 0.001, throttle_burst: 3, ..quick() }).await;
    let client = server.client();
    for _ in 0..3 {
        converse(&client, text("hello"), "default", 1).await;
    }
    let error = client.converse().model_id("m").messages(text("hello")).send().await.unwrap_err();
    assert!(error.into_service_error().is_throttling_exception());
}

#[tokio::test]
async fn stream_events_arrive_in_order() {
    let mut server = Server::start(Model { tpot: Duration::from_millis(10), ..quick() }).await;
    let output = server
        .client()
        .converse_stream()
        .model_id("us.amazon.nova-2-lite-v1:0")
        .messages(text("hello"))
        .service_tier(tier("flex"))
        .send()
        .await
        .unwrap();
    let mut stream = output.stream;
    let (mut events, mut words) = (Vec::new(), String::new());
    while let Some(event) = stream.recv().await.unwrap() {
        events.push(match event {
            ConverseStreamOutput::MessageStart(_) => "start",
            ConverseStreamOutput::ContentBlockDelta(delta) => {
                if let Some(ContentBlockDelta::Text(text)) = delta.delta() {
                    words += text;
                }
                "delta"
            }
            ConverseStreamOutput::ContentBlockStop(_) => "block stop",
            ConverseStreamOutput::MessageStop(stop) => {
                assert_eq!(stop.stop_reason(), &StopReason::EndTurn);
                "stop"
            }
            ConverseStreamOutput::Metadata(metadata) => {
                assert_eq!(metadata.usage().unwrap().output_tokens(), 30);
                assert_eq!(metadata.service_tier().unwrap().r#type().as_str(), "flex");
                assert!(metadata.metrics().unwrap().latency_ms() >= 20 + 29 * 10);
                "metadata"
            }
            _ => "unknown",
        });
    }
    let deltas = events.iter().filter(|event| **event == "delta").count();
    assert!((5..=30).contains(&deltas), "{deltas} chunks for half a second");
    let rest: Vec<_> = events.into_iter().filter(|event| *event != "delta").collect();
    assert_eq!(rest, ["start", "block stop", "stop", "metadata"]);
    assert!(!words.is_empty());
    let truth = server.truth.recv().await.unwrap();
    assert!(truth.replied_us - truth.received_us >= 32_000 + 29 * 16_000, "flex is slower: {truth:?}");
}

#[tokio::test]
async fn same_seed_gives_the_same_replies() {
    let lengths = async || {
        let server = Server::start(Model { output_tokens_sigma: 0.5, tpot: Duration::ZERO, ..quick() }).await;
        let client = server.client();
        let mut lengths = Vec::new();
        for _ in 0..5 {
            lengths.push(converse(&client, text("hello"), "default", 500).await.usage().unwrap().output_tokens());
        }
        lengths
    };
    let first = lengths().await;
    assert_eq!(first, lengths().await);
    assert!(first.iter().any(|length| *length != first[0]), "{first:?}");
}
