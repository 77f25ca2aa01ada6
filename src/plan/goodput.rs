//! `[goodput]`: the limits of a good request.

use crate::units::duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Limits of a good request; a limit that is not set does not apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Goodput {
    /// Maximum time to the first token.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional_text")]
    #[schemars(with = "duration::Text")]
    pub(crate) ttft: Option<Duration>,
    /// Maximum time per output token after the first.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional_text")]
    #[schemars(with = "duration::Text")]
    pub(crate) tpot: Option<Duration>,
    /// Maximum time to the last token.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional_text")]
    #[schemars(with = "duration::Text")]
    pub(crate) e2e: Option<Duration>,
}

impl Goodput {
    /// Returns whether no limit is set.
    pub(crate) fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}
