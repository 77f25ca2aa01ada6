//! Load profiles: `[[profile]]`, consecutive stages of users or of arrivals per second.

use crate::units::duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Maximum number of users of a cell, and of users that join or leave in a profile. Each user needs memory and a task; one
/// machine can run some ten thousand.
pub(crate) const MAX_USERS: u32 = 1_000_000;

/// Maximum arrivals per second of a cell.
pub(crate) const MAX_RATE: f64 = 1e6;

/// Minimum spawn rate in users per second: one user in eleven days.
pub(crate) const MIN_SPAWN_RATE: f64 = 1e-6;

/// Maximum number of additional percentiles in a report.
pub(crate) const MAX_PERCENTILES: usize = 100;

/// A named load profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// Name in `matrix.profiles` and cell ids.
    pub(crate) name: String,
    /// Stages in order.
    pub(crate) stages: Vec<Stage>,
}

/// One stage: the load changes over the time `over` from the previous level to this stage's level and stays there for the
/// time `for`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stage {
    /// Concurrent users (closed loop).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) users: Option<u32>,
    /// Arrivals per second (open loop).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// Duration of the change to this level; by default immediate.
    #[serde(default, skip_serializing_if = "Duration::is_zero", with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) over: Duration,
    /// Duration at this level.
    #[serde(default, rename = "for", skip_serializing_if = "Duration::is_zero", with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) hold: Duration,
}

impl Stage {
    /// Returns the duration of the stage: change and hold.
    pub(crate) fn length(&self) -> Duration {
        self.over + self.hold
    }

    /// Returns the level at the end of the stage.
    pub(crate) fn level(&self) -> f64 {
        self.users.map(f64::from).or(self.rate).unwrap_or(0.0)
    }
}

impl Profile {
    /// Returns the duration of all stages.
    pub(crate) fn length(&self) -> Duration {
        self.stages.iter().map(Stage::length).sum()
    }

    /// Returns the number of users that join or leave.
    pub(crate) fn user_changes(&self) -> u64 {
        let levels = self.stages.iter().map(|stage| stage.users.unwrap_or(0));
        levels.scan(0_u32, |before, users| Some(u64::from(std::mem::replace(before, users).abs_diff(users)))).sum()
    }

    /// Returns whether the stages set arrivals per second (open loop).
    pub(crate) fn is_open(&self) -> bool {
        self.stages.iter().any(|stage| stage.rate.is_some())
    }

    /// Returns the highest level.
    pub(crate) fn peak(&self) -> f64 {
        self.stages.iter().map(Stage::level).fold(0.0, f64::max)
    }

    /// Returns each stage with its start.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (Duration, &Stage)> {
        let mut start = Duration::ZERO;
        self.stages.iter().map(move |stage| {
            let from = start;
            start += stage.length();
            (from, stage)
        })
    }
}
