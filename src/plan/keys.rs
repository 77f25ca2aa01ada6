//! Keys of other tables that a form of the plan collects: an override's of `[load]` and `[request]`, a
//! zip's and an added cell's of `[matrix]`. They are read as those tables read them, so that a key that
//! is new there is known here too. Does not know what the keys mean.

use serde::de::value::Error as NoValue;
use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, forward_to_deserialize_any};
use serde_json::{Map, Value};

/// Keys with their values, as a plan says them.
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
    /// Each key with its value, in the order in which they were said.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }
}

/// A table with some of its keys said anew, each replaced whole.
///
/// # Errors
/// What the table says of a key or a value that it cannot take.
pub(crate) fn laid_over<'k, T: Serialize + DeserializeOwned>(
    table: &T,
    keys: impl IntoIterator<Item = (&'k str, &'k Value)>,
) -> Result<T, serde_json::Error> {
    let mut tree = serde_json::to_value(table)?;
    for (key, value) in keys {
        tree[key] = value.clone();
    }
    serde_json::from_value(tree)
}

/// The keys that a table knows, those without default too.
pub(crate) fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut found: &'static [&'static str] = &[];
    let _ = T::deserialize(Asked(&mut found));
    found
}

/// Deserialises nothing: it keeps the names that it is asked for.
struct Asked<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = NoValue;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, NoValue> {
        *self.0 = fields;
        Err(NoValue::custom("only the names are asked for"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, NoValue> {
        Err(NoValue::custom("only the names are asked for"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
