//! How a plan is read: defaults, file, environment and flags, one layer over the other. The
//! environment is an argument; nothing here reads it. Known by `cli` and `app` only.

mod asked;
mod check;
mod costs;
mod file;
mod files;
mod forms;
mod ids;
mod layered;
mod layers;
mod names;
mod paths;
mod problem;
mod rules;
mod schema;
pub(crate) mod settings;
mod slo;
mod sources;
mod tree;

pub(crate) use paths::{expand_home, relative_to};
pub(crate) use problem::Problems;
pub(crate) use schema::schema;

use crate::plan::{Origins, Plan};
use crate::prompts::Prompts;
use std::collections::BTreeMap;
use std::path::Path;

/// Everything that can say something about a plan.
#[derive(Debug, Clone)]
pub(crate) struct Sources<'a> {
    /// The plan file; without one the built-in defaults are the plan.
    pub(crate) plan: Option<&'a Path>,
    /// Flags without dashes, with their values, as given.
    pub(crate) flags: &'a [(String, String)],
    /// `--set`, as given.
    pub(crate) sets: &'a [String],
    /// The environment.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// What relative paths from the environment and from flags are relative to.
    pub(crate) working_dir: &'a Path,
}

/// A plan that holds together.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// The plan.
    pub(crate) plan: Plan,
    /// Where each of its values came from.
    pub(crate) origins: Origins,
    /// Its prompts.
    pub(crate) prompts: Prompts,
    /// What will probably not do what was meant, for people.
    pub(crate) warnings: Vec<String>,
}

/// Reads a plan.
///
/// # Errors
/// Everything that is wrong, at once.
pub(crate) fn read(sources: &Sources<'_>) -> Result<Resolved, Problems> {
    check::read(sources)
}
