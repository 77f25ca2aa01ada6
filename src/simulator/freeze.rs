//! A server that stands still now and then, as garbage collectors and failovers make them.

use std::time::{Duration, Instant};

/// Stands still for `length` after every `every` since `started`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freezer {
    pub(super) started: Instant,
    pub(super) every: Duration,
    pub(super) length: Duration,
}

impl Freezer {
    /// Waits until the server moves again, if it stands still now.
    pub(super) async fn thaw(self) {
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
