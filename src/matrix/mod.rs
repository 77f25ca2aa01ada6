//! Cells: axes, expansion of a plan, ids, order, shards and the shape of the load. An axis is one entry in [`AXES`]; records,
//! files, views and charts iterate over that table and name no axis. Depends on `plan` and `units`, not on how a cell runs.

mod axes;
mod expand;
mod load_shape;
pub(crate) mod order;
pub(crate) mod rule;
mod shard;

pub(crate) use axes::{AXES, Axis, AxisValue, IdUse, find_axis};
pub(crate) use expand::{
    AddError, Expanded, LOAD_FIELDS, NamedValue, added_cell, count_cells, expand, expand_all, named_values,
    parse_values, product, rows,
};
pub(crate) use load_shape::{LoadShape, Segment};
pub(crate) use shard::{Shard, format_shards};

use crate::plan::{Api, CacheMode, Load, Profile, Request};
use crate::units::Rate;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One cell: a point of the matrix with its load and request settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// Id, such as `us_flex_small_u30`: unique in the plan ignoring case, and safe in file names, which contain it.
    pub(crate) id: String,
    /// Model id without region prefix, or an ARN.
    pub(crate) model_id: String,
    pub(crate) api: Api,
    pub(crate) cache_mode: CacheMode,
    /// AWS region; `None` uses that of the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// Region prefix; `none` sends the model id without prefix.
    pub(crate) region_prefix: String,
    /// Service tier; `none` omits the field.
    pub(crate) service_tier: String,
    /// Name of a prompt, mix or data set.
    pub(crate) prompt_size: String,
    /// Virtual users (closed loop). Exactly one of `users`, `arrival_rate` and `profile` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) users: Option<u32>,
    /// Arrivals per second (open loop).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) arrival_rate: Option<Rate>,
    /// Load profile (either loop).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<Profile>,
    pub(crate) load: Load,
    pub(crate) request: Request,
}

impl Cell {
    /// Returns the model id as sent: `{region_prefix}.{model_id}`, or without prefix.
    pub(crate) fn full_model_id(&self) -> String {
        if self.region_prefix == "none" {
            self.model_id.clone()
        } else {
            format!("{}.{}", self.region_prefix, self.model_id)
        }
    }

    /// Returns the duration of the ramp: users divided by the spawn rate. Arrival rates and profiles have no ramp.
    pub(crate) fn ramp(&self) -> Duration {
        self.users.map_or(Duration::ZERO, |users| Duration::from_secs_f64(f64::from(users) / self.load.spawn_rate))
    }

    /// Returns whether the cell is an open loop: starts have intended times that do not depend on replies.
    pub(crate) fn is_open(&self) -> bool {
        self.arrival_rate.is_some() || self.profile.as_ref().is_some_and(Profile::is_open)
    }

    /// Returns the users or the arrivals per second over time.
    pub(crate) fn load_shape(&self) -> LoadShape {
        match (&self.profile, self.arrival_rate, self.users) {
            (Some(profile), ..) => LoadShape::from_profile(profile),
            (_, Some(rate), _) => LoadShape::from_rate(rate.0, self.load.test_duration),
            (.., users) => LoadShape::from_users(users.unwrap_or(0), self.load.spawn_rate, self.load.test_duration),
        }
    }

    /// Returns the part of the load that a shard runs. If there are fewer users than shards, the shards with a user share the
    /// requests, and the others run nothing.
    pub(crate) fn part(&self, shard: Shard) -> Option<Shard> {
        if self.is_open() || !shard.is_part() {
            return Some(shard);
        }
        let users = self.load_shape().changes().iter().filter(|change| change.joins).count() as u32;
        (shard.index < users).then(|| Shard { count: shard.count.min(users), ..shard })
    }

    /// Returns the planned duration: that of the profile, otherwise the test duration.
    pub(crate) fn length(&self) -> Duration {
        self.profile.as_ref().map_or(self.load.test_duration, Profile::length)
    }

    /// Returns the maximum duration, including an extension for `min_samples`.
    pub(crate) fn max_length(&self) -> Duration {
        match (self.load.min_samples, self.load.max_duration) {
            (Some(_), Some(longest)) => longest,
            (Some(_), None) => self.load.test_duration * 4,
            (None, _) => self.length(),
        }
    }

    /// Returns the maximum number of users or of arrivals per second.
    pub(crate) fn peak(&self) -> f64 {
        let users = || self.users.map(f64::from);
        let rate = || self.arrival_rate.map(|rate| rate.0);
        self.profile.as_ref().map(Profile::peak).or_else(users).or_else(rate).unwrap_or(0.0)
    }
}
