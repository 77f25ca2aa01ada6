//! The pacer of an open loop: a thread that sleeps until each intended start and hands the request to the runtime. The
//! runtime's own timers have a resolution of 1 ms.

use super::admission::StartOutcome;
use super::arrivals::Schedule;
use super::deadline::ClosesOnPanic;
use super::tasks::reap_ended;
use super::users::{CellRunState, run_arrival};
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
    pub(super) fn start(state: Arc<CellRunState>, schedule: Schedule) -> Self {
        let (stop, stopped) = channel();
        let (finished, done) = oneshot::channel();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("pacer".into())
            .spawn(move || {
                // Sending fails only if the run was dropped.
                let _ = finished.send(pace(&state, schedule, &stopped, &runtime));
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

fn pace(state: &Arc<CellRunState>, mut schedule: Schedule, stopped: &Receiver<()>, runtime: &Handle) -> JoinSet<()> {
    let (admission, shard) = (&state.admission, state.admission.shard);
    let _guard = ClosesOnPanic(&admission.deadline);
    minimise_timer_slack();
    let mut requests = JoinSet::new();
    let mut number = 0;
    while let Some(at) = schedule.next() {
        if shard.owns(number) {
            let due = state.context.start + at;
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                match stopped.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            if admission.recorder_is_full() {
                runtime.block_on(admission.wait_for_recorder(&state.counters, &admission.deadline.closing));
            }
            let now = Instant::now();
            // An overdue start happens now or never: a burst after the end would not be part of the load.
            let starts = if now.saturating_duration_since(due) > MAX_PUNCTUAL_LAG { now } else { due };
            if !admission
                .deadline
                .allows(starts)
                .unwrap_or_else(|| runtime.block_on(admission.deadline.wait_for_decision(starts)))
            {
                // After a refusal or the last planned request, no start is overdue.
                if !admission.has_started_all() && admission.refusal().is_none() {
                    let end = admission.deadline.ended().min(now).saturating_duration_since(state.context.start);
                    let before = number + u64::from(at < end);
                    let until = before.saturating_add(if at < end { schedule.count_until(end) } else { 0 });
                    state.counters.add_dropped(shard.share(until) - shard.share(number));
                }
                break;
            }
            let mut start = admission.try_arrive(&state.counters);
            while start == StartOutcome::NotReserved && !admission.deadline.closing.is_cancelled() {
                runtime.block_on(admission.wait_for_reservation());
                start = admission.try_arrive(&state.counters);
            }
            match start {
                StartOutcome::Started(seq) => {
                    drop(requests.spawn_on(run_arrival(Arc::clone(state), seq, due), runtime));
                }
                // The load ended during the wait.
                StartOutcome::NotReserved => state.counters.add_dropped(1),
                StartOutcome::Refused => {}
            }
            reap_ended(&mut requests);
        }
        number += 1;
    }
    requests
}
