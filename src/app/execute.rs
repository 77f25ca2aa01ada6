//! Executes the job of a run, with a recorder and a display beside it.

use super::outcome::CellEnd;
use super::recorder::{self, Recorder};
use super::screen::Screen;
use super::shards::JoinedShard;
use super::signals::{self, Signals};
use super::{budget, preflight, simulated, watch};
use crate::error::Error;
use crate::executor::port::{Gate, Stop};
use crate::executor::{Bedrock, EventSink, Execution, Job, execute};
use crate::guard::{AbortGate, AllGates, CredentialsGate, DailyQuotaGate, EarlyStopGate, ExtensionGate};
use crate::prices::Prices;
use crate::record::dir;
use crate::record::manifest::Manifest;
use crate::stats::live::LiveStats;
use crate::terminal;
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Result of an executed job.
pub(super) struct JobResult {
    pub(super) manifest: Manifest,
    pub(super) ends: Vec<CellEnd>,
    pub(super) execution: Execution,
    /// Whether the display ended without a failure.
    pub(super) display: Result<(), terminal::DisplayFailure>,
}

/// Executes the job, with a recorder and a display running beside it.
pub(super) fn run_job(
    runtime: &Runtime,
    bedrock: Arc<Bedrock>,
    mut job: Job,
    taken: dir::RunDir,
    manifest: Manifest,
    screen: Screen,
    joined_shard: Option<&JoinedShard>,
) -> Result<JobResult, Error> {
    let stop = Stop::default();
    let extend = ExtensionGate::new(&job.cells, manifest.plan.report.include_ramp, job.shard);
    let budget = Arc::new(budget::open(&taken.path, &manifest, &job)?);
    let mut gates: Vec<Arc<dyn Gate>> = vec![
        Arc::new(DailyQuotaGate::new(&job.cells)),
        Arc::new(CredentialsGate::default()),
        Arc::new(AbortGate::new(manifest.plan.abort)),
        Arc::new(extend),
        Arc::clone(&budget) as Arc<dyn Gate>,
    ];
    // A shard sees only a part of the requests, so it cannot know whether a threshold can still be met.
    if !job.shard.is_part() {
        gates.push(Arc::new(EarlyStopGate::new(&job.cells, &manifest.plan)));
    }
    let gate: Arc<dyn Gate> = Arc::new(AllGates(gates));
    let live = Arc::new(Mutex::new(LiveStats::new(Prices::from_rows(&manifest.prices))));
    let state = watch::watch(&manifest, &job, Arc::clone(&live));
    let display = terminal::Display::start(screen.mode, screen.err, state).map_err(Error::Internal)?;
    let mut planned = manifest.clone();
    let signals = joined_shard.map_or_else(|| Signals::listen(3), JoinedShard::signals);
    let backlog = Arc::clone(&job.backlog);
    let recorder = Recorder::start(taken, manifest, live, stop.clone(), Arc::clone(&backlog))?;
    let (record, tracker) = (recorder.sink(), joined_shard.map(|shard| shard.progress_tracker(&job.cells)));
    let sink: EventSink = Arc::new(move |event| {
        if let Some(tracker) = &tracker {
            tracker.count(&event);
        }
        record(event);
    });
    let sink = simulated::report_simulator(Arc::clone(&bedrock), &planned.plan, sink);
    let mut watching = JoinSet::new();
    watching.spawn_on(signals::watch(signals.clone(), stop.clone(), display.handle()), runtime.handle());
    let handle = display.handle();
    watching.spawn_on(recorder::watch(backlog, move |line| handle.print(line)), runtime.handle());
    let execution = runtime.block_on(async {
        let handle = display.handle();
        let heartbeats = joined_shard.map(JoinedShard::start_heartbeats);
        let mut barrier_error = None;
        if planned.plan.run.preflight {
            let found = preflight::run_before_load(
                &mut planned,
                &mut job,
                &bedrock,
                &gate,
                &sink,
                &stop,
                &handle,
                joined_shard,
            )
            .await;
            barrier_error = found.err().map(|error| error.to_string());
        }
        let mut execution = execute(bedrock, job, gate, sink, &stop).await;
        execution.barrier_error = execution.barrier_error.or(barrier_error);
        for message in execution.barrier_error.iter().chain(&execution.refusal) {
            handle.print(message);
        }
        drop(handle);
        heartbeats.inspect(tokio::task::JoinHandle::abort);
        execution
    });
    let recorded = recorder.finish(&stop);
    // Only the report is left, and it can be rendered again.
    signals.end_at_next();
    runtime.block_on(watching.shutdown());
    let display = display.finish();
    let (manifest, ends) = recorded?;
    // After the journal is synced: from here on its records count instead of the reservations.
    budget.close()?;
    Ok(JobResult { manifest, ends, execution, display })
}
