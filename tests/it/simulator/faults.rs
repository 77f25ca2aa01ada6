//! Every injected fault, as the Rust SDK reports it.

use super::clients::Server;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::operation::RequestId;
use aws_sdk_bedrockruntime::types::error::ConverseStreamOutputError;
use aws_sdk_bedrockruntime::types::{ContentBlock, ConversationRole, ConverseStreamOutput, Message};
use bedrock_plan::simulator::{Faults, Model};
use std::time::Duration;

fn model(faults: Faults) -> Model {
    Model { ttft: Duration::from_millis(5), tpot: Duration::from_millis(1), faults, ..Model::default() }
}

fn hello() -> Message {
    Message::builder().role(ConversationRole::User).content(ContentBlock::Text("hello".into())).build().unwrap()
}

#[tokio::test]
async fn exceptions_have_their_names_and_statuses() {
    type Set = fn(&mut Faults) -> &mut f64;
    let cases: [(Set, &str, u16); 10] = [
        (|f| &mut f.throttling, "ThrottlingException", 429),
        (|f| &mut f.model_not_ready, "ModelNotReadyException", 429),
        (|f| &mut f.service_quota_exceeded, "ServiceQuotaExceededException", 400),
        (|f| &mut f.internal_server, "InternalServerException", 500),
        (|f| &mut f.service_unavailable, "ServiceUnavailableException", 503),
        (|f| &mut f.model_timeout, "ModelTimeoutException", 408),
        (|f| &mut f.model_error, "ModelErrorException", 424),
        (|f| &mut f.validation, "ValidationException", 400),
        (|f| &mut f.access_denied, "AccessDeniedException", 403),
        (|f| &mut f.resource_not_found, "ResourceNotFoundException", 404),
    ];
    for (set, name, status) in cases {
        let mut faults = Faults::default();
        *set(&mut faults) = 1.0;
        let server = Server::start(model(faults)).await;
        let error = server.client().converse().model_id("m").messages(hello()).send().await.unwrap_err();
        assert_eq!(error.code(), Some(name));
        assert_eq!(error.raw_response().unwrap().status().as_u16(), status, "{name}");
        assert!(error.request_id().is_some() && !error.message().unwrap().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn connection_faults_are_not_service_errors() {
    let cases = [Faults { reset: 1.0, ..Faults::default() }, Faults { reset_in_body: 1.0, ..Faults::default() }];
    for faults in cases {
        let server = Server::start(model(faults.clone())).await;
        let error = server.client().converse().model_id("m").messages(hello()).send().await.unwrap_err();
        assert!(!matches!(error, SdkError::ServiceError(_)), "{faults:?}: {error:?}");
    }
}

#[tokio::test]
async fn garbage_empty_and_stalled_replies_are_served() {
    let server = Server::start(model(Faults { garbage: 1.0, ..Faults::default() })).await;
    let error = server.client().converse().model_id("m").messages(hello()).send().await.unwrap_err();
    assert_eq!(error.code(), None);
    let server = Server::start(model(Faults { empty_reply: 1.0, ..Faults::default() })).await;
    let output = server.client().converse().model_id("m").messages(hello()).send().await.unwrap();
    assert_eq!(output.usage().unwrap().output_tokens(), 0);
    assert!(output.output().unwrap().as_message().unwrap().content().is_empty());
    let server = Server::start(model(Faults { stall: 1.0, ..Faults::default() })).await;
    let client = server.client();
    let never = client.converse().model_id("m").messages(hello()).send();
    assert!(tokio::time::timeout(Duration::from_millis(300), never).await.is_err());
}

/// Returns the events of a stream and how it ended.
async fn stream_events(faults: Faults) -> (Vec<&'static str>, String) {
    let server = Server::start(model(faults)).await;
    let output = server.client().converse_stream().model_id("m").messages(hello()).send().await.unwrap();
    let mut stream = output.stream;
    let mut events = Vec::new();
    loop {
        match tokio::time::timeout(Duration::from_secs(2), stream.recv()).await {
            Err(_) => return (events, "stall".into()),
            Ok(Ok(None)) => return (events, "end".into()),
            Ok(Ok(Some(event))) => events.push(match event {
                ConverseStreamOutput::MessageStop(_) => "stop",
                ConverseStreamOutput::Metadata(_) => "metadata",
                ConverseStreamOutput::ContentBlockDelta(_) => "delta",
                _ => "other",
            }),
            Ok(Err(SdkError::ServiceError(error))) => {
                let name = match error.err() {
                    ConverseStreamOutputError::InternalServerException(_) => "internal",
                    ConverseStreamOutputError::ModelStreamErrorException(_) => "model stream",
                    ConverseStreamOutputError::ValidationException(_) => "validation",
                    ConverseStreamOutputError::ThrottlingException(_) => "throttling",
                    ConverseStreamOutputError::ServiceUnavailableException(_) => "unavailable",
                    _ => "unknown",
                };
                return (events, name.into());
            }
            Ok(Err(_)) => return (events, "response error".into()),
        }
    }
}

#[tokio::test]
async fn stream_faults_end_a_stream_in_the_middle() {
    let none = Faults::default;
    let cases = [
        (Faults { stream_internal_server: 1.0, ..none() }, "internal"),
        (Faults { stream_model_error: 1.0, ..none() }, "model stream"),
        (Faults { stream_validation: 1.0, ..none() }, "validation"),
        (Faults { stream_throttling: 1.0, ..none() }, "throttling"),
        (Faults { stream_service_unavailable: 1.0, ..none() }, "unavailable"),
        (Faults { stream_no_stop: 1.0, ..none() }, "end"),
        (Faults { stream_no_metadata: 1.0, ..none() }, "end"),
        (Faults { stream_truncated: 1.0, ..none() }, "response error"),
        (Faults { stream_stall: 1.0, ..none() }, "stall"),
    ];
    for (faults, expected) in cases {
        let (events, end) = stream_events(faults.clone()).await;
        assert_eq!(end, expected, "{faults:?}");
        assert!(events.contains(&"delta") && !events.contains(&"metadata"), "{faults:?} {events:?}");
        assert_eq!(events.contains(&"stop"), faults.stream_no_metadata > 0.0, "{faults:?}");
    }
    let (events, end) = stream_events(none()).await;
    assert!(events.ends_with(&["stop", "metadata"]) && end == "end");
}

#[tokio::test]
async fn missing_models_denied_models_and_refused_tiers_are_refused() {
    let model = Model {
        missing_models: vec!["gone".into()],
        denied_models: vec!["secret".into()],
        refused_tiers: vec!["flex".into()],
        ..model(Faults::default())
    };
    let server = Server::start(model).await;
    let client = server.client();
    let code = async |id: &str| {
        client.converse().model_id(id).messages(hello()).send().await.unwrap_err().code().unwrap().to_owned()
    };
    assert_eq!(code("gone").await, "ResourceNotFoundException");
    assert_eq!(code("secret").await, "AccessDeniedException");
    let tier = aws_sdk_bedrockruntime::types::ServiceTier::builder().r#type("flex".into()).build().unwrap();
    let error = client.converse().model_id("m").messages(hello()).service_tier(tier).send().await.unwrap_err();
    assert_eq!(error.message(), Some("The provided service tier is not supported for this model"));
}
