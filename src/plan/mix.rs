//! Prompts beside those of the prompts file: `[[mix]]`, several weighted prompts in one cell, and `[[dataset]]`, a file with
//! one prompt per line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Several weighted prompts in one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mix {
    /// Name in `matrix.prompt_sizes` and cell ids.
    pub(crate) name: String,
    /// Names of prompts with their weights, each greater than 0.
    pub(crate) sizes: BTreeMap<String, f64>,
}

/// A file with one prompt per line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dataset {
    /// Name in `matrix.prompt_sizes`, mixes and cell ids.
    pub(crate) name: String,
    /// Path, relative to the plan if set there, otherwise to the working directory.
    pub(crate) file: PathBuf,
}
