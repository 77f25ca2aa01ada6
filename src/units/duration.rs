//! Durations: `500ms`, `30s`, `1h30m`, `1d`. A number without a unit is in seconds, as in Locust, in a plan (number or
//! text), in the environment and on flags.

use std::fmt;
use std::time::Duration;

/// Units and their nanoseconds. [`format()`] does not use days: its texts are part of cell hashes.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Parses `1h30m`, `1.5s`, `250ms`, `60` (seconds). An error message states the expected form.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let invalid =
        || format!("`{text}` is not a duration: write a number with a unit, such as `500ms`, `30s`, `5m` or `1h30m`");
    let mut rest = text.trim();
    if rest.starts_with('-') {
        return Err(format!("`{text}` is negative: a duration is zero or more"));
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        let after = &rest[digits..];
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let is_bare = letters == 0 && digits == text.trim().len();
        let unit = if is_bare { "s" } else { &after[..letters] };
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(invalid)?;
        total += number * *nanos as f64;
        rest = &after[letters..];
    }
    if total > 1e9 * 86_400.0 * 365.0 {
        return Err(format!("`{text}` is longer than a year"));
    }
    Ok(Duration::from_nanos(total.round() as u64))
}

/// Returns the shortest text that [`parse`] parses to the same duration, with microsecond precision.
pub(crate) fn format(duration: Duration) -> String {
    let mut left = duration.as_nanos() as u64 / 1_000 * 1_000;
    if left == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, nanos) in &UNITS[1..] {
        let count = left / nanos;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            left -= count * nanos;
        }
    }
    text
}

/// Regular expression of a duration.
pub(crate) const PATTERN: &str = r"([0-9]+(\.[0-9]*)?(d|h|m|s|ms|us))+|[0-9]+(\.[0-9]*)?";

/// The schema of a duration, for `#[schemars(with = "units::duration::Text")]`.
pub(crate) struct Text;

super::text_or_seconds_schema!(Text, "Duration", format!("^({PATTERN})$"));

/// Serialisation of a duration as text, for `#[serde(with = "units::duration::text")]`.
pub(crate) mod text {
    use super::{Duration, format, parse};
    use serde::{Deserializer, Serializer};

    /// Serialises as `1m30s`.
    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*duration))
    }

    /// Deserialises text or a number of seconds.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(super::TextVisitor::new("a duration such as `30s` or `1h30m`", parse))
    }
}

/// [`text`] for an optional duration (with `default` and `skip_serializing_if`).
pub(crate) mod optional_text {
    use super::{Duration, text};
    use serde::{Deserialize, Deserializer, Serializer};

    /// Serialises as `1m30s`.
    #[allow(clippy::ref_option)] // required by serde's `with`
    pub(crate) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => text::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Deserialises text, a number of seconds, or an absent value.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        struct Wrapper(#[serde(with = "text")] Duration);
        Ok(Option::<Wrapper>::deserialize(deserializer)?.map(|Wrapper(duration)| duration))
    }
}

/// Visitor that parses text with a function, and a number as its text.
pub(super) struct TextVisitor<F> {
    expected: &'static str,
    parse: F,
}

impl<F> TextVisitor<F> {
    pub(super) fn new(expected: &'static str, parse: F) -> Self {
        Self { expected, parse }
    }
}

impl<T, F: Fn(&str) -> Result<T, String>> serde::de::Visitor<'_> for TextVisitor<F> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.expected)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_parsed() {
        assert_eq!(parse("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(parse("1h30m").unwrap(), Duration::from_secs(5_400));
        assert_eq!(parse("1.5s").unwrap(), Duration::from_millis(1_500));
        assert_eq!(parse("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse("1d").unwrap(), Duration::from_secs(86_400));
        assert_eq!(parse("60").unwrap(), Duration::from_secs(60));
        assert_eq!(parse(" 1.5 ").unwrap(), Duration::from_millis(1_500));
        assert_eq!(format(Duration::from_secs(2 * 86_400)), "48h", "texts of durations are part of cell hashes");
    }

    #[test]
    fn invalid_durations_are_errors() {
        for text in ["", "5x", "s", "-3s", "-3", "1m30", "1..2s", "1..2", "1e3s", "99999999h", "1e300", "."] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn format_and_parse_are_inverse(us in 0_u64..10_000_000_000_000) {
            let duration = Duration::from_micros(us);
            prop_assert_eq!(parse(&format(duration)).unwrap(), duration);
        }
    }
}
