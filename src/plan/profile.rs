//! Load profiles: `[[profile]]`, stages of users or of arrivals per second, one after the other.

use crate::units::duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most users of a cell, and the most that join or leave in a profile. Each takes memory and a task before it sends
/// anything; a machine runs a few ten thousand.
pub(crate) const MAX_USERS: u32 = 1_000_000;

/// The most arrivals per second of a cell.
pub(crate) const MAX_RATE: f64 = 1e6;

/// The lowest spawn rate, users per second: one user in eleven days.
pub(crate) const MIN_SPAWN_RATE: f64 = 1e-6;

/// The most percentiles that a report has beside its own.
pub(crate) const MAX_PERCENTILES: usize = 100;

/// A named course of load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// What `matrix.profiles` and cell ids call it.
    pub(crate) name: String,
    /// In the order in which they run.
    pub(crate) stages: Vec<Stage>,
}

/// One stage: from the level before it `over` some time to its own level, and there `for` some time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stage {
    /// Concurrent users (closed loop).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) users: Option<u32>,
    /// Arrivals per second (open loop).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// How long the change to its level takes; nothing is at once.
    #[serde(default, skip_serializing_if = "Duration::is_zero", with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) over: Duration,
    /// How long it stays there.
    #[serde(default, rename = "for", skip_serializing_if = "Duration::is_zero", with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) hold: Duration,
}

impl Stage {
    /// Change and stay.
    pub(crate) fn length(&self) -> Duration {
        self.over + self.hold
    }

    /// The level it reaches.
    pub(crate) fn level(&self) -> f64 {
        self.users.map(f64::from).or(self.rate).unwrap_or(0.0)
    }
}

impl Profile {
    /// All stages.
    pub(crate) fn length(&self) -> Duration {
        self.stages.iter().map(Stage::length).sum()
    }

    /// Number of users that join or leave between its stages.
    pub(crate) fn user_changes(&self) -> u64 {
        let levels = self.stages.iter().map(|stage| stage.users.unwrap_or(0));
        levels.scan(0_u32, |before, users| Some(u64::from(std::mem::replace(before, users).abs_diff(users)))).sum()
    }

    /// Stages are of arrivals per second, not of users.
    pub(crate) fn is_open(&self) -> bool {
        self.stages.iter().any(|stage| stage.rate.is_some())
    }

    /// The highest level of all stages.
    pub(crate) fn peak(&self) -> f64 {
        self.stages.iter().map(Stage::level).fold(0.0, f64::max)
    }

    /// Each stage's start and length.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (Duration, &Stage)> {
        let mut start = Duration::ZERO;
        self.stages.iter().map(move |stage| {
            let from = start;
            start += stage.length();
            (from, stage)
        })
    }
}
