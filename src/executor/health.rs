//! Whether this machine keeps up: raw values of the process and its runtime. What they mean is
//! decided in `stats`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The ticker's period.
const TICK: Duration = Duration::from_millis(10);

/// The worst lateness of a 10 ms ticker on the runtime that serves the requests, since it was last
/// asked for.
#[derive(Debug, Default)]
pub(super) struct Ticker {
    worst_us: AtomicU64,
}

impl Ticker {
    /// Ticks until `stop`.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let mut due = Instant::now();
        loop {
            due += TICK;
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = stop.cancelled() => return,
            }
            let late = due.elapsed();
            self.worst_us.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
            // A tick that came later than the next one is due is one lateness, not many.
            if late > TICK {
                due = Instant::now();
            }
        }
    }

    /// The worst since the last call, milliseconds.
    pub(super) fn take_ms(&self) -> f64 {
        crate::units::ms_of_us(self.worst_us.swap(0, Ordering::Relaxed))
    }
}

/// The CPU time of this process until now, all its threads together; nothing where the system does
/// not say.
#[cfg(unix)]
pub(super) fn cpu_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// As above.
#[cfg(not(unix))]
pub(super) fn cpu_time() -> Option<Duration> {
    None
}
