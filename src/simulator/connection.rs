//! One connection: its limits on time and memory, and the owner of its tasks.

use super::fault::Refusal;
use super::reply::ReplyBody;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Maximum time until the head of the next request is complete. It includes the idle time of a connection and is longer
/// than the 90 s for which clients keep idle connections, so that no request is sent on a closing connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);

/// Maximum time between two pieces of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum size of a body, in bytes.
const MAX_BODY: usize = 64 << 20;

/// Maximum bytes of request bodies in memory per connection: over HTTP/2, a connection carries many requests at once.
const MAX_BUFFERED: usize = 4 * MAX_BODY;

/// Limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) header_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) max_body: usize,
    pub(super) max_buffered: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: HEADER_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            max_body: MAX_BODY,
            max_buffered: MAX_BUFFERED,
        }
    }
}

/// State shared by the requests of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    limits: Limits,
    load: Mutex<Load>,
}

#[derive(Debug)]
struct Load {
    /// Open requests, each from the end of its head to the end of its reply.
    open: usize,
    /// End of the last request.
    idle_since: Instant,
    /// Bytes of request bodies in memory.
    buffered: usize,
}

impl Connection {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, load: Mutex::new(Load { open: 0, idle_since: Instant::now(), buffered: 0 }) })
    }

    /// Serves until the client disconnects or the header timeout expires.
    pub(super) async fn serve<S>(self: &Arc<Self>, stream: TcpStream, service: S)
    where
        S: hyper::service::Service<
                hyper::Request<Incoming>,
                Response = hyper::Response<TrackedBody>,
                Error = io::Error,
            >,
        S::Future: Send + 'static,
    {
        // Tasks of HTTP/2 streams end with the connection.
        let tasks = Arc::new(Mutex::new(JoinSet::new()));
        let server = auto::Builder::new(StreamTasks(Arc::downgrade(&tasks)));
        let mut serving = std::pin::pin!(server.serve_connection(TokioIo::new(stream), service));
        loop {
            let deadline = self.deadline();
            tokio::select! {
                // A disconnected client or an injected fault is not an error of the server.
                _ = &mut serving => return,
                () = tokio::time::sleep_until(deadline.into()) => {
                    if self.deadline() <= Instant::now() {
                        return;
                    }
                }
            }
        }
    }

    /// Returns the time at which the connection is closed unless a request starts.
    fn deadline(&self) -> Instant {
        let load = self.lock();
        let since = if load.open > 0 { Instant::now() } else { load.idle_since };
        since + self.limits.header_timeout
    }

    /// Counts a request as open until the returned guard is dropped.
    pub(super) fn open(self: &Arc<Self>) -> OpenRequest {
        self.lock().open += 1;
        OpenRequest(Arc::clone(self))
    }

    /// Reads a whole body within the limits. A body that is too large is read a little further and discarded, so that its
    /// client receives the refusal and not a connection reset.
    pub(super) async fn read(self: &Arc<Self>, mut body: Incoming) -> io::Result<Result<BufferedBody, Refusal>> {
        let Limits { body_timeout, max_body, max_buffered, .. } = self.limits;
        let mut read = BufferedBody { bytes: Vec::new(), connection: Arc::clone(self) };
        let mut dropped = 0;
        let too_large = || Ok(Err(Refusal::body_too_large(max_body)));
        loop {
            let Ok(frame) = tokio::time::timeout(body_timeout, body.frame()).await else {
                return Ok(Err(Refusal::body_timeout()));
            };
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
            if dropped > 0 || read.bytes.len() + data.len() > max_body {
                read.clear();
                dropped += data.len();
                if dropped > max_body {
                    return too_large();
                }
            } else if !read.push(&data, max_buffered) {
                return Ok(Err(Refusal::too_much_buffered()));
            }
        }
        if dropped > 0 { too_large() } else { Ok(Ok(read)) }
    }

    fn lock(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request body in memory, counted against the connection's limit.
pub(super) struct BufferedBody {
    bytes: Vec<u8>,
    connection: Arc<Connection>,
}

impl BufferedBody {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends data. Returns false if that would exceed the connection's limit.
    fn push(&mut self, data: &[u8], max_buffered: usize) -> bool {
        let mut load = self.connection.lock();
        if load.buffered + data.len() > max_buffered {
            return false;
        }
        load.buffered += data.len();
        drop(load);
        self.bytes.extend_from_slice(data);
        true
    }

    fn clear(&mut self) {
        self.connection.lock().buffered -= self.bytes.len();
        self.bytes = Vec::new();
    }
}

impl Drop for BufferedBody {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Guard of an open request; see [`Connection::open`].
pub(super) struct OpenRequest(Arc<Connection>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut load = self.0.lock();
        load.open -= 1;
        load.idle_since = Instant::now();
    }
}

/// The body of a reply. It keeps its request open until it is dropped.
pub(super) struct TrackedBody {
    pub(super) body: ReplyBody,
    pub(super) _open: OpenRequest,
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Spawns the tasks of HTTP/2 streams, which the connection owns.
#[derive(Debug, Clone)]
struct StreamTasks(Weak<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for StreamTasks {
    fn execute(&self, stream: F) {
        let Some(tasks) = self.0.upgrade() else { return };
        let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(stream);
    }
}
