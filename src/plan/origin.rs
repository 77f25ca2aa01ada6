//! Origins of values, for `show`, error messages and the manifest.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The origin of each leaf of a plan, by dotted key (`matrix.user_counts`).
pub(crate) type Origins = BTreeMap<String, Origin>;

/// The layers, lowest precedence first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layer {
    /// Built-in default.
    Default,
    /// AWS profile of the user.
    Profile,
    /// Plan file.
    File,
    /// Environment variable.
    Env,
    /// Command-line flag.
    Flag,
}

/// Origin of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The layer that set the value.
    pub(crate) layer: Layer,
    /// The source, such as `plans/nova.toml:7`, `USER_COUNTS` or `--user-counts`; `None` for a default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name.as_deref().unwrap_or("default"))
    }
}
