//! Opening of connections: DNS, TCP, proxy and TLS, with the time taken and the step that failed.

use super::causes::causes;
use super::dns::{DnsError, Resolver};
use super::proxy::ProxySettings;
use super::roots::CaBundle;
use super::settings::NetworkSettings;
use hyper::Uri;
use hyper::http;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tower_service::Service;

/// The default of the SDK.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3_100);

/// Timeout of the TLS handshake and of a proxy's CONNECT.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// TCP keep-alive: idle time before the first probe, interval of probes, and their number.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 4;

type BoxError = Box<dyn StdError + Send + Sync>;
type Pending<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// A failed step of opening a connection.
#[derive(Debug)]
pub(super) struct DialError {
    /// Error class: `dns`, `connect` or `tls`.
    pub(super) class: &'static str,
    source: BoxError,
}

impl fmt::Display for DialError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.class {
            "dns" => "the name could not be resolved",
            "tls" => "the TLS handshake failed",
            _ => "the connection could not be opened",
        })
    }
}

impl StdError for DialError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}

/// Data attached to a connection.
#[derive(Debug, Clone)]
pub(super) struct ConnectionInfo {
    /// Time for DNS, TCP, proxy and TLS together.
    pub(super) took: Duration,
    claimed: Arc<AtomicBool>,
    /// Time at which bytes of a reply were last read.
    used: Arc<Mutex<Option<Instant>>>,
}

impl ConnectionInfo {
    /// Returns true once, for the first request on the connection.
    pub(super) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::Relaxed)
    }

    /// Records that bytes of a reply were read.
    pub(super) fn note_use(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns the time since bytes of a reply were last read.
    pub(super) fn idle(&self) -> Option<Duration> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).map(|used| used.elapsed())
    }
}

/// The connector below the connection pool.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    tcp: Tcp,
    tls: Arc<rustls::ClientConfig>,
    proxies: ProxySettings,
}

impl Dialer {
    pub(super) fn new(network: &NetworkSettings) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new(GaiResolver::new()));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // A vanished peer is detected after two minutes, before the timeout of the request.
        tcp.set_keepalive(Some(KEEP_ALIVE));
        tcp.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
        let tls = Arc::new(tls_config(network.ca_bundle.as_ref()));
        Self { tcp: Tcp(tcp), tls, proxies: network.proxies.clone() }
    }
}

/// Returns the TLS configuration: the platform's roots or those of a file, no ALPN. Without any root, every handshake
/// fails with a specific class and hint, so that a machine without certificates can still use plain http.
fn tls_config(ca_bundle: Option<&CaBundle>) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = || {
        rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(rustls::DEFAULT_VERSIONS)
            .unwrap_or_else(|_| unreachable!("ring serves the default versions"))
    };
    if let Some(bundle) = ca_bundle {
        return versions().with_root_certificates(Arc::clone(&bundle.roots)).with_no_client_auth();
    }
    match versions().with_native_roots() {
        Ok(config) => config.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "this machine has no trusted root certificates: https will fail");
            versions().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
        }
    }
}

impl Service<Uri> for Dialer {
    type Response = TimedConnection;
    type Error = DialError;
    type Future = Pending<TimedConnection, DialError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { mut tcp, tls, proxies } = self.clone();
        Box::pin(async move {
            let started = Instant::now();
            let secure = uri.scheme() == Some(&http::uri::Scheme::HTTPS);
            let proxy = proxies.intercept(&uri);
            let proxied = proxy.is_some();
            // Each step has its own timeout: a silent server would otherwise use up the timeout of the request.
            let (stream, peer) = match proxy {
                Some(proxy) if secure => {
                    let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                    if let Some(auth) = proxy.basic_auth() {
                        tunnel = tunnel.with_auth(auth.clone());
                    }
                    let opening = Tunnelled(tunnel).call(uri.clone());
                    let late = |_| timeout_error("connect", "the proxy's reply to CONNECT");
                    (tokio::time::timeout(HANDSHAKE_TIMEOUT, opening).await.map_err(late).flatten()?, uri)
                }
                Some(proxy) => (tcp.call(proxy.uri().clone()).await?, proxy.uri().clone()),
                None => (tcp.call(uri.clone()).await?, uri),
            };
            let securing = HttpsConnector::from((ReadyStream(Some(stream)), tls)).call(peer);
            let late = |_| timeout_error("tls", "the TLS handshake");
            let stream =
                tokio::time::timeout(HANDSHAKE_TIMEOUT, securing).await.map_err(late)?.map_err(to_dial_error)?;
            let opened = ConnectionInfo { took: started.elapsed(), claimed: Arc::default(), used: Arc::default() };
            Ok(TimedConnection { stream, opened, absolute: proxied && !secure })
        })
    }
}

/// Keeps the class of an error of a lower layer; other errors come from the TLS layer.
fn to_dial_error(error: BoxError) -> DialError {
    DialError { class: class_below(&*error).unwrap_or("tls"), source: error }
}

fn class_below(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    causes(error).find_map(|error| error.downcast_ref::<DialError>().map(|dial| dial.class))
}

/// A tunnel through a proxy. A refusal or a failure of the proxy has the class `connect`.
struct Tunnelled(Tunnel<Tcp>);

impl Service<Uri> for Tunnelled {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pending<Self::Response, DialError>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let pending = self.0.call(uri);
        Box::pin(async move {
            pending
                .await
                .map_err(|error| DialError { class: class_below(&error).unwrap_or("connect"), source: error.into() })
        })
    }
}

/// TCP connections, whose errors have a class.
#[derive(Debug, Clone)]
struct Tcp(HttpConnector<Resolver<GaiResolver>>);

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pending<Self::Response, DialError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        self.0.poll_ready(cx).map_err(|error| DialError { class: "connect", source: error.into() })
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let pending = self.0.call(uri);
        Box::pin(async move {
            pending.await.map_err(|error| {
                let dns = error.source().is_some_and(<dyn std::error::Error + 'static>::is::<DnsError>);
                DialError { class: if dns { "dns" } else { "connect" }, source: error.into() }
            })
        })
    }
}

/// A connector that returns an existing connection to the TLS layer.
struct ReadyStream<S>(Option<S>);

impl<S: Send + 'static> Service<Uri> for ReadyStream<S> {
    type Response = S;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<S>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

/// Returns the error of a step that exceeded its timeout.
fn timeout_error(class: &'static str, operation: &str) -> DialError {
    let message = format!("{operation} took longer than {} s", HANDSHAKE_TIMEOUT.as_secs());
    DialError { class, source: io::Error::new(io::ErrorKind::TimedOut, message).into() }
}

/// An open connection.
pub(super) struct TimedConnection {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    opened: ConnectionInfo,
    /// Whether the request line contains the absolute URI, as a plain-http proxy requires.
    absolute: bool,
}

impl Connection for TimedConnection {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.opened.clone()).proxy(self.absolute)
    }
}

impl Read for TimedConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for TimedConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }
}
