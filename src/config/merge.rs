//! Merges the layers: defaults, files, environment, flags. The only user of figment, which merges one provider per value
//! and tags it with its origin.

use figment::value::{Dict, Map, Value as FigmentValue};
use figment::{Error, Figment, Metadata, Profile, Provider};
use serde_json::Value;

/// A value that a layer sets.
#[derive(Debug, Clone)]
pub(super) struct LayerValue {
    /// Dotted key; empty for a whole tree.
    pub(super) key: String,
    pub(super) value: Value,
    /// Index into the caller's list of origins.
    pub(super) origin: usize,
}

impl Provider for LayerValue {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let nested =
            self.key.rsplit('.').filter(|part| !part.is_empty()).fold(self.value.clone(), |inner, part| {
                Value::Object(std::iter::once((part.to_owned(), inner)).collect())
            });
        let dict = FigmentValue::serialize(nested)?.into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}

/// The merged layers.
pub(super) struct Merged {
    figment: Figment,
    pub(super) tree: Value,
}

/// Merges values, lowest precedence first: tables are merged, other values are replaced.
pub(super) fn merge(values: Vec<LayerValue>) -> Merged {
    let figment = values.into_iter().fold(Figment::new(), Figment::merge);
    let tree = figment.extract().unwrap_or_else(|error| unreachable!("plain data merges: {error}"));
    Merged { figment, tree }
}

impl Merged {
    /// Returns the index of the origin that sets a key.
    pub(super) fn origin_index(&self, key: &str) -> Option<usize> {
        self.figment.find_metadata(key)?.name.parse().ok()
    }
}
