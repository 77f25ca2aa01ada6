//! Parsing and formatting of quantities and names: durations, ranges, rates, money, timestamps, URLs, names that are safe
//! in file names; and masking of secrets. Every module may use this one; it depends on no other.

/// Implements the schema of a type that is serialised as text with a pattern, or as a number of seconds.
macro_rules! text_or_seconds_schema {
    ($type:ty, $name:literal, $pattern:expr) => {
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "anyOf": [{ "type": "string", "pattern": $pattern }, { "type": "number", "minimum": 0 }]
                })
            }
        }
    };
}
use text_or_seconds_schema;

pub(crate) mod duration;
pub(crate) mod explained;
pub(crate) mod file;
pub(crate) mod id;
mod keyed;
mod money;
mod nearest;
mod optional;
pub(crate) mod pattern;
mod rate;
mod samples;
pub(crate) mod secrets;
pub(crate) mod text;
pub(crate) mod text_file;
mod think_time;
pub(crate) mod timestamp;
pub(crate) mod url;

pub(crate) use keyed::Keyed;
pub(crate) use money::Usd;
pub(crate) use nearest::{nearest, similarity};
pub(crate) use optional::NoneOr;
pub(crate) use rate::Rate;
pub(crate) use samples::Samples;
pub(crate) use secrets::Secrets;
pub(crate) use think_time::ThinkTime;

use std::time::Duration;

/// Returns milliseconds with three decimals, the unit of every time in a record.
pub(crate) fn ms(duration: Duration) -> f64 {
    us_to_ms(duration.as_micros() as u64)
}

/// Converts microseconds to milliseconds with three decimals.
pub(crate) fn us_to_ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

/// Rounds to a number of decimals.
pub(crate) fn rounded(value: f64, decimals: i32) -> f64 {
    let steps = 10_f64.powi(decimals);
    (value * steps).round() / steps
}

/// Formats a number, with an exponent if it is very large or very small.
pub(crate) fn number(value: f64) -> String {
    let is_short = value == 0.0 || !value.is_finite() || (1e-6..1e15).contains(&value.abs());
    if is_short { value.to_string() } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn large_and_small_numbers_have_an_exponent() {
        for (value, text) in
            [(0.0, "0"), (10.0, "10"), (0.25, "0.25"), (1e-6, "0.000001"), (1e-300, "1e-300"), (-2.5e300, "-2.5e300")]
        {
            assert_eq!(number(value), text);
        }
        assert_eq!(number(f64::INFINITY), "inf");
    }
}
