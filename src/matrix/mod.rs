//! From a plan to its cells. An axis is one entry of [`AXES`]; records, files, views and charts go
//! over that table and name no axis themselves. Knows plan and units; nothing of how a cell runs.

mod axes;
mod course;
mod expand;
pub(crate) mod order;
pub(crate) mod rule;
mod shard;

pub(crate) use axes::{AXES, Axis, AxisValue, InId, axis};
pub(crate) use course::{Course, Piece};
pub(crate) use expand::{
    DEMANDS, Expanded, Named, NoCell, added, expand, expand_all, listed, named, product, rows, size,
};
pub(crate) use shard::{Shard, listed as listed_shards};

use crate::plan::{Api, CacheMode, Load, Profile, Request};
use crate::units::Rate;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One cell: a point of the matrix with the load and the request that hold there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// Unique in the plan, whatever the case of its letters, and safe in a file name: `us_flex_small_u30`. Files of the cell are
    /// named by it.
    pub(crate) id: String,
    /// Without prefix, or an ARN.
    pub(crate) model_id: String,
    /// The operation.
    pub(crate) api: Api,
    /// What is asked of the prompt cache.
    pub(crate) cache_mode: CacheMode,
    /// The AWS region that is called; nothing is the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// `none` sends the model id bare.
    pub(crate) region_prefix: String,
    /// `none` leaves the field out.
    pub(crate) service_tier: String,
    /// A name in the prompts file.
    pub(crate) prompt_size: String,
    /// Virtual users (closed loop); of this and the next two one is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) users: Option<u32>,
    /// Arrivals per second (open loop).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) arrival_rate: Option<Rate>,
    /// A course of either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<Profile>,
    /// The load that holds for this cell.
    pub(crate) load: Load,
    /// The request that holds for this cell.
    pub(crate) request: Request,
}

impl Cell {
    /// What goes on the wire: `{region_prefix}.{model_id}`, or the model id bare.
    pub(crate) fn full_model_id(&self) -> String {
        if self.region_prefix == "none" {
            self.model_id.clone()
        } else {
            format!("{}.{}", self.region_prefix, self.model_id)
        }
    }

    /// How long the ramp takes: users over spawn rate. Arrivals and profiles have none.
    pub(crate) fn ramp(&self) -> Duration {
        self.users.map_or(Duration::ZERO, |users| Duration::from_secs_f64(f64::from(users) / self.load.spawn_rate))
    }

    /// Starts have intended times, whatever the answers do.
    pub(crate) fn is_open(&self) -> bool {
        self.arrival_rate.is_some() || self.profile.as_ref().is_some_and(Profile::is_open)
    }

    /// Users or arrivals per second over time.
    pub(crate) fn course(&self) -> Course {
        match (&self.profile, self.arrival_rate, self.users) {
            (Some(profile), ..) => Course::of_profile(profile),
            (_, Some(rate), _) => Course::of_rate(rate.0, self.load.test_duration),
            (.., users) => Course::of_users(users.unwrap_or(0), self.load.spawn_rate, self.load.test_duration),
        }
    }

    /// Which part of its load is a machine's. Where it has fewer users than there are machines, those that have one share
    /// its requests, and the others have nothing.
    pub(crate) fn part(&self, shard: Shard) -> Option<Shard> {
        if self.is_open() || !shard.is_part() {
            return Some(shard);
        }
        let users = self.course().changes().iter().filter(|change| change.joins).count() as u32;
        (shard.index < users).then(|| Shard { count: shard.count.min(users), ..shard })
    }

    /// How long nothing ends it: the profile's length, else the test duration.
    pub(crate) fn length(&self) -> Duration {
        self.profile.as_ref().map_or(self.load.test_duration, Profile::length)
    }

    /// How long it may go on for the sake of `min_samples`.
    pub(crate) fn longest(&self) -> Duration {
        match (self.load.min_samples, self.load.max_duration) {
            (Some(_), Some(longest)) => longest,
            (Some(_), None) => self.load.test_duration * 4,
            (None, _) => self.length(),
        }
    }

    /// The most users, or the most arrivals per second.
    pub(crate) fn peak(&self) -> f64 {
        let users = || self.users.map(f64::from);
        let rate = || self.arrival_rate.map(|rate| rate.0);
        self.profile.as_ref().map(Profile::peak).or_else(users).or_else(rate).unwrap_or(0.0)
    }
}
