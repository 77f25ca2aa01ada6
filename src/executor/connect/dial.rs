//! Opening a connection: name, TCP, proxy, TLS, with the time it took and the part that failed.

use super::dns::{DnsError, Resolver};
use super::proxy::ProxySettings;
use super::roots::CaBundle;
use super::{NetworkSettings, causes};
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

/// The SDK's own default.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3_100);

/// For the TLS handshake, and for a proxy's tunnel.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A connection on which nothing happens for so long is probed, so often, and so many times.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 4;

type BoxError = Box<dyn StdError + Send + Sync>;
type Pending<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Which part of opening a connection failed.
#[derive(Debug)]
pub(super) struct DialError {
    /// `dns`, `connect` or `tls`.
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

/// Rides on a connection: what it cost, and whether somebody paid yet.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    /// Name, TCP, proxy and TLS together.
    pub(super) took: Duration,
    claimed: Arc<AtomicBool>,
    /// When bytes of a reply were last read from it.
    used: Arc<Mutex<Option<Instant>>>,
}

impl Opened {
    /// True once: for the first request on the connection.
    pub(super) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::Relaxed)
    }

    /// Notes that bytes of a reply were read from it.
    pub(super) fn note_use(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Returns the time since the last bytes were read from it.
    pub(super) fn idle(&self) -> Option<Duration> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).map(|used| used.elapsed())
    }
}

/// The connector under the pool.
#[derive(Debug, Clone)]
pub(super) struct Dial {
    tcp: Tcp,
    tls: Arc<rustls::ClientConfig>,
    proxies: ProxySettings,
}

impl Dial {
    pub(super) fn new(network: &NetworkSettings) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new(GaiResolver::new()));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // A peer that vanished without a word is noticed after two minutes, and not by the timeout of the request.
        tcp.set_keepalive(Some(KEEP_ALIVE));
        tcp.set_keepalive_interval(Some(KEEP_ALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEP_ALIVE_PROBES));
        let tls = Arc::new(tls_config(network.ca_bundle.as_ref()));
        Self { tcp: Tcp(tcp), tls, proxies: network.proxies.clone() }
    }
}

/// The platform's roots or those of a file, no ALPN. Without any root every handshake fails with a class and a hint of
/// its own, so that a machine without certificates still serves plain http.
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
            tracing::warn!(%error, "no trusted roots on this machine: https will fail");
            versions().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
        }
    }
}

impl Service<Uri> for Dial {
    type Response = Timed;
    type Error = DialError;
    type Future = Pending<Timed, DialError>;

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
            // Each part has a bound of its own: who accepts a connection and never says a word would else take the whole
            // time of a request.
            let (stream, peer) = match proxy {
                Some(proxy) if secure => {
                    let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                    if let Some(auth) = proxy.basic_auth() {
                        tunnel = tunnel.with_auth(auth.clone());
                    }
                    let opening = Tunnelled(tunnel).call(uri.clone());
                    let late = |_| too_long("connect", "the proxy's answer to CONNECT");
                    (tokio::time::timeout(HANDSHAKE, opening).await.map_err(late).flatten()?, uri)
                }
                Some(proxy) => (tcp.call(proxy.uri().clone()).await?, proxy.uri().clone()),
                None => (tcp.call(uri.clone()).await?, uri),
            };
            let securing = HttpsConnector::from((Open(Some(stream)), tls)).call(peer);
            let late = |_| too_long("tls", "the TLS handshake");
            let stream = tokio::time::timeout(HANDSHAKE, securing).await.map_err(late)?.map_err(tag)?;
            let opened = Opened { took: started.elapsed(), claimed: Arc::default(), used: Arc::default() };
            Ok(Timed { stream, opened, absolute: proxied && !secure })
        })
    }
}

/// What was tagged below keeps its class; all else failed in the TLS layer on top.
fn tag(error: BoxError) -> DialError {
    DialError { class: class_below(&*error).unwrap_or("tls"), source: error }
}

fn class_below(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    causes(error).find_map(|error| error.downcast_ref::<DialError>().map(|dial| dial.class))
}

/// A tunnel through a proxy: a proxy that refuses or breaks off is a failure to connect.
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

/// TCP, its failures tagged.
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

/// A connection that is open already, for the TLS layer on top.
struct Open<S>(Option<S>);

impl<S: Send + 'static> Service<Uri> for Open<S> {
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

/// A part of opening a connection that took too long.
fn too_long(class: &'static str, what: &str) -> DialError {
    let message = format!("{what} took longer than {} s", HANDSHAKE.as_secs());
    DialError { class, source: io::Error::new(io::ErrorKind::TimedOut, message).into() }
}

/// An open connection.
pub(super) struct Timed {
    stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    opened: Opened,
    /// A plain-http proxy wants the whole URI in the request line.
    absolute: bool,
}

impl Connection for Timed {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.opened.clone()).proxy(self.absolute)
    }
}

impl Read for Timed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for Timed {
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
