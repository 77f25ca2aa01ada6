//! The synchronisation state of the system clock. The common start of shards is as precise as their clocks.

/// Returns whether the clock is synchronised and its maximum error in milliseconds; `None` if the system does not report
/// it.
#[cfg(target_os = "linux")]
pub(crate) fn state() -> Option<(bool, f64)> {
    /// The kernel's state of an unsynchronised clock (`TIME_ERROR` of adjtimex(2)).
    const UNSYNCHRONISED: i32 = 5;
    // Without a mode the call only reads and needs no privilege.
    let mut timex = rtime_clock::adjtime::Timex::new();
    let state = rtime_clock::adjtime::adjtimex(&mut timex).ok()?;
    Some((state != UNSYNCHRONISED, crate::units::us_to_ms(u64::try_from(timex.0.maxerror).ok()?)))
}

/// Not supported on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn state() -> Option<(bool, f64)> {
    None
}
