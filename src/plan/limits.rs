//! When a run, or a cell, stops of itself.

use crate::units::duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `[budget]`: the most that a run may take, all its sessions together; at a limit nothing new starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)] // as people say it
pub(crate) struct Budget {
    /// US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_cost: Option<f64>,
    /// Requests, whatever their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_requests: Option<u64>,
    /// Tokens of replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_output_tokens: Option<u64>,
}

impl Budget {
    /// Nothing is limited.
    pub(crate) fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// `[abort]`: when a cell is given up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Abort {
    /// It is given up where this share failed or was throttled, 0 to 1; above 1 never.
    pub(crate) failure_rate: f64,
    /// Of so many requests at least,
    pub(crate) requests: u32,
    /// and over so much time at least.
    #[serde(with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) within: Duration,
    /// It is given up where its first so many requests are all refused for good; 0 is never.
    pub(crate) first_refused: u32,
    /// What becomes of the run then.
    pub(crate) then: Then,
}

/// What becomes of a run of which a cell was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Then {
    /// The other cells are run.
    Continue,
    /// It ends.
    Stop,
}

#[cfg(test)]
impl Default for Abort {
    fn default() -> Self {
        Self {
            failure_rate: 0.95,
            requests: 100,
            within: Duration::from_secs(10),
            first_refused: 5,
            then: Then::Continue,
        }
    }
}
