//! The server: HTTP/1.1 and prior-knowledge h2c on one port, one task per connection.

use super::access;
use super::cache::{Cache, CacheTokens};
use super::connection::{Connection, Limits, TrackedBody};
use super::draw::Draw;
use super::fault::{self, Fault, Refusal, StreamFault};
use super::freeze::FreezeSchedule;
use super::model::Model;
use super::reply::{OnDone, ReplyBody, Usage, converse_body, words};
use super::request::{self, Request};
use super::stream::{self, FirstToken, StreamReply};
use super::throttle::Bucket;
use super::truth::Truth;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Response};
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{OwnedPermit, Sender, channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Frames buffered for a slow client.
const FRAMES_AHEAD: usize = 64;

/// Serves until `stop` is cancelled, then closes all connections at once.
pub async fn run(listener: TcpListener, model: Model, stop: CancellationToken) {
    serve(listener, model, stop, None, Limits::default()).await;
}

/// Serves like [`run`] and sends the ground truth of each request to `truth`. Every request reserves a place in the
/// channel on arrival. While no place is free, requests wait, and the truth counts that time as time in the server.
/// The capacity must exceed the number of requests in flight.
pub async fn run_with_truth(listener: TcpListener, model: Model, stop: CancellationToken, truth: Sender<Truth>) {
    serve(listener, model, stop, Some(truth), Limits::default()).await;
}

async fn serve(
    listener: TcpListener,
    model: Model,
    stop: CancellationToken,
    truth: Option<Sender<Truth>>,
    limits: Limits,
) {
    let state = Arc::new(ServerState::new(model, truth));
    let mut connections = JoinSet::new();
    let mut refusing = false;
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    refusing = false;
                    stream
                }
                // Too many open files is transient: log it once, not a hundred times per second.
                Err(error) => {
                    if !std::mem::replace(&mut refusing, true) {
                        tracing::warn!(%error, "connections cannot be accepted");
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let connection = Connection::new(limits);
            let requests = Arc::clone(&connection);
            let service = service_fn(move |request| handle(Arc::clone(&state), Arc::clone(&requests), request));
            connection.serve(stream, service).await;
        });
    }
    connections.shutdown().await;
}

/// State shared by all requests.
struct ServerState {
    model: Model,
    started: Instant,
    /// Random part of the request ids, different for each server.
    session: u32,
    number: AtomicU64,
    /// Number of rejected requests. They are not counted in `number`, since every draw depends on it.
    rejected: AtomicU64,
    in_flight: AtomicU32,
    bucket: Option<Mutex<Bucket>>,
    cache: Mutex<Cache>,
    truth: Option<Sender<Truth>>,
}

impl ServerState {
    fn new(model: Model, truth: Option<Sender<Truth>>) -> Self {
        let started = Instant::now();
        let bucket = (model.throttle_rate > 0.0)
            .then(|| Mutex::new(Bucket::new(model.throttle_rate, model.throttle_burst, started)));
        Self {
            model,
            started,
            session: rand::random(),
            number: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            bucket,
            cache: Mutex::default(),
            truth,
        }
    }

    fn micros_since_start(&self, instant: Instant) -> u64 {
        instant.saturating_duration_since(self.started).as_micros() as u64
    }

    fn freeze_schedule(&self) -> FreezeSchedule {
        FreezeSchedule { started: self.started, every: self.model.freeze_every, length: self.model.freeze_for }
    }

    /// Returns the refusal that does not depend on draws, if any.
    fn refusal(&self, model_id: &str, request: &Request) -> Option<Refusal> {
        if self.model.missing_models.iter().any(|missing| missing == model_id) {
            return Some(Refusal::model_not_found(model_id));
        }
        if self.model.denied_models.iter().any(|denied| denied == model_id) {
            return Some(Refusal::access_denied());
        }
        if self.model.refused_tiers.contains(&request.tier) {
            return Some(Refusal::validation("The provided service tier is not supported for this model"));
        }
        let empty = self
            .bucket
            .as_ref()
            .is_some_and(|bucket| !bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()));
        empty.then(Refusal::throttled)
    }

    fn look_up(&self, model_id: &str, request: &Request) -> CacheTokens {
        let prefix = match &request.cached_prefix {
            Some(prefix) => prefix,
            None if self.model.implicit_cache => &request.prompt,
            None => return CacheTokens::default(),
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.look_up(model_id, prefix, self.model.cache_min_tokens, self.model.cache_ttl, Instant::now())
    }

    fn tier_factor(&self, tier: &str) -> f64 {
        match tier {
            "priority" => self.model.priority_factor,
            "flex" => self.model.flex_factor,
            _ => 1.0,
        }
    }
}

/// Counts a request as in flight until it is dropped.
struct InFlight(Arc<ServerState>);

impl InFlight {
    /// Returns the guard and the number of requests in flight, this one included.
    fn enter(state: &Arc<ServerState>) -> (Self, u32) {
        let now = state.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        (Self(Arc::clone(state)), now)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Facts about a request that was served.
struct Served {
    tier: String,
    cache_read_tokens: u32,
    guard: InFlight,
}

/// One request and its reply.
struct RoundTrip {
    state: Arc<ServerState>,
    id: String,
    received: Instant,
    /// Reserved place in the channel of the ground truth; `None` without a receiver.
    place: Mutex<Option<OwnedPermit<Truth>>>,
}

impl RoundTrip {
    /// Returns the callback for the end of the reply.
    fn on_done(&self, status: u16, first_token: &FirstToken, served: Option<Served>) -> OnDone {
        let (state, id, received) = (Arc::clone(&self.state), self.id.clone(), self.received);
        let (tier, cache_read_tokens, guard) = match served {
            Some(Served { tier, cache_read_tokens, guard }) => (Some(tier), cache_read_tokens, Some(guard)),
            None => (None, 0, None),
        };
        let first_token = Arc::clone(first_token);
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::new(move || {
            if let Some(place) = place {
                place.send(Truth {
                    request_id: id,
                    received_us: state.micros_since_start(received),
                    first_token_us: first_token.get().map(|instant| state.micros_since_start(*instant)),
                    replied_us: state.micros_since_start(Instant::now()),
                    status,
                    tier,
                    cache_read_tokens,
                });
            }
            drop(guard);
        })
    }

    fn response(&self, status: u16, content_type: &str, body: ReplyBody) -> Response<ReplyBody> {
        response(&self.id, status, content_type, body)
    }

    fn refuse(&self, refusal: &Refusal) -> Response<ReplyBody> {
        refuse(&self.id, refusal, self.on_done(refusal.status, &FirstToken::default(), None))
    }
}

fn response(id: &str, status: u16, content_type: &str, body: ReplyBody) -> Response<ReplyBody> {
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .header("x-amzn-requestid", id)
        .header("x-simulator", concat!("bedrock-plan/", env!("CARGO_PKG_VERSION")))
        .body(body)
        .unwrap_or_else(|error| unreachable!("status and headers are valid: {error}"))
}

fn refuse(id: &str, refusal: &Refusal, done: OnDone) -> Response<ReplyBody> {
    let body = serde_json::json!({ "message": refusal.message }).to_string();
    let mut response = response(id, refusal.status, "application/json", ReplyBody::whole(body, done));
    let kind = format!("{}:http://internal.amazon.com/coral/com.amazon.bedrock/", refusal.name);
    if let Ok(value) = kind.parse() {
        response.headers_mut().insert("x-amzn-errortype", value);
    }
    response
}

async fn handle(
    state: Arc<ServerState>,
    connection: Arc<Connection>,
    request: hyper::Request<Incoming>,
) -> Result<Response<TrackedBody>, io::Error> {
    let open = connection.open();
    let response = process(state, &connection, request).await?;
    Ok(response.map(|body| TrackedBody { body, _open: open }))
}

/// Serves or rejects a request. A rejected request takes no number and does not affect later requests.
async fn process(
    state: Arc<ServerState>,
    connection: &Arc<Connection>,
    request: hyper::Request<Incoming>,
) -> Result<Response<ReplyBody>, io::Error> {
    let reject = |refusal: &Refusal| {
        let number = state.rejected.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:08x}-51b0-4001-8000-{number:012x}", state.session);
        Ok(refuse(&id, refusal, Box::new(|| {})))
    };
    if let Err(refusal) = access::check(&request) {
        return reject(&refusal);
    }
    let target = (request.method() == Method::POST).then(|| parse_path(request.uri().path())).flatten();
    if target.is_some() && !access::is_json(request.headers()) {
        return reject(&Refusal::unsupported_media_type());
    }
    let body = match connection.read(request.into_body()).await? {
        Ok(body) => body,
        Err(refusal) => return reject(&refusal),
    };
    let received = Instant::now();
    let number = state.number.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:08x}-51b0-4000-8000-{number:012x}", state.session);
    let place = match &state.truth {
        // Fails only if the receiver is gone: the server is shutting down.
        Some(truth) => truth.clone().reserve_owned().await.ok(),
        None => None,
    };
    let round_trip = RoundTrip { state: Arc::clone(&state), id, received, place: Mutex::new(place) };
    state.freeze_schedule().wait_if_frozen().await;
    let Some((model_id, operation)) = target else {
        return Ok(round_trip.refuse(&Refusal::unknown_path()));
    };
    let request = match request::parse(body.bytes()) {
        Ok(request) => request,
        Err(refusal) => return Ok(round_trip.refuse(&refusal)),
    };
    drop(body);
    if let Some(refusal) = state.refusal(&model_id, &request) {
        return Ok(round_trip.refuse(&refusal));
    }
    let draw = Draw::new(&state.model, number);
    match fault::pick(&state.model, draw.fault) {
        Some(Fault::Refused(refusal)) => Ok(round_trip.refuse(&refusal)),
        Some(Fault::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Stall) => {
            drop((request, round_trip));
            std::future::pending().await
        }
        Some(Fault::Garbage) => {
            let body = ReplyBody::whole(
                "{\"output\": {\"message\":".into(),
                round_trip.on_done(200, &FirstToken::default(), None),
            );
            Ok(round_trip.response(200, "application/json", body))
        }
        fault => Ok(reply(&round_trip, &model_id, operation, request, &draw, fault).await),
    }
}

/// Returns a reply with content: a whole body or a stream.
async fn reply(
    round_trip: &RoundTrip,
    model_id: &str,
    operation: Operation,
    request: Request,
    draw: &Draw,
    fault: Option<Fault>,
) -> Response<ReplyBody> {
    let state = &round_trip.state;
    let (guard, in_flight) = InFlight::enter(state);
    let substituted = request.tier == "flex" && draw.tier < state.model.flex_as_default;
    let tier = if substituted { "default".to_owned() } else { request.tier.clone() };
    let overload = match state.model.capacity {
        0 => 1.0,
        capacity => (f64::from(in_flight) / f64::from(capacity)).max(1.0),
    };
    let factor = state.tier_factor(&tier) * overload;
    let hits = state.look_up(model_id, &request);
    let empty = fault == Some(Fault::EmptyReply);
    let output_tokens = if empty { 0 } else { draw.output_tokens.min(request.max_tokens) };
    let reasoning_tokens = (f64::from(output_tokens) * state.model.reasoning).round() as u32;
    let stop_reason = if !empty && draw.output_tokens > request.max_tokens { "max_tokens" } else { "end_turn" };
    let usage = Usage::new(request.input_tokens, output_tokens, hits);
    let prefill = state.model.prefill_per_token * (request.input_tokens - hits.read);
    let ttft = (draw.ttft + prefill).mul_f64(factor);
    let tpot = draw.tpot.mul_f64(factor);
    // Free the prompt before the wait.
    drop(request);

    tokio::time::sleep_until((round_trip.received + ttft).into()).await;
    state.freeze_schedule().wait_if_frozen().await;
    let first_token_at = Instant::now();
    let first_token = FirstToken::default();
    let done =
        round_trip.on_done(200, &first_token, Some(Served { tier: tier.clone(), cache_read_tokens: hits.read, guard }));
    match operation {
        Operation::Converse => {
            let _ = first_token.set(first_token_at);
            tokio::time::sleep_until((first_token_at + tpot * output_tokens.saturating_sub(1)).into()).await;
            state.freeze_schedule().wait_if_frozen().await;
            let latency_ms = round_trip.received.elapsed().as_millis() as u64;
            let body = converse_body(
                &words(0, reasoning_tokens),
                &words(reasoning_tokens, output_tokens),
                stop_reason,
                usage,
                latency_ms,
                &tier,
            );
            let broken = fault == Some(Fault::ResetInBody);
            let body = ReplyBody::Whole { bytes: Some(Bytes::from(body)), broken, done: Some(done) };
            round_trip.response(200, "application/json", body)
        }
        Operation::ConverseStream => {
            let fault = match fault {
                Some(Fault::Stream(fault)) => Some(fault),
                Some(Fault::ResetInBody) => Some(StreamFault::Truncated),
                _ => None,
            };
            let (sender, frames) = channel(FRAMES_AHEAD);
            let received = round_trip.received;
            let reply = StreamReply {
                reasoning_tokens,
                output_tokens,
                tpot,
                stop_reason,
                usage,
                tier,
                received,
                fault,
                first_token,
            };
            let sending = Box::pin(stream::send_reply(reply, sender, state.freeze_schedule()));
            let body = ReplyBody::Frames { sending: Some(sending), frames, done: Some(done) };
            round_trip.response(200, "application/vnd.amazon.eventstream", body)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Converse,
    ConverseStream,
}

/// Parses `/model/{id}/converse` and `/model/{id}/converse-stream`. The id is one segment of the raw path and is decoded
/// after the split.
fn parse_path(path: &str) -> Option<(String, Operation)> {
    let mut segments = path.strip_prefix("/model/")?.split('/');
    let model_id = percent_decode(segments.next().filter(|id| !id.is_empty())?)?;
    let operation = match (segments.next()?, segments.next()) {
        ("converse", None) => Operation::Converse,
        ("converse-stream", None) => Operation::ConverseStream,
        _ => return None,
    };
    Some((model_id, operation))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::Frame;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    const BODY: &str =
        r#"{"messages":[{"role":"user","content":[{"text":"hello"}]}],"inferenceConfig":{"maxTokens":5}}"#;

    /// Starts a server with these limits. It ends with the runtime of its test.
    async fn start(limits: Limits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let model = Model { ttft: Duration::from_millis(900), ttft_sigma: 0.0, ..Model::default() };
        tokio::spawn(serve(listener, model, CancellationToken::new(), None, limits));
        address
    }

    #[tokio::test]
    async fn truth_channel_is_bounded_and_complete() {
        const REQUESTS: usize = 12;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let model = Model { ttft: Duration::from_millis(1), ttft_sigma: 0.0, ..Model::default() };
        let (sender, mut truth) = channel(2);
        tokio::spawn(run_with_truth(listener, model, CancellationToken::new(), sender));
        let request = format!(
            "POST /model/m/converse HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
            BODY.len()
        );
        let mut clients = JoinSet::new();
        for _ in 0..REQUESTS {
            let request = request.clone();
            clients.spawn(async move { read_until_closed(address, &request).await });
        }
        // Two are served while nothing is received from the channel; the others wait for a place.
        for _ in 0..2 {
            assert!(clients.join_next().await.unwrap().unwrap().starts_with("HTTP/1.1 200 "));
        }
        assert_eq!(truth.len(), 2);
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..REQUESTS {
            ids.insert(truth.recv().await.unwrap().request_id);
        }
        assert_eq!(ids.len(), REQUESTS, "no record is lost");
        assert!(clients.join_all().await.iter().all(|reply| reply.starts_with("HTTP/1.1 200 ")));
    }

    /// Sends `sent` and reads until the server closes the connection. Returns the bytes received.
    async fn read_until_closed(address: SocketAddr, sent: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut received = String::new();
        let reading = stream.read_to_string(&mut received);
        tokio::time::timeout(Duration::from_secs(60), reading)
            .await
            .expect("the server closes the connection")
            .unwrap();
        received
    }

    #[tokio::test]
    async fn connection_without_a_complete_head_is_closed_but_not_during_a_slow_reply() {
        let address = start(Limits { header_timeout: Duration::from_millis(300), ..Limits::default() }).await;
        let head = format!(
            "POST /model/m/converse HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            BODY.len()
        );
        for sent in ["", "POST /mod", "PRI * HTTP/2.0\r\n", &head] {
            assert_eq!(read_until_closed(address, sent).await, "", "{sent:?}");
        }
        // The reply takes three times the timeout; the connection is closed after it was idle for the timeout.
        let reply = read_until_closed(address, &format!("{head}\r\n{BODY}")).await;
        assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.contains("stopReason"), "{reply}");
    }

    #[tokio::test]
    async fn incomplete_body_is_refused_after_the_timeout() {
        let address = start(Limits { body_timeout: Duration::from_millis(300), ..Limits::default() }).await;
        let sent = format!(
            "POST /model/m/converse HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
        );
        let reply = read_until_closed(address, &sent).await;
        assert!(reply.starts_with("HTTP/1.1 408 ") && reply.contains("RequestTimeoutException"), "{reply}");
    }

    #[tokio::test]
    async fn total_size_of_bodies_per_connection_is_limited() {
        let address = start(Limits { max_body: 1_000, max_buffered: 1_500, ..Limits::default() }).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut send = |whole: bool| {
            let piece = futures_util::stream::iter([Ok::<_, io::Error>(Frame::data(Bytes::from(vec![b' '; 900])))]);
            let body = if whole { piece.boxed() } else { piece.chain(futures_util::stream::pending()).boxed() };
            let request = hyper::Request::post(format!("http://{address}/model/m/converse"))
                .header("content-type", "application/json")
                .body(StreamBody::new(body))
                .unwrap();
            sender.send_request(request)
        };
        let mut unfinished = std::pin::pin!(send(false));
        assert!(futures_util::poll!(&mut unfinished).is_pending());
        let refusal = loop {
            // The second body is refused as soon as the first one has arrived.
            let response = send(true).await.unwrap();
            let (status, body) = (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes());
            assert!(status == 400 || status == 503, "{status} {body:?}");
            if status == 503 {
                break String::from_utf8_lossy(&body).into_owned();
            }
        };
        assert!(refusal.contains("Too much request data at once"), "{refusal}");
    }

    #[test]
    fn model_id_is_one_segment_of_the_path() {
        let arn = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.x/converse-stream";
        assert_eq!(
            parse_path(arn),
            Some(("arn:aws:bedrock:us-east-1:1:inference-profile/us.x".into(), Operation::ConverseStream))
        );
        assert_eq!(parse_path("/model/us.amazon.nova-2-lite-v1%3A0/converse").unwrap().0, "us.amazon.nova-2-lite-v1:0");
        for invalid in
            ["/", "/model/x", "/model//converse", "/model/a/b/converse", "/model/x/converse/y", "/model/%zz/converse"]
        {
            assert_eq!(parse_path(invalid), None, "{invalid}");
        }
    }
}
