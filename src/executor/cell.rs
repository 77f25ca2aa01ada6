//! One cell run: users join and leave (closed loop), or a pacer starts requests at their intended times (open loop). Nothing
//! starts after the deadline; requests in flight are drained within a limit.

use super::admission::Admission;
use super::arrivals::Schedule;
use super::bedrock::Bedrock;
use super::clock::Clock;
use super::context::CellContext;
use super::counters::PreviousSample;
use super::deadline::ClosesOnPanic;
use super::job::Job;
use super::pacer::Pacer;
use super::port::{Event, EventSink, Gate, RefusalReason, Stop};
use super::prepared::{Prepared, PreparedPrompts};
use super::priming::prime;
use super::tasks::{join_all, join_next, reap_ended};
use super::users::{CellRunState, run_user};
use crate::matrix::{Cell, Shard};
use crate::record::disturbance::Stall;
use crate::record::manifest::{CellRunEnd, CellRunReport, Second};
use crate::units::ms;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::task::JoinSet;
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

/// What all cell runs of a run share.
pub(super) struct RunContext<'a> {
    pub(super) bedrock: &'a Arc<Bedrock>,
    pub(super) job: &'a Job,
    pub(super) clock: Clock,
    pub(super) gate: &'a Arc<dyn Gate>,
    pub(super) emit: &'a EventSink,
    pub(super) stop: &'a Stop,
}

/// Runs one cell. When this returns, none of its requests is in flight.
pub(super) async fn run_cell(
    shared: &RunContext<'_>,
    index: usize,
    prompts: &mut PreparedPrompts,
) -> Result<CellRunReport, NotStarted> {
    let RunContext { bedrock, job, clock, gate, emit, stop } = *shared;
    let run = job.order[index];
    let cell = &Arc::new(job.cells[run.cell].clone());
    // The time makes the text unique: a repeated run with the same seed must not hit the cache of the previous one.
    let nonce = format!("{:x}-{index:x}", clock.epoch_us(Instant::now()));
    let nonce = if job.shard.is_part() { format!("{nonce}-{:x}", job.shard.index) } else { nonce };
    let source = &job.prompts[run.cell];
    let mut prepared = Prepared::new(cell, source, prompts.get(cell, source), nonce, job.seed, run.repetition);
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
    let context = |abandon: CancellationToken| CellContext {
        bedrock: Arc::clone(bedrock),
        prepared: Arc::clone(&prepared),
        gate: Arc::clone(gate),
        emit: Arc::clone(emit),
        cell: Arc::clone(cell),
        run,
        shard_index: job.shard.is_part().then_some(job.shard.index),
        clock,
        start: Instant::now(),
        abandon,
    };
    // Shard 0 primes the cache for all shards before the load starts.
    if cell.cache_mode.is_primed() && job.shard.index == 0 {
        prime(&context(stop.abandon.clone()), stop).await;
    }
    let agreed = wait_at_barrier(job, index, stop).await?;
    let context = context(CancellationToken::new());
    let start = context.start;
    let admission = Admission::new(job, index, cell, start, Arc::clone(gate));
    let shard = admission.shard;
    let state = Arc::new(CellRunState::new(context, admission));
    let late = agreed.map(|agreed| SystemTime::now().duration_since(agreed).unwrap_or_default());

    let mut sampler = JoinSet::new();
    sampler.spawn(sample_seconds(Arc::clone(&state)));
    let (end, load, mut tasks) = if cell.is_open() {
        let shape = cell.load_shape().extended_to(cell.max_length());
        let schedule = Schedule::new(&shape, cell.load.arrivals, job.seed, index);
        let pacer = Pacer::start(Arc::clone(&state), schedule);
        let end = wait(&state, cell, stop).await;
        let load = state.admission.close();
        (end, load, pacer.stop().await)
    } else {
        let mut users = Users::new(&state, shard, job.seed, index);
        let end = users.load(cell, stop).await;
        (end, state.admission.close(), users.tasks)
    };
    drain(&state, cell.load.drain, &mut tasks, stop).await;
    let ended = Instant::now();
    state.finished.cancel();
    let series = join_next(&mut sampler).await.unwrap_or_default();

    let (opened, reused) = bedrock.connections();
    let (user_ms, think_ms) = state.counters.user_and_think_ms();
    let refusal = state.admission.refusal().filter(|_| matches!(end, End::Refused));
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
        requests: state.admission.started(),
        connections_opened: opened - opened_before,
        connections_reused: reused - reused_before,
        dropped: state.counters.dropped(),
        starts_waited: state.counters.starts_waited(),
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

enum End {
    Done,
    Stopped,
    Refused,
}

/// Waits until no further request may start; returns `None` if `until` is earlier.
async fn wait_until(state: &CellRunState, cell: &Cell, stop: &Stop, until: Option<Instant>) -> Option<End> {
    loop {
        let deadline = state.admission.deadline.at();
        tokio::select! {
            biased;
            () = stop.drain.cancelled() => return Some(End::Stopped),
            () = state.admission.deadline.closing.cancelled() => return Some(if state.admission.has_started_all() { End::Done } else { End::Refused }),
            () = sleep_until(deadline.into()) => {
                let left = (state.context.start + cell.max_length()).saturating_duration_since(deadline);
                // All shards continue until the last one has its share, so that the load stays as planned.
                let is_enough = || async { cell.load.min_samples.is_none() || state.admission.all_shards_have_enough().await };
                if left.is_zero() || !state.admission.wants_extension() && is_enough().await {
                    return Some(End::Done);
                }
                state.admission.deadline.extend(EXTENSION.min(left));
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
            if let Some(end) = wait_until(&self.state, cell, stop, Some(self.state.context.start + change.at)).await {
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
        let leaving = self.state.admission.deadline.closing.child_token();
        self.tasks.spawn(run_user(Arc::clone(&self.state), self.joined, self.seed, self.place, leaving.clone()));
        leaving
    }
}

/// Waits for requests in flight; abandons them after the limit or a second stop signal.
async fn drain(state: &Arc<CellRunState>, bound: Duration, users: &mut JoinSet<()>, stop: &Stop) {
    tokio::select! {
        () = join_all(users) => return,
        () = tokio::time::sleep(bound) => {}
        () = stop.abandon.cancelled() => {}
    }
    state.context.abandon.cancel();
    join_all(users).await;
}

/// Records the figures of each second, and runs the ticker in a separate task.
async fn sample_seconds(state: Arc<CellRunState>) -> Vec<Second> {
    let _guard = ClosesOnPanic(&state.admission.deadline);
    let mut series = Vec::new();
    let mut previous = PreviousSample::now();
    // The ticker runs in a separate task: handling the event of a second must not look like a stall.
    let mut ticking = JoinSet::new();
    let ticker_state = Arc::clone(&state);
    ticking.spawn(async move {
        let state = ticker_state;
        let notify = |stall: &Stall| state.context.gate.exclude_stall(stall.from_ms, stall.end_ms());
        state.ticker.run(state.context.start, &state.finished, notify).await;
    });
    loop {
        let due = state.context.start + Duration::from_secs(series.len() as u64 + 1);
        let last = tokio::select! {
            () = sleep_until(due.into()) => false,
            _ = join_next(&mut ticking) => true,
        };
        let second = state.counters.take_second(&mut previous, state.ticker.take_ms());
        series.push(second);
        (state.context.emit)(Event::Second(second));
        if last {
            return series;
        }
    }
}
