//! The open loop's clock: a thread of the operating system that sleeps to each intended start and
//! hands it to the runtime. The runtime's own timers have a wheel of 1 ms and are late by as much.

use super::users::{Shared, Start, arrival};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A running pacer.
pub(super) struct Pacer {
    stop: Sender<()>,
    done: oneshot::Receiver<JoinSet<()>>,
}

impl Pacer {
    /// Starts requests at their times, which ascend from the turn's start, on the runtime that this is called from.
    ///
    /// # Panics
    /// When the system gives no thread.
    pub(super) fn start(shared: Arc<Shared>, schedule: impl Iterator<Item = Duration> + Send + 'static) -> Self {
        let (stop, stopped) = channel();
        let (finished, done) = oneshot::channel();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("pacer".into())
            .spawn(move || {
                // Nobody waits only when the run was torn down around us.
                let _ = finished.send(pace(&shared, schedule, &stopped, &runtime));
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
    schedule: impl Iterator<Item = Duration>,
    stopped: &Receiver<()>,
    runtime: &Handle,
) -> JoinSet<()> {
    be_punctual();
    let mut requests = JoinSet::new();
    for at in schedule {
        let due = shared.start + at;
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            match stopped.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // What was due before the end starts, however late this thread is.
        if !shared.deadline.allows(due).unwrap_or_else(|| runtime.block_on(shared.deadline.decides(due))) {
            break;
        }
        let mut start = shared.arrive();
        while start == Start::Unreserved && !shared.deadline.closing.is_cancelled() {
            runtime.block_on(shared.reserved());
            start = shared.arrive();
        }
        if let Start::Number(seq) = start {
            requests.spawn_on(arrival(Arc::clone(shared), seq, due), runtime);
        }
        super::cell::reap(&mut requests);
    }
    requests
}
