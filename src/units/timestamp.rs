//! Timestamps as text, always in UTC.

use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// Returns the current time in milliseconds since the epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Formats a time as in file names: `20261124_091603`.
pub(crate) fn compact(epoch_ms: u64) -> String {
    let format = format_description!("[year][month][day]_[hour][minute][second]");
    at(epoch_ms).format(format).unwrap_or_default()
}

/// Formats a time with seconds: `2026-11-24T09:16:03Z`.
pub(crate) fn iso(epoch_ms: u64) -> String {
    at(epoch_ms / 1_000 * 1_000).format(&Rfc3339).unwrap_or_default()
}

/// Parses the format of [`iso`]; returns milliseconds since the epoch, or `None` if the text is invalid.
pub(crate) fn parse_iso(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

fn at(epoch_ms: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(epoch_ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_utc() {
        assert_eq!(super::compact(1_795_511_763_456), "20261124_091603");
        assert_eq!(super::iso(1_795_511_763_456), "2026-11-24T09:16:03Z");
        assert_eq!(super::parse_iso("2026-11-24T09:16:03Z"), Some(1_795_511_763_000));
        assert_eq!(super::parse_iso("yesterday"), None);
    }
}
