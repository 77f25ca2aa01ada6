//! Where a value came from, for `show`, for error messages and for the manifest.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The origin of each leaf of a plan, by dotted key (`matrix.user_counts`).
pub(crate) type Origins = BTreeMap<String, Origin>;

/// The layers, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layer {
    /// Built in.
    Default,
    /// The AWS profile of the user.
    Profile,
    /// A plan file.
    File,
    /// An environment variable.
    Env,
    /// A command-line flag.
    Flag,
}

/// One value's origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The layer that won.
    pub(crate) layer: Layer,
    /// `plans/nova.toml:7`, `USER_COUNTS` or `--user-counts`; nothing for a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name.as_deref().unwrap_or("default"))
    }
}
