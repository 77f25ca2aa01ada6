//! What a request asks of the prompt cache.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How prompts are sent, so that the service's prompt cache is used or is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CacheMode {
    /// The prompt verbatim, every time the same: a model that caches by itself answers the second from its cache.
    AsIs,
    /// Behind a first line that no other request has.
    Cold,
    /// Before a last line that no other request has.
    Warm,
    /// As [`Self::Warm`], with a cache point before the last line.
    Explicit,
}

impl CacheMode {
    /// All there are.
    pub(crate) const ALL: [Self; 4] = [Self::AsIs, Self::Cold, Self::Warm, Self::Explicit];

    /// Returns whether requests have a cache point, so that the service writes prompts to the cache for a price.
    pub(crate) fn writes_cache(self) -> bool {
        self == Self::Explicit
    }

    /// Whether one request fills the cache before the load begins.
    pub(crate) fn is_primed(self) -> bool {
        matches!(self, Self::Warm | Self::Explicit)
    }
}

impl fmt::Display for CacheMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::AsIs => "as_is",
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Explicit => "explicit",
        })
    }
}
