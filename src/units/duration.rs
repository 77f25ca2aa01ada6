//! Durations as text: `500ms`, `30s`, `1h30m`. A unit is required; where a bare number is welcome
//! (environment and flags, as in Locust), the caller appends the `s`.

use std::fmt;
use std::time::Duration;

const UNITS: [(&str, u64); 5] =
    [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];

/// Parses `1h30m`, `1.5s`, `250ms`, `0s`. The message of an error says what to write instead.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("`{text}` is not a duration: write a number with a unit, such as `500ms`, `30s`, `5m` or `1h30m`");
    let mut rest = text.trim();
    if rest.starts_with('-') {
        return Err(format!("`{text}` is negative: a duration is zero or more"));
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        let after = &rest[digits..];
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let unit = &after[..letters];
        if unit.is_empty() && digits == text.trim().len() {
            return Err(format!("`{text}` has no unit: write `{text}s` for seconds, or `500ms`, `5m`, `1h30m`"));
        }
        let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        total += number * *nanos as f64;
        rest = &after[letters..];
    }
    if total > 1e9 * 86_400.0 * 365.0 {
        return Err(format!("`{text}` is longer than a year"));
    }
    Ok(Duration::from_nanos(total.round() as u64))
}

/// The shortest text that [`parse`] reads back to the same duration, to the microsecond.
pub(crate) fn format(duration: Duration) -> String {
    let mut left = duration.as_nanos() as u64 / 1_000 * 1_000;
    if left == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, nanos) in UNITS {
        let count = left / nanos;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            left -= count * nanos;
        }
    }
    text
}

/// What a duration looks like, as a regular expression.
pub(crate) const PATTERN: &str = r"([0-9]+(\.[0-9]*)?(h|m|s|ms|us))+";

/// For `#[schemars(with = "units::duration::Text")]`: what a schema says of a duration.
pub(crate) struct Text;

super::text_schema!(Text, "Duration", format!("^{PATTERN}$"));

/// `#[serde(with = "units::duration::text")]`: a duration that is text in every file.
pub(crate) mod text {
    use super::{Duration, format, parse};
    use serde::{Deserializer, Serializer};

    /// Writes `1m30s`.
    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format(*duration))
    }

    /// Reads text with a unit; a bare number is refused with what to write instead.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(super::TextVisitor::new("a duration such as `30s` or `1h30m`", parse))
    }
}

/// As [`text`], for a duration that may be left out (with `default` and `skip_serializing_if`).
pub(crate) mod optional_text {
    use super::{Duration, text};
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes `1m30s`.
    #[allow(clippy::ref_option)] // serde's `with` calls it so
    pub(crate) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => text::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads text with a unit, or nothing.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        struct Said(#[serde(with = "text")] Duration);
        Ok(Option::<Said>::deserialize(deserializer)?.map(|Said(duration)| duration))
    }
}

/// Reads text through a function; a number is refused with a hint that names the unit.
pub(super) struct TextVisitor<F> {
    expected: &'static str,
    read: F,
}

impl<F> TextVisitor<F> {
    pub(super) fn new(expected: &'static str, read: F) -> Self {
        Self { expected, read }
    }
}

impl<T, F: Fn(&str) -> Result<T, String>> serde::de::Visitor<'_> for TextVisitor<F> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.expected)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        Err(E::custom(no_unit(&number)))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
        Err(E::custom(no_unit(&number)))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<T, E> {
        Err(E::custom(no_unit(&number)))
    }
}

fn no_unit(number: &dyn fmt::Display) -> String {
    format!("{number} has no unit: write \"{number}s\" for seconds, or \"500ms\", \"5m\", \"1h30m\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(parse("1h30m").unwrap(), Duration::from_secs(5_400));
        assert_eq!(parse("1.5s").unwrap(), Duration::from_millis(1_500));
        assert_eq!(parse("250ms").unwrap(), Duration::from_millis(250));
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in ["", "5x", "s", "-3s", "30", "1m30", "1..2s", "1e3s", "99999999h"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("30").unwrap_err().contains("`30s`"));
    }

    proptest! {
        #[test]
        fn format_and_parse_are_inverse(us in 0_u64..10_000_000_000_000) {
            let duration = Duration::from_micros(us);
            prop_assert_eq!(parse(&format(duration)).unwrap(), duration);
        }
    }
}
