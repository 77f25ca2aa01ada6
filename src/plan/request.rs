//! `[request]`: the parameters of each request.

use crate::units::{NoneOr, duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// Parameters of each request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)] // Bedrock's name
pub(crate) struct Request {
    /// Maximum length of a reply, in tokens. 0 in a plan that sets `matrix.max_tokens`, never in a cell.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) max_tokens: u32,
    /// Temperature; `none` omits it.
    pub(crate) temperature: NoneOr,
    /// Top-p; `none` omits it.
    pub(crate) top_p: NoneOr,
    /// Maximum time from the send to the last byte of the reply.
    #[serde(with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) timeout: Duration,
    /// System prompt for prompts without their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<String>,
    /// Texts that end a reply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stop_sequences: Vec<String>,
    /// Latency optimisation; omitted if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) performance: Option<Performance>,
    /// Model-specific fields (reasoning effort, thinking), sent verbatim.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) additional_fields: Map<String, Value>,
    /// Metadata for Bedrock's invocation log.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) request_metadata: BTreeMap<String, String>,
}

/// Bedrock's `performanceConfig.latency`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Performance {
    /// The default of Bedrock.
    Standard,
    /// Optimised latency, if the model supports it.
    Optimized,
}

impl Performance {
    /// Returns the value as written in a plan.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Optimized => "optimized",
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // required by serde
fn is_zero(number: &u32) -> bool {
    *number == 0
}
