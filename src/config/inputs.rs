//! What a plan is read from.

use std::collections::BTreeMap;
use std::path::Path;

/// The inputs of a plan.
#[derive(Debug, Clone)]
pub(crate) struct Sources<'a> {
    /// The plan file; without it the built-in defaults apply.
    pub(crate) plan: Option<&'a Path>,
    /// Names of flags without dashes, and their values.
    pub(crate) flags: &'a [(String, String)],
    /// Values of `--set`.
    pub(crate) sets: &'a [String],
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Base of relative paths from the environment and from flags.
    pub(crate) working_dir: &'a Path,
    /// Maximum number of cells, and of cell runs (cells times repetitions). No plan, variable or setting flag raises it: it
    /// protects against them.
    pub(crate) max_cells: u64,
}

/// Default of [`Sources::max_cells`].
pub(crate) const MAX_CELLS: u64 = 100_000;
