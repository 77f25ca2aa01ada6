//! `[[override]]`: keys of `[load]` and `[request]` for some cells.

use super::{Keys, Load, Request, Rule, apply_keys, field_names};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;

/// Keys of `[load]` that apply to the whole run and cannot be overridden.
pub(crate) const RUN_KEYS: [&str; 4] = ["order", "seed", "repetitions", "cool_down"];

/// Settings for some cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Override {
    /// The cells to which the override applies.
    pub(crate) when: Rule,
    /// Keys of `[load]` and `[request]` with their values.
    pub(crate) keys: Keys,
}

impl Override {
    /// Returns the load with this override's keys.
    ///
    /// # Errors
    /// Fails if a value is invalid.
    pub(crate) fn load(&self, load: &Load) -> Result<Load, serde_json::Error> {
        apply_keys(load, self.keys_of::<Load>())
    }

    /// Returns the request with this override's keys.
    ///
    /// # Errors
    /// Fails if a value is invalid.
    pub(crate) fn request(&self, request: &Request) -> Result<Request, serde_json::Error> {
        apply_keys(request, self.keys_of::<Request>())
    }

    /// Combines overrides: returns each key with its last value and the index of that override.
    pub(crate) fn combined<'o>(all: &'o [Self], which: &[usize]) -> Vec<(&'o str, &'o Value, usize)> {
        let mut combined: Vec<(&str, &Value, usize)> = Vec::new();
        for index in which {
            for (key, value) in all[*index].keys.iter() {
                combined.retain(|(other, ..)| *other != key);
                combined.push((key, value, *index));
            }
        }
        combined
    }

    /// Returns the keys of a table that can be overridden.
    fn keys_of<T: serde::de::DeserializeOwned>(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.keys.iter().filter(|(key, _)| field_names::<T>().contains(key) && !RUN_KEYS.contains(key))
    }
}

impl schemars::JsonSchema for Override {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Override".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // The keys belong to other tables: `config` adds them.
        schemars::json_schema!({ "type": "object" })
    }
}

impl Serialize for Override {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("when", &self.when)?;
        for (key, value) in self.keys.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Override {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Override;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a table such as { when = { service_tier = \"flex\" }, timeout = \"30m\" }")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Override, A::Error> {
                let mut all = Override::default();
                while let Some(key) = map.next_key::<String>()? {
                    if key == "when" {
                        all.when = map.next_value()?;
                    } else {
                        all.keys.0.insert(key, map.next_value()?);
                    }
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_key_of_load_and_request_can_be_overridden() {
        let plan = crate::plan::tests::plan();
        let changed: Override =
            toml::from_str("timeout = \"30m\"\nmin_samples = \"p99\"\nseed = 9\nwhen = { users = 90 }\n").unwrap();
        let (load, request) = (changed.load(&plan.load).unwrap(), changed.request(&plan.request).unwrap());
        assert_eq!(request.timeout.as_secs(), 1_800);
        assert_eq!(load.min_samples, Some(crate::units::Samples::P99));
        assert_eq!(load.seed, plan.load.seed, "the seed applies to the whole run");
        assert_eq!((load.drain, request.max_tokens), (plan.load.drain, plan.request.max_tokens));
        assert_eq!(toml::from_str::<Override>(&toml::to_string(&changed).unwrap()).unwrap(), changed);
    }

    #[test]
    fn keys_without_default_are_listed() {
        assert!(field_names::<Load>().contains(&"max_duration") && field_names::<Request>().contains(&"top_p"));
    }
}
