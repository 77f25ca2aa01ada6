//! What the connector saw of one request, handed back beside the SDK's answer. The SDK carries no
//! such thing, so it travels as a task-local around `send()`: the SDK calls the connector from the
//! task that sends.

use super::reported::Reported;
use crate::record::Connection;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static CURRENT: Arc<Exchange>;
}

/// One request as seen below the SDK.
#[derive(Debug, Default)]
pub(crate) struct Exchange(Mutex<Facts>);

/// See [`Exchange`].
#[derive(Debug, Default, Clone)]
pub(crate) struct Facts {
    /// When the signed request was handed to the connection pool.
    pub(crate) sent: Option<Instant>,
    /// When the last byte of the reply's body so far was read.
    pub(crate) last_byte: Option<Instant>,
    /// Whether it paid for its connection.
    pub(crate) connection: Option<Connection>,
    /// What a new connection took.
    pub(crate) connect: Option<Duration>,
    /// Bytes of the reply's body so far.
    pub(crate) response_bytes: Option<u64>,
    /// The body came to an end, a good one or not.
    pub(crate) ended: bool,
    /// `http/1.1`, as the reply says.
    pub(crate) protocol: Option<&'static str>,
    /// The figures that the reply contains; nothing where its bytes were not scanned.
    pub(super) reported: Option<Reported>,
    /// The class of a failure below HTTP: `connect`, `dns`, `tls`, `reset` or `decode`.
    pub(crate) failure: Option<&'static str>,
}

impl Exchange {
    /// `send` with this exchange as the one that the connector finds. Not an `async fn`: that would
    /// keep the SDK's large future twice.
    pub(crate) fn scope<F: Future>(self: Arc<Self>, send: F) -> TaskLocalFuture<Arc<Self>, F> {
        CURRENT.scope(self, send)
    }

    /// The exchange of the running task; none for requests that are not ours, such as those for credentials.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// What was seen until now.
    pub(crate) fn facts(&self) -> Facts {
        self.lock().clone()
    }

    /// Notes something.
    pub(super) fn note(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
