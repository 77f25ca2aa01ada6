//! One cell run: users join and leave (closed loop), or a pacer starts requests at their intended times (open loop). Nothing
//! starts after the deadline; requests in flight are drained within a limit.

use super::arrivals::Schedule;
use super::bedrock::Bedrock;
use super::deadline::ClosesOnPanic;
use super::pacer::Pacer;
use super::port::{Event, Gate, RefusalReason, Stop};
use super::prepared::Prepared;
use super::run::{Clock, EventSink, Job};
use super::users::{CellRunState, PreviousSample, run_user};
use crate::matrix::{Cell, Shard};
use crate::record::disturbance::Stall;
use crate::record::manifest::{CellRunEnd, CellRunReport, Second};
use crate::units::ms;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

/// Time by which a cell with too few samples is extended.
const EXTENSION: Duration = Duration::from_secs(1);

/// Why the load of a cell run did not start.
pub(super) enum NotStarted {
    /// The run was stopped.
    Stopped,
    /// The barrier failed, with the message.
    BarrierFailed(String),
}

/// Runs one cell. When this returns, none of its requests is in flight.
pub(super) async fn run_cell(
    bedrock: &Arc<Bedrock>,
    job: &Job,
    index: usize,
    clock: Clock,
    gate: &Arc<dyn Gate>,
    emit: &EventSink,
    stop: &Stop,
) -> Result<CellRunReport, NotStarted> {
    let run = job.order[index];
    let cell = &job.cells[run.cell];
    // The time makes the text unique: a repeated run with the same seed must not hit the cache of the previous one.
    let nonce = format!("{:x}-{index:x}", clock.epoch_us(Instant::now()));
    let nonce = if job.shard.is_part() { format!("{nonce}-{:x}", job.shard.index) } else { nonce };
    let part = cell.part(job.shard);
    let (shard, is_idle) = (part.unwrap_or(job.shard), part.is_none());
    let mut prepared = Prepared::new(cell, &job.prompts[run.cell], nonce, job.seed, run.repetition);
    prepared.keep_text = job.keep_text;
    let prepared = Arc::new(prepared);
    tracing::debug!(
        cell = cell.id,
        model = cell.full_model_id(),
        tier = cell.service_tier,
        peak = cell.peak(),
        "cell starts"
    );
    let (opened_before, reused_before) = bedrock.connections();
    let state = || {
        let prepared = Arc::clone(&prepared);
        let (bedrock, gate, emit) = (Arc::clone(bedrock), Arc::clone(gate), Arc::clone(emit));
        Arc::new(
            CellRunState::new(bedrock, prepared, cell, run, Instant::now(), clock, gate, emit)
                .with_job(job, index, shard, is_idle),
        )
    };
    // Shard 0 primes the cache for all shards before the load starts.
    if cell.cache_mode.is_primed() && job.shard.index == 0 {
        prime(&state(), &prepared, stop).await;
    }
    let agreed = wait_at_barrier(job, index, stop).await?;
    let state = state();
    let start = state.start;
    let late = agreed.map(|agreed| SystemTime::now().duration_since(agreed).unwrap_or_default());

    let mut sampler = JoinSet::new();
    sampler.spawn(sample_seconds(Arc::clone(&state)));
    let (end, load, mut tasks) = if cell.is_open() {
        let shape = cell.load_shape().extended_to(cell.max_length());
        let schedule = Schedule::new(&shape, cell.load.arrivals, job.seed, index);
        let pacer = Pacer::start(Arc::clone(&state), schedule, shard);
        let end = wait(&state, cell, stop).await;
        let load = state.close();
        (end, load, pacer.stop().await)
    } else {
        let mut users = Users::new(&state, shard, job.seed, index);
        let end = users.load(cell, stop).await;
        (end, state.close(), users.tasks)
    };
    drain(&state, cell.load.drain, &mut tasks, stop).await;
    let ended = Instant::now();
    state.finished.cancel();
    let series = join_next(&mut sampler).await.unwrap_or_default();

    let (opened, reused) = bedrock.connections();
    let (user_ms, think_ms) = state.user_and_think_ms();
    let refusal = state.refusal().filter(|_| matches!(end, End::Refused));
    let mut failed = None;
    let end = match (end, refusal.as_ref().map(|refusal| &refusal.reason)) {
        (End::Done, _) => CellRunEnd::Finished,
        (End::Stopped, _) => CellRunEnd::Interrupted,
        (End::Refused, Some(RefusalReason::BudgetExhausted)) => CellRunEnd::OutOfBudget,
        (End::Refused, Some(RefusalReason::CredentialsLost)) => CellRunEnd::LostCredentials,
        (End::Refused, Some(RefusalReason::DailyQuotaExhausted)) => CellRunEnd::DailyQuota,
        (End::Refused, Some(RefusalReason::BoundFailed(bound))) => {
            failed = Some(bound.clone());
            CellRunEnd::FailedEarly
        }
        (End::Refused, _) => CellRunEnd::Aborted,
    };
    Ok(CellRunReport {
        test_id: cell.id.clone(),
        repetition: run.repetition,
        attempt: run.attempt,
        started_ms: clock.epoch_us(start) / 1_000,
        ended_ms: clock.epoch_us(ended) / 1_000,
        load_ms: ms(load),
        end,
        reason: refusal.map(|refusal| refusal.message),
        failed,
        requests: state.started(),
        connections_opened: opened - opened_before,
        connections_reused: reused - reused_before,
        dropped: state.dropped(),
        starts_waited: state.starts_waited(),
        user_ms,
        think_ms,
        series,
        disturbances: state.ticker.disturbances(),
        shard: job.shard.is_part().then_some(job.shard.index),
        late_ms: late.map(ms),
        parts: Vec::new(),
    })
}

/// Waits at the barrier and until the common start, which is returned.
async fn wait_at_barrier(job: &Job, place: usize, stop: &Stop) -> Result<Option<SystemTime>, NotStarted> {
    let Some(barrier) = &job.barrier else { return Ok(None) };
    let waiting = async {
        let agreed = barrier.wait(place).await.map_err(NotStarted::BarrierFailed)?;
        // A start in the past means now.
        tokio::time::sleep(agreed.duration_since(SystemTime::now()).unwrap_or_default()).await;
        Ok(Some(agreed))
    };
    tokio::select! {
        biased;
        () = stop.drain.cancelled() => Err(NotStarted::Stopped),
        agreed = waiting => agreed,
    }
}

/// Fills the prompt cache with one request per prompt, one after the other. The first stop signal prevents further
/// requests, the second one abandons the current request.
async fn prime(state: &Arc<CellRunState>, prepared: &Prepared, stop: &Stop) {
    for index in 0..prepared.priming_prompts().len() {
        if stop.drain.is_cancelled() {
            return;
        }
        let mut priming = std::pin::pin!(state.prime(index));
        tokio::select! {
            () = &mut priming => continue,
            () = stop.abandon.cancelled() => state.abandon.cancel(),
        }
        priming.await;
    }
}

enum End {
    Done,
    Stopped,
    Refused,
}

/// Waits until no further request may start; returns `None` if `until` is earlier.
async fn wait_until(state: &CellRunState, cell: &Cell, stop: &Stop, until: Option<Instant>) -> Option<End> {
    loop {
        let deadline = state.deadline.at();
        tokio::select! {
            biased;
            () = stop.drain.cancelled() => return Some(End::Stopped),
            () = state.deadline.closing.cancelled() => return Some(if state.has_started_all() { End::Done } else { End::Refused }),
            () = sleep_until(deadline.into()) => {
                let left = (state.start + cell.max_length()).saturating_duration_since(deadline);
                // All shards continue until the last one has its share, so that the load stays as planned.
                let is_enough = || async { cell.load.min_samples.is_none() || state.all_shards_have_enough().await };
                if left.is_zero() || !state.wants_extension() && is_enough().await {
                    return Some(End::Done);
                }
                state.deadline.extend(EXTENSION.min(left));
            }
            () = sleep_until(until.unwrap_or(deadline).into()), if until.is_some() => return None,
        }
    }
}

/// Waits until no further request may start.
async fn wait(state: &CellRunState, cell: &Cell, stop: &Stop) -> End {
    loop {
        if let Some(end) = wait_until(state, cell, stop, None).await {
            return end;
        }
    }
}

/// The users of a cell run.
struct Users {
    state: Arc<CellRunState>,
    /// The shard whose users are started here; users of all shards are counted.
    shard: Shard,
    seed: u64,
    place: usize,
    /// Token that makes each active user leave (`None` for users of other shards); the last user leaves first.
    active: Vec<Option<CancellationToken>>,
    joined: u32,
    tasks: JoinSet<()>,
}

impl Users {
    fn new(state: &Arc<CellRunState>, shard: Shard, seed: u64, place: usize) -> Self {
        Self { state: Arc::clone(state), shard, seed, place, active: Vec::new(), joined: 0, tasks: JoinSet::new() }
    }

    /// Lets users join and leave until no further request may start.
    async fn load(&mut self, cell: &Cell, stop: &Stop) -> End {
        for change in cell.load_shape().changes() {
            if let Some(end) = wait_until(&self.state, cell, stop, Some(self.state.start + change.at)).await {
                return end;
            }
            if change.joins {
                let leaving = self.shard.owns(u64::from(self.joined)).then(|| self.start());
                self.active.push(leaving);
                self.joined += 1;
            } else if let Some(leaving) = self.active.pop().flatten() {
                leaving.cancel();
            }
            reap_ended(&mut self.tasks);
        }
        wait(&self.state, cell, stop).await
    }

    /// Starts a user. Returns the token that makes it leave.
    fn start(&mut self) -> CancellationToken {
        let leaving = self.state.deadline.closing.child_token();
        self.tasks.spawn(run_user(Arc::clone(&self.state), self.joined, self.seed, self.place, leaving.clone()));
        leaving
    }
}

/// Removes ended tasks and propagates their panics.
pub(super) fn reap_ended(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.try_join_next() {
        propagate_panic(ended);
    }
}

/// Waits for requests in flight; abandons them after the limit or a second stop signal.
async fn drain(state: &Arc<CellRunState>, bound: Duration, users: &mut JoinSet<()>, stop: &Stop) {
    tokio::select! {
        () = join_all(users) => return,
        () = tokio::time::sleep(bound) => {}
        () = stop.abandon.cancelled() => {}
    }
    state.abandon.cancel();
    join_all(users).await;
}

pub(super) async fn join_all(tasks: &mut JoinSet<()>) {
    while join_next(tasks).await.is_some() {}
}

/// Returns the result of the next ended task.
async fn join_next<T: 'static>(tasks: &mut JoinSet<T>) -> Option<T> {
    propagate_panic(tasks.join_next().await?)
}

/// Returns the result of a task and propagates its panic, which is a fault of this tool.
fn propagate_panic<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended {
        Ok(value) => Some(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}

/// Records the figures of each second, and runs the ticker in a separate task.
async fn sample_seconds(state: Arc<CellRunState>) -> Vec<Second> {
    let _guard = ClosesOnPanic(&state.deadline);
    let mut series = Vec::new();
    let mut previous = PreviousSample::now();
    // The ticker runs in a separate task: handling the event of a second must not look like a stall.
    let mut ticking = JoinSet::new();
    let ticker_state = Arc::clone(&state);
    ticking.spawn(async move {
        let state = ticker_state;
        let notify = |stall: &Stall| state.gate.exclude_stall(stall.from_ms, stall.end_ms());
        state.ticker.run(state.start, &state.finished, notify).await;
    });
    loop {
        let due = state.start + Duration::from_secs(series.len() as u64 + 1);
        let last = tokio::select! {
            () = sleep_until(due.into()) => false,
            _ = join_next(&mut ticking) => true,
        };
        let second = state.take_second(&mut previous);
        series.push(second);
        (state.emit)(Event::Second(second));
        if last {
            return series;
        }
    }
}
