//! Ctrl-C and SIGTERM: the first stops new starts and drains, the second gives up what is in flight.

use crate::executor::port::Stop;
use crate::terminal::Handle;

/// From its making on no signal ends the process.
#[cfg(unix)]
pub(super) struct Signals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    /// Inside of a runtime. Where the system refuses, signals do what they always do.
    pub(super) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self { interrupt: signal(SignalKind::interrupt()).ok(), terminate: signal(SignalKind::terminate()).ok() }
    }

    /// Waits for one.
    pub(super) async fn next(&mut self) {
        async fn of(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = of(&mut self.interrupt) => {}
            () = of(&mut self.terminate) => {}
        }
    }
}

/// Ctrl-C alone.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn listen() -> Self {
        Self
    }

    pub(super) async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Waits for signals as long as the run goes on.
pub(super) async fn watch(mut signals: Signals, stop: Stop, display: Handle) {
    signals.next().await;
    display.say("stopping: nothing new starts, requests in flight are waited for; once more gives them up");
    stop.starting.cancel();
    signals.next().await;
    display.say("giving up what is in flight");
    stop.waiting.cancel();
    // A third one changes nothing: what is recorded is being written.
    std::future::pending::<()>().await;
}
