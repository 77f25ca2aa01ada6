//! Destination of requests and connection settings, from the plan, the environment and the profile. They are checked
//! before any request is sent.

use crate::config::{self, Resolved};
use crate::error::Error;
use crate::executor::connect::{CaBundle, NetworkSettings, ProxySettings};
use crate::executor::{SetupError, Target};
use crate::matrix::Cell;
use crate::plan::Endpoint;
use crate::units::Secrets;
use crate::units::url::HttpUrl;
use aws_credential_types::Token;
use std::collections::BTreeMap;

/// Reads the settings for connections to AWS.
///
/// # Errors
/// If the selected profile does not exist, or the certificates to trust cannot be read.
pub(super) fn settings(
    environment: &BTreeMap<String, String>,
    profile: Option<&str>,
) -> Result<NetworkSettings, Error> {
    let aws = config::aws_settings(environment, profile)?;
    if let Some(config::UnknownProfile { name, files, known }) = aws.unknown_profile {
        return Err(SetupError::UnknownProfile { name, files, known }.into());
    }
    let read = |bundle: &config::CaBundlePath| CaBundle::read(&bundle.name, &bundle.path);
    let ca_bundle = aws.ca_bundle.as_ref().map(read).transpose().map_err(SetupError::from)?;
    Ok(NetworkSettings { proxies: ProxySettings::from_environment(environment), ca_bundle })
}

/// Returns the distinct regions that the cells set, in the order of the cells.
pub(super) fn regions(cells: &[Cell]) -> Vec<String> {
    let mut regions: Vec<String> = Vec::new();
    for region in cells.iter().filter_map(|cell| cell.region.as_ref()) {
        if !regions.contains(region) {
            regions.push(region.clone());
        }
    }
    regions
}

/// Returns the target of a run: the endpoint of its requests, and the settings that sign them.
pub(super) fn target(
    resolved: &Resolved,
    cells: &[Cell],
    simulator: Option<HttpUrl>,
    network: NetworkSettings,
    environment: &BTreeMap<String, String>,
    secrets: &Secrets,
) -> Target {
    let plan = &resolved.plan;
    let endpoint_url = match &plan.target.endpoint {
        Endpoint::Url(url) => Some(url.clone()),
        Endpoint::Aws | Endpoint::Simulated => simulator,
    };
    let regions = regions(cells);
    let bearer_token = environment.get("AWS_BEARER_TOKEN_BEDROCK").map(|token| token.trim());
    Target {
        endpoint_url,
        simulated: plan.target.endpoint == Endpoint::Simulated,
        is_trusted: resolved.is_endpoint_trusted(),
        allow_http: resolved.allow_http,
        // If the cells set their regions, no other region is required.
        region: plan.target.region.clone().or_else(|| regions.first().cloned()),
        regions,
        profile: plan.target.profile.clone(),
        bearer_token: bearer_token.filter(|token| !token.is_empty()).map(|token| Token::new(token, None)),
        network,
        secrets: secrets.clone(),
    }
}
