//! Which cells are meant: `{ service_tier = ["flex"], users = 90 }`. Used wherever a plan speaks of
//! some of its cells (`exclude`, `when`).

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;
use std::fmt;

/// Attributes of a cell by the names that its records have, each with the values that match. Without
/// attributes it is every cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Rule(BTreeMap<String, Wanted>);

/// The values of one attribute that match: in a plan one, or a list.
#[derive(Debug, Clone, PartialEq)]
struct Wanted(Vec<Value>);

/// A name or a number, as a coordinate is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Value {
    Whole(u64),
    Number(f64),
    Text(String),
}

impl Rule {
    /// The attributes with the texts of the values that match, as a coordinate of a cell is shown.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        self.0.iter().map(|(name, wanted)| (name.as_str(), wanted.0.iter().map(ToString::to_string).collect()))
    }

    /// Every cell is meant.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
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

impl Serialize for Wanted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Wanted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Wanted;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a name, a number, or a list of them")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Wanted, E> {
                Ok(Wanted(vec![Value::Whole(number)]))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Wanted, E> {
                let whole = u64::try_from(number).map(Value::Whole);
                whole
                    .map(|value| Wanted(vec![value]))
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Wanted, E> {
                Ok(Wanted(vec![Value::Number(number)]))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Wanted, E> {
                Ok(Wanted(vec![Value::Text(text.to_owned())]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Wanted, A::Error> {
                let mut all = Vec::new();
                while let Some(Wanted(one)) = items.next_element()? {
                    all.extend(one);
                }
                if all.is_empty() { Err(de::Error::invalid_length(0, &self)) } else { Ok(Wanted(all)) }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
