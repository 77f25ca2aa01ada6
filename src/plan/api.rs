//! Which operation of the runtime is asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Api {
    /// The whole reply at once.
    Converse,
    /// The reply as it is made.
    ConverseStream,
}

impl Api {
    /// All there are.
    pub(crate) const ALL: [Self; 2] = [Self::Converse, Self::ConverseStream];
}

impl fmt::Display for Api {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Converse => "converse",
            Self::ConverseStream => "converse-stream",
        })
    }
}
