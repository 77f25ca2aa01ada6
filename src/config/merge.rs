//! One layer over the other: defaults, file, environment, flags. The only user of figment, which
//! merges one provider per value and remembers by its tag who said it.

use figment::value::{Dict, Map, Value as FigmentValue};
use figment::{Error, Figment, Metadata, Profile, Provider};
use serde_json::Value;

/// One value that a layer says.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// Dotted key; empty for a whole tree.
    pub(super) key: String,
    /// What.
    pub(super) value: Value,
    /// Who: an index into the caller's list of origins.
    pub(super) by: usize,
}

impl Provider for Said {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.by.to_string())
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

/// What holds when all layers are laid over each other.
pub(super) struct Merged {
    figment: Figment,
    /// The tree.
    pub(super) tree: Value,
}

/// Merges values, weakest first: tables merge, everything else is replaced.
pub(super) fn merge(said: Vec<Said>) -> Merged {
    let figment = said.into_iter().fold(Figment::new(), Figment::merge);
    let tree = figment.extract().unwrap_or_else(|error| unreachable!("plain data merges: {error}"));
    Merged { figment, tree }
}

impl Merged {
    /// Who said what holds at a key.
    pub(super) fn by(&self, key: &str) -> Option<usize> {
        self.figment.find_metadata(key)?.name.parse().ok()
    }
}
