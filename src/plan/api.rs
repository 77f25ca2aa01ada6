//! The operation of the Bedrock runtime.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Operation of the Bedrock runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Api {
    /// The whole reply in one response.
    Converse,
    /// The reply as a stream.
    ConverseStream,
}

impl Api {
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
