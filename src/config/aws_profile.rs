//! Settings of the AWS configuration except for endpoints: which profile is selected and whether it exists, the trusted
//! certificates, and FIPS and dual-stack endpoints.

use super::paths::expand_home;
use super::problem::Problem;
use crate::units::text::clean;
use crate::units::url::HttpUrl;
use aws_config::profile::ProfileSet;
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_types::os_shim_internal::{Env, Fs};
use futures_util::FutureExt;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// The variable that selects the trusted certificates, and the key of a profile that does.
const CA_BUNDLE: (&str, &str) = ("AWS_CA_BUNDLE", "ca_bundle");

/// The variables and the keys of a profile that select another kind of endpoint, and that kind.
const VARIANTS: [(&str, &str, &str); 2] = [
    ("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint", "a FIPS endpoint"),
    ("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint", "a dual-stack endpoint"),
];

/// A profile that is selected and that no file defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownProfile {
    /// Its name.
    pub(crate) name: String,
    /// The files that were read, as the user names them.
    pub(crate) files: [String; 2],
    /// The profiles that these files define, sorted.
    pub(crate) known: Vec<String>,
}

/// A file of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CaBundlePath {
    /// The variable, or the key of the profile.
    pub(crate) name: String,
    /// The file.
    pub(crate) path: PathBuf,
}

/// What connections to AWS depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AwsSettings {
    /// The selected profile, if it does not exist.
    pub(crate) unknown_profile: Option<UnknownProfile>,
    /// The certificates that are trusted in place of the system's.
    pub(crate) ca_bundle: Option<CaBundlePath>,
}

/// Reads the settings. Without a profile name `AWS_PROFILE` or `default` selects the profile.
///
/// # Errors
/// If a path names a home directory that is not known.
pub(super) fn read(environment: &BTreeMap<String, String>, profile: Option<&str>) -> Result<AwsSettings, Problem> {
    let profiles = load(environment, profile);
    // Files that cannot be read are reported where endpoints are read; the SDK ignores them.
    let sections = profiles.as_ref().ok();
    let (variable, key) = CA_BUNDLE;
    let ca_bundle = match variable_or_key(environment, sections, variable, key).filter(|(path, _)| !path.is_empty()) {
        None => None,
        Some((path, name)) => {
            let path = expand_home(path, environment).map_err(|message| Problem::named(name.clone(), message))?;
            Some(CaBundlePath { name, path: path.into_owned().into() })
        }
    };
    let selected = profile.or_else(|| set(environment, "AWS_PROFILE")).map(str::trim);
    let unknown_profile = sections.zip(selected).and_then(|(sections, name)| {
        // Without any file the default profile is empty, and no mistake.
        let exists = name == "default" || name.is_empty() || sections.get_profile(name).is_some();
        (!exists).then(|| {
            let mut known: Vec<String> = sections.profiles().map(|name| clean(name).into_owned()).collect();
            known.sort();
            UnknownProfile { name: clean(name).into_owned(), files: files(environment), known }
        })
    });
    Ok(AwsSettings { unknown_profile, ca_bundle })
}

/// Checks the settings that select another kind of endpoint. With a URL they are refused, as by AWS's SDKs: a request to
/// the URL alone would not be what was selected. `url` comes with what sets it.
pub(super) fn check_variants(
    environment: &BTreeMap<String, String>,
    profiles: &Profiles,
    url: Option<(&HttpUrl, &str)>,
) -> Vec<Problem> {
    let check = |(variable, key, kind): (&str, &str, &str)| {
        let (text, name) = variable_or_key(environment, profiles.as_ref().ok(), variable, key)?;
        // No other spelling: the SDK ignores it, and the request would go to the usual endpoint.
        match (text.to_ascii_lowercase().as_str(), url) {
            ("true", Some((url, set_by))) => {
                let message = format!("it selects {kind}, and {set_by} sets the endpoint URL `{url}`");
                Some(Problem::named(name, message).hint(Some("unset one of them; the URL may name such an endpoint")))
            }
            ("true" | "false", _) => None,
            _ => Some(Problem::named(name, format!("invalid value `{text}`: expected true or false"))),
        }
    };
    VARIANTS.into_iter().filter_map(check).collect()
}

/// The value of a variable or, if it is not set, of a key of the profile, with the name of what sets it.
fn variable_or_key<'a>(
    environment: &'a BTreeMap<String, String>,
    sections: Option<&'a ProfileSet>,
    variable: &str,
    key: &str,
) -> Option<(&'a str, String)> {
    let from_profile = || Some((sections?.get(key)?.trim(), format!("{key} of the AWS profile")));
    set(environment, variable).map(|text| (text, variable.to_owned())).or_else(from_profile)
}

/// A variable that is set and not empty.
pub(super) fn set<'e>(environment: &'e BTreeMap<String, String>, name: &str) -> Option<&'e str> {
    environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
}

/// The configuration and the credentials file.
fn files(environment: &BTreeMap<String, String>) -> [String; 2] {
    [("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")]
        .map(|(variable, default)| clean(set(environment, variable).unwrap_or(default)).into_owned())
}

/// The files of profiles, or why they cannot be read; the SDK ignores such files as a whole.
pub(super) type Profiles = Result<ProfileSet, String>;

/// Reads the files of profiles as the SDK does: nothing is hidden from the profile, so that it is the one that signs.
pub(super) fn load(environment: &BTreeMap<String, String>, profile: Option<&str>) -> Profiles {
    let env = Env::from(environment.clone().into_iter().collect::<HashMap<_, _>>());
    let (fs, files) = (Fs::real(), EnvConfigFiles::default());
    let loading = aws_config::profile::load(&fs, &env, &files, profile.map(|name| name.to_owned().into()));
    // The future reads files where it is polled and never waits: it needs no runtime, and may be polled within one.
    match loading.now_or_never() {
        Some(loaded) => loaded.map_err(|error| sources(&error)),
        None => Err("no file exists".into()),
    }
}

/// An error and its causes, on one line.
fn sources(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
