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
mod inputs;
mod keys;
mod layers;
mod merge;
mod names;
mod paths;
mod problem;
mod requests;
mod resolved;
mod rules;
mod schema;
pub(crate) mod settings;
mod slo;
mod sources;
mod tree;
mod violations;

pub(crate) use aws_profile::{AwsSettings, CaBundlePath, UnknownProfile};
pub(crate) use inputs::{MAX_CELLS, Sources};
pub(crate) use paths::{expand_home, relative_to};
pub(crate) use problem::Problems;
pub(crate) use resolved::Resolved;
pub(crate) use schema::schema;

use crate::units::url::{HttpUrl, UrlError};
use problem::Problem;
use std::cell::LazyCell;
use std::collections::BTreeMap;

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
