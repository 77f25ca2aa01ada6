//! Client health: raw measurements of this process and its runtime. `stats` evaluates them.
//!
//! The ticker is a task of the runtime that serves the requests. It is late when the process does not run (stopped, without
//! CPU time, machine suspended) and when all workers of the runtime are busy. One blocked worker delays only the tasks in its
//! own queue, which is visible as send lag; other workers run the ticker.

use crate::record::disturbance::{ClockJump, Disturbances, Stall};
use crate::units::{ms, us_to_ms};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

/// Period of the ticker.
const TICK: Duration = Duration::from_millis(10);

/// Lateness above which a tick is recorded as a stall.
const STALL: Duration = Duration::from_millis(50);

/// Minimum difference between clocks that counts as a suspension (boot clock against monotonic clock) or as a jump of the
/// wall clock, in microseconds. Clocks are slewed by at most 0.5 ms per second.
const CLOCK_STEP_US: i64 = 100_000;

/// The lateness of a 10 ms ticker on the runtime that serves the requests.
#[derive(Debug, Default)]
pub(super) struct Ticker {
    worst_us: AtomicU64,
    disturbances: Mutex<Disturbances>,
}

impl Ticker {
    /// Ticks from `start` until `stop` and calls `notify` for each stall. The tick that is due at `stop` counts, so that a stall
    /// over the end of a cell run is recorded whichever task runs first after it.
    pub(super) async fn run(&self, start: Instant, stop: &CancellationToken, notify: impl Fn(&Stall)) {
        let mut due = start;
        let mut clocks = Clocks::read(start);
        loop {
            due += TICK;
            let is_last = tokio::select! {
                () = tokio::time::sleep_until(due.into()) => false,
                () = stop.cancelled() => true,
            };
            let now = Instant::now();
            let late = now.saturating_duration_since(due);
            self.worst_us.fetch_max(late.as_micros() as u64, Ordering::Relaxed);
            let read = Clocks::read(start);
            let step = clocks.zip(read).map(|(before, now)| now.since(before)).unwrap_or_default();
            clocks = read.or(clocks);
            let from_ms = ms(due.min(now).saturating_duration_since(start));
            if late > STALL || step.suspended_us > 0 {
                let suspended_ms = us_to_ms(step.suspended_us);
                let stall = Stall { from_ms, length_ms: ms(late), suspended_ms };
                self.with(|disturbances| disturbances.add_stall(stall));
                notify(&stall);
            }
            if step.wall_us != 0 {
                let jump = ClockJump { at_ms: from_ms, by_ms: step.wall_us as f64 / 1e3 };
                self.with(|disturbances| disturbances.add_clock_jump(jump));
            }
            if is_last {
                return;
            }
            // Several missed ticks count as one late tick.
            if late > TICK {
                due = now;
            }
        }
    }

    /// Returns the maximum lateness since the last call, in milliseconds.
    pub(super) fn take_ms(&self) -> f64 {
        us_to_ms(self.worst_us.swap(0, Ordering::Relaxed))
    }

    /// Returns the disturbances since the start.
    pub(super) fn disturbances(&self) -> Disturbances {
        self.with(|disturbances| disturbances.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Disturbances) -> T) -> T {
        act(&mut self.disturbances.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A reading of the clocks of this machine, in microseconds.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_field_names)] // all fields have the unit
struct Clocks {
    /// Elapsed time without suspension.
    monotonic_us: i64,
    /// Elapsed time with suspension; equal to `monotonic_us` if the system has no such clock.
    boot_us: i64,
    /// Time since the epoch.
    wall_us: i64,
}

/// Difference of two readings beyond the elapsed time, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Step {
    /// Duration of a suspension.
    suspended_us: u64,
    /// Jump of the wall clock.
    wall_us: i64,
}

impl Clocks {
    /// Reads the clocks; returns `None` if the process is repeatedly interrupted between two of them.
    fn read(start: Instant) -> Option<Self> {
        let us = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let boot_us = || us(since_boot().unwrap_or_else(|| start.elapsed()));
        (0..3).find_map(|_| {
            let before_us = boot_us();
            let wall_us = us(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
            let monotonic_us = us(start.elapsed());
            let clocks = Self { monotonic_us, boot_us: boot_us(), wall_us };
            (clocks.boot_us - before_us < CLOCK_STEP_US / 10).then_some(clocks)
        })
    }

    /// Returns the difference between an earlier reading and this one.
    fn since(self, before: Self) -> Step {
        let elapsed_us = self.boot_us - before.boot_us;
        let suspended_us = elapsed_us - (self.monotonic_us - before.monotonic_us);
        let wall_us = self.wall_us - before.wall_us - elapsed_us;
        Step {
            suspended_us: if suspended_us > CLOCK_STEP_US { suspended_us.unsigned_abs() } else { 0 },
            wall_us: if wall_us.abs() > CLOCK_STEP_US { wall_us } else { 0 },
        }
    }
}

/// Returns the time since boot, suspension included.
#[cfg(target_os = "linux")]
fn since_boot() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// Not available through std or rustix in a form comparable with [`Instant`]: a suspension appears as a jump of the wall
/// clock.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> Option<Duration> {
    None
}

/// Returns the CPU time of all threads of this process; `None` if the system does not report it.
#[cfg(unix)]
pub(super) fn cpu_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

/// Not supported on this system.
#[cfg(not(unix))]
pub(super) fn cpu_time() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: i64 = 1_000_000;

    fn clocks(monotonic_us: i64, boot_us: i64, wall_us: i64) -> Clocks {
        Clocks { monotonic_us, boot_us, wall_us }
    }

    #[test]
    fn suspensions_and_jumps_of_the_wall_clock_are_distinguished() {
        let before = clocks(5 * SECOND_US, 7 * SECOND_US, 1_000 * SECOND_US);
        let after = |monotonic, boot, wall| {
            let moved = clocks(before.monotonic_us + monotonic, before.boot_us + boot, before.wall_us + wall);
            let step = moved.since(before);
            (step.suspended_us, step.wall_us)
        };
        assert_eq!(after(10_000, 10_000, 10_000), (0, 0), "a tick");
        assert_eq!(after(6 * SECOND_US, 6 * SECOND_US, 6 * SECOND_US), (0, 0), "a stopped process is no suspension");
        assert_eq!(after(10_000, 3_600 * SECOND_US + 10_000, 3_600 * SECOND_US + 10_000), (3_600_000_000, 0), "lid");
        assert_eq!(after(10_000, 10_000, 10_000 - 7_200 * SECOND_US), (0, -7_200 * SECOND_US), "set back");
        assert_eq!(after(10_000, 10_000, 110_001), (0, 100_001), "set forward");
        assert_eq!(after(10_000, 10_000, 10_005), (0, 0), "slewed");
        assert_eq!(
            after(10_000, 2 * SECOND_US + 10_000, 10_000),
            (2_000_000, -2 * SECOND_US),
            "suspended and set back"
        );
    }

    #[test]
    fn real_clocks_read_twice_show_no_step() {
        let start = Instant::now();
        let (Some(before), Some(after)) = (Clocks::read(start), Clocks::read(start)) else { return };
        assert_eq!(after.since(before), Step::default());
    }

    /// The worker of the ticker is blocked when `stop` is cancelled: both are ready when it continues.
    #[tokio::test]
    async fn stall_over_the_end_is_recorded_whichever_task_runs_first() {
        for _ in 0..20 {
            let (ticker, stop) = (Ticker::default(), CancellationToken::new());
            let start = Instant::now();
            let notified = AtomicU64::new(0);
            let ticking = ticker.run(start, &stop, |_| {
                notified.fetch_add(1, Ordering::Relaxed);
            });
            let stall = async {
                tokio::task::yield_now().await;
                std::thread::sleep(Duration::from_millis(70));
                stop.cancel();
            };
            tokio::join!(ticking, stall);
            let stalls = ticker.disturbances().stalls;
            assert_eq!((stalls.len(), notified.into_inner()), (1, 1), "{stalls:?}");
            assert!(stalls[0].from_ms >= 10.0 && stalls[0].length_ms > 50.0, "{stalls:?}");
            assert!(ticker.take_ms() >= stalls[0].length_ms);
        }
    }

    #[tokio::test]
    async fn late_start_of_the_ticker_is_a_stall() {
        let (ticker, stop) = (Ticker::default(), CancellationToken::new());
        let start = Instant::now();
        std::thread::sleep(Duration::from_millis(80));
        stop.cancel();
        ticker.run(start, &stop, |_| {}).await;
        let stalls = ticker.disturbances().stalls;
        assert!(stalls.len() == 1 && (stalls[0].from_ms - 10.0).abs() < 1e-9, "{stalls:?}");
    }
}
