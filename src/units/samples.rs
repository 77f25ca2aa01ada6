//! The number of samples that a cell needs: a number, or as many as a p99 needs.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A required number of samples: `1000` or `"p99"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Samples {
    /// A fixed number.
    Count(u64),
    /// The number that a two-sided interval of p99 needs.
    P99,
}

impl schemars::JsonSchema for Samples {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Samples".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "p99" }] })
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(out),
            Self::P99 => out.write_str("p99"),
        }
    }
}

impl Serialize for Samples {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::P99 => serializer.serialize_str("p99"),
        }
    }
}

impl<'de> Deserialize<'de> for Samples {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Samples;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a whole number or \"p99\"")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Samples, E> {
                u64::try_from(number)
                    .map(Samples::Count)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Samples, E> {
                Ok(Samples::Count(number))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Samples, E> {
                if text == "p99" { Ok(Samples::P99) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
