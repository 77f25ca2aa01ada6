//! One turn of a cell: users join and leave as its course says, or a pacer starts requests at their
//! times; nothing starts after the deadline, and what is in flight then is drained within a bound.

use super::arrivals::Schedule;
use super::bedrock::Bedrock;
use super::deadline::ClosesOnPanic;
use super::pacer::Pacer;
use super::port::{Event, Gate, RefusalReason, Stop};
use super::prepared::Prepared;
use super::run::{Clock, Job, Tell};
use super::users::{Seen, Shared, user};
use crate::matrix::{Cell, Shard};
use crate::record::disturbance::Stall;
use crate::record::manifest::{Second, TurnEnd, TurnReport};
use crate::units::ms;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

/// So much at a time a cell goes on that has too few samples.
const EXTENSION: Duration = Duration::from_secs(1);

/// Why the load of a turn did not begin.
pub(super) enum NotStarted {
    /// Somebody wanted to stop.
    Stopped,
    /// The machines of the run did not come together; why.
    BarrierFailed(String),
}

/// Runs one turn to its end: when this returns, nothing of it is in flight.
pub(super) async fn run_turn(
    bedrock: &Arc<Bedrock>,
    job: &Job,
    index: usize,
    clock: Clock,
    gate: &Arc<dyn Gate>,
    tell: &Tell,
    stop: &Stop,
) -> Result<TurnReport, NotStarted> {
    let turn = job.order[index];
    let cell = &job.cells[turn.cell];
    // A run that is repeated with the same seed finds the cache of the one before: the time is what differs.
    let mark = format!("{:x}-{index:x}", clock.epoch_us(Instant::now()));
    let mark = if job.shard.is_part() { format!("{mark}-{:x}", job.shard.index) } else { mark };
    let part = cell.part(job.shard);
    let (shard, is_idle) = (part.unwrap_or(job.shard), part.is_none());
    let mut prepared = Prepared::new(cell, &job.prompts[turn.cell], mark, job.seed, turn.repetition);
    prepared.keeps_text = job.keeps_text;
    let prepared = Arc::new(prepared);
    tracing::debug!(
        cell = cell.id,
        model = cell.full_model_id(),
        tier = cell.service_tier,
        peak = cell.peak(),
        "cell begins"
    );
    let (opened_before, reused_before) = bedrock.connections();
    let shared = || {
        let prepared = Arc::clone(&prepared);
        let (bedrock, gate, tell) = (Arc::clone(bedrock), Arc::clone(gate), Arc::clone(tell));
        Arc::new(
            Shared::new(bedrock, prepared, cell, turn, Instant::now(), clock, gate, tell)
                .of(job, index, shard, is_idle),
        )
    };
    // One fills the cache for all, and the load begins when it is done.
    if cell.cache_mode.is_primed() && job.shard.index == 0 {
        prime(&shared(), &prepared, stop).await;
    }
    let agreed = barrier(job, index, stop).await?;
    let shared = shared();
    let start = shared.start;
    let late = agreed.map(|agreed| SystemTime::now().duration_since(agreed).unwrap_or_default());

    let mut sampler = JoinSet::new();
    sampler.spawn(sample(Arc::clone(&shared)));
    let (end, load, mut tasks) = if cell.is_open() {
        let shape = cell.load_shape().extended_to(cell.max_length());
        let schedule = Schedule::new(&shape, cell.load.arrivals, job.seed, index);
        let pacer = Pacer::start(Arc::clone(&shared), schedule, shard);
        let end = wait(&shared, cell, stop).await;
        let load = shared.close();
        (end, load, pacer.stop().await)
    } else {
        let mut users = Users::new(&shared, shard, job.seed, index);
        let end = users.load(cell, stop).await;
        (end, shared.close(), users.tasks)
    };
    drain(&shared, cell.load.drain, &mut tasks, stop).await;
    let ended = Instant::now();
    shared.finished.cancel();
    let series = join(&mut sampler).await.unwrap_or_default();

    let (opened, reused) = bedrock.connections();
    let (user_ms, think_ms) = shared.user_and_think_ms();
    let refusal = shared.refusal().filter(|_| matches!(end, End::Refused));
    let mut failed = None;
    let end = match (end, refusal.as_ref().map(|refusal| &refusal.reason)) {
        (End::Done, _) => TurnEnd::Finished,
        (End::Stopped, _) => TurnEnd::Interrupted,
        (End::Refused, Some(RefusalReason::BudgetExhausted)) => TurnEnd::OutOfBudget,
        (End::Refused, Some(RefusalReason::CredentialsLost)) => TurnEnd::LostCredentials,
        (End::Refused, Some(RefusalReason::DailyQuotaExhausted)) => TurnEnd::DailyQuota,
        (End::Refused, Some(RefusalReason::BoundFailed(bound))) => {
            failed = Some(bound.clone());
            TurnEnd::FailedEarly
        }
        (End::Refused, _) => TurnEnd::Aborted,
    };
    Ok(TurnReport {
        test_id: cell.id.clone(),
        repetition: turn.repetition,
        attempt: turn.attempt,
        started_ms: clock.epoch_us(start) / 1_000,
        ended_ms: clock.epoch_us(ended) / 1_000,
        load_ms: ms(load),
        end,
        reason: refusal.map(|refusal| refusal.message),
        failed,
        requests: shared.started(),
        connections_opened: opened - opened_before,
        connections_reused: reused - reused_before,
        dropped: shared.dropped(),
        starts_waited: shared.starts_waited(),
        user_ms,
        think_ms,
        series,
        disturbances: shared.ticker.disturbances(),
        shard: job.shard.is_part().then_some(job.shard.index),
        late_ms: late.map(ms),
        parts: Vec::new(),
    })
}

/// Waits for the other machines of the run, and for the moment that they agreed on, which is returned.
async fn barrier(job: &Job, place: usize, stop: &Stop) -> Result<Option<SystemTime>, NotStarted> {
    let Some(barrier) = &job.barrier else { return Ok(None) };
    let waiting = async {
        let agreed = barrier.wait(place).await.map_err(NotStarted::BarrierFailed)?;
        // A moment that is over already is now.
        tokio::time::sleep(agreed.duration_since(SystemTime::now()).unwrap_or_default()).await;
        Ok(Some(agreed))
    };
    tokio::select! {
        biased;
        () = stop.starting.cancelled() => Err(NotStarted::Stopped),
        agreed = waiting => agreed,
    }
}

/// Fills the prompt cache with one request per prompt, one after the other. A wish to stop lets none
/// begin, and a second one gives up the one that is there.
async fn prime(shared: &Arc<Shared>, prepared: &Prepared, stop: &Stop) {
    for index in 0..prepared.to_prime().len() {
        if stop.starting.is_cancelled() {
            return;
        }
        let mut priming = std::pin::pin!(shared.prime(index));
        tokio::select! {
            () = &mut priming => continue,
            () = stop.waiting.cancelled() => shared.giving_up.cancel(),
        }
        priming.await;
    }
}

enum End {
    Done,
    Stopped,
    Refused,
}

/// Waits until nothing new may start; nothing is returned where `until` comes first.
async fn wait_until(shared: &Shared, cell: &Cell, stop: &Stop, until: Option<Instant>) -> Option<End> {
    loop {
        let deadline = shared.deadline.at();
        tokio::select! {
            biased;
            () = stop.starting.cancelled() => return Some(End::Stopped),
            () = shared.deadline.closing.cancelled() => return Some(if shared.has_all() { End::Done } else { End::Refused }),
            () = sleep_until(deadline.into()) => {
                let left = (shared.start + cell.max_length()).saturating_duration_since(deadline);
                // Of several machines all go on until the last one has its share: the load stays the plan's.
                let is_enough = || async { cell.load.min_samples.is_none() || shared.all_have_enough().await };
                if left.is_zero() || !shared.wants_extension() && is_enough().await {
                    return Some(End::Done);
                }
                shared.deadline.put_off(EXTENSION.min(left));
            }
            () = sleep_until(until.unwrap_or(deadline).into()), if until.is_some() => return None,
        }
    }
}

/// Waits until nothing new may start.
async fn wait(shared: &Shared, cell: &Cell, stop: &Stop) -> End {
    loop {
        if let Some(end) = wait_until(shared, cell, stop, None).await {
            return end;
        }
    }
}

/// The users of a turn.
struct Users {
    shared: Arc<Shared>,
    /// Whose users are started here; all are counted.
    shard: Shard,
    seed: u64,
    turn: usize,
    /// Those that are there, each with what makes it leave; the last one leaves first.
    there: Vec<Option<CancellationToken>>,
    joined: u32,
    tasks: JoinSet<()>,
}

impl Users {
    fn new(shared: &Arc<Shared>, shard: Shard, seed: u64, turn: usize) -> Self {
        Self { shared: Arc::clone(shared), shard, seed, turn, there: Vec::new(), joined: 0, tasks: JoinSet::new() }
    }

    /// Lets users join and leave until nothing new may start.
    async fn load(&mut self, cell: &Cell, stop: &Stop) -> End {
        for change in cell.load_shape().changes() {
            if let Some(end) = wait_until(&self.shared, cell, stop, Some(self.shared.start + change.at)).await {
                return end;
            }
            if change.joins {
                let leaving = self.shard.owns(u64::from(self.joined)).then(|| self.start());
                self.there.push(leaving);
                self.joined += 1;
            } else if let Some(leaving) = self.there.pop().flatten() {
                leaving.cancel();
            }
            reap(&mut self.tasks);
        }
        wait(&self.shared, cell, stop).await
    }

    /// Starts the user that joins. Returns what makes it leave.
    fn start(&mut self) -> CancellationToken {
        let leaving = self.shared.deadline.closing.child_token();
        self.tasks.spawn(user(Arc::clone(&self.shared), self.joined, self.seed, self.turn, leaving.clone()));
        leaving
    }
}

/// Forgets tasks that have ended. A panic in one stays loud.
pub(super) fn reap(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.try_join_next() {
        loud(ended);
    }
}

/// Waits for what is in flight, gives it up after the bound or a second wish to stop.
async fn drain(shared: &Arc<Shared>, bound: Duration, users: &mut JoinSet<()>, stop: &Stop) {
    tokio::select! {
        () = all(users) => return,
        () = tokio::time::sleep(bound) => {}
        () = stop.waiting.cancelled() => {}
    }
    shared.giving_up.cancel();
    all(users).await;
}

pub(super) async fn all(tasks: &mut JoinSet<()>) {
    while join(tasks).await.is_some() {}
}

/// The next task's result.
async fn join<T: 'static>(tasks: &mut JoinSet<T>) -> Option<T> {
    loud(tasks.join_next().await?)
}

/// A panic in a task is a fault of this tool and stays loud.
fn loud<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended {
        Ok(value) => Some(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}

/// What a turn looks like at the end of each second, with the ticker beside it.
async fn sample(shared: Arc<Shared>) -> Vec<Second> {
    let _guard = ClosesOnPanic(&shared.deadline);
    let mut series = Vec::new();
    let mut seen = Seen::now();
    // A task of its own: what the event of a second takes must not look like a stall.
    let mut ticking = JoinSet::new();
    let of_ticker = Arc::clone(&shared);
    ticking.spawn(async move {
        let shared = of_ticker;
        let notify = |stall: &Stall| shared.gate.exclude_stall(stall.from_ms, stall.end_ms());
        shared.ticker.run(shared.start, &shared.finished, notify).await;
    });
    loop {
        let due = shared.start + Duration::from_secs(series.len() as u64 + 1);
        let last = tokio::select! {
            () = sleep_until(due.into()) => false,
            _ = join(&mut ticking) => true,
        };
        let second = shared.second(&mut seen);
        series.push(second);
        (shared.tell)(Event::Second(second));
        if last {
            return series;
        }
    }
}
