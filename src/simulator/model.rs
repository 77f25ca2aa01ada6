//! The configuration of the simulated endpoint: `[simulator]` of a plan.

use serde::{Deserialize, Serialize};

/// How the simulated endpoint behaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// The seed of everything that is drawn.
    pub seed: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self { seed: 1 }
    }
}
