//! The open loop's clock: a thread of the operating system that sleeps to each intended start and
//! hands it to the runtime. The runtime's own timers have a wheel of 1 ms and are late by as much.

use super::arrivals::Schedule;
use super::deadline::ClosesOnPanic;
use super::users::{Shared, Start, arrival};
use crate::matrix::Shard;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A start that is late by no more is on time, also where that is after the end: no thread wakes at the very moment.
const PUNCTUAL: Duration = Duration::from_millis(5);

/// A running pacer.
pub(super) struct Pacer {
    stop: Sender<()>,
    done: oneshot::Receiver<JoinSet<()>>,
}

impl Pacer {
    /// Starts the requests that are `shard`'s at their times, counted from the turn's start, on the runtime that this is
    /// called from.
    ///
    /// # Panics
    /// When the system gives no thread.
    pub(super) fn start(shared: Arc<Shared>, schedule: Schedule, shard: Shard) -> Self {
        let (stop, stopped) = channel();
        let (finished, done) = oneshot::channel();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("pacer".into())
            .spawn(move || {
                // Nobody waits only when the run was torn down around us.
                let _ = finished.send(pace(&shared, schedule, shard, &stopped, &runtime));
            })
            .unwrap_or_else(|error| panic!("no thread for the open loop: {error}"));
        Self { stop, done }
    }

    /// No more starts. Returns the requests that were started and may still be in flight.
    pub(super) async fn stop(self) -> JoinSet<()> {
        drop(self.stop);
        self.done.await.unwrap_or_else(|_| panic!("the pacer died"))
    }
}

/// The kernel lets an ordinary thread sleep 50 us longer than it asked for, so as to wake several at once.
#[cfg(target_os = "linux")]
fn be_punctual() {
    // Where it is refused the thread is as late as any other, and the send lag says so.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// As above.
#[cfg(not(target_os = "linux"))]
fn be_punctual() {}

fn pace(
    shared: &Arc<Shared>,
    mut schedule: Schedule,
    shard: Shard,
    stopped: &Receiver<()>,
    runtime: &Handle,
) -> JoinSet<()> {
    let _guard = ClosesOnPanic(&shared.deadline);
    be_punctual();
    let mut requests = JoinSet::new();
    let mut number = 0;
    while let Some(at) = schedule.next() {
        if shard.owns(number) {
            let due = shared.start + at;
            if let Some(wait) = due.checked_duration_since(Instant::now()) {
                match stopped.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            if shared.recorder_is_full() {
                runtime.block_on(shared.wait_for_recorder(&shared.deadline.closing));
            }
            let now = Instant::now();
            // A start that is overdue happens now or never: after the end a burst would be no part of the load.
            let starts = if now.saturating_duration_since(due) > PUNCTUAL { now } else { due };
            if !shared.deadline.allows(starts).unwrap_or_else(|| runtime.block_on(shared.deadline.decides(starts))) {
                // What a refusal ended, or the last request that was asked for, leaves nothing overdue.
                if !shared.has_all() && shared.refusal().is_none() {
                    let end = shared.deadline.ended().min(now).saturating_duration_since(shared.start);
                    let before = number + u64::from(at < end);
                    let until = before.saturating_add(if at < end { schedule.count_until(end) } else { 0 });
                    shared.drop_overdue(shard.share(until) - shard.share(number));
                }
                break;
            }
            let mut start = shared.arrive();
            while start == Start::Unreserved && !shared.deadline.closing.is_cancelled() {
                runtime.block_on(shared.reserved());
                start = shared.arrive();
            }
            match start {
                Start::Number(seq) => drop(requests.spawn_on(arrival(Arc::clone(shared), seq, due), runtime)),
                // The load ended while it waited.
                Start::Unreserved => shared.drop_overdue(1),
                Start::Never => {}
            }
            super::cell::reap(&mut requests);
        }
        number += 1;
    }
    requests
}
