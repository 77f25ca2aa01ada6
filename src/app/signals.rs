//! Ctrl-C and SIGTERM: the first stops new starts and drains, the second gives up what is in flight.

use crate::executor::port::Stop;
use crate::terminal::Handle;

/// Waits for signals as long as the run goes on.
pub(super) async fn watch(stop: Stop, display: Handle) {
    wait().await;
    display.say("stopping: nothing new starts, requests in flight are waited for; once more gives them up");
    stop.starting.cancel();
    wait().await;
    display.say("giving up what is in flight");
    stop.waiting.cancel();
    // A third one changes nothing: what is recorded is being written.
    std::future::pending::<()>().await;
}

#[cfg(unix)]
pub(super) async fn wait() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

#[cfg(not(unix))]
pub(super) async fn wait() {
    let _ = tokio::signal::ctrl_c().await;
}
