//! Use of the prompt cache.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How prompts are sent, which determines whether the service's prompt cache applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CacheMode {
    /// The prompt verbatim: a model with implicit caching serves the second request from its cache.
    AsIs,
    /// The prompt after a unique first line.
    Cold,
    /// The prompt before a unique last line.
    Warm,
    /// Like [`Self::Warm`], with a cache point before the last line.
    Explicit,
}

impl CacheMode {
    pub(crate) const ALL: [Self; 4] = [Self::AsIs, Self::Cold, Self::Warm, Self::Explicit];

    /// Returns whether requests have a cache point, so that the service charges for writes to the cache.
    pub(crate) fn writes_cache(self) -> bool {
        self == Self::Explicit
    }

    /// Returns whether priming requests fill the cache before the load.
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
