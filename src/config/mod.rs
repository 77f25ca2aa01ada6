//! Reads a plan from its layers: defaults, files, environment and flags. The environment is an argument; this module does
//! not read it. Used by `cli` and `app` only.

mod aws_endpoint;
mod aws_profile;
mod bounds;
mod check;
mod costs;
mod defaults;
mod file;
mod files;
mod forms;
mod ids;
mod keys;
mod layers;
mod merge;
mod names;
mod paths;
mod problem;
mod requests;
mod rules;
mod schema;
pub(crate) mod settings;
mod slo;
mod sources;
mod tree;
mod violations;

pub(crate) use aws_profile::{AwsSettings, CaBundlePath, UnknownProfile};
pub(crate) use paths::{expand_home, relative_to};
pub(crate) use problem::Problems;
pub(crate) use schema::schema;

use crate::plan::{Layer, Origins, Plan};
use crate::prompts::Prompts;
use crate::units::url::{HttpUrl, UrlError};
use problem::Problem;
use std::cell::LazyCell;
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

/// Reads a plan.
///
/// # Errors
/// All errors together.
pub(crate) fn read(sources: &Sources<'_>) -> Result<Resolved, Problems> {
    check::read(sources)
}

/// Returns the endpoint of S3 that the environment or the profile sets.
///
/// # Errors
/// If it is not a URL, or if a variable that disables it cannot be read.
pub(crate) fn s3_endpoint(
    environment: &BTreeMap<String, String>,
    profile: Option<&str>,
) -> Result<Option<HttpUrl>, Problems> {
    let problems = |problem: Problem| Problems(vec![problem]);
    let profiles = LazyCell::new(|| aws_profile::load(environment, profile));
    let found = aws_endpoint::read(aws_endpoint::S3, environment, || &profiles).map_err(problems)?;
    let Some(configured) = found.environment.or(found.profile) else { return Ok(None) };
    let set_by = format!("`{}`", configured.name);
    let url = HttpUrl::parse(&configured.url).map_err(|error| {
        let message = match error {
            // Quoting the text would leak the password.
            UrlError::Credentials => "the endpoint contains a user or a password".into(),
            UrlError::Malformed => format!("invalid endpoint `{}`", crate::units::text::clean(&configured.url)),
        };
        problems(Problem::named(configured.name, message).hint(Some("write a URL such as `https://s3.example`")))
    })?;
    let conflicts = aws_profile::check_variants(environment, &profiles, Some((&url, &set_by)));
    if conflicts.is_empty() { Ok(Some(url)) } else { Err(Problems(conflicts)) }
}

/// Returns the connection settings of the AWS configuration except for endpoints. Without a profile name `AWS_PROFILE` or `default`
/// selects the profile.
///
/// # Errors
/// If a path starts with `~` and no home directory is known.
pub(crate) fn aws_settings(
    environment: &BTreeMap<String, String>,
    profile: Option<&str>,
) -> Result<AwsSettings, Problems> {
    aws_profile::read(environment, profile).map_err(|problem| Problems(vec![problem]))
}

/// Whether the environment allows session tokens over plain http, for commands that read no plan.
///
/// # Errors
/// If the variable is neither true nor false.
pub(crate) fn allow_http(environment: &BTreeMap<String, String>) -> Result<bool, Problems> {
    sources::allow_http(environment).map_err(|problem| Problems(vec![problem]))
}
