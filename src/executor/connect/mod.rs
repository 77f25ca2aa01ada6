//! The HTTP client below the SDK: one HTTP/1.1 connection per request in flight, with and without TLS.
//!
//! The SDK's default client offers h2 by ALPN and then uses ONE connection: above the server's stream limit, requests queue
//! inside the client without any error. The SDK has no option for this, so the connector is our own: no ALPN, an unlimited
//! pool, no silent resends. It also observes what the SDK does not report: the connect time, the request that opened the
//! connection, and the failed layer (DNS, connect, TLS, reset).
//!
//! Independent of Bedrock, cells and records, except [`RoundTrip`].

mod causes;
mod dial;
mod dns;
mod limit;
mod proxy;
mod roots;
mod settings;

pub(super) use causes::{cause_messages, causes, innermost_causes};
pub(super) use limit::REPLY_TOO_LONG;
pub(crate) use proxy::ProxySettings;
pub(crate) use roots::{CaBundle, CaBundleError};
pub(crate) use settings::NetworkSettings;

use super::round_trip::RoundTrip;
use crate::record::Connection;
use crate::record::class::KEEP_ALIVE_RACE;
use aws_smithy_runtime_api::client::http::{
    HttpConnector as SdkConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use dial::{ConnectionInfo, DialError, Dialer};
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

/// Maximum idle time of a connection: less than the 60 s after which load balancers close one, so that no request is sent on
/// a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Minimum idle time after which servers close a connection.
const MIN_SERVER_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Maximum time from the send to the failure of a request on a closed connection: one network round trip.
const MAX_RACE_DELAY: Duration = Duration::from_secs(1);

/// Size of the read buffer of each request in flight, in bytes; hyper's default starts at 8 KiB.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// Response header with the simulator's name.
const SIMULATOR: &str = "x-simulator";

/// Prefix of the simulator's name.
const SIMULATOR_NAME: &str = "bedrock-plan/";

/// Maximum length of the simulator's name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Description for the manifest.
pub(crate) const POLICY: &str = "http/1.1, one connection per request in flight, idle 50 s, no resend";

/// Connections opened and reused, over all requests of the process.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    opened: AtomicU64,
    reused: AtomicU64,
    /// Name of the simulator, from a reply.
    simulator: OnceLock<String>,
}

impl Connections {
    /// Returns the number of connections opened.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Returns the name of the simulator that has replied, if one has: `bedrock-plan/0.1.0`.
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

    /// Returns the number of requests that reused a connection.
    pub(crate) fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }
}

/// Returns the client for the SDK and for `aws-config`, with its counters.
pub(crate) fn client(network: &NetworkSettings) -> (SharedHttpClient, Arc<Connections>) {
    let connections = Arc::new(Connections::default());
    let client = Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(usize::MAX)
        .pool_timer(TokioTimer::new())
        .retry_canceled_requests(false)
        .http1_read_buf_exact_size(READ_BUFFER_BYTES)
        .build(Dialer::new(network));
    let proxies = network.proxies.clone();
    let connector = SharedHttpConnector::new(Connector { client, proxies, connections: Arc::clone(&connections) });
    (http_client_fn(move |_, _| connector.clone()), connections)
}

/// Opens a connection to a server as a request would, with its TLS and its proxy, and closes it: nothing is sent.
///
/// # Errors
/// The reason why it cannot be opened, as a message.
pub(super) async fn check(network: &NetworkSettings, server: &hyper::Uri) -> Result<(), String> {
    let opened = Dialer::new(network).call(server.clone()).await;
    opened.map(drop).map_err(|error| cause_messages(&error).join(": "))
}

#[derive(Debug, Clone)]
struct Connector {
    client: Client<Dialer, SdkBody>,
    proxies: ProxySettings,
    connections: Arc<Connections>,
}

impl SdkConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let round_trip = RoundTrip::current();
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        // The login of a tunnel is sent when it is opened; over plain http, each request carries it.
        if let Some(login) = self.proxies.login_of_plain_http(request.uri()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, login);
        }
        let connections = Arc::clone(&self.connections);
        if let Some(round_trip) = &round_trip {
            round_trip.note(|facts| facts.sent = Some(Instant::now()));
        }
        let pending = self.client.request(request);
        HttpConnectorFuture::new(async move {
            let response = pending.await.map_err(|error| {
                let class = classify(&error);
                if let Some(round_trip) = &round_trip {
                    let mut extras = http::Extensions::new();
                    if let Some(connected) = error.connect_info() {
                        connected.get_extras(&mut extras);
                    }
                    let opened = extras.get::<ConnectionInfo>();
                    note_connection(round_trip, &connections, opened);
                    let idle = opened.and_then(ConnectionInfo::idle);
                    round_trip.note(|facts| {
                        let is_race = class == "reset"
                            && facts.connection == Some(Connection::Reused)
                            && is_keep_alive_race(&error, idle, facts.sent.map(|sent| sent.elapsed()));
                        facts.failure = Some(if is_race { KEEP_ALIVE_RACE } else { class });
                    });
                }
                ConnectorError::io(error.into())
            })?;
            if let Some(round_trip) = &round_trip {
                note_connection(round_trip, &connections, response.extensions().get::<ConnectionInfo>());
                connections.note_simulator(response.headers());
                round_trip.note(|facts| facts.protocol = Some(protocol(response.version())));
            }
            let limit = BodyLimit::new(&response);
            let opened = response.extensions().get::<ConnectionInfo>().cloned();
            let response = response.map(|body| {
                let round_trip = round_trip.clone();
                SdkBody::from_body_1_x(WatchedBody { body: Some(body), round_trip, opened, bytes: 0, limit })
            });
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Returns the name of a version in records.
fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_2 => "h2",
        http::Version::HTTP_11 => "http/1.1",
        http::Version::HTTP_10 => "http/1.0",
        _ => "other",
    }
}

/// Records whether the request opened its connection or reused it.
fn note_connection(round_trip: &RoundTrip, connections: &Connections, opened: Option<&ConnectionInfo>) {
    let Some(opened) = opened else { return };
    if opened.claim() {
        connections.opened.fetch_add(1, Ordering::Relaxed);
        round_trip.note(|facts| {
            facts.connection = Some(Connection::New);
            facts.connect = Some(opened.took);
        });
    } else {
        connections.reused.fetch_add(1, Ordering::Relaxed);
        round_trip.note(|facts| facts.connection = Some(Connection::Reused));
    }
}

/// Returns whether a request on a reused connection failed without a reply because the server was closing the connection:
/// the request could not be written, or its data was refused (the server had closed its socket), or the connection had
/// been idle long enough. A server that reads a request and then closes the connection is not such a race.
fn is_keep_alive_race(error: &(dyn StdError + 'static), idle: Option<Duration>, since_sent: Option<Duration>) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    let was_refused = causes(error).any(|error| {
        error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
            || error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| matches!(error.kind(), BrokenPipe | ConnectionReset))
    });
    let was_idle = idle.is_some_and(|idle| idle >= MIN_SERVER_KEEP_ALIVE);
    since_sent.is_some_and(|elapsed| elapsed <= MAX_RACE_DELAY) && (was_refused || was_idle)
}

/// Returns the error class of a failure before the headers of the reply.
fn classify(error: &(dyn StdError + 'static)) -> &'static str {
    causes(error)
        .find_map(|error| {
            let unreadable = |error: &hyper::Error| {
                if error.is_parse_too_large() { Some(REPLY_TOO_LONG) } else { error.is_parse().then_some("decode") }
            };
            let dial = error.downcast_ref::<DialError>().map(|dial| dial.class);
            dial.or_else(|| error.downcast_ref::<hyper::Error>().and_then(unreadable))
        })
        .unwrap_or("reset")
}

/// The body of a reply: it counts bytes, enforces limits and records the end.
struct WatchedBody {
    /// `None` after an error: dropping a body before its end closes the connection.
    body: Option<Incoming>,
    round_trip: Option<Arc<RoundTrip>>,
    /// The connection of the reply.
    opened: Option<ConnectionInfo>,
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
        if let Some(round_trip) = &this.round_trip {
            let (bytes, reported) = (this.bytes, this.limit.reported());
            round_trip.note(|facts| {
                facts.response_bytes = Some(bytes);
                facts.reported = reported.or(facts.reported);
                if let Some(Ok(_)) = &frame {
                    facts.last_byte = Some(Instant::now());
                } else {
                    // The end may be later than the last byte: a stream ends with its last event.
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
