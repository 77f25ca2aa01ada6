//! Ctrl-C, SIGTERM and SIGHUP: the first one drains the run, the second abandons what is in flight, the
//! third ends the process at once, and so does any while nothing but the report is left to do.

use crate::executor::port::Stop;
use crate::terminal::DisplayHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::watch;

/// What an interrupted run exits with.
const INTERRUPTED: i32 = 130;

/// The signals of this process, which do not end it by themselves any more. A thread of its own waits for them: neither
/// a runtime that is busy nor a report that is drawn keeps one from being heard.
#[derive(Debug, Clone)]
pub(super) struct Signals {
    received: watch::Receiver<u32>,
    /// The one that ends the process, counted from 1.
    last: Arc<AtomicU32>,
}

impl Signals {
    /// Begins to listen; the `last` signal ends the process at once. Where the system refuses, signals do what they
    /// always do.
    pub(super) fn listen(last: u32) -> Self {
        let (counted, received) = watch::channel(0);
        let signals = Self { received, last: Arc::new(AtomicU32::new(last)) };
        let last = Arc::clone(&signals.last);
        if let Err(error) = start(counted, last) {
            tracing::warn!(%error, "signals end the process at once: the system gives no thread to wait for them");
        }
        signals
    }

    /// Waits until `n` signals have come.
    pub(super) async fn nth(&self, n: u32) {
        let came = self.received.clone().wait_for(|received| *received >= n).await.is_ok();
        if !came {
            std::future::pending::<()>().await;
        }
    }

    /// From now on the next one ends the process at once.
    pub(super) fn end_at_next(&self) {
        self.last.store(0, Ordering::Relaxed);
    }
}

/// Waits for signals on a thread of its own, for as long as the process lives.
fn start(counted: watch::Sender<u32>, last: Arc<AtomicU32>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before this returns, so that none that comes afterwards is lost.
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

/// Ends the process. All that the journal was given is with the system already; nothing else is waited for, neither a
/// disk that does not answer nor whoever does not read what is printed.
// `main` cannot return instead: it is the one that hangs.
#[allow(clippy::disallowed_methods)]
fn end_now() -> ! {
    std::process::exit(INTERRUPTED)
}

#[cfg(unix)]
struct Source([Option<tokio::signal::unix::Signal>; 3]);

#[cfg(unix)]
impl Source {
    fn open() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        // Whoever started this with `nohup` wants it to outlive the terminal.
        let hangup = if hangup_is_ignored() { None } else { signal(SignalKind::hangup()).ok() };
        Self([signal(SignalKind::interrupt()).ok(), signal(SignalKind::terminate()).ok(), hangup])
    }

    async fn next(&mut self) {
        async fn of(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            () = of(interrupt) => {}
            () = of(terminate) => {}
            () = of(hangup) => {}
        }
    }
}

/// Whether SIGHUP was ignored when this process began; where the system does not say it was not.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Bit 0 is signal 1.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

/// Ctrl-C alone.
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

/// Hands the signals on as long as the run goes on.
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
