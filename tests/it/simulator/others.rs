//! Clients other than the Rust SDK: boto3, and requests as the JS SDK sends them (prior-knowledge h2c, absolute URIs, no
//! `host` header).

use super::clients::Server;
use bedrock_plan::simulator::Model;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::process::Command;
use std::time::Duration;

const BODY: &str = r#"{"messages":[{"role":"user","content":[{"text":"hello"}]}],"inferenceConfig":{"maxTokens":5}}"#;

fn quick() -> Model {
    Model {
        ttft: Duration::from_millis(5),
        tpot: Duration::from_millis(1),
        output_tokens: 8.0,
        output_tokens_sigma: 0.0,
        ..Model::default()
    }
}

#[tokio::test]
async fn prior_knowledge_h2c_with_absolute_uris_is_served() {
    let server = Server::start(quick()).await;
    let stream = tokio::net::TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for operation in ["converse", "converse-stream"] {
        let uri = format!("{}/model/us.amazon.nova-2-lite-v1%3A0/{operation}", server.url);
        let request =
            Request::post(uri).header("content-type", "application/json").body(Full::new(Bytes::from(BODY))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!((response.status(), response.version()), (hyper::StatusCode::OK, hyper::Version::HTTP_2));
        assert!(!response.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
}

#[tokio::test]
async fn replies_and_refusals_have_bedrocks_wire_format() {
    let server = Server::start(Model { ttft: Duration::ZERO, tpot: Duration::ZERO, ..quick() }).await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let post = async |path: &str, body: &'static str| {
        let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post(path).header("host", &address).header("content-type", "application/json");
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut text = String::from_utf8_lossy(&body).into_owned();
        // The latency is measured; it is longer on a busy machine.
        if let Some((before, after)) = text.split_once("\"latencyMs\":") {
            text = format!("{before}\"latencyMs\":2{}", after.trim_start_matches(|digit: char| digit.is_ascii_digit()));
        }
        let length = text.len().to_string();
        let mut lines = vec![head.status.to_string()];
        for (name, value) in head.headers.iter().filter(|(name, _)| *name != "date") {
            let value = match name.as_str() {
                "x-amzn-requestid" => "[id]",
                "x-simulator" => "bedrock-plan/[version]",
                "content-length" => {
                    assert_eq!(value.to_str().unwrap(), body.len().to_string());
                    &length
                }
                _ => value.to_str().unwrap(),
            };
            lines.push(format!("{name}: {value}"));
        }
        lines.push(text);
        lines.join("\n")
    };
    insta::assert_snapshot!("reply", post("/model/m/converse", BODY).await);
    insta::assert_snapshot!("refusal", post("/model/m/converse", "{}").await);
    insta::assert_snapshot!("no_operation", post("/model/m/count-tokens", "{}").await);
}

#[test]
fn boto3_decodes_replies_streams_and_refusals() {
    if !crate::support::python_has("boto3") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::start(quick()));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/simulator/boto3_client.py");
    let output = Command::new("python3").args([script, &server.url]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    insta::assert_snapshot!(stdout, @r"
    converse: end_turn, 2 in, 8 out, 10 total, tier flex, latency ok, id ok
    stream: messageStart, contentBlockDelta, contentBlockStop, messageStop, metadata; 8 out, tier priority
    refused: ValidationException
    ");
}
