//! Limits at which a run or a cell stops.

use crate::units::duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `[budget]`: limits of a run, over all its sessions. When a limit is reached, no further request starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)] // the names of the plan keys
pub(crate) struct Budget {
    /// Maximum cost in US dollars, including the worst case of requests in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_cost: Option<f64>,
    /// Maximum number of requests of any outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_requests: Option<u64>,
    /// Maximum number of output tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_output_tokens: Option<u64>,
}

impl Budget {
    /// Returns whether no limit is set.
    pub(crate) fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// `[abort]`: when a cell is aborted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Abort {
    /// Share of failed and throttled requests that aborts the cell (0 to 1); above 1 means never.
    pub(crate) failure_rate: f64,
    /// Minimum number of requests to which `failure_rate` applies.
    pub(crate) requests: u32,
    /// Minimum time to which `failure_rate` applies.
    #[serde(with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) within: Duration,
    /// Number of requests, from the first, that abort the cell if all are refused permanently; 0 means never.
    pub(crate) first_refused: u32,
    /// How the run continues after a cell was aborted.
    pub(crate) then: AfterAbort,
}

/// How a run continues after a cell was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AfterAbort {
    /// Run the other cells.
    Continue,
    /// End the run.
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
            then: AfterAbort::Continue,
        }
    }
}
