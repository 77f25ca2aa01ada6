//! The clock of a run.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock, anchored once to the wall clock, so that clock changes do not affect records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    instant: Instant,
    epoch_us: u64,
}

impl Clock {
    pub(super) fn anchored_now() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), epoch_us: epoch.as_micros() as u64 }
    }

    /// Converts to microseconds since the epoch.
    pub(super) fn epoch_us(self, instant: Instant) -> u64 {
        self.epoch_us + instant.saturating_duration_since(self.instant).as_micros() as u64
    }
}
