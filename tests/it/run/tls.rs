//! TLS with a server that offers h2 with a hundred streams: one HTTP/1.1 connection per request in flight, so that no
//! request is queued inside the client.

use super::scene::{SHORT, Scene};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

const REPLY: &str = r#"{"output":{"message":{"role":"assistant","content":[{"text":"yes"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2},"metrics":{"latencyMs":400}}"#;

/// Observations of the server.
#[derive(Default)]
pub(super) struct Seen {
    /// The header of each request.
    pub(super) authorizations: Mutex<Vec<String>>,
    in_flight: AtomicUsize,
    most: AtomicUsize,
    http2: AtomicUsize,
    /// Replies are withheld until this many requests were in flight at once.
    together: usize,
    met: Notify,
}

/// Serves `localhost`. Writes the certificate that a client must trust and returns the port.
pub(super) fn start(runtime: &tokio::runtime::Runtime, root: &Path) -> (u16, Arc<Seen>) {
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(root, certificate.cert.pem()).unwrap();
    let seen = Arc::new(Seen::default());
    (runtime.block_on(serve(certificate, Arc::clone(&seen))), seen)
}

/// Serves on port 0 with this certificate. Returns the port.
async fn serve(certificate: rcgen::CertifiedKey<rcgen::KeyPair>, seen: Arc<Seen>) -> u16 {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let answer = service_fn(move |request| answer(request, Arc::clone(&seen)));
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http2().max_concurrent_streams(100);
                let _ = server.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    port
}

async fn answer(request: Request<Incoming>, seen: Arc<Seen>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.version() == Version::HTTP_2 {
        seen.http2.fetch_add(1, Ordering::Relaxed);
    }
    let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    seen.authorizations.lock().unwrap().extend(authorization);
    let _ = request.into_body().collect().await;
    let now = seen.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
    seen.most.fetch_max(now, Ordering::Relaxed);
    let met = seen.met.notified();
    if seen.most.load(Ordering::Relaxed) >= seen.together {
        seen.met.notify_waiters();
    } else {
        met.await;
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    seen.in_flight.fetch_sub(1, Ordering::Relaxed);
    Ok(Response::new(Full::new(Bytes::from_static(REPLY.as_bytes()))))
}

#[test]
fn three_hundred_users_over_tls_have_three_hundred_connections() {
    const USERS: usize = 300;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let scene = Scene::new().plan(SHORT);
    std::fs::write(scene.path("root.pem"), certificate.cert.pem()).unwrap();
    // A free connection is reused, so on a busy machine fewer connections than users may be enough. Here the first reply
    // is sent when all requests are in flight.
    let seen = Arc::new(Seen { together: USERS, ..Seen::default() });
    let port = runtime.block_on(serve(certificate, Arc::clone(&seen)));

    let url = format!("https://localhost:{port}");
    let load = ["--user-counts", "300", "--spawn-rate", "1000", "--test-duration", "50s", "--requests", "900"];
    let mut command = scene.run_command(&[&["--endpoint-url", &url, "--think-time", "0"], load.as_slice()].concat());
    command.env("SSL_CERT_FILE", scene.path("root.pem"));
    scene.expect(0, command);

    assert_eq!(seen.http2.load(Ordering::Relaxed), 0, "no h2 is offered by the client");
    // With h2 the maximum would be the hundred streams of one connection.
    assert_eq!(seen.most.load(Ordering::Relaxed), USERS, "all were in flight at once");
    // Without think time a user may send before its connection is free, which opens another one.
    let opened = scene.manifest()["turns"][0]["connections_opened"].as_u64().unwrap();
    let paid = |record: &&serde_json::Value| record["connection"] == "new" && record["connect_ms"].is_number();
    assert_eq!(
        scene.records().iter().filter(paid).count() as u64,
        opened,
        "records contain the time of opening a connection"
    );
    assert!(opened >= USERS as u64, "{opened}");
}

#[test]
fn untrusted_certificate_has_its_own_class() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let port = runtime.block_on(serve(certificate, Arc::default()));
    let scene = Scene::new().plan(SHORT);
    scene.run(4, &["--endpoint-url", &format!("https://localhost:{port}")]);
    let records = scene.records();
    assert!(!records.is_empty() && records.iter().all(|record| record["error_class"] == "tls"), "{records:?}");
}

#[test]
fn unknown_host_has_its_own_class() {
    let scene = Scene::new().plan(SHORT);
    let mut command = scene.run_command(&["--endpoint-url", "http://no-such-host.invalid", "--region", "us-east-1"]);
    command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
    scene.expect(4, command);
    let records = scene.records();
    assert!(!records.is_empty() && records.iter().all(|record| record["error_class"] == "dns"), "{records:?}");
}

#[test]
fn silent_peer_times_out_after_ten_seconds() {
    // The listener accepts no connection; only the kernel completes the handshake.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let once = ["--requests", "1", "--user-counts", "1", "--test-duration", "10m", "--drain", "10m"];
    let run = |url: &str, proxy: Option<String>| {
        let scene = Scene::new().plan(SHORT);
        let mut command = scene.run_command(&[&["--endpoint-url", url, "--region", "us-east-1"], &once[..]].concat());
        command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
        command.envs(proxy.map(|proxy| ("HTTPS_PROXY", proxy)));
        (command.spawn().unwrap(), scene)
    };
    let runs = [
        (run(&format!("https://{address}"), None), "tls", "the TLS handshake"),
        (run("https://bedrock.example", Some(format!("http://{address}"))), "connect", "the proxy's reply to CONNECT"),
    ];
    for ((mut running, scene), class, what) in runs {
        assert_eq!(super::scene::exit_code(&mut running), Some(4));
        let record = &scene.records()[0];
        assert_eq!(record["error_class"], class);
        let message = record["error_message"].as_str().unwrap();
        assert!(message.contains(&format!("{what} took longer than 10 s")), "{message}");
    }
}
