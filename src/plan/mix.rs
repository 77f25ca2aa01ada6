//! What requests may be beside the prompts of the prompts file: `[[mix]]`, several prompts by weight in
//! one cell, and `[[dataset]]`, prompts from a file of lines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Several prompts in one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mix {
    /// What `matrix.prompt_sizes` and cell ids call it.
    pub(crate) name: String,
    /// Names of prompts with their weights, each above zero.
    pub(crate) sizes: BTreeMap<String, f64>,
}

/// A file with one prompt per line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dataset {
    /// What `matrix.prompt_sizes`, mixes and cell ids call it.
    pub(crate) name: String,
    /// From a plan relative to the plan, otherwise to the working directory.
    pub(crate) file: PathBuf,
}
