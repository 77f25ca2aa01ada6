//! The counters of a cell run, which all of its users and arrivals update.

use super::health::cpu_time;
use crate::record::manifest::Second;
use crate::units::{ms, us_to_ms};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The counters of a cell run.
#[derive(Debug, Default)]
pub(super) struct CellCounters {
    users: AtomicU32,
    in_flight: AtomicU32,
    dropped: AtomicU64,
    starts_waited: AtomicU64,
    user_us: AtomicU64,
    think_us: AtomicU64,
}

impl CellCounters {
    pub(super) fn add_user(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    /// Removes a user that was present for this time.
    pub(super) fn remove_user(&self, present: Duration) {
        self.user_us.fetch_add(present.as_micros() as u64, Ordering::Relaxed);
        self.users.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn add_think_time(&self, time: Duration) {
        self.think_us.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn add_in_flight(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove_in_flight(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts dropped starts.
    pub(super) fn add_dropped(&self, starts: u64) {
        self.dropped.fetch_add(starts, Ordering::Relaxed);
    }

    /// Returns the number of dropped starts.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts a start that waited for the recorder's queue.
    pub(super) fn add_waited_start(&self) {
        self.starts_waited.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of starts that waited for the recorder's queue; `None` if there were none.
    pub(super) fn starts_waited(&self) -> Option<u64> {
        Some(self.starts_waited.load(Ordering::Relaxed)).filter(|starts| *starts > 0)
    }

    /// Returns the total time of all users, and their total think time, in milliseconds.
    pub(super) fn user_and_think_ms(&self) -> (f64, f64) {
        let read = |us: &AtomicU64| us_to_ms(us.load(Ordering::Relaxed));
        (read(&self.user_us), read(&self.think_us))
    }

    /// Returns the figures since the previous sample and updates it. `ticker_ms` is the lateness of the ticker since then.
    pub(super) fn take_second(&self, previous: &mut PreviousSample, ticker_ms: f64) -> Second {
        let now = PreviousSample { cpu: cpu_time(), dropped: self.dropped() };
        let last = std::mem::replace(previous, now);
        Second {
            users: self.users.load(Ordering::Relaxed),
            in_flight: self.in_flight(),
            cpu_ms: now.cpu.zip(last.cpu).map(|(now, last)| ms(now.saturating_sub(last))),
            ticker_ms,
            dropped: u32::try_from(now.dropped - last.dropped).unwrap_or(u32::MAX),
        }
    }
}

/// Values at the previous sample.
#[derive(Debug, Clone, Copy)]
pub(super) struct PreviousSample {
    cpu: Option<Duration>,
    dropped: u64,
}

impl PreviousSample {
    pub(super) fn now() -> Self {
        Self { cpu: cpu_time(), dropped: 0 }
    }
}
