//! Our own HTTP client below the SDK: one HTTP/1.1 connection per request in flight, over TLS too.
//!
//! The SDK's default client offers h2 by ALPN and then carries everything over ONE connection: past
//! the server's stream limit requests queue inside the client and no error shows it. There is no
//! public switch, so the connector is ours: no ALPN is sent, the pool has no cap, nothing is resent
//! silently. It also tells what the SDK cannot: what a connection cost, who paid for it, and whether
//! a failure was the name, the connection, TLS or a reset.
//!
//! Knows nothing of Bedrock, cells or records beyond [`Exchange`].

mod dial;
mod dns;
mod limit;
mod proxy;
mod roots;

pub(super) use limit::TOO_LONG;
pub(crate) use proxy::ProxySettings;
pub(crate) use roots::{CaBundle, CaBundleError};

use super::exchange::Exchange;
use crate::record::Connection;
use crate::record::class::KEEP_ALIVE_RACE;
use aws_smithy_runtime_api::client::http::{
    HttpConnector as SdkConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use dial::{Dial, DialError, Opened};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::http;
use hyper::http::header::PROXY_AUTHORIZATION;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use limit::{BodyError, BodyLimit};
use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tower_service::Service;

/// How long an idle connection is kept: less than the 60 s after which load balancers close one, so that no request
/// meets a connection that is being closed.
const IDLE: Duration = Duration::from_secs(50);

/// A server closes a connection that has been idle for at least so long.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A request that meets a closed connection fails within a round trip, at most so long after it was sent.
const LONGEST_RACE: Duration = Duration::from_secs(1);

/// Every request in flight holds one; hyper's own begins at 8 KiB.
const READ_BUFFER: usize = 4 << 10;

/// The header in which the simulator names itself, how its name starts, and the longest name, bytes.
const SIMULATOR: &str = "x-simulator";
const SIMULATOR_NAME: &str = "bedrock-plan/";
const MAX_NAME_BYTES: usize = 64;

/// What the manifest says of all this.
pub(crate) const POLICY: &str = "http/1.1, one connection per request in flight, idle 50 s, no resend";

/// Connections opened and reused, over all requests of the process.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    opened: AtomicU64,
    reused: AtomicU64,
    /// What a simulator calls itself, as some reply says.
    simulator: OnceLock<String>,
}

impl Connections {
    /// Opened until now.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// The simulator that replied, if one did: `bedrock-plan/0.1.0`.
    pub(crate) fn simulator(&self) -> Option<&str> {
        self.simulator.get().map(String::as_str)
    }

    fn note_simulator(&self, headers: &http::HeaderMap) {
        let Some(value) = headers.get(SIMULATOR).filter(|_| self.simulator.get().is_none()) else { return };
        let name = value.to_str().ok().filter(|name| name.starts_with(SIMULATOR_NAME) && name.len() <= MAX_NAME_BYTES);
        if let Some(name) = name {
            let _ = self.simulator.set(name.to_owned());
        }
    }

    /// Requests that found an idle connection until now.
    pub(crate) fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }
}

/// How connections leave this machine, from values that were read elsewhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct NetworkSettings {
    /// Proxies of the environment.
    pub(crate) proxies: ProxySettings,
    /// Nothing selects the certificates that the system trusts.
    pub(crate) ca_bundle: Option<CaBundle>,
}

/// The client for the SDK and for `aws-config`, with its counters.
pub(crate) fn client(network: &NetworkSettings) -> (SharedHttpClient, Arc<Connections>) {
    let connections = Arc::new(Connections::default());
    let client = Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(usize::MAX)
        .pool_timer(TokioTimer::new())
        .retry_canceled_requests(false)
        .http1_read_buf_exact_size(READ_BUFFER)
        .build(Dial::new(network));
    let proxies = network.proxies.clone();
    let connector = SharedHttpConnector::new(Connector { client, proxies, connections: Arc::clone(&connections) });
    (http_client_fn(move |_, _| connector.clone()), connections)
}

/// Opens a connection to a server as a request would, with its TLS and its proxy, and closes it: nothing is sent.
///
/// # Errors
/// Why it cannot be opened, for people.
pub(super) async fn check(network: &NetworkSettings, server: &hyper::Uri) -> Result<(), String> {
    let opened = Dial::new(network).call(server.clone()).await;
    opened.map(drop).map_err(|error| chain(&error).join(": "))
}

#[derive(Debug, Clone)]
struct Connector {
    client: Client<Dial, SdkBody>,
    proxies: ProxySettings,
    connections: Arc<Connections>,
}

impl SdkConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let exchange = Exchange::current();
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        // A tunnel is logged in to when it is opened; over plain http each request carries the login.
        if let Some(login) = self.proxies.login_of_plain_http(request.uri()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, login);
        }
        let connections = Arc::clone(&self.connections);
        if let Some(exchange) = &exchange {
            exchange.note(|facts| facts.sent = Some(Instant::now()));
        }
        let pending = self.client.request(request);
        HttpConnectorFuture::new(async move {
            let response = pending.await.map_err(|error| {
                let class = classify(&error);
                if let Some(exchange) = &exchange {
                    let mut extras = http::Extensions::new();
                    if let Some(connected) = error.connect_info() {
                        connected.get_extras(&mut extras);
                    }
                    let opened = extras.get::<Opened>();
                    note_connection(exchange, &connections, opened);
                    let idle = opened.and_then(Opened::idle);
                    exchange.note(|facts| {
                        let is_race = class == "reset"
                            && facts.connection == Some(Connection::Reused)
                            && is_keep_alive_race(&error, idle, facts.sent.map(|sent| sent.elapsed()));
                        facts.failure = Some(if is_race { KEEP_ALIVE_RACE } else { class });
                    });
                }
                ConnectorError::io(error.into())
            })?;
            if let Some(exchange) = &exchange {
                note_connection(exchange, &connections, response.extensions().get::<Opened>());
                connections.note_simulator(response.headers());
                exchange.note(|facts| facts.protocol = Some(protocol(response.version())));
            }
            let limit = BodyLimit::new(&response);
            let opened = response.extensions().get::<Opened>().cloned();
            let response = response.map(|body| {
                let exchange = exchange.clone();
                SdkBody::from_body_1_x(WatchedBody { body: Some(body), exchange, opened, bytes: 0, limit })
            });
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// A version's name in the records.
fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_2 => "h2",
        http::Version::HTTP_11 => "http/1.1",
        http::Version::HTTP_10 => "http/1.0",
        _ => "other",
    }
}

/// The first request on a connection paid for it.
fn note_connection(exchange: &Exchange, connections: &Connections, opened: Option<&Opened>) {
    let Some(opened) = opened else { return };
    if opened.claim() {
        connections.opened.fetch_add(1, Ordering::Relaxed);
        exchange.note(|facts| {
            facts.connection = Some(Connection::New);
            facts.connect = Some(opened.took);
        });
    } else {
        connections.reused.fetch_add(1, Ordering::Relaxed);
        exchange.note(|facts| facts.connection = Some(Connection::Reused));
    }
}

/// An error and its causes, outermost first.
pub(super) fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// What an error and its causes say, outermost first.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut chain: Vec<String> = causes(error).map(ToString::to_string).collect();
    chain.dedup();
    chain
}

/// Returns whether a request on a reused connection, of which no reply was read, met a server that was closing the
/// connection: either the request was not taken or written any more, or its data was refused (the server had closed
/// its socket and read nothing), or the connection had been idle for as long as servers keep it. A server that reads
/// a request and then closes is no such race.
fn is_keep_alive_race(error: &(dyn StdError + 'static), idle: Option<Duration>, since_sent: Option<Duration>) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    let was_refused = causes(error).any(|error| {
        error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
            || error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| matches!(error.kind(), BrokenPipe | ConnectionReset))
    });
    let was_idle = idle.is_some_and(|idle| idle >= SHORTEST_KEEP_ALIVE);
    since_sent.is_some_and(|elapsed| elapsed <= LONGEST_RACE) && (was_refused || was_idle)
}

/// The class of a failure before the reply's headers.
fn classify(error: &(dyn StdError + 'static)) -> &'static str {
    causes(error)
        .find_map(|error| {
            let unreadable = |error: &hyper::Error| {
                if error.is_parse_too_large() { Some(TOO_LONG) } else { error.is_parse().then_some("decode") }
            };
            let dial = error.downcast_ref::<DialError>().map(|dial| dial.class);
            dial.or_else(|| error.downcast_ref::<hyper::Error>().and_then(unreadable))
        })
        .unwrap_or("reset")
}

/// The reply's body, counted and bounded, and its end noted.
struct WatchedBody {
    /// None after an error: a body that is dropped before its end closes the connection.
    body: Option<Incoming>,
    exchange: Option<Arc<Exchange>>,
    /// The connection that it comes from.
    opened: Option<Opened>,
    bytes: u64,
    limit: BodyLimit,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = match this.limit.check_announced(this.bytes.saturating_add(body.size_hint().lower())) {
            Err(error) => Some(Err(error)),
            Ok(()) => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    this.bytes += data.len() as u64;
                    Some(this.limit.check(this.bytes, data).map(|()| frame))
                }
                end => end.map(|error| error.map_err(BodyError::Http)),
            },
        };
        if matches!(frame, Some(Err(_))) {
            this.body = None;
        }
        if let Some(opened) = &this.opened {
            opened.note_use();
        }
        if let Some(exchange) = &this.exchange {
            let (bytes, reported) = (this.bytes, this.limit.reported());
            exchange.note(|facts| {
                facts.response_bytes = Some(bytes);
                facts.reported = reported.or(facts.reported);
                if let Some(Ok(_)) = &frame {
                    facts.last_byte = Some(Instant::now());
                } else {
                    // The end itself may come later than the last byte: a stream is over with its last event.
                    facts.ended = true;
                    facts.last_byte.get_or_insert_with(Instant::now);
                }
                if let Some(Err(error)) = &frame {
                    facts.failure = Some(error.class());
                }
            });
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}
