//! The endpoint: AWS, the simulator in this process, or another server.

use crate::units::url::{HttpUrl, UrlError};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// `aws`, `simulated`, or a URL with `http://` or `https://`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The endpoint of AWS in the region.
    Aws,
    /// A simulator started by `run` on a loopback port.
    Simulated,
    /// Another server.
    Url(HttpUrl),
}

impl Endpoint {
    /// Parses the three forms.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "aws" => Ok(Self::Aws),
            "simulated" => Ok(Self::Simulated),
            url => HttpUrl::parse(url).map(Self::Url).map_err(|error| match error {
                // Credentials would be written to every file of the run.
                UrlError::Credentials => "an endpoint must not contain a user or a password".into(),
                UrlError::Malformed => format!(
                    "`{url}` is not an endpoint: write `aws`, `simulated`, or a URL such as `http://127.0.0.1:8080`"
                ),
            }),
        }
    }

    /// Returns whether the endpoint is neither AWS nor the simulator in this process.
    pub(crate) fn is_other_server(&self) -> bool {
        matches!(self, Self::Url(url) if !url.is_aws())
    }
}

impl schemars::JsonSchema for Endpoint {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Endpoint".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "anyOf": [{ "enum": ["aws", "simulated"] }, { "type": "string", "pattern": "^https?://." }]
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Aws => "aws",
            Self::Simulated => "simulated",
            Self::Url(url) => url.as_str(),
        })
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
