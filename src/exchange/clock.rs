//! What the system says of its clock: machines begin at one moment as well as their clocks agree.

/// Whether something keeps the clock in step, and by how much it may be off, milliseconds; nothing where the
/// system does not say.
#[cfg(target_os = "linux")]
pub(crate) fn state() -> Option<(bool, f64)> {
    /// The kernel's state of a clock that nobody keeps in step (`TIME_ERROR` of adjtimex(2)).
    const UNSYNCHRONISED: i32 = 5;
    // With no mode set the call only reads, and needs no privilege.
    let mut timex = rtime_clock::adjtime::Timex::new();
    let state = rtime_clock::adjtime::adjtimex(&mut timex).ok()?;
    Some((state != UNSYNCHRONISED, crate::units::ms_of_us(u64::try_from(timex.0.maxerror).ok()?)))
}

/// As above.
#[cfg(not(target_os = "linux"))]
pub(crate) fn state() -> Option<(bool, f64)> {
    None
}
