//! `[[override]]`: keys of `[load]` and `[request]` that hold for some cells only.

use super::{Keys, Load, Request, Rule, fields, laid_over};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;

/// Keys of `[load]` that are the run's: a cell cannot have its own.
pub(crate) const RUN_KEYS: [&str; 4] = ["order", "seed", "repetitions", "cool_down"];

/// What some cells do otherwise.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Override {
    /// Which cells.
    pub(crate) when: Rule,
    /// Keys of `[load]` and `[request]`, with the values that hold for these cells.
    pub(crate) keys: Keys,
}

impl Override {
    /// The load with this override's keys.
    ///
    /// # Errors
    /// What `[load]` says of a value that it cannot take.
    pub(crate) fn load(&self, load: &Load) -> Result<Load, serde_json::Error> {
        laid_over(load, self.of::<Load>())
    }

    /// The request with this override's keys.
    ///
    /// # Errors
    /// What `[request]` says of a value that it cannot take.
    pub(crate) fn request(&self, request: &Request) -> Result<Request, serde_json::Error> {
        laid_over(request, self.of::<Request>())
    }

    /// What some overrides say together: each key with the value that the last of them gives it, and which that is.
    pub(crate) fn together<'o>(all: &'o [Self], which: &[usize]) -> Vec<(&'o str, &'o Value, usize)> {
        let mut said: Vec<(&str, &Value, usize)> = Vec::new();
        for index in which {
            for (key, value) in all[*index].keys.iter() {
                said.retain(|(other, ..)| *other != key);
                said.push((key, value, *index));
            }
        }
        said
    }

    /// The keys that a table knows and a cell may have its own of.
    fn of<T: serde::de::DeserializeOwned>(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.keys.iter().filter(|(key, _)| fields::<T>().contains(key) && !RUN_KEYS.contains(key))
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
        // The keys are those of other tables: `config` fills them in.
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
    fn any_key_of_load_and_request_is_laid_over() {
        let plan = crate::plan::tests::plan();
        let changed: Override =
            toml::from_str("timeout = \"30m\"\nmin_samples = \"p99\"\nseed = 9\nwhen = { users = 90 }\n").unwrap();
        let (load, request) = (changed.load(&plan.load).unwrap(), changed.request(&plan.request).unwrap());
        assert_eq!(request.timeout.as_secs(), 1_800);
        assert_eq!(load.min_samples, Some(crate::units::Samples::P99));
        assert_eq!(load.seed, plan.load.seed, "the seed is the run's");
        assert_eq!((load.drain, request.max_tokens), (plan.load.drain, plan.request.max_tokens));
        assert_eq!(toml::from_str::<Override>(&toml::to_string(&changed).unwrap()).unwrap(), changed);
    }

    #[test]
    fn keys_without_default_are_known() {
        assert!(fields::<Load>().contains(&"max_duration") && fields::<Request>().contains(&"top_p"));
    }
}
