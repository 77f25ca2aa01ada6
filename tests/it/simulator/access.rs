//! Access control of the simulator, limits on request bodies, and the end of tasks after a client disconnects.

use super::clients::Server;
use bedrock_plan::simulator::{self, Faults, Model};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

const BODY: &str = r#"{"messages":[{"role":"user","content":[{"text":"hello"}]}],"inferenceConfig":{"maxTokens":5}}"#;

/// Hang guard, far longer than any step takes.
const HANG: Duration = Duration::from_secs(60);

fn quick() -> Model {
    Model { ttft: Duration::from_millis(5), tpot: Duration::from_millis(1), ..Model::default() }
}

/// Sends one request over HTTP/1.1. Returns the status and the whole reply.
async fn post(address: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST /model/m/converse HTTP/1.1\r\ncontent-length: {}\r\nconnection: close\r\n", BODY.len());
    stream.write_all(format!("{head}{headers}\r\n{BODY}").as_bytes()).await.unwrap();
    let mut reply = String::new();
    tokio::time::timeout(HANG, stream.read_to_string(&mut reply)).await.expect("the server replies").unwrap();
    (reply.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), reply)
}

#[tokio::test]
async fn foreign_hosts_foreign_origins_and_other_media_types_are_refused() {
    let mut server = Server::start(quick()).await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let port = address.rsplit(':').next().unwrap();
    let json = "content-type: application/json\r\n";
    let cases = [
        (format!("host: evil.example:{port}\r\n{json}"), 403, "`evil.example:"),
        (format!("host: {address}\r\nhost: evil.example\r\n{json}"), 403, "`evil.example`"),
        (format!("host: 192.0.2.1:{port}\r\n{json}"), 403, "127.0.0.0/8"),
        (format!("host: {address}\r\norigin: https://evil.example\r\n{json}"), 403, "`https://evil.example`"),
        (format!("host: {address}\r\norigin: null\r\n{json}"), 403, "`null`"),
        // A page of another server on this machine.
        (format!("host: localhost:{port}\r\norigin: http://localhost:1\r\n{json}"), 403, "`http://localhost:1`"),
        // A page may send this to any server without a CORS preflight.
        (format!("host: {address}\r\ncontent-type: text/plain\r\n"), 415, "UnsupportedMediaTypeException"),
        (format!("host: {address}\r\n"), 415, "application/json"),
        (format!("host: {address}\r\ncontent-type: application/jsonp\r\n"), 415, "application/json"),
    ];
    for (headers, status, expected) in cases {
        let (found, reply) = post(&address, &headers).await;
        assert_eq!(found, status, "{headers:?}: {reply}");
        assert!(reply.contains(expected), "{headers:?}: {reply}");
    }
    // None of these requests took a number: the first accepted one is number 0.
    for headers in [
        format!("host: {address}\r\n{json}"),
        format!("host: localhost:{port}\r\norigin: http://localhost:{port}\r\n{json}"),
        format!("host: [::1]:{port}\r\ncontent-type: Application/JSON; charset=utf-8\r\n"),
        json.to_owned(),
    ] {
        let (status, reply) = post(&address, &headers).await;
        assert_eq!(status, 200, "{headers:?}: {reply}");
    }
    for number in 0..4 {
        let truth = server.truth.recv().await.unwrap();
        assert!(truth.request_id.ends_with(&format!("-4000-8000-{number:012x}")), "{truth:?}");
        assert_eq!(truth.status, 200);
    }
    assert!(server.truth.is_empty());
}

#[tokio::test]
async fn authority_of_http2_requests_is_checked_as_the_host() {
    let server = Server::start(quick()).await;
    let address = server.url.trim_start_matches("http://");
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (authority, status) in [(address, 200), ("localhost", 200), ("evil.example", 403)] {
        let request = Request::post(format!("http://{authority}/model/m/converse"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(BODY)))
            .unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), status, "{authority}");
    }
}

#[tokio::test]
async fn body_larger_than_64_mib_is_refused() {
    let server = Server::start(quick()).await;
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = (64 << 20) + 1;
    let head = format!(
        "POST /model/m/converse HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; length]).await.unwrap();
    let mut reply = String::new();
    tokio::time::timeout(HANG, stream.read_to_string(&mut reply)).await.expect("the server replies").unwrap();
    assert!(reply.starts_with("HTTP/1.1 413 ") && reply.contains("larger than 64 MiB"), "{reply}");
}

/// Waits until the runtime has `count` tasks.
async fn wait_for_tasks(runtime: &tokio::runtime::Handle, count: usize) {
    let waiting = async {
        while runtime.metrics().num_alive_tasks() != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let has_reached = tokio::time::timeout(HANG, waiting).await.is_ok();
    assert!(has_reached, "{} tasks, expected {count}", runtime.metrics().num_alive_tasks());
}

#[test]
fn stalled_replies_end_with_their_clients_and_with_the_server() {
    let testing = tokio::runtime::Runtime::new().unwrap();
    for faults in [Faults { stream_stall: 1.0, ..Faults::default() }, Faults { stall: 1.0, ..Faults::default() }] {
        for is_http2 in [false, true] {
            // A separate runtime: all its tasks belong to the server.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            let address = listener.local_addr().unwrap();
            let stop = CancellationToken::new();
            let model = Model { output_tokens: 8.0, output_tokens_sigma: 0.0, faults: faults.clone(), ..quick() };
            let server = runtime.spawn(simulator::run(listener, model, stop.clone()));
            testing.block_on(async {
                let stall = async || {
                    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
                    let request = Request::post(format!("http://{address}/model/m/converse-stream"))
                        .header("content-type", "application/json")
                        .body(Full::new(Bytes::from(BODY)))
                        .unwrap();
                    let mut client = tokio::task::JoinSet::new();
                    if is_http2 {
                        let (mut sender, connection) =
                            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                        client.spawn(async move { drop(connection.await) });
                        client.spawn(async move {
                            let _response = sender.send_request(request).await;
                            std::future::pending::<()>().await;
                        });
                    } else {
                        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
                        client.spawn(async move { drop(connection.await) });
                        client.spawn(async move {
                            let _response = sender.send_request(request).await;
                            std::future::pending::<()>().await;
                        });
                    }
                    client
                };
                // The server, and per client a connection and (over HTTP/2) a stream.
                let tasks = if is_http2 { 2 } else { 1 };
                let mut clients = Vec::new();
                for number in 1..=5 {
                    clients.push(stall().await);
                    wait_for_tasks(runtime.handle(), 1 + number * tasks).await;
                }
                for mut client in clients {
                    client.shutdown().await;
                }
                wait_for_tasks(runtime.handle(), 1).await;
                let mut client = stall().await;
                wait_for_tasks(runtime.handle(), 1 + tasks).await;
                stop.cancel();
                tokio::time::timeout(HANG, server).await.expect("the server stops").unwrap();
                wait_for_tasks(runtime.handle(), 0).await;
                client.shutdown().await;
            });
        }
    }
}
