//! Handling of Ctrl-C, SIGTERM and SIGHUP. The first signal drains the run, the second abandons requests in flight, and
//! the third ends the process at once. While only the report is left, any signal ends the process at once.

use crate::executor::port::Stop;
use crate::terminal::DisplayHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::watch;

/// Exit code of an interrupted run.
const EXIT_INTERRUPTED: i32 = 130;

/// Signals of this process, which no longer end it by default. A dedicated thread waits for them, so neither a busy
/// runtime nor the rendering of a report delays them.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    received: watch::Receiver<u32>,
    /// Number of the signal that ends the process, counted from 1.
    last: Arc<AtomicU32>,
}

impl Signals {
    /// Starts to handle signals. Signal number `last` ends the process at once. If the system refuses, signals keep
    /// their default effect.
    pub(super) fn listen(last: u32) -> Self {
        let (counted, received) = watch::channel(0);
        let signals = Self { received, last: Arc::new(AtomicU32::new(last)) };
        let last = Arc::clone(&signals.last);
        if let Err(error) = start(counted, last) {
            tracing::warn!(%error, "signals end the process at once: the system gives no thread to wait for them");
        }
        signals
    }

    /// Waits until `n` signals have been received.
    pub(super) async fn nth(&self, n: u32) {
        let was_received = self.received.clone().wait_for(|received| *received >= n).await.is_ok();
        if !was_received {
            std::future::pending::<()>().await;
        }
    }

    /// Makes the next signal end the process at once.
    pub(super) fn end_at_next(&self) {
        self.last.store(0, Ordering::Relaxed);
    }
}

/// Waits for signals on a dedicated thread for as long as the process lives.
fn start(counted: watch::Sender<u32>, last: Arc<AtomicU32>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Register the handlers before this function returns, so that no later signal is lost.
    let entered = runtime.enter();
    let mut source = Source::open();
    drop(entered);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                source.next().await;
                let received = *counted.borrow() + 1;
                if received >= last.load(Ordering::Relaxed) {
                    end_now();
                }
                counted.send_replace(received);
            }
        });
    })?;
    Ok(())
}

/// Ends the process. The system has all data that the journal received. Nothing else is waited for, neither a disk that
/// does not respond nor a reader of stdout that does not read.
// Returning from `main` is not possible, because its thread is the one that hangs.
#[allow(clippy::disallowed_methods)]
fn end_now() -> ! {
    std::process::exit(EXIT_INTERRUPTED)
}

#[cfg(unix)]
struct Source([Option<tokio::signal::unix::Signal>; 3]);

#[cfg(unix)]
impl Source {
    fn open() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        // A process that was started with `nohup` must outlive the terminal.
        let hangup = if hangup_is_ignored() { None } else { signal(SignalKind::hangup()).ok() };
        Self([signal(SignalKind::interrupt()).ok(), signal(SignalKind::terminate()).ok(), hangup])
    }

    async fn next(&mut self) {
        async fn receive(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            () = receive(interrupt) => {}
            () = receive(terminate) => {}
            () = receive(hangup) => {}
        }
    }
}

/// Returns whether SIGHUP was ignored when this process started; false if the system does not report it.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit 0 is signal 1.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

/// Source of Ctrl-C, the only signal on this system.
#[cfg(not(unix))]
struct Source;

#[cfg(not(unix))]
impl Source {
    fn open() -> Self {
        Self
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Forwards signals to the run for as long as it lasts.
pub(super) async fn watch(signals: Signals, stop: Stop, display: DisplayHandle) {
    signals.nth(1).await;
    display.print(
        "stopping: no new requests; waiting for those in flight. Press Ctrl-C again to abandon them and what is not recorded yet",
    );
    stop.drain.cancel();
    signals.nth(2).await;
    display.print("abandoning requests in flight. Press Ctrl-C again to end at once");
    stop.abandon.cancel();
}
