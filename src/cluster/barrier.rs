//! A barrier without a coordinator: all shards start at the same time, or none does. Each shard registers. The first one
//! that sees all of them writes the start time. A shard whose timeout expires writes an abort under the same key, so that
//! there is exactly one decision.

use super::heartbeat::{Heartbeat, HeartbeatWatch, Progress, heartbeat_key};
use super::store::Exchange;
use super::store_error::StoreError;
use crate::matrix::{Shard, format_shards};
use crate::units::explained::{Explained, NO_SERVICE};
use crate::units::text::clean;
use crate::units::{duration, timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Maximum time for delivering a leave notice: the process that stops the shard waits for it.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum time after the common start at which a shard may still start.
const MAX_START_DELAY: Duration = Duration::from_secs(10);
/// Interval of heartbeats; at least four are sent per timeout.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// Maximum number of shards listed in a message.
pub(super) const MAX_LISTED: usize = 6;

/// Facts that must be equal for all shards of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunFingerprint {
    /// Number of shards.
    pub(crate) count: u32,
    /// Version of this tool.
    pub(crate) tool_version: String,
    /// SHA-256 of the program.
    pub(crate) build: String,
    /// SHA-256 of the resolved plan.
    pub(crate) plan_hash: String,
}

/// A shard's request to join a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    #[serde(flatten)]
    pub(crate) fingerprint: RunFingerprint,
    /// The seed of the run if this shard decides.
    pub(crate) seed: u64,
    /// Name of the machine.
    pub(crate) host: String,
    /// Random value that distinguishes two processes with the same shard index.
    pub(crate) nonce: String,
}

/// The notice of a shard that leaves before the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaveNotice {
    /// Name of the machine.
    pub(super) host: String,
    pub(super) reason: String,
}

/// The common start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Start time, in milliseconds since the epoch.
    pub(crate) t0_ms: u64,
    /// Equal to that of each [`RunFingerprint`].
    pub(crate) plan_hash: String,
    /// Id of the whole run.
    pub(crate) run_id: String,
    /// Seed of all random draws.
    pub(crate) seed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Start(Start),
    Abort {
        /// Index of the shard that decided.
        by: u32,
        reason: String,
    },
}

/// Why shards could not start or continue together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BarrierError {
    /// The exchange failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The exchange was used before.
    #[error("{url} {state}")]
    Used {
        url: String,
        /// Verb phrase about its content.
        state: String,
    },
    /// The run was aborted before its start or before a cell run.
    #[error("{0}")]
    Aborted(String),
    /// The exchange contains data that no shard has written.
    #[error("{url}: {key}: {message}")]
    Malformed { url: String, key: String, message: String },
}

impl Explained for BarrierError {
    fn exit_code(&self) -> u8 {
        NO_SERVICE
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Used { .. } => Some("each run needs its own exchange: name a new one".into()),
            Self::Aborted(_) => Some("nothing was sent; start again with a new exchange".into()),
            Self::Store(_) | Self::Malformed { .. } => None,
        }
    }
}

/// A shard of a run, with access to its exchange.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) exchange: Exchange,
    pub(crate) shard: Shard,
    pub(crate) join_request: JoinRequest,
    /// Maximum wait for another shard without a new heartbeat.
    pub(crate) timeout: Duration,
    /// Maximum time for which another shard may send heartbeats without progress.
    pub(crate) progress_timeout: Duration,
    /// Progress reported in this shard's heartbeats.
    pub(crate) progress: Progress,
}

impl Member {
    /// Registers and waits for all shards. `run_id` is the id of the run if this shard decides.
    ///
    /// # Errors
    /// Fails if the exchange was used before, if fingerprints differ, or if a shard does not join in time.
    pub(crate) async fn join(&self, run_id: &str) -> Result<Start, BarrierError> {
        let used = |state: String| BarrierError::Used { url: self.exchange.url.clone(), state };
        match read::<Decision>(&self.exchange, "start.json").await? {
            Some(Decision::Start(start)) => {
                return Err(used(format!("already contains the run {}", clean(&start.run_id))));
            }
            Some(Decision::Abort { reason, .. }) => {
                return Err(used(format!("contains an aborted run: {}", clean(&reason))));
            }
            None => {}
        }
        self.wait_at_barrier("", run_id).await
    }

    /// Waits until all shards are ready for the cell run at this position in the order. Returns the common start time.
    ///
    /// # Errors
    /// Fails if a shard has left or does not reach the barrier in time.
    pub(crate) async fn wait_for_cell_run(&self, place: usize, run_id: &str) -> Result<SystemTime, BarrierError> {
        let start = self.wait_at_barrier(&format!("turns/{place:05}/"), run_id).await?;
        let at = UNIX_EPOCH + Duration::from_millis(start.t0_ms);
        let early = at.duration_since(SystemTime::now()).unwrap_or_default();
        if early > self.exchange.start_delay + MAX_START_DELAY {
            return Err(BarrierError::Aborted(format!(
                "cell run {} starts in {} by the clock of shard {}: the clocks of the machines differ",
                place + 1,
                duration::format(Duration::from_secs(early.as_secs())),
                self.shard.index
            )));
        }
        let late = SystemTime::now().duration_since(at).unwrap_or_default();
        if late > MAX_START_DELAY {
            return Err(BarrierError::Aborted(format!(
                "shard {} received the common start {} too late: its clock is wrong or the exchange is slow",
                self.shard.index,
                duration::format(late)
            )));
        }
        Ok(at)
    }

    /// Sends heartbeats until the future is dropped, so that other shards wait for this one.
    pub(crate) async fn send_heartbeats(&self) {
        for number in 0_u64.. {
            let heartbeat = Heartbeat { host: self.join_request.host.clone(), number, progress: self.progress.count() };
            // A heartbeat that fails is followed by another.
            let _ = self.exchange.replace(&heartbeat_key(self.shard.index), to_json_line(&heartbeat)).await;
            tokio::time::sleep((self.timeout / 4).min(HEARTBEAT_INTERVAL)).await;
        }
    }

    /// Announces, unless it is announced already, that this shard has enough samples of a cell run. Returns whether all
    /// shards have. One attempt only, since the load waits: the caller retries.
    ///
    /// # Errors
    /// Fails if the exchange fails or refuses.
    pub(crate) async fn announce_samples(&self, place: usize, is_announced: bool) -> Result<bool, StoreError> {
        let folder = format!("turns/{place:05}/enough");
        if !is_announced {
            self.exchange.create_once(&format!("{folder}/{}", self.shard.index), "1".into()).await?;
        }
        Ok(self.exchange.list_once(&folder).await?.len() >= self.shard.count as usize)
    }

    /// Leaves a notice that this shard ends early, so that no other shard waits for it.
    ///
    /// # Errors
    /// Fails if the exchange refuses.
    pub(crate) async fn leave(&self, reason: &str) -> Result<(), StoreError> {
        let notice = LeaveNotice { host: self.join_request.host.clone(), reason: reason.into() };
        self.exchange
            .create_within(LEAVE_TIMEOUT, &leave_notice_key(self.shard.index), to_json_line(&notice))
            .await
            .map(drop)
    }

    /// Publishes a value for all other shards.
    ///
    /// # Errors
    /// Fails if the exchange refuses.
    pub(crate) async fn publish<T: Serialize + Sync>(&self, key: &str, value: &T) -> Result<(), StoreError> {
        self.exchange.create(key, to_json_line(value)).await.map(drop)
    }

    /// Waits for a value that another shard publishes.
    ///
    /// # Errors
    /// Fails if that shard has left or does not publish the value in time.
    pub(crate) async fn receive<T: DeserializeOwned>(&self, key: &str, from: u32) -> Result<T, BarrierError> {
        let mut watch = self.heartbeat_watch();
        watch.check(&self.exchange, &[from]).await?;
        let mut polls = self.exchange.poll_backoff();
        loop {
            if let Some(value) = read(&self.exchange, key).await? {
                return Ok(value);
            }
            if let Some(reason) = self.leave_reason().await? {
                return Err(BarrierError::Aborted(reason));
            }
            if watch.is_due() {
                let lost = watch.check(&self.exchange, &[from]).await?;
                if !lost.silent.is_empty() {
                    let timeout = duration::format(self.timeout);
                    return Err(BarrierError::Aborted(format!("shard {from} did not publish {key} within {timeout}")));
                }
                if let Some(reason) = lost.stalled {
                    return Err(BarrierError::Aborted(reason));
                }
            }
            polls.wait(watch.next_check()).await;
        }
    }

    async fn wait_at_barrier(&self, folder: &str, run_id: &str) -> Result<Start, BarrierError> {
        let (ready, start) = (format!("{folder}ready"), format!("{folder}start.json"));
        let mut polls = self.exchange.poll_backoff();
        while !self.register(&ready).await? {
            polls.wait(Instant::now() + self.timeout).await;
        }
        let mut known = BTreeMap::new();
        let mut watch = self.heartbeat_watch();
        watch.check(&self.exchange, &self.missing_shards(&known)).await?;
        polls.reset();
        loop {
            match read::<Decision>(&self.exchange, &start).await? {
                Some(Decision::Start(start)) => return Ok(start),
                Some(Decision::Abort { by, reason }) => {
                    let by = if by == self.shard.index { String::new() } else { format!(" (decided by shard {by})") };
                    return Err(BarrierError::Aborted(format!("{}{by}", clean(&reason))));
                }
                None => {}
            }
            let before = known.len();
            let mut decision = self.decide(&ready, &mut known, run_id).await?;
            if decision.is_none() && watch.is_due() {
                // Missing shards that make progress are still at work and are waited for.
                let lost = watch.check(&self.exchange, &self.missing_shards(&known)).await?;
                let silent = (!lost.silent.is_empty()).then(|| self.timeout_message(&lost.silent));
                decision = silent.or(lost.stalled).map(|reason| Decision::Abort { by: self.shard.index, reason });
            }
            if let Some(decision) = decision {
                // From now on the key contains a decision, this one or another.
                self.exchange.create(&start, to_json_line(&decision)).await?;
                continue;
            }
            if known.len() > before {
                polls.reset();
            }
            polls.wait(watch.next_check()).await;
        }
    }

    /// Registers this shard. Returns whether the registration is confirmed: a retry may find the shard's own entry.
    async fn register(&self, ready: &str) -> Result<bool, BarrierError> {
        let key = format!("{ready}/{}.json", self.shard.index);
        if self.exchange.create(&key, to_json_line(&self.join_request)).await? {
            return Ok(true);
        }
        match read::<JoinRequest>(&self.exchange, &key).await? {
            Some(other) if other.nonce != self.join_request.nonce => Err(BarrierError::Used {
                url: self.exchange.url.clone(),
                state: format!("already has a shard {}, on host {}", self.shard.index, clean(&other.host)),
            }),
            found => Ok(found.is_some()),
        }
    }

    /// Returns the decision that follows from the registered shards; `None` while it is open.
    async fn decide(
        &self,
        ready: &str,
        known: &mut BTreeMap<u32, JoinRequest>,
        run_id: &str,
    ) -> Result<Option<Decision>, BarrierError> {
        let abort = |reason: String| Ok(Some(Decision::Abort { by: self.shard.index, reason }));
        if let Some(reason) = self.leave_reason().await? {
            return abort(reason);
        }
        for name in self.exchange.list(ready).await? {
            let index = name.strip_suffix(".json").and_then(|name| name.parse::<u32>().ok());
            let Some(index) = index.filter(|index| !known.contains_key(index)) else { continue };
            let Some(join_request) = read::<JoinRequest>(&self.exchange, &format!("{ready}/{name}")).await? else {
                continue;
            };
            if let Some(reason) = self.join_request.difference(self.shard.index, &join_request, index) {
                return abort(reason);
            }
            known.insert(index, join_request);
        }
        if known.len() < self.shard.count as usize {
            return Ok(None);
        }
        let t0_ms = timestamp::now_ms() + self.exchange.start_delay.as_millis() as u64;
        let (plan_hash, seed) = (self.join_request.fingerprint.plan_hash.clone(), self.join_request.seed);
        Ok(Some(Decision::Start(Start { t0_ms, plan_hash, run_id: run_id.into(), seed })))
    }

    /// Returns a message about the first shard that has left, if any.
    async fn leave_reason(&self) -> Result<Option<String>, BarrierError> {
        let Some(name) = self.exchange.list("left").await?.into_iter().min() else { return Ok(None) };
        let Some(left) = read::<LeaveNotice>(&self.exchange, &format!("left/{name}")).await? else { return Ok(None) };
        let index = name.trim_end_matches(".json");
        Ok(Some(format!("shard {} on {} left: {}", clean(index), clean(&left.host), clean(&left.reason))))
    }

    fn heartbeat_watch(&self) -> HeartbeatWatch {
        HeartbeatWatch::new(self.timeout, self.progress_timeout)
    }

    fn missing_shards(&self, known: &BTreeMap<u32, JoinRequest>) -> Vec<u32> {
        (0..self.shard.count).filter(|index| !known.contains_key(index)).collect()
    }

    fn timeout_message(&self, shards: &[u32]) -> String {
        format!(
            "{} of {} did not reach the barrier within {}",
            format_shards(shards, MAX_LISTED),
            self.shard.count,
            duration::format(self.timeout)
        )
    }
}

/// Returns the key of a shard's leave notice.
pub(super) fn leave_notice_key(index: u32) -> String {
    format!("left/{index}.json")
}

impl RunFingerprint {
    /// Returns the first fact that differs: its name and both values.
    pub(super) fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let facts = [
            ("the number of shards", self.count.to_string(), other.count.to_string()),
            ("the version of bedrock-plan", self.tool_version.clone(), other.tool_version.clone()),
            ("the program (SHA-256)", self.build.clone(), other.build.clone()),
            ("the plan (SHA-256)", self.plan_hash.clone(), other.plan_hash.clone()),
        ];
        facts.into_iter().find(|(_, ours, theirs)| ours != theirs)
    }
}

impl JoinRequest {
    /// Returns a message about the first fact that differs, if any.
    fn difference(&self, own: u32, other: &Self, index: u32) -> Option<String> {
        let (fact, ours, theirs) = self.fingerprint.difference(&other.fingerprint)?;
        let short = |text: &str| clean(text).chars().take(16).collect::<String>();
        let (ours, theirs) = (short(&ours), short(&theirs));
        Some(format!("{fact} is {ours} for shard {own} and {theirs} for shard {index} on {}", clean(&other.host)))
    }
}

fn to_json_line<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text
}

/// Reads and parses the value of a key; returns `None` if there is no such key.
pub(super) async fn read<T: DeserializeOwned>(exchange: &Exchange, key: &str) -> Result<Option<T>, BarrierError> {
    let Some(bytes) = exchange.get(key).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| BarrierError::Malformed {
        url: exchange.url.clone(),
        key: key.into(),
        message: error.to_string(),
    })
}
