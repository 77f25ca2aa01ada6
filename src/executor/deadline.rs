//! Until when the requests of a turn may start: a deadline that may be put off, and an end that may
//! come before it. A start that is wanted past the deadline waits until it is decided whether the cell
//! goes on: who gave up there would be missing from the rest of it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// See the module.
#[derive(Debug)]
pub(super) struct Deadline {
    at: watch::Sender<Instant>,
    closed: OnceLock<Instant>,
    /// Nothing new starts.
    pub(super) closing: CancellationToken,
}

impl Deadline {
    pub(super) fn new(at: Instant) -> Self {
        Self { at: watch::Sender::new(at), closed: OnceLock::new(), closing: CancellationToken::new() }
    }

    /// As far as is known now.
    pub(super) fn at(&self) -> Instant {
        *self.at.borrow()
    }

    /// The cell goes on for so much longer.
    pub(super) fn put_off(&self, by: Duration) {
        self.at.send_modify(|at| *at += by);
    }

    /// From now on nothing starts, but for arrivals that were due before. Returns when the load ended.
    pub(super) fn close(&self) -> Instant {
        let ended = *self.closed.get_or_init(|| Instant::now().min(self.at()));
        self.closing.cancel();
        ended
    }

    /// When the load ended, or will end as far as is known.
    pub(super) fn ended(&self) -> Instant {
        self.closed.get().copied().unwrap_or_else(|| self.at())
    }

    /// Whether a start that is wanted at `wanted` may happen; nothing where that is not decided yet.
    pub(super) fn allows(&self, wanted: Instant) -> Option<bool> {
        match self.closed.get() {
            Some(closed) => Some(wanted < *closed),
            None if self.closing.is_cancelled() => Some(false),
            None => (wanted < self.at()).then_some(true),
        }
    }

    /// As above, once it is decided.
    pub(super) async fn decides(&self, wanted: Instant) -> bool {
        let mut at = self.at.subscribe();
        loop {
            if let Some(decided) = self.allows(wanted) {
                return decided;
            }
            tokio::select! {
                () = self.closing.cancelled() => {}
                // The sender lives as long as this.
                _ = at.changed() => {}
            }
        }
    }
}

/// Ends the load when what holds it panics: whoever waits for the end of the load passes the panic on, and does not wait
/// for the end of the cell to learn of it.
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
    async fn a_start_past_the_deadline_waits_for_the_decision() {
        let start = Instant::now();
        for goes_on in [true, false] {
            let deadline = Arc::new(Deadline::new(start));
            assert_eq!(deadline.allows(start), None);
            let waiting = Arc::clone(&deadline);
            let asked = tokio::spawn(async move { waiting.decides(start).await });
            tokio::task::yield_now().await;
            if goes_on {
                deadline.put_off(SECOND);
            } else {
                deadline.close();
            }
            assert_eq!(asked.await.unwrap(), goes_on);
        }
    }

    #[test]
    fn what_was_due_before_the_end_may_still_start() {
        let start = Instant::now();
        let deadline = Deadline::new(start);
        assert_eq!(deadline.close(), start);
        assert_eq!(deadline.allows(start.checked_sub(SECOND).unwrap()), Some(true));
        assert_eq!(deadline.allows(start), Some(false));
        let refused = Deadline::new(start + SECOND);
        refused.closing.cancel();
        assert_eq!(refused.allows(start), Some(false), "a refusal ends the turn before its end is written down");
    }
}
