//! A number that a plan can disable: `temperature = 0.5` or `temperature = "none"`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A number, or the word `none`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NoneOr(pub(crate) Option<f64>);

impl schemars::JsonSchema for NoneOr {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NoneOr".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "number" }, { "const": "none" }] })
    }
}

impl fmt::Display for NoneOr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(out),
            None => out.write_str("none"),
        }
    }
}

impl Serialize for NoneOr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) => serializer.serialize_f64(number),
            None => serializer.serialize_str("none"),
        }
    }
}

impl<'de> Deserialize<'de> for NoneOr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = NoneOr;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a number or \"none\"")
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<NoneOr, E> {
                Ok(NoneOr(Some(number)))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<NoneOr, E> {
                Ok(NoneOr(Some(number as f64)))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<NoneOr, E> {
                Ok(NoneOr(Some(number as f64)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<NoneOr, E> {
                if text == "none" { Ok(NoneOr(None)) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
