//! The deadline for starts in a cell run. It can be extended, and the load can be closed before it. A start after the
//! deadline waits until it is decided whether the cell is extended: a user that stopped too early would be missing from the
//! extension.

use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The deadline of a cell run, see the module.
#[derive(Debug)]
pub(super) struct Deadline {
    at: watch::Sender<Instant>,
    closed: OnceLock<Instant>,
    /// Cancelled when no further request may start.
    pub(super) closing: CancellationToken,
}

impl Deadline {
    pub(super) fn new(at: Instant) -> Self {
        Self { at: watch::Sender::new(at), closed: OnceLock::new(), closing: CancellationToken::new() }
    }

    /// Returns the current deadline.
    pub(super) fn at(&self) -> Instant {
        *self.at.borrow()
    }

    /// Extends the deadline.
    pub(super) fn extend(&self, by: Duration) {
        self.at.send_modify(|at| *at += by);
    }

    /// Closes the load: nothing starts except arrivals that were due before. Returns the end of the load.
    pub(super) fn close(&self) -> Instant {
        let ended = *self.closed.get_or_init(|| Instant::now().min(self.at()));
        self.closing.cancel();
        ended
    }

    /// Returns the actual or expected end of the load.
    pub(super) fn ended(&self) -> Instant {
        self.closed.get().copied().unwrap_or_else(|| self.at())
    }

    /// Returns whether a start at this time is allowed; `None` if that is not decided yet.
    pub(super) fn allows(&self, intended: Instant) -> Option<bool> {
        match self.closed.get() {
            Some(closed) => Some(intended < *closed),
            None if self.closing.is_cancelled() => Some(false),
            None => (intended < self.at()).then_some(true),
        }
    }

    /// Waits until the decision of [`Self::allows`].
    pub(super) async fn wait_for_decision(&self, intended: Instant) -> bool {
        let mut at = self.at.subscribe();
        loop {
            if let Some(decided) = self.allows(intended) {
                return decided;
            }
            tokio::select! {
                () = self.closing.cancelled() => {}
                // The sender lives as long as this value.
                _ = at.changed() => {}
            }
        }
    }
}

/// Closes the load when its task panics, so that the panic is propagated at once and not at the end of the cell.
pub(super) struct ClosesOnPanic<'a>(pub(super) &'a Deadline);

impl Drop for ClosesOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.closing.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn start_after_the_deadline_waits_for_the_decision() {
        let start = Instant::now();
        for is_extended in [true, false] {
            let deadline = Arc::new(Deadline::new(start));
            assert_eq!(deadline.allows(start), None);
            let waiting = Arc::clone(&deadline);
            let decision = tokio::spawn(async move { waiting.wait_for_decision(start).await });
            tokio::task::yield_now().await;
            if is_extended {
                deadline.extend(SECOND);
            } else {
                deadline.close();
            }
            assert_eq!(decision.await.unwrap(), is_extended);
        }
    }

    #[test]
    fn start_due_before_the_end_is_still_allowed() {
        let start = Instant::now();
        let deadline = Deadline::new(start);
        assert_eq!(deadline.close(), start);
        assert_eq!(deadline.allows(start.checked_sub(SECOND).unwrap()), Some(true));
        assert_eq!(deadline.allows(start), Some(false));
        let refused = Deadline::new(start + SECOND);
        refused.closing.cancel();
        assert_eq!(refused.allows(start), Some(false), "a refusal ends the load before it is closed");
    }
}
