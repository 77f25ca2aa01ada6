//! Prices and quotas in a plan.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[prices]`: rows that take precedence over the shipped price file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    /// Price rows; the first matching row applies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rows: Vec<Price>,
}

impl Prices {
    /// Returns whether the plan sets no price.
    pub(crate) fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// Prices of a model's tokens, in US dollars per million.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Price {
    /// Model id without region prefix, or an ARN.
    pub(crate) model_id: String,
    /// Region prefix; `none` is the model id without prefix. If not set, the row applies to every prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region_prefix: Option<String>,
    /// Service tier that served the request. If not set, the row applies to every tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service_tier: Option<String>,
    /// Price of input tokens that were neither read from nor written to the cache.
    pub(crate) input: f64,
    /// Price of output tokens.
    pub(crate) output: f64,
    /// Price of input tokens read from the prompt cache; unknown if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_read: Option<f64>,
    /// Price of input tokens written to the prompt cache; unknown if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_write: Option<f64>,
    /// Maximum input tokens of a prompt to which the row applies, cached tokens included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) up_to_input_tokens: Option<u64>,
    /// Source of the prices.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) source: String,
}

/// `[quota]`: quotas of the account, per model and region. They are compared with the load, never enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quota {
    /// Tokens per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokens_per_minute: Option<u64>,
    /// Requests per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_minute: Option<u64>,
    /// Tokens per minute that one output token consumes at the end of a request (burndown rate); by default that of the
    /// shipped list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) burndown: Option<f64>,
}

impl Quota {
    /// Returns whether the plan sets no quota.
    pub(crate) fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}
