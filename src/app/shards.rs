//! A run as one of several shards: which shard this is, joining the others, and delivering its records to the exchange.

use super::identity::{RunIdentity, hash};
use super::outcome::{self, CellEnd};
use super::plan_text::toml;
use super::signals::Signals;
use crate::cluster::{
    self, BarrierError, BucketAccess, CellRunBarrier, CommitMarker, Exchange, JoinRequest, Member, Progress,
    ProgressTracker, RunFingerprint, ShardOptions, Start, clock, longest_quiet,
};
use crate::config::{self, Resolved};
use crate::error::Error;
use crate::executor::credentials;
use crate::executor::port::{Barrier, Stop};
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
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

/// File of the pre-flight findings: shard 0 publishes it, the others receive it.
const PREFLIGHT: &str = "preflight.json";
/// Reason in the leave notice of a shard that a person or a scheduler stopped.
const STOPPED: &str = "it was stopped";

/// This shard's part of a run that has started.
pub(super) struct JoinedShard {
    member: Member,
    start: Start,
    clock: Option<ClockState>,
    runtime: Handle,
    /// Signals, received since before this shard waited for the others, so that none is lost in between.
    signals: Signals,
    /// Whether the other shards know how this part ended, or can read it from the exchange.
    has_published_end: bool,
}

/// Everything that a shard needs to join a run.
pub(super) struct JoinContext<'a> {
    options: &'a ShardOptions,
    /// Settings for opening a bucket.
    access: Access<'a>,
    /// Hash of everything that the run sends, see [`content_hash`].
    plan_hash: String,
    /// Longest time without progress of a shard that works, see [`longest_quiet`].
    longest_quiet: Duration,
}

impl<'a> JoinContext<'a> {
    /// Prepares this shard to join the run of a plan.
    pub(super) fn new(options: &'a ShardOptions, access: Access<'a>, resolved: &Resolved, cells: &[Cell]) -> Self {
        let longest_quiet = longest_quiet(cells, resolved.plan.load.cool_down);
        Self { options, access, plan_hash: content_hash(resolved, cells), longest_quiet }
    }
}

/// Settings for opening a bucket.
pub(super) struct Access<'a> {
    /// Profile whose credentials are used; `None` leaves the choice to the environment.
    pub(super) profile: Option<&'a str>,
    /// Whether a session token may be sent over plain HTTP to any host.
    pub(super) allow_http: bool,
    pub(super) environment: &'a BTreeMap<String, String>,
    /// Secrets to mask.
    pub(super) secrets: &'a Secrets,
}

/// Opens the exchange and waits until all shards have joined. `identity` is the identity that the run gets if this shard
/// decides it. Returns `None` if a person stops the waiting.
///
/// # Errors
/// If the exchange cannot be opened, or the shards do not start together.
pub(super) fn join(
    context: &JoinContext,
    runtime: &Runtime,
    identity: &RunIdentity,
) -> Result<Option<JoinedShard>, Error> {
    let ShardOptions { url, shard, timeout } = context.options;
    let fingerprint = RunFingerprint {
        count: shard.count,
        tool_version: env!("CARGO_PKG_VERSION").into(),
        build: cluster::program_hash(),
        plan_hash: context.plan_hash.clone(),
    };
    let join_request = JoinRequest {
        fingerprint,
        seed: identity.seed,
        host: cluster::host_name(),
        nonce: format!("{:016x}", rand::random::<u64>()),
    };
    let signals = Signals::listen(3);
    runtime.block_on(async {
        let exchange = open(url, &context.access, true).await?;
        let others = count(shard.count as usize - 1, "other");
        let _ = writeln!(std::io::stderr(), "shard {shard}: waiting for {others} at {url}");
        let member = Member {
            exchange,
            shard: *shard,
            join_request,
            timeout: *timeout,
            progress_timeout: timeout.saturating_add(context.longest_quiet),
            progress: Progress::default(),
        };
        let start = tokio::select! {
            start = member.join(&identity.run_id) => start.map_err(Error::Barrier)?,
            () = signals.nth(1) => {
                signals.end_at_next();
                member.leave(STOPPED).await.map_err(Error::Exchange)?;
                return Ok(None);
            }
        };
        let clock = clock::state().map(|(synchronised, max_error_ms)| ClockState { synchronised, max_error_ms });
        Ok(Some(JoinedShard {
            member,
            start,
            clock,
            runtime: runtime.handle().clone(),
            signals,
            has_published_end: false,
        }))
    })
}

/// Opens an exchange. `create` creates the directory if it is missing. A bucket is opened with the credentials of this
/// process.
pub(super) async fn open(url: &str, access: &Access<'_>, create: bool) -> Result<Exchange, Error> {
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
    Exchange::open(url, access.environment, bucket, create, access.secrets).map_err(Error::Exchange)
}

impl JoinedShard {
    pub(super) fn shard(&self) -> Shard {
        self.member.shard
    }

    /// Adds this machine to the manifest of its part.
    pub(super) fn add_to_manifest(&self, manifest: &mut Manifest) {
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

    /// Returns the identity of the run.
    pub(super) fn identity(&self) -> RunIdentity {
        RunIdentity { started_ms: self.start.t0_ms, run_id: self.start.run_id.clone(), seed: self.start.seed }
    }

    /// Starts to send heartbeats, until the returned task is aborted.
    pub(super) fn start_heartbeats(&self) -> JoinHandle<()> {
        let member = self.member.clone();
        self.runtime.spawn(async move { member.send_heartbeats().await })
    }

    /// Returns the counter that advances the progress in the heartbeats.
    pub(super) fn progress_tracker(&self, cells: &[Cell]) -> ProgressTracker {
        ProgressTracker::new(self.member.progress.clone(), cells)
    }

    /// Returns the signals, which are already being received.
    pub(super) fn signals(&self) -> Signals {
        self.signals.clone()
    }

    /// Returns the barrier at which the executor waits for the other shards.
    pub(super) fn barrier(&self) -> Arc<dyn Barrier> {
        Arc::new(CellRunBarrier::new(self.member.clone(), self.start.run_id.clone()))
    }

    /// Publishes the findings of the pre-flight to the other shards: only one shard sends the probes.
    pub(super) async fn publish_findings(&self, found: &[ProbeResult]) -> Result<(), BarrierError> {
        Ok(self.member.publish(PREFLIGHT, &found).await?)
    }

    /// Receives the findings of the shard that ran the pre-flight; `None` if a stop is requested first.
    pub(super) async fn receive_findings(&self, stop: &Stop) -> Result<Option<Vec<ProbeResult>>, BarrierError> {
        tokio::select! {
            biased;
            () = stop.drain.cancelled() => Ok(None),
            received = self.member.receive(PREFLIGHT, 0) => received.map(Some),
        }
    }

    /// Records how this part ended in the manifest, sends a leave notice if it ended early, and delivers the results to
    /// the exchange. `barrier_error` is the error that separated the shards, if any. Returns the exit code; 4 if the shards
    /// were separated.
    ///
    /// # Errors
    /// If the manifest cannot be written, or the results cannot be delivered ([`Error::NotDelivered`]).
    pub(super) fn finish(
        mut self,
        results: &Path,
        manifest: &mut Manifest,
        ends: &[CellEnd],
        barrier_error: Option<&str>,
    ) -> Result<u8, Error> {
        let (interrupted, ended_ms) = (manifest.interrupted, manifest.ended_ms);
        // The reason that ended this part early also ends the parts of the other shards, which must not wait for it.
        let last = manifest.planned_runs.last().filter(|_| manifest.has_unfinished());
        let cut_short = last
            .map(|report| format!("{}: {}", report.test_id, report.reason.as_deref().unwrap_or("it was cut short")));
        let reason = barrier_error.map(str::to_owned).or(cut_short).filter(|_| !interrupted);
        if let Some(Shards { count, parts, .. }) = manifest.shards.take() {
            let ended = |part| ShardPart { interrupted, ended_ms, reason: reason.clone(), ..part };
            manifest.shards = Some(Shards::new(count, parts.into_iter().map(ended).collect()));
        }
        dir::write_manifest(results, manifest)?;
        self.has_published_end = true;
        let left = if interrupted { Some(STOPPED) } else { reason.as_deref() };
        self.runtime
            .block_on(async {
                let notified = match left {
                    Some(reason) => self.member.leave(reason).await,
                    None => Ok(()),
                };
                let marker = CommitMarker {
                    index: self.shard().index,
                    run_id: manifest.run_id.clone(),
                    fingerprint: self.member.join_request.fingerprint.clone(),
                    files: BTreeMap::new(),
                };
                // Deliver the records even if the leave notice fails: they matter more.
                let delivered =
                    cluster::deliver(&self.member.exchange, results, &cluster::DELIVERED_FILES, marker).await;
                delivered.and(notified)
            })
            .map_err(|source| Error::NotDelivered { dir: results.to_owned(), source })?;
        let _ = writeln!(
            std::io::stderr(),
            "records in {} and in {}; once all shards have ended `bedrock-plan merge {1} --to DIR` puts them together",
            results.display(),
            self.member.exchange.url
        );
        let is_separated = barrier_error.is_some() && !interrupted;
        Ok(if is_separated { 4 } else { outcome::exit_code(manifest, ends, false) })
    }
}

/// Sends a leave notice if an error ends this part before [`JoinedShard::finish`], so that no other shard waits for it.
impl Drop for JoinedShard {
    fn drop(&mut self) {
        if !self.has_published_end {
            let _ = self.runtime.block_on(self.member.leave("it stopped with an error"));
        }
    }
}

/// Returns a hash of everything that a plan sets and sends, prompts included. It excludes the paths of files and the
/// profile, because machines have directories and profiles of their own.
fn content_hash(resolved: &Resolved, cells: &[Cell]) -> String {
    let mut plan = Plan { results_dir: String::new(), prompts_file: None, ..resolved.plan.clone() };
    plan.target.profile = None;
    for dataset in &mut plan.dataset {
        dataset.file = PathBuf::new();
    }
    let ids: Vec<&str> = cells.iter().map(|cell| cell.id.as_str()).collect();
    let cells: Vec<String> = cells.iter().map(|cell| hash(resolved, cell)).collect();
    text_hash(&format!("{}\n{}\n{}", toml(&plan), ids.join("\n"), plan_hash(&cells)))
}
