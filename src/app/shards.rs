//! A run as one of several machines: which one this is, meeting the others, and leaving in the exchange what
//! it recorded.

use super::outcome::{self, CellEnd};
use super::run::Begun;
use super::signals::Signals;
use crate::config::{self, Resolved};
use crate::error::Error;
use crate::exchange::{
    self, BarrierError, BucketAccess, CommitMarker, DetectError, Exchange, JoinRequest, Member, Progress,
    RETRY_TIMEOUT, RunFingerprint, Start, StoreError, clock,
};
use crate::executor::credentials;
use crate::executor::port::{Barrier, Event, Stop};
use crate::matrix::{Cell, Shard};
use crate::plan::Plan;
use crate::record::dir;
use crate::record::hash::{plan_hash, text_hash};
use crate::record::manifest::{ClockState, Manifest, ShardPart, Shards};
use crate::record::probe::ProbeResult;
use crate::units::Secrets;
use crate::units::text::count;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

/// Shard 0 tells it, the others hear it.
const PREFLIGHT: &str = "preflight.json";
/// Why a shard goes whom a person or a scheduler stopped.
const STOPPED: &str = "it was stopped";

/// How long the load waits for an answer to whether all shards have their samples. It is asked again a second later.
const ENOUGH_TIMEOUT: Duration = Duration::from_secs(2);

/// What is told of a run on several machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Where they meet.
    pub(crate) url: String,
    /// Which one this is.
    pub(crate) shard: Shard,
    /// How long it waits for the others.
    pub(crate) timeout: Duration,
}

impl Asked {
    /// From the flags, and from what a scheduler set. Nothing is asked for where nothing names an exchange.
    pub(super) fn of(
        exchange: Option<String>,
        shard: Option<&str>,
        timeout: &str,
        environment: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, Error> {
        let timeout = crate::units::duration::parse(timeout).map_err(Error::BarrierTimeout)?;
        let Some(url) = exchange else {
            return match (shard, exchange::slurm_step_tasks(environment)) {
                (Some(said), _) => match said.parse::<Shard>() {
                    Ok(shard) if shard.is_part() => Err(Error::NoExchange { shard }),
                    Ok(_) => Ok(None),
                    Err(message) => Err(Error::Shard(DetectError::Malformed { origin: "--shard", message })),
                },
                (None, Some(tasks)) => Err(Error::TasksBeside { tasks }),
                (None, None) => Ok(None),
            };
        };
        let shard = exchange::detect_shard(shard, environment).map_err(Error::Shard)?;
        Ok(Some(Self { url, shard, timeout }))
    }

    /// Where this machine's results go.
    pub(super) fn results(&self, whole: &Path) -> PathBuf {
        whole.join(format!("shard_{}_of_{}", self.shard.index, self.shard.count))
    }
}

/// This machine's part of a run that has begun.
pub(super) struct Part {
    member: Member,
    start: Start,
    clock: Option<ClockState>,
    runtime: Handle,
    /// Listening since before it waited: none that comes between is lost.
    signals: Signals,
    /// The others know how it ended, or will when they look for it.
    is_told: bool,
}

/// What a machine comes with.
pub(super) struct Meeting<'a> {
    asked: &'a Asked,
    /// How a bucket is opened.
    access: Access<'a>,
    /// Over all that is asked, see [`whole_hash`].
    plan_hash: String,
    /// The longest time without progress of a shard that works, see [`longest_quiet`].
    longest_quiet: Duration,
}

impl<'a> Meeting<'a> {
    /// Of a shard of this plan's run.
    pub(super) fn new(asked: &'a Asked, access: Access<'a>, resolved: &Resolved, cells: &[Cell]) -> Self {
        let longest_quiet = longest_quiet(cells, resolved.plan.load.cool_down);
        Self { asked, access, plan_hash: whole_hash(resolved, cells), longest_quiet }
    }
}

/// The longest time in which a shard that works may end nothing: a request that takes its whole timeout, the drain and
/// the cool-down. The seconds of a load count as progress, whatever its think times and its arrivals are.
fn longest_quiet(cells: &[Cell], cool_down: Duration) -> Duration {
    let longest = |of: fn(&Cell) -> Duration| cells.iter().map(of).max().unwrap_or_default();
    cool_down.saturating_add(longest(|cell| cell.request.timeout)).saturating_add(longest(|cell| cell.load.drain))
}

/// What opens a bucket.
pub(super) struct Access<'a> {
    /// The profile whose credentials are used; nothing leaves the choice to the environment.
    pub(super) profile: Option<&'a str>,
    /// A session token may be sent over plain http to any host.
    pub(super) allow_http: bool,
    pub(super) environment: &'a BTreeMap<String, String>,
    /// What is masked.
    pub(super) secrets: &'a Secrets,
}

/// Opens the exchange and waits until all machines are there; `begun` is what the run has if this one decides. A
/// person may give up the waiting: nothing is returned.
pub(super) fn join(meeting: &Meeting, runtime: &Runtime, begun: &Begun) -> Result<Option<Part>, Error> {
    let Asked { url, shard, timeout } = meeting.asked;
    let fingerprint = RunFingerprint {
        count: shard.count,
        tool_version: env!("CARGO_PKG_VERSION").into(),
        build: exchange::program_hash(),
        plan_hash: meeting.plan_hash.clone(),
    };
    let join_request =
        JoinRequest { fingerprint, seed: begun.seed, host: host(), nonce: format!("{:016x}", rand::random::<u64>()) };
    let signals = Signals::listen(3);
    runtime.block_on(async {
        let exchange = open(url, &meeting.access, true).await?;
        let others = count(shard.count as usize - 1, "other");
        let _ = writeln!(std::io::stderr(), "shard {shard}: waiting for {others} at {url}");
        let member = Member {
            exchange,
            shard: *shard,
            join_request,
            timeout: *timeout,
            progress_timeout: timeout.saturating_add(meeting.longest_quiet),
            progress: Progress::default(),
        };
        let start = tokio::select! {
            start = member.join(&begun.run_id) => start.map_err(Error::Barrier)?,
            () = signals.nth(1) => {
                signals.end_at_next();
                member.leave(STOPPED).await.map_err(Error::Exchange)?;
                return Ok(None);
            }
        };
        let clock = clock::state().map(|(synchronised, max_error_ms)| ClockState { synchronised, max_error_ms });
        Ok(Some(Part { member, start, clock, runtime: runtime.handle().clone(), signals, is_told: false }))
    })
}

/// Opens an exchange, which a directory is made for if wanted; a bucket's with the credentials of this process.
pub(super) async fn open(url: &str, access: &Access<'_>, make: bool) -> Result<Exchange, Error> {
    let mut bucket = BucketAccess::default();
    if Exchange::is_bucket(url) {
        let Access { profile, allow_http, environment, secrets } = *access;
        let network = super::network::settings(environment, profile)?;
        bucket.endpoint = config::s3_endpoint(environment, profile)?;
        bucket.certificates =
            network.ca_bundle.iter().flat_map(|bundle| bundle.certificates().map(<[u8]>::to_vec)).collect();
        (bucket.provider, bucket.region) =
            credentials(profile, &network, secrets, bucket.endpoint.as_ref(), allow_http).await;
    }
    Exchange::open(url, access.environment, bucket, make, access.secrets).map_err(Error::Exchange)
}

impl Part {
    /// Which part.
    pub(super) fn shard(&self) -> Shard {
        self.member.shard
    }

    /// Enters this machine into the manifest of its part.
    pub(super) fn enter(&self, manifest: &mut Manifest) {
        let part = ShardPart {
            index: self.shard().index,
            host: self.member.join_request.host.clone(),
            machine: manifest.machine.clone(),
            clock: self.clock,
            started_ms: crate::units::timestamp::now_ms(),
            ended_ms: None,
            interrupted: false,
            reason: None,
        };
        manifest.shards = Some(Shards::new(self.shard().count, vec![part]));
    }

    /// What tells the run from others.
    pub(super) fn begun(&self) -> Begun {
        Begun { started_ms: self.start.t0_ms, run_id: self.start.run_id.clone(), seed: self.start.seed }
    }

    /// Says that this machine is alive, until it is aborted.
    pub(super) fn beat(&self) -> JoinHandle<()> {
        let member = self.member.clone();
        self.runtime.spawn(async move { member.send_heartbeats().await })
    }

    /// What moves the progress that the heartbeats report.
    pub(super) fn work(&self, cells: &[Cell]) -> Work {
        Work::new(self.member.progress.clone(), cells)
    }

    /// What listens for signals already.
    pub(super) fn signals(&self) -> Signals {
        self.signals.clone()
    }

    /// What the executor waits at.
    pub(super) fn meet(&self) -> Arc<dyn Barrier> {
        Arc::new(Turns {
            member: self.member.clone(),
            run_id: self.start.run_id.clone(),
            announced: AtomicUsize::new(usize::MAX),
            failing_since: Mutex::default(),
        })
    }

    /// Tells the others what the pre-flight found: one machine alone asks.
    pub(super) async fn tell_found(&self, found: &[ProbeResult]) -> Result<(), BarrierError> {
        Ok(self.member.publish(PREFLIGHT, &found).await?)
    }

    /// Hears what the pre-flight of that machine found; nothing where somebody wants to stop.
    pub(super) async fn hear_found(&self, stop: &Stop) -> Result<Option<Vec<ProbeResult>>, BarrierError> {
        tokio::select! {
            biased;
            () = stop.drain.cancelled() => Ok(None),
            heard = self.member.receive(PREFLIGHT, 0) => heard.map(Some),
        }
    }

    /// Enters how it ended, tells the others if that was before the end, and leaves the results in the exchange. Returns
    /// the exit code; 4 where the machines `parted`.
    pub(super) fn finish(
        mut self,
        results: &Path,
        manifest: &mut Manifest,
        ends: &[CellEnd],
        parted: Option<&str>,
    ) -> Result<u8, Error> {
        let (interrupted, ended_ms) = (manifest.interrupted, manifest.ended_ms);
        // What ended this machine's part before its time ends the others', which must not wait for it.
        let last = manifest.turns.last().filter(|_| manifest.has_unfinished());
        let cut =
            last.map(|turn| format!("{}: {}", turn.test_id, turn.reason.as_deref().unwrap_or("it was cut short")));
        let reason = parted.map(str::to_owned).or(cut).filter(|_| !interrupted);
        if let Some(Shards { count, parts, .. }) = manifest.shards.take() {
            let ended = |part| ShardPart { interrupted, ended_ms, reason: reason.clone(), ..part };
            manifest.shards = Some(Shards::new(count, parts.into_iter().map(ended).collect()));
        }
        dir::write_manifest(results, manifest)?;
        self.is_told = true;
        let left = if interrupted { Some(STOPPED) } else { reason.as_deref() };
        self.runtime
            .block_on(async {
                let told = match left {
                    Some(why) => self.member.leave(why).await,
                    None => Ok(()),
                };
                let mark = CommitMarker {
                    index: self.shard().index,
                    run_id: manifest.run_id.clone(),
                    fingerprint: self.member.join_request.fingerprint.clone(),
                    files: BTreeMap::new(),
                };
                // Whatever becomes of the message, the records are what counts.
                let sent = exchange::deliver(&self.member.exchange, results, &super::merge::FILES, mark).await;
                sent.and(told)
            })
            .map_err(|source| Error::NotDelivered { dir: results.to_owned(), source })?;
        let _ = writeln!(
            std::io::stderr(),
            "records in {} and in {}; once all shards have ended `bedrock-plan merge {1} --to DIR` puts them together",
            results.display(),
            self.member.exchange.url
        );
        let is_apart = parted.is_some() && !interrupted;
        Ok(if is_apart { 4 } else { outcome::exit_code(manifest, ends, false) })
    }
}

/// Whatever error ends it before [`Part::finish`], nobody waits for it.
impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_told {
            let _ = self.runtime.block_on(self.member.leave("it could not go on"));
        }
    }
}

/// The work of a shard, as its events show it.
pub(super) struct Work {
    progress: Progress,
    /// The longest load of each cell, seconds.
    longest: Vec<u64>,
    /// The seconds that the running load may still last.
    seconds_left: AtomicU64,
}

impl Work {
    fn new(progress: Progress, cells: &[Cell]) -> Self {
        let longest = cells.iter().map(|cell| cell.max_length().as_secs() + 1).collect();
        Self { progress, longest, seconds_left: AtomicU64::new(0) }
    }

    /// Counts an event. A second of the load is work too, since no request may end in it; but not beyond the time that
    /// the load may take, since a load that hangs has seconds for ever.
    pub(super) fn note(&self, event: &Event) {
        match event {
            Event::TurnStarted { turn, .. } => self.seconds_left.store(self.longest[turn.cell], Ordering::Relaxed),
            Event::Second(_) => {
                let take = |seconds: u64| seconds.checked_sub(1);
                if self.seconds_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
                    return;
                }
            }
            _ => {}
        }
        self.progress.advance();
    }
}

struct Turns {
    member: Member,
    run_id: String,
    /// The place of the last turn of which the others know that this shard has its samples.
    announced: AtomicUsize,
    /// When the exchange began to fail while a load was waiting for it.
    failing_since: Mutex<Option<Instant>>,
}

impl Turns {
    async fn look_for_enough(&self, place: usize) -> bool {
        let is_announced = self.announced.load(Ordering::Relaxed) == place;
        let looked = tokio::time::timeout(ENOUGH_TIMEOUT, self.member.announce_samples(place, is_announced)).await;
        let mut failing_since = self.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        match looked {
            Ok(Ok(have_all)) => {
                self.announced.store(place, Ordering::Relaxed);
                *failing_since = None;
                have_all
            }
            // An exchange that fails for long, or for good, keeps no cell going.
            Ok(Err(error)) if !StoreError::is_transient(&error) => true,
            _ => failing_since.get_or_insert_with(Instant::now).elapsed() >= RETRY_TIMEOUT,
        }
    }
}

impl Barrier for Turns {
    fn wait(&self, place: usize) -> Pin<Box<dyn Future<Output = Result<SystemTime, String>> + Send + '_>> {
        Box::pin(
            async move { self.member.wait_for_cell_run(place, &self.run_id).await.map_err(|error| error.to_string()) },
        )
    }

    fn all_have_enough(&self, place: usize) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(self.look_for_enough(place))
    }
}

/// Over all that a plan says and asks, prompts included, but for where files are and whose credentials are used: machines
/// have directories and profiles of their own.
fn whole_hash(resolved: &Resolved, cells: &[Cell]) -> String {
    let mut plan = Plan { results_dir: String::new(), prompts_file: None, ..resolved.plan.clone() };
    plan.target.profile = None;
    for dataset in &mut plan.dataset {
        dataset.file = PathBuf::new();
    }
    let ids: Vec<&str> = cells.iter().map(|cell| cell.id.as_str()).collect();
    let cells: Vec<String> = cells.iter().map(|cell| super::run::hash(resolved, cell)).collect();
    text_hash(&format!("{}\n{}\n{}", super::show::toml(&plan), ids.join("\n"), plan_hash(&cells)))
}

/// The name of this machine; `unknown` where it has none.
fn host() -> String {
    #[cfg(unix)]
    return rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    return "unknown".into();
}
