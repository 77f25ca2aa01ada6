//! The weakest layer of a plan: built-in defaults, and those that depend on where the tool is started.

use super::Sources;
use crate::simulator;
use serde_json::Value;
use std::path::Path;

/// Returns the defaults of a plan that sets nothing.
pub(super) fn built_in() -> Value {
    let mut tree: Value = toml::from_str(include_str!("default.toml"))
        .unwrap_or_else(|error| unreachable!("default.toml is part of this program: {error}"));
    tree["simulator"] = serde_json::to_value(simulator::Model::default())
        .unwrap_or_else(|error| unreachable!("the simulator's defaults are plain data: {error}"));
    tree
}

/// Returns the built-in defaults with the name of the plan file and a `prompts.json` of the working directory.
pub(super) fn read(sources: &Sources<'_>) -> Value {
    let mut tree = built_in();
    if let Some(stem) = sources.plan.and_then(Path::file_stem) {
        tree["name"] = stem.to_string_lossy().into();
    }
    let local = sources.working_dir.join("prompts.json");
    if local.is_file() {
        tree["prompts_file"] = local.to_string_lossy().into();
    }
    tree
}
