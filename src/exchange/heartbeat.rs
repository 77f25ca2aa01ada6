//! Heartbeats: a shard that works longer than others is waited for as long as it makes progress.

use super::store::{Exchange, StoreError};
use crate::units::duration;
use crate::units::text::clean;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A counter that moves with the work of a shard. Its clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Notes that a piece of work was done.
    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The pieces of work done so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The sign of life of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heartbeat {
    /// Its machine.
    pub(super) host: String,
    /// Number of the heartbeat, from 0.
    pub(super) beat: u64,
    /// Its [`Progress`].
    pub(super) progress: u64,
}

/// The key of a shard's heartbeat.
pub(super) fn heartbeat_key(index: u32) -> String {
    format!("alive/{index}")
}

/// The last heartbeat of a shard, and when it was first seen to be another. Times are of this machine's clock.
struct Seen {
    heartbeat: Option<Heartbeat>,
    alive_at: Instant,
    progress_at: Instant,
}

/// The shards that are gone.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// Those without a new heartbeat within the timeout.
    pub(super) silent: Vec<u32>,
    /// Names the first that heartbeats without progress.
    pub(super) stalled: Option<String>,
}

/// Observes the heartbeats of shards that are waited for.
pub(super) struct Watch {
    timeout: Duration,
    max_quiet: Duration,
    seen: BTreeMap<u32, Seen>,
    due: Instant,
}

impl Watch {
    pub(super) fn new(timeout: Duration, max_quiet: Duration) -> Self {
        Self { timeout, max_quiet, seen: BTreeMap::new(), due: Instant::now() + timeout }
    }

    /// When the next look can find a shard gone.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// Reads the heartbeats of these shards and returns those that are gone. The first look finds none gone.
    ///
    /// # Errors
    /// When the exchange cannot be read.
    pub(super) async fn look(&mut self, exchange: &Exchange, shards: &[u32]) -> Result<Gone, StoreError> {
        let mut gone = Gone::default();
        let mut due = None;
        for index in shards.iter().copied() {
            let bytes = exchange.get(&heartbeat_key(index)).await?;
            let heartbeat = bytes.and_then(|bytes| serde_json::from_slice::<Heartbeat>(&bytes).ok());
            let now = Instant::now();
            let seen = self.seen.entry(index).or_insert(Seen {
                heartbeat: heartbeat.clone(),
                alive_at: now,
                progress_at: now,
            });
            let progress = |heartbeat: &Option<Heartbeat>| heartbeat.as_ref().map(|heartbeat| heartbeat.progress);
            if progress(&heartbeat) != progress(&seen.heartbeat) {
                seen.progress_at = now;
            }
            if heartbeat != seen.heartbeat {
                seen.alive_at = now;
            }
            seen.heartbeat = heartbeat;
            let quiet = now - seen.progress_at;
            if now - seen.alive_at >= self.timeout {
                gone.silent.push(index);
            } else if let Some(heartbeat) = seen.heartbeat.as_ref().filter(|_| quiet >= self.max_quiet) {
                gone.stalled.get_or_insert_with(|| {
                    format!(
                        "shard {index} (host {}) heartbeats but has made no progress for {}",
                        clean(&heartbeat.host),
                        duration::format(Duration::from_secs(quiet.as_secs()))
                    )
                });
            }
            let next = (seen.alive_at + self.timeout).min(seen.progress_at + self.max_quiet);
            due = Some(due.map_or(next, |due: Instant| due.min(next)));
        }
        self.due = due.unwrap_or_else(|| Instant::now() + self.timeout);
        Ok(gone)
    }
}
