//! From a plan to its cells. An axis is one entry of [`AXES`]; records, files, views and charts go
//! over that table and name no axis themselves. Knows plan and units; nothing of how a cell runs.

mod axes;
mod expand;
pub(crate) mod order;

pub(crate) use axes::{AXES, AxisValue, InId, axis};
pub(crate) use expand::expand;

use crate::plan::{Load, Request};
use serde::{Deserialize, Serialize};

/// One cell: a point of the matrix with the load and the request that hold there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// Unique in the plan and safe in a file name: `us_flex_small_u30`.
    pub(crate) id: String,
    /// Without prefix, or an ARN.
    pub(crate) model_id: String,
    /// `none` sends the model id bare.
    pub(crate) region_prefix: String,
    /// `none` leaves the field out.
    pub(crate) service_tier: String,
    /// A name in the prompts file.
    pub(crate) prompt_size: String,
    /// Virtual users.
    pub(crate) users: u32,
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

    /// How long the ramp takes: users over spawn rate.
    pub(crate) fn ramp(&self) -> std::time::Duration {
        std::time::Duration::from_secs_f64(f64::from(self.users) / self.load.spawn_rate)
    }
}
