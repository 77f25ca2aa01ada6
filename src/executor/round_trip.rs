//! Observations of the connector about one HTTP request and its reply. The SDK has no way to return them, so they are in a
//! task-local around `send()`: the SDK calls the connector from the sending task.

use super::reported::Reported;
use crate::record::Connection;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static CURRENT: Arc<RoundTrip>;
}

/// One HTTP request and its reply, observed below the SDK.
#[derive(Debug, Default)]
pub(crate) struct RoundTrip(Mutex<Facts>);

/// Observations of an [`RoundTrip`].
#[derive(Debug, Default, Clone)]
pub(crate) struct Facts {
    /// Time at which the signed request was handed to the connection pool.
    pub(crate) sent: Option<Instant>,
    /// Time of the last byte of the body so far.
    pub(crate) last_byte: Option<Instant>,
    /// Whether the request opened or reused its connection.
    pub(crate) connection: Option<Connection>,
    /// Time taken by a new connection.
    pub(crate) connect: Option<Duration>,
    /// Bytes of the body so far.
    pub(crate) response_bytes: Option<u64>,
    /// Whether the body has ended, with or without an error.
    pub(crate) ended: bool,
    /// Protocol of the reply, such as `http/1.1`.
    pub(crate) protocol: Option<&'static str>,
    /// Figures contained in the reply; `None` if its bytes were not scanned.
    pub(super) reported: Option<Reported>,
    /// Error class of a failure below HTTP: `connect`, `dns`, `tls`, `reset` or `decode`.
    pub(crate) failure: Option<&'static str>,
}

impl RoundTrip {
    /// Wraps `send` so that the connector finds this value. Not an `async fn`, which would store the SDK's large future
    /// twice.
    pub(crate) fn scope<F: Future>(self: Arc<Self>, send: F) -> TaskLocalFuture<Arc<Self>, F> {
        CURRENT.scope(self, send)
    }

    /// Returns the value of the current task; `None` for the SDK's own requests, such as those for credentials.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Returns the observations so far.
    pub(crate) fn facts(&self) -> Facts {
        self.lock().clone()
    }

    /// Changes the observations.
    pub(super) fn note(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
