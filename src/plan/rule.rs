//! Rules that select cells: `{ service_tier = ["flex"], users = 90 }`. Used in `exclude` and `when`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;
use std::fmt;

/// Attributes of a cell by their names in records, each with the matching values. A rule without attributes matches every
/// cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Rule(BTreeMap<String, Matching>);

/// The matching values of one attribute; in a plan one value or a list.
#[derive(Debug, Clone, PartialEq)]
struct Matching(Vec<Value>);

/// A name or a number, as in a cell's coordinates.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Value {
    Whole(u64),
    Number(f64),
    Text(String),
}

impl Rule {
    /// Returns the attributes with the texts of the matching values.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        self.0.iter().map(|(name, values)| (name.as_str(), values.0.iter().map(ToString::to_string).collect()))
    }

    /// Returns whether the rule matches every cell.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl schemars::JsonSchema for Rule {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rule".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // The attributes of cells are not known here: `config` adds them.
        schemars::json_schema!({ "type": "object", "x-rule": true })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(name, values): (&str, Vec<String>)| format!("{name} = {}", values.join(" | "));
        let attributes: Vec<String> = self.attributes().map(one).collect();
        if attributes.is_empty() { out.write_str("every cell") } else { out.write_str(&attributes.join(", ")) }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(out),
            Self::Number(number) => number.fmt(out),
            Self::Text(text) => out.write_str(text),
        }
    }
}

impl Serialize for Matching {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Matching {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Matching;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a name, a number, or a list of them")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Matching, E> {
                Ok(Matching(vec![Value::Whole(number)]))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Matching, E> {
                let whole = u64::try_from(number).map(Value::Whole);
                whole
                    .map(|value| Matching(vec![value]))
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Matching, E> {
                Ok(Matching(vec![Value::Number(number)]))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Matching, E> {
                Ok(Matching(vec![Value::Text(text.to_owned())]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Matching, A::Error> {
                let mut all = Vec::new();
                while let Some(Matching(one)) = items.next_element()? {
                    all.extend(one);
                }
                if all.is_empty() {
                    return Err(de::Error::custom("an empty list matches no cell: add a value or omit the attribute"));
                }
                Ok(Matching(all))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
