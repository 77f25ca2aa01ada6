//! The bare loop: the SDK with its own HTTP client and two clock readings around each call, as one
//! would write it in an afternoon. What the program under test does more must not be seen beside it.

use crate::scenario::Load;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::StalledStreamProtectionConfig;
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::operation::RequestId;
use aws_sdk_bedrockruntime::types::{
    ContentBlock, ConversationRole, InferenceConfiguration, Message, ServiceTier, ServiceTierType,
};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Runs a load and writes `id,first_us,whole_us`.
pub(crate) fn run(url: &str, load: &Load, out: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let lines = Arc::new(Mutex::new(String::new()));
    runtime.block_on(users(client(url), load, &lines));
    std::fs::write(out, lines.lock().expect("no panics").as_bytes()).expect("the account is written");
}

fn client(url: &str) -> Client {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_sdk_bedrockruntime::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("bench", "bench", None, None, "bench"))
        .endpoint_url(url)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Client::from_conf(config)
}

async fn users(client: Client, load: &Load, lines: &Arc<Mutex<String>>) {
    let start = Instant::now();
    let deadline = start + Duration::from_secs(load.seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for user in 0..load.users {
        let (client, load, lines) = (client.clone(), load.clone(), Arc::clone(lines));
        tasks.spawn(async move {
            tokio::time::sleep_until((start + Duration::from_secs_f64(f64::from(user) / load.spawn_rate)).into()).await;
            let mut number = u64::from(user) + 1;
            while Instant::now() < deadline {
                let started = Instant::now();
                let (id, first) = if load.stream { stream(&client).await } else { (whole(&client).await, started) };
                let us = |instant: Instant| instant.saturating_duration_since(started).as_micros();
                let line = format!("{id},{},{}\n", us(first), us(Instant::now()));
                lines.lock().expect("no panics").push_str(&line);
                // Any spread does: it is in no time that is measured.
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let range = (load.think_ms.1 - load.think_ms.0).max(1);
                let pause = Duration::from_millis(load.think_ms.0 + (number >> 33) % range);
                if load.think_ms.1 > 0 {
                    tokio::time::sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panics");
    }
}

fn message() -> Message {
    Message::builder()
        .role(ConversationRole::User)
        .content(ContentBlock::Text("What is the capital of France?".into()))
        .build()
        .expect("a message")
}

fn inference() -> InferenceConfiguration {
    InferenceConfiguration::builder().max_tokens(4_096).build()
}

fn tier() -> ServiceTier {
    ServiceTier::builder().r#type(ServiceTierType::Default).build().expect("a tier")
}

async fn whole(client: &Client) -> String {
    let reply = client
        .converse()
        .model_id("us.amazon.nova-premier-v1:0")
        .messages(message())
        .inference_config(inference())
        .service_tier(tier())
        .send()
        .await
        .expect("a reply");
    reply.request_id().expect("an id").to_owned()
}

async fn stream(client: &Client) -> (String, Instant) {
    let mut reply = client
        .converse_stream()
        .model_id("us.amazon.nova-premier-v1:0")
        .messages(message())
        .inference_config(inference())
        .service_tier(tier())
        .send()
        .await
        .expect("a stream");
    let mut first = None;
    while reply.stream.recv().await.expect("an event").is_some() {
        first.get_or_insert_with(Instant::now);
    }
    (reply.request_id().expect("an id").to_owned(), first.expect("content"))
}
