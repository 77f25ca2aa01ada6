//! The pacer of an open loop: a thread that sleeps until each intended start and hands the request to the runtime. The
//! runtime's own timers have a resolution of 1 ms.

use super::arrivals::Schedule;
use super::deadline::ClosesOnPanic;
use super::users::{CellRunState, StartOutcome, run_arrival};
use crate::matrix::Shard;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Maximum lateness of a punctual start, also after the end of the load: no thread wakes exactly on time.
const MAX_PUNCTUAL_LAG: Duration = Duration::from_millis(5);

/// A running pacer.
pub(super) struct Pacer {
    stop: Sender<()>,
    done: oneshot::Receiver<JoinSet<()>>,
}

impl Pacer {
    /// Starts the requests of a shard at their intended times on the current runtime.
    ///
    /// # Panics
    /// Panics if no thread can be started.
    pub(super) fn start(state: Arc<CellRunState>, schedule: Schedule, shard: Shard) -> Self {
        let (stop, stopped) = channel();
        let (finished, done) = oneshot::channel();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("pacer".into())
            .spawn(move || {
                // Sending fails only if the run was dropped.
                let _ = finished.send(pace(&state, schedule, shard, &stopped, &runtime));
            })
            .unwrap_or_else(|error| panic!("cannot start the pacer thread: {error}"));
        Self { stop, done }
    }

    /// Stops starting requests. Returns the tasks of requests that may still be in flight.
    pub(super) async fn stop(self) -> JoinSet<()> {
        drop(self.stop);
        self.done.await.unwrap_or_else(|_| panic!("the pacer thread has panicked"))
    }
}

/// Minimises the timer slack: by default, the kernel delays the wake-up of a thread by up to 50 us.
#[cfg(target_os = "linux")]
fn minimise_timer_slack() {
    // If it is refused, the delay is visible in the send lag.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// Not supported on this system.
#[cfg(not(target_os = "linux"))]
fn minimise_timer_slack() {}

fn pace(
    state: &Arc<CellRunState>,
    mut schedule: Schedule,
    shard: Shard,
    stopped: &Receiver<()>,
    runtime: &Handle,
) -> JoinSet<()> {
    let _guard = ClosesOnPanic(&state.deadline);
    minimise_timer_slack();
    let mut requests = JoinSet::new();
    let mut number = 0;
    while let Some(at) = schedule.next() {
        if shard.owns(number) {
            let due = state.start + at;
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                match stopped.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            if state.recorder_is_full() {
                runtime.block_on(state.wait_for_recorder(&state.deadline.closing));
            }
            let now = Instant::now();
            // An overdue start happens now or never: a burst after the end would not be part of the load.
            let starts = if now.saturating_duration_since(due) > MAX_PUNCTUAL_LAG { now } else { due };
            if !state
                .deadline
                .allows(starts)
                .unwrap_or_else(|| runtime.block_on(state.deadline.wait_for_decision(starts)))
            {
                // After a refusal or the last planned request, no start is overdue.
                if !state.has_started_all() && state.refusal().is_none() {
                    let end = state.deadline.ended().min(now).saturating_duration_since(state.start);
                    let before = number + u64::from(at < end);
                    let until = before.saturating_add(if at < end { schedule.count_until(end) } else { 0 });
                    state.drop_overdue(shard.share(until) - shard.share(number));
                }
                break;
            }
            let mut start = state.try_arrive();
            while start == StartOutcome::NotReserved && !state.deadline.closing.is_cancelled() {
                runtime.block_on(state.wait_for_reservation());
                start = state.try_arrive();
            }
            match start {
                StartOutcome::Started(seq) => {
                    drop(requests.spawn_on(run_arrival(Arc::clone(state), seq, due), runtime));
                }
                // The load ended during the wait.
                StartOutcome::NotReserved => state.drop_overdue(1),
                StartOutcome::Refused => {}
            }
            super::cell::reap_ended(&mut requests);
        }
        number += 1;
    }
    requests
}
