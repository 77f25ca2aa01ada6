//! Keys of other tables inside a table of the plan: `[load]` and `[request]` in an override, `[matrix]` in a zip and in an
//! added cell. They are parsed by those tables, so that new keys need no change here. Independent of what the keys mean.

use serde::de::value::Error as NoValue;
use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, forward_to_deserialize_any};
use serde_json::{Map, Value};

/// Keys with their values, as written in the plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Keys(pub(super) Map<String, Value>);

impl schemars::JsonSchema for Keys {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Keys".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object" })
    }
}

impl Keys {
    /// Returns each key with its value, in the order of the plan.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Returns the value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }
}

/// Returns a table with some of its keys replaced.
///
/// # Errors
/// Fails if the table has no such key or the value is invalid.
pub(crate) fn apply_keys<'k, T: Serialize + DeserializeOwned>(
    table: &T,
    keys: impl IntoIterator<Item = (&'k str, &'k Value)>,
) -> Result<T, serde_json::Error> {
    let mut tree = serde_json::to_value(table)?;
    for (key, value) in keys {
        tree[key] = value.clone();
    }
    serde_json::from_value(tree)
}

/// Returns all keys of a table, including those without a default.
pub(crate) fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    let _ = T::deserialize(FieldNames(&mut names));
    names
}

/// A deserialiser that only collects the names of the requested fields.
struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = NoValue;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, NoValue> {
        *self.0 = fields;
        Err(NoValue::custom("only field names are collected"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, NoValue> {
        Err(NoValue::custom("only field names are collected"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
