//! What tokens cost and how many of them a minute may take, as far as a plan says it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[prices]`: rows that come before the shipped price file's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    /// The first that fits holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rows: Vec<Price>,
}

impl Prices {
    /// The plan says nothing of prices.
    pub(crate) fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// What tokens of a model cost, USD per million.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Price {
    /// Without prefix, or an ARN.
    pub(crate) model_id: String,
    /// `none` is the bare model id; left out, the row holds for every prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region_prefix: Option<String>,
    /// The tier that served; left out, the row holds for every tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service_tier: Option<String>,
    /// Of the prompt, but for what was read from or written to the cache.
    pub(crate) input: f64,
    /// Of the reply.
    pub(crate) output: f64,
    /// Of the prompt, read from the prompt cache; not known if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_read: Option<f64>,
    /// Of the prompt, written to the prompt cache; not known if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_write: Option<f64>,
    /// The row holds for prompts of at most so many tokens, cached ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) up_to_input_tokens: Option<u64>,
    /// Who says so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) source: String,
}

/// `[quota]`: what the account may take, per model and region. Only compared with, never enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quota {
    /// Tokens per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokens_per_minute: Option<u64>,
    /// Requests per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_minute: Option<u64>,
    /// What one token of a reply takes of the tokens per minute when a request is settled; left out, what the shipped
    /// list says of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) burndown: Option<f64>,
}

impl Quota {
    /// The plan says nothing of quotas.
    pub(crate) fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}
