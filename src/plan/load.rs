//! `[load]`: the load of a cell, its durations, and the order of the cells.

use crate::units::{Samples, ThinkTime, duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Load, durations and order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    /// Duration of a cell from its first start, ramp included.
    #[serde(with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) test_duration: Duration,
    /// Users started per second.
    pub(crate) spawn_rate: f64,
    /// Pause of each user after each request.
    pub(crate) think_time: ThinkTime,
    /// Distribution of the intended starts of an open loop.
    pub(crate) arrivals: Arrivals,
    /// Maximum requests in flight of an open loop; further arrivals are dropped and counted.
    pub(crate) max_in_flight: u32,
    /// Number of requests after which a cell ends, at the latest after `test_duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests: Option<u64>,
    /// Minimum number of successes in the latency window; a cell is extended until then, at most to `max_duration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min_samples: Option<Samples>,
    /// Maximum duration of a cell with `min_samples`; by default four times the test duration.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional_text")]
    #[schemars(with = "duration::Text")]
    pub(crate) max_duration: Option<Duration>,
    /// Pause between cells, with nothing in flight.
    #[serde(with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) cool_down: Duration,
    /// Maximum time for requests in flight at the end of the load to finish.
    #[serde(with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) drain: Duration,
    /// Order of the cells.
    pub(crate) order: Order,
    /// Seed of all random draws; by default random and recorded in the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// Number of repetitions of the whole matrix.
    pub(crate) repetitions: u32,
}

/// Distribution of the intended starts of an open loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    /// Constant intervals.
    Constant,
    /// Exponential intervals, as with independent clients.
    Poisson,
}

/// Order of the cells of one repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// Contexts (all axes except the tier) in random order, with the tiers of a context adjacent and in random order.
    Blocked,
    /// All cells in random order.
    Random,
    /// Matrix order.
    Matrix,
}
