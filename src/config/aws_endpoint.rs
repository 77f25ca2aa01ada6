//! Endpoints that the AWS configuration sets: the variables `AWS_ENDPOINT_URL*`, and `endpoint_url` of the profile and of
//! its `services` section. The SDK is never left to resolve them itself: endpoints are shown, recorded and passed to it.

use super::aws_profile::{Profiles, set};
use super::problem::Problem;
use super::settings::IGNORE_ENDPOINTS as IGNORE;
use super::sources::parse_boolean;
use aws_config::profile::ProfileSet;
use aws_runtime::env_config::property::PropertiesKey;
use std::collections::BTreeMap;

/// A service of AWS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Service {
    /// Its variables, the stronger first.
    variables: [&'static str; 2],
    /// Its keys in a `services` section, the stronger first: AWS documents underscores, the Rust SDK reads hyphens.
    profile_keys: &'static [&'static str],
}

/// Bedrock, which requests are sent to.
pub(super) const BEDROCK_RUNTIME: Service = Service {
    variables: ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL"],
    profile_keys: &["bedrock_runtime", "bedrock-runtime"],
};

/// S3, which stores an exchange.
pub(super) const S3: Service =
    Service { variables: ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"], profile_keys: &["s3"] };

/// A configured endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configured {
    /// As configured, not checked yet.
    pub(super) url: String,
    /// The variable, or where in the profile it is set.
    pub(super) name: String,
}

/// The endpoints of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AwsEndpoints {
    /// Set by a variable.
    pub(super) environment: Option<Configured>,
    /// Set by the profile.
    pub(super) profile: Option<Configured>,
    /// Why the profile could not be read, for people.
    pub(super) warning: Option<String>,
}

/// Reads the endpoints of a service. `profiles` is called only if the profile is needed.
///
/// # Errors
/// If the variable or the key of the profile that disables them is neither true nor false.
pub(super) fn read<'a>(
    service: Service,
    environment: &BTreeMap<String, String>,
    profiles: impl FnOnce() -> &'a Profiles,
) -> Result<AwsEndpoints, Problem> {
    let variable = |name: &str| set(environment, name);
    let from_variables = service
        .variables
        .iter()
        .find_map(|name| variable(name).map(|url| Configured { url: url.to_owned(), name: (*name).to_owned() }));
    let ignored = variable(IGNORE).map(|text| parse_boolean(IGNORE, text)).transpose()?;
    if ignored == Some(true) {
        return Ok(AwsEndpoints::default());
    }
    let sections = match profiles() {
        Ok(sections) => sections,
        Err(reason) => {
            let warning = format!("cannot read the AWS profile, which is ignored: {reason}");
            return Ok(AwsEndpoints { environment: from_variables, profile: None, warning: Some(warning) });
        }
    };
    if ignored.is_none()
        && let Some(text) = sections.get("ignore_configured_endpoint_urls").map(str::trim)
        && parse_boolean("ignore_configured_endpoint_urls of the AWS profile", text)?
    {
        return Ok(AwsEndpoints::default());
    }
    let is_set = |url: &&str| !url.is_empty();
    let of_service = sections.get("services").and_then(|section| {
        let keys = service.profile_keys.iter();
        keys.filter_map(|key| of_services_section(sections, section, key)).map(str::trim).find(is_set)
    });
    let general = || sections.get("endpoint_url").map(str::trim).filter(is_set);
    let named = |url: &str, name: &str| Configured { url: url.to_owned(), name: name.to_owned() };
    let from_profile = match of_service {
        Some(url) => Some(named(url, "services section of the AWS profile")),
        None => general().map(|url| named(url, "endpoint_url of the AWS profile")),
    };
    Ok(AwsEndpoints { environment: from_variables, profile: from_profile, warning: None })
}

/// The endpoint that a `services` section sets for a service.
fn of_services_section<'a>(sections: &'a ProfileSet, section: &str, service: &str) -> Option<&'a str> {
    let key = PropertiesKey::builder()
        .section_key("services")
        .section_name(section)
        .property_name(service)
        .sub_property_name("endpoint_url")
        .build();
    sections.other_sections().get(&key.ok()?).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::aws_profile::load;
    use super::*;

    const CONFIG: &str = "
[default]
endpoint_url = https://default.example

[profile plain]
region = us-east-1

[profile services]
endpoint_url = https://all.example
services = work

[services work]
s3 =
  endpoint_url = https://s3.example
bedrock_runtime =
  endpoint_url = https://bedrock.example

[profile hyphen]
services = hyphen

[services hyphen]
bedrock-runtime =
  endpoint_url = https://hyphen.example

[profile ignoring]
endpoint_url = https://ignored.example
ignore_configured_endpoint_urls = true
";

    fn read_with(variables: &[(&str, &str)], profile: Option<&str>, service: Service) -> Result<AwsEndpoints, Problem> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, CONFIG).unwrap();
        let path = path.to_string_lossy();
        let variables =
            [&[("AWS_CONFIG_FILE", &*path), ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")], variables].concat();
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let profiles = load(&environment, profile);
        read(service, &environment, || &profiles)
    }

    fn url(configured: Option<Configured>) -> Option<String> {
        configured.map(|configured| configured.url)
    }

    #[test]
    fn the_profile_and_its_services_section_are_read() {
        for (variables, profile, service, expected) in [
            (&[][..], None, BEDROCK_RUNTIME, Some("https://default.example")),
            (&[("AWS_PROFILE", "services")], None, BEDROCK_RUNTIME, Some("https://bedrock.example")),
            (&[("AWS_PROFILE", "services")], None, S3, Some("https://s3.example")),
            (&[("AWS_PROFILE", "services")], Some("plain"), BEDROCK_RUNTIME, None),
            (&[], Some("services"), BEDROCK_RUNTIME, Some("https://bedrock.example")),
            (&[], Some("hyphen"), BEDROCK_RUNTIME, Some("https://hyphen.example")),
            (&[], Some("hyphen"), S3, None),
            (&[], Some("ignoring"), BEDROCK_RUNTIME, None),
            (&[(IGNORE, "False")], Some("ignoring"), BEDROCK_RUNTIME, Some("https://ignored.example")),
            (&[(IGNORE, "TRUE")], None, BEDROCK_RUNTIME, None),
            (&[(IGNORE, "")], None, BEDROCK_RUNTIME, Some("https://default.example")),
        ] {
            let found = read_with(variables, profile, service).unwrap();
            assert_eq!(url(found.profile).as_deref(), expected, "{variables:?} {profile:?} {service:?}");
        }
        let name = |profile| read_with(&[], Some(profile), BEDROCK_RUNTIME).unwrap().profile.unwrap().name;
        assert_eq!(name("services"), "services section of the AWS profile");
        assert_eq!(name("default"), "endpoint_url of the AWS profile");
    }

    #[test]
    fn variables_of_other_services_are_ignored() {
        let all = [
            ("AWS_ENDPOINT_URL_S3", "https://s3"),
            ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", " "),
            ("AWS_ENDPOINT_URL", "https://all"),
        ];
        for (variables, service, expected) in [
            (&all[..1], BEDROCK_RUNTIME, None),
            (&all[..2], BEDROCK_RUNTIME, None),
            (&all, BEDROCK_RUNTIME, Some("https://all")),
            (&all, S3, Some("https://s3")),
            (&[all[2], (IGNORE, "true")], S3, None),
        ] {
            let found = read_with(variables, None, service).unwrap();
            assert_eq!(url(found.environment).as_deref(), expected, "{variables:?} {service:?}");
        }
        assert!(read_with(&[(IGNORE, "yes")], None, S3).unwrap_err().message.contains("`yes`"));
    }
}
