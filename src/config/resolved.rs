//! The result of reading a plan.

use crate::plan::{Layer, Origins, Plan};
use crate::prompts::Prompts;

/// A valid plan.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) plan: Plan,
    /// The origin of each value.
    pub(crate) origins: Origins,
    pub(crate) prompts: Prompts,
    /// Warnings about probable mistakes, for people.
    pub(crate) warnings: Vec<String>,
    /// A session token may be sent over plain http. Not a key of a plan: plans are shared.
    pub(crate) allow_http: bool,
}

impl Resolved {
    /// Whether the user of this machine selected the endpoint, and not a plan alone.
    pub(crate) fn is_endpoint_trusted(&self) -> bool {
        self.origins.get("target.endpoint").is_none_or(|origin| origin.layer != Layer::File)
    }
}
