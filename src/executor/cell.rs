//! One turn of a cell, closed loop: users are spawned at the spawn rate, nothing starts after the
//! deadline, and what is in flight then is drained within a bound.

use super::bedrock::Bedrock;
use super::port::{Event, Gate, Stop};
use super::run::{Clock, Job, Tell};
use super::users::{Shared, user};
use crate::matrix::Cell;
use crate::record::manifest::{Second, TurnEnd, TurnReport};
use crate::units::ms;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

/// Runs one turn to its end: when this returns, nothing of it is in flight.
pub(super) async fn run_turn(
    bedrock: &Arc<Bedrock>,
    job: &Job,
    index: usize,
    clock: Clock,
    gate: &Arc<dyn Gate>,
    tell: &Tell,
    stop: &Stop,
) -> TurnReport {
    let turn = job.order[index];
    let cell = &job.cells[turn.cell];
    let prepared = Bedrock::prepare(cell, &job.prompts[turn.cell]);
    tracing::debug!(
        cell = cell.id,
        model = cell.full_model_id(),
        tier = cell.service_tier,
        users = cell.users,
        "cell begins"
    );
    let (opened_before, reused_before) = bedrock.connections();
    let start = Instant::now();
    let shared = Arc::new(Shared::new(
        Arc::clone(bedrock),
        prepared,
        cell,
        turn,
        start,
        clock,
        Arc::clone(gate),
        Arc::clone(tell),
    ));

    let mut sampler = JoinSet::new();
    sampler.spawn(sample(Arc::clone(&shared)));
    let mut users = JoinSet::new();
    let end = load(&shared, cell, job.seed, index, &mut users, stop).await;
    let load = shared.close();
    drain(&shared, cell.load.drain, &mut users, stop).await;
    let ended = Instant::now();
    shared.finished.cancel();
    let series = join(&mut sampler).await.unwrap_or_default();

    let (opened, reused) = bedrock.connections();
    let (end, reason) = match end {
        End::Deadline => (TurnEnd::Finished, None),
        End::Stopped => (TurnEnd::Interrupted, None),
        End::Refused => (TurnEnd::Aborted, shared.refusal()),
    };
    TurnReport {
        test_id: cell.id.clone(),
        repetition: turn.repetition,
        started_ms: clock.epoch_us(start) / 1_000,
        ended_ms: clock.epoch_us(ended) / 1_000,
        load_ms: ms(load),
        end,
        reason,
        requests: shared.started(),
        connections_opened: opened - opened_before,
        connections_reused: reused - reused_before,
        series,
    }
}

enum End {
    Deadline,
    Stopped,
    Refused,
}

/// Spawns the users and waits until nothing new may start.
async fn load(shared: &Arc<Shared>, cell: &Cell, seed: u64, turn: usize, users: &mut JoinSet<()>, stop: &Stop) -> End {
    let mut spawned = 0;
    loop {
        let next = (spawned < cell.users)
            .then(|| shared.start + Duration::from_secs_f64(f64::from(spawned) / cell.load.spawn_rate));
        tokio::select! {
            biased;
            () = stop.starting.cancelled() => return End::Stopped,
            () = shared.closing.cancelled() => return End::Refused,
            () = sleep_until(shared.deadline.into()) => return End::Deadline,
            () = sleep_until(next.unwrap_or(shared.deadline).into()), if next.is_some() => {
                users.spawn(user(Arc::clone(shared), spawned, seed, turn));
                spawned += 1;
            }
        }
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

async fn all(tasks: &mut JoinSet<()>) {
    while join(tasks).await.is_some() {}
}

/// The next task's result. A panic in a task is a fault of this tool and stays loud.
async fn join<T: 'static>(tasks: &mut JoinSet<T>) -> Option<T> {
    match tasks.join_next().await? {
        Ok(value) => Some(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}

/// Users and requests in flight at the end of each second.
async fn sample(shared: Arc<Shared>) -> Vec<Second> {
    let mut series = Vec::new();
    loop {
        let due = shared.start + Duration::from_secs(series.len() as u64 + 1);
        let last = tokio::select! {
            () = sleep_until(due.into()) => false,
            () = shared.finished.cancelled() => true,
        };
        let second = shared.second();
        series.push(second);
        (shared.tell)(Event::Second(second));
        if last {
            return series;
        }
    }
}
