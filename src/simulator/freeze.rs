//! Periodic freezes of the server, as garbage collections and failovers cause them.

use std::time::{Duration, Instant};

/// The freezes: one of `length` after each period of `every` since `started`.
#[derive(Debug, Clone, Copy)]
pub(super) struct FreezeSchedule {
    pub(super) started: Instant,
    pub(super) every: Duration,
    pub(super) length: Duration,
}

impl FreezeSchedule {
    /// Waits until the end of the current freeze, if there is one.
    pub(super) async fn wait_if_frozen(self) {
        if self.every.is_zero() || self.length.is_zero() {
            return;
        }
        let since = self.started.elapsed();
        let periods = (since.as_nanos() / self.every.as_nanos()) as u32;
        let end = self.every * periods + self.length;
        if periods > 0 {
            tokio::time::sleep(end.saturating_sub(since)).await;
        }
    }
}
