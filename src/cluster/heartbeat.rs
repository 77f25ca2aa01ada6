//! Heartbeats: shards wait for a slower shard as long as it makes progress.

use super::store::Exchange;
use super::store_error::StoreError;
use crate::units::duration;
use crate::units::text::clean;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A counter of a shard's work. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Counts one unit of work.
    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of units so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The heartbeat of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heartbeat {
    /// Name of the machine.
    pub(super) host: String,
    /// Number of the heartbeat, from 0.
    pub(super) number: u64,
    /// Count of the shard's [`Progress`].
    pub(super) progress: u64,
}

/// Returns the key of a shard's heartbeat.
pub(super) fn heartbeat_key(index: u32) -> String {
    format!("alive/{index}")
}

/// The last heartbeat of a shard and the times of its last changes, by this machine's clock.
struct ObservedHeartbeat {
    heartbeat: Option<Heartbeat>,
    alive_at: Instant,
    progress_at: Instant,
}

/// Shards that have stopped responding.
#[derive(Debug, Default)]
pub(super) struct LostShards {
    /// Shards without a new heartbeat within the timeout.
    pub(super) silent: Vec<u32>,
    /// Message about the first shard that sends heartbeats without progress.
    pub(super) stalled: Option<String>,
}

/// Observes the heartbeats of other shards.
pub(super) struct HeartbeatWatch {
    timeout: Duration,
    progress_timeout: Duration,
    seen: BTreeMap<u32, ObservedHeartbeat>,
    next_check: Instant,
}

impl HeartbeatWatch {
    pub(super) fn new(timeout: Duration, progress_timeout: Duration) -> Self {
        Self { timeout, progress_timeout, seen: BTreeMap::new(), next_check: Instant::now() + timeout }
    }

    /// Returns the earliest time at which a check can find a lost shard.
    pub(super) fn next_check(&self) -> Instant {
        self.next_check
    }

    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next_check
    }

    /// Reads the heartbeats of these shards and returns the lost ones. The first check finds none.
    ///
    /// # Errors
    /// Fails if the exchange cannot be read.
    pub(super) async fn check(&mut self, exchange: &Exchange, shards: &[u32]) -> Result<LostShards, StoreError> {
        let mut lost = LostShards::default();
        let mut due = None;
        for index in shards.iter().copied() {
            let bytes = exchange.get(&heartbeat_key(index)).await?;
            let heartbeat = bytes.and_then(|bytes| serde_json::from_slice::<Heartbeat>(&bytes).ok());
            let now = Instant::now();
            let seen = self.seen.entry(index).or_insert(ObservedHeartbeat {
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
                lost.silent.push(index);
            } else if let Some(heartbeat) = seen.heartbeat.as_ref().filter(|_| quiet >= self.progress_timeout) {
                lost.stalled.get_or_insert_with(|| {
                    format!(
                        "shard {index} (host {}) sends heartbeats but has made no progress for {}",
                        clean(&heartbeat.host),
                        duration::format(Duration::from_secs(quiet.as_secs()))
                    )
                });
            }
            let next = (seen.alive_at + self.timeout).min(seen.progress_at + self.progress_timeout);
            due = Some(due.map_or(next, |due: Instant| due.min(next)));
        }
        self.next_check = due.unwrap_or_else(|| Instant::now() + self.timeout);
        Ok(lost)
    }
}
