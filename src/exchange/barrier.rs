//! All begin at one moment, or nobody does, without anyone who leads: each says that it is there, and
//! whoever sees all of them first writes when it begins. Whoever waited too long writes, under the same
//! key, that nothing does; so there is one decision.

use super::heartbeat::{Heartbeat, Progress, Watch, heartbeat_key};
use super::store::{Exchange, StoreError};
use crate::matrix::{Shard, listed_shards};
use crate::units::text::clean;
use crate::units::{duration, timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a shard tries to report that it leaves: whoever stops it waits for that.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);
/// Whoever learns of a start so long after it stays away: the others have begun without it.
const TOO_LATE: Duration = Duration::from_secs(10);
/// So often a shard says that it is alive, or four times within the timeout.
const BEAT: Duration = Duration::from_secs(15);
/// More names than these say no more.
pub(super) const NAMED: usize = 6;

/// What all shards of a run agree in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kind {
    /// How many there are.
    pub(crate) count: u32,
    /// The version of this tool.
    pub(crate) tool_version: String,
    /// SHA-256 of the program.
    pub(crate) build: String,
    /// SHA-256 of all that the plan says.
    pub(crate) plan_hash: String,
}

/// What a shard says of itself when it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// What it shares with the others.
    #[serde(flatten)]
    pub(crate) kind: Kind,
    /// The seed that it would take.
    pub(crate) seed: u64,
    /// The name of its machine.
    pub(crate) host: String,
    /// Tells it from another process that says to be the same shard.
    pub(crate) nonce: String,
}

/// What a shard says that goes before the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Farewell {
    /// Its machine.
    pub(super) host: String,
    /// Why.
    pub(super) reason: String,
}

/// What all begin with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// The moment, epoch milliseconds.
    pub(crate) t0_ms: u64,
    /// As every [`Kind`] of the run has it.
    pub(crate) plan_hash: String,
    /// Of the whole run.
    pub(crate) run_id: String,
    /// The seed of everything that is drawn.
    pub(crate) seed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Decision {
    Start(Start),
    Abort {
        /// By which shard.
        by: u32,
        reason: String,
    },
}

/// Why the machines of a run did not come together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeetError {
    /// The exchange.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// It was used before.
    #[error("{url} {what}")]
    Used {
        /// The exchange.
        url: String,
        /// By whom.
        what: String,
    },
    /// The run does not begin, or does not go on.
    #[error("{0}")]
    Parted(String),
    /// Something in the exchange that no shard writes.
    #[error("{url}: {key}: {message}")]
    Malformed {
        /// The exchange.
        url: String,
        /// Which key.
        key: String,
        /// What is wrong.
        message: String,
    },
}

/// A shard of a run, at its exchange.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) exchange: Exchange,
    pub(crate) shard: Shard,
    pub(crate) hello: Hello,
    /// How long it waits for the others.
    pub(crate) timeout: Duration,
    /// How long another shard may heartbeat without progress before it counts as gone.
    pub(crate) max_quiet: Duration,
    /// What this one's heartbeats report.
    pub(crate) progress: Progress,
}

impl Member {
    /// Comes, and waits until all are there. `run_id` is the one that the run has if this shard decides.
    ///
    /// # Errors
    /// When the exchange was used before, shards do not fit each other, or not all come in time.
    pub(crate) async fn join(&self, run_id: &str) -> Result<Start, MeetError> {
        let used = |what: String| MeetError::Used { url: self.exchange.url.clone(), what };
        match read::<Decision>(&self.exchange, "start.json").await? {
            Some(Decision::Start(start)) => {
                return Err(used(format!("already holds the run {}", clean(&start.run_id))));
            }
            Some(Decision::Abort { reason, .. }) => {
                return Err(used(format!("holds a run that was given up: {}", clean(&reason))));
            }
            None => {}
        }
        self.meet("", run_id).await
    }

    /// Waits before a turn, which is named by its place in the order, until all are there. Returns when it begins.
    ///
    /// # Errors
    /// When somebody left, or not all come in time.
    pub(crate) async fn turn(&self, place: usize, run_id: &str) -> Result<SystemTime, MeetError> {
        let start = self.meet(&format!("turns/{place:05}/"), run_id).await?;
        let at = UNIX_EPOCH + Duration::from_millis(start.t0_ms);
        let early = at.duration_since(SystemTime::now()).unwrap_or_default();
        if early > self.exchange.lead + TOO_LATE {
            return Err(MeetError::Parted(format!(
                "turn {} is to begin in {} by the clock of shard {}: the machines' clocks differ",
                place + 1,
                duration::format(Duration::from_secs(early.as_secs())),
                self.shard.index
            )));
        }
        let late = SystemTime::now().duration_since(at).unwrap_or_default();
        if late > TOO_LATE {
            return Err(MeetError::Parted(format!(
                "shard {} learned {} after the start that all had begun: its clock or the exchange is late",
                self.shard.index,
                duration::format(late)
            )));
        }
        Ok(at)
    }

    /// Says that it is alive, again and again: who works longer than others is waited for.
    pub(crate) async fn beat(&self) {
        for beat in 0_u64.. {
            let heartbeat = Heartbeat { host: self.hello.host.clone(), beat, progress: self.progress.count() };
            // One that is missed is followed by another.
            let _ = self.exchange.replace(&heartbeat_key(self.shard.index), text(&heartbeat)).await;
            tokio::time::sleep((self.timeout / 4).min(BEAT)).await;
        }
    }

    /// Says that it has as many samples of a turn as it should, unless it did. Returns whether all have. The load waits
    /// for it: the caller repeats what failed.
    ///
    /// # Errors
    /// When the exchange fails or refuses.
    pub(crate) async fn enough(&self, place: usize, is_announced: bool) -> Result<bool, StoreError> {
        let folder = format!("turns/{place:05}/enough");
        if !is_announced {
            self.exchange.create_once(&format!("{folder}/{}", self.shard.index), "1".into()).await?;
        }
        Ok(self.exchange.list_once(&folder).await?.len() >= self.shard.count as usize)
    }

    /// Says that it goes before the end, so that nobody waits for it.
    ///
    /// # Errors
    /// When the exchange refuses.
    pub(crate) async fn leave(&self, reason: &str) -> Result<(), StoreError> {
        let farewell = Farewell { host: self.hello.host.clone(), reason: reason.into() };
        self.exchange.create_within(LEAVE_PATIENCE, &farewell_of(self.shard.index), text(&farewell)).await.map(drop)
    }

    /// Tells all others what only this shard found out.
    ///
    /// # Errors
    /// When the exchange refuses.
    pub(crate) async fn tell<T: Serialize + Sync>(&self, key: &str, what: &T) -> Result<(), StoreError> {
        self.exchange.create(key, text(what)).await.map(drop)
    }

    /// Waits for what another shard tells.
    ///
    /// # Errors
    /// When it left, or does not tell in time.
    pub(crate) async fn hear<T: DeserializeOwned>(&self, key: &str, from: u32) -> Result<T, MeetError> {
        let mut watch = self.watch();
        watch.look(&self.exchange, &[from]).await?;
        let mut polls = self.exchange.poll();
        loop {
            if let Some(heard) = read(&self.exchange, key).await? {
                return Ok(heard);
            }
            if let Some(why) = self.somebody_left().await? {
                return Err(MeetError::Parted(why));
            }
            if watch.is_due() {
                let gone = watch.look(&self.exchange, &[from]).await?;
                if !gone.silent.is_empty() {
                    let timeout = duration::format(self.timeout);
                    return Err(MeetError::Parted(format!("shard {from} did not tell {key} within {timeout}")));
                }
                if let Some(why) = gone.stalled {
                    return Err(MeetError::Parted(why));
                }
            }
            polls.wait(watch.due()).await;
        }
    }

    async fn meet(&self, folder: &str, run_id: &str) -> Result<Start, MeetError> {
        let (ready, start) = (format!("{folder}ready"), format!("{folder}start.json"));
        let mut polls = self.exchange.poll();
        while !self.come(&ready).await? {
            polls.wait(Instant::now() + self.timeout).await;
        }
        let mut known = BTreeMap::new();
        let mut watch = self.watch();
        watch.look(&self.exchange, &self.absent(&known)).await?;
        polls.reset();
        loop {
            match read::<Decision>(&self.exchange, &start).await? {
                Some(Decision::Start(start)) => return Ok(start),
                Some(Decision::Abort { by, reason }) => {
                    let by = if by == self.shard.index { String::new() } else { format!(" (as shard {by} decided)") };
                    return Err(MeetError::Parted(format!("{}{by}", clean(&reason))));
                }
                None => {}
            }
            let before = known.len();
            let mut decision = self.decide(&ready, &mut known, run_id).await?;
            if decision.is_none() && watch.is_due() {
                // All that are not here and make progress are at work, and will come.
                let gone = watch.look(&self.exchange, &self.absent(&known)).await?;
                let silent = (!gone.silent.is_empty()).then(|| self.did_not_come(&gone.silent));
                decision = silent.or(gone.stalled).map(|reason| Decision::Abort { by: self.shard.index, reason });
            }
            if let Some(decision) = decision {
                // Whether or not this one is the decision, it stands there from now on.
                self.exchange.create(&start, text(&decision)).await?;
                continue;
            }
            if known.len() > before {
                polls.reset();
            }
            polls.wait(watch.due()).await;
        }
    }

    /// Says that it is there. What a retry finds may be its own. Returns whether it is known to stand there.
    async fn come(&self, ready: &str) -> Result<bool, MeetError> {
        let key = format!("{ready}/{}.json", self.shard.index);
        if self.exchange.create(&key, text(&self.hello)).await? {
            return Ok(true);
        }
        match read::<Hello>(&self.exchange, &key).await? {
            Some(other) if other.nonce != self.hello.nonce => Err(MeetError::Used {
                url: self.exchange.url.clone(),
                what: format!("has a shard {} already, on {}", self.shard.index, clean(&other.host)),
            }),
            found => Ok(found.is_some()),
        }
    }

    /// What follows from who is there now; nothing while it is open.
    async fn decide(
        &self,
        ready: &str,
        known: &mut BTreeMap<u32, Hello>,
        run_id: &str,
    ) -> Result<Option<Decision>, MeetError> {
        let abort = |reason: String| Ok(Some(Decision::Abort { by: self.shard.index, reason }));
        if let Some(why) = self.somebody_left().await? {
            return abort(why);
        }
        for name in self.exchange.list(ready).await? {
            let index = name.strip_suffix(".json").and_then(|name| name.parse::<u32>().ok());
            let Some(index) = index.filter(|index| !known.contains_key(index)) else { continue };
            let Some(hello) = read::<Hello>(&self.exchange, &format!("{ready}/{name}")).await? else { continue };
            if let Some(why) = self.hello.differs(self.shard.index, &hello, index) {
                return abort(why);
            }
            known.insert(index, hello);
        }
        if known.len() < self.shard.count as usize {
            return Ok(None);
        }
        let t0_ms = timestamp::now_ms() + self.exchange.lead.as_millis() as u64;
        let (plan_hash, seed) = (self.hello.kind.plan_hash.clone(), self.hello.seed);
        Ok(Some(Decision::Start(Start { t0_ms, plan_hash, run_id: run_id.into(), seed })))
    }

    async fn somebody_left(&self) -> Result<Option<String>, MeetError> {
        let Some(name) = self.exchange.list("left").await?.into_iter().min() else { return Ok(None) };
        let Some(left) = read::<Farewell>(&self.exchange, &format!("left/{name}")).await? else { return Ok(None) };
        let index = name.trim_end_matches(".json");
        Ok(Some(format!("shard {} on {} left: {}", clean(index), clean(&left.host), clean(&left.reason))))
    }

    fn watch(&self) -> Watch {
        Watch::new(self.timeout, self.max_quiet)
    }

    fn absent(&self, known: &BTreeMap<u32, Hello>) -> Vec<u32> {
        (0..self.shard.count).filter(|index| !known.contains_key(index)).collect()
    }

    fn did_not_come(&self, shards: &[u32]) -> String {
        format!(
            "{} of {} did not come within {}",
            listed_shards(shards, NAMED),
            self.shard.count,
            duration::format(self.timeout)
        )
    }
}

/// Where a shard says that it goes.
pub(super) fn farewell_of(index: u32) -> String {
    format!("left/{index}.json")
}

impl Kind {
    /// The first thing that is another for `other`, with both values.
    pub(super) fn differs(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let facts = [
            ("the number of shards", self.count.to_string(), other.count.to_string()),
            ("the version of bedrock-plan", self.tool_version.clone(), other.tool_version.clone()),
            ("the program (SHA-256)", self.build.clone(), other.build.clone()),
            ("the plan (SHA-256)", self.plan_hash.clone(), other.plan_hash.clone()),
        ];
        facts.into_iter().find(|(_, ours, theirs)| ours != theirs)
    }
}

impl Hello {
    /// Why two cannot be of one run.
    fn differs(&self, own: u32, other: &Self, index: u32) -> Option<String> {
        let (what, ours, theirs) = self.kind.differs(&other.kind)?;
        let short = |text: &str| clean(text).chars().take(16).collect::<String>();
        let (ours, theirs) = (short(&ours), short(&theirs));
        Some(format!("{what} is {ours} for shard {own} and {theirs} for shard {index} on {}", clean(&other.host)))
    }
}

fn text<T: Serialize>(what: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec(what).unwrap_or_default();
    text.push(b'\n');
    text
}

/// What is under a key as it was meant; nothing where there is no such key.
pub(super) async fn read<T: DeserializeOwned>(exchange: &Exchange, key: &str) -> Result<Option<T>, MeetError> {
    let Some(bytes) = exchange.get(key).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| MeetError::Malformed {
        url: exchange.url.clone(),
        key: key.into(),
        message: error.to_string(),
    })
}
