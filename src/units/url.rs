//! `http` and `https` URLs, parsed once and classified by scheme and host. Every decision about an endpoint uses this module,
//! never a comparison of text: schemes and hosts are case-insensitive.

use hyper::Uri;
use std::fmt;
use std::net::IpAddr;

/// Suffixes of the hosts that belong to AWS; `amazonwebservices.com.cn` is used by dual-stack hosts in China.
const AWS_SUFFIXES: [&str; 4] = ["amazonaws.com", "amazonaws.com.cn", "api.aws", "api.amazonwebservices.com.cn"];

/// First labels of the hosts of the Bedrock runtime.
const BEDROCK_LABELS: [&str; 2] = ["bedrock-runtime", "bedrock-runtime-fips"];

/// A URL of a server, with scheme and host in lower case and without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpUrl {
    text: String,
    host: String,
    is_https: bool,
}

/// Why a URL is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UrlError {
    /// Not an absolute `http` or `https` URL with a host.
    Malformed,
    /// The URL contains a user name or a password.
    Credentials,
}

impl HttpUrl {
    /// Parses an absolute URL. A fragment is dropped.
    ///
    /// # Errors
    /// Fails if the URL has another scheme, no host, or contains credentials.
    pub(crate) fn parse(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.trim().parse().map_err(|_| UrlError::Malformed)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(UrlError::Malformed);
        };
        if authority.as_str().contains('@') {
            return Err(UrlError::Credentials);
        }
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::Malformed),
        };
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err(UrlError::Malformed);
        }
        let scheme = if is_https { "https" } else { "http" };
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let text = format!("{scheme}://{}{path}", authority.as_str().to_ascii_lowercase());
        Ok(Self { text: text.trim_end_matches('/').to_owned(), host, is_https })
    }

    /// Returns the whole URL.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the host, without the brackets of an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        without_brackets(&self.host)
    }

    /// Returns whether requests are sent without TLS.
    pub(crate) fn is_plain_http(&self) -> bool {
        !self.is_https
    }

    /// Returns whether the host is this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Returns whether the host belongs to AWS, including FIPS, dual-stack and VPC endpoints.
    pub(crate) fn is_aws(&self) -> bool {
        self.labels_before_aws_suffix().is_some()
    }

    /// Returns whether the host belongs to the Bedrock runtime and TLS is used. Other hosts below AWS's suffixes are not
    /// operated by Bedrock: any customer may own an API or a load balancer there.
    pub(crate) fn is_bedrock(&self) -> bool {
        let Some(labels) = self.labels_before_aws_suffix() else { return false };
        let labels: Vec<&str> = labels.split('.').collect();
        self.is_https
            && match labels.as_slice() {
                [service, _region] => BEDROCK_LABELS.contains(service),
                [vpce, service, _region, "vpce"] => vpce.starts_with("vpce-") && BEDROCK_LABELS.contains(service),
                _ => false,
            }
    }

    /// Returns the labels of an AWS host before the suffix; `None` for other hosts.
    fn labels_before_aws_suffix(&self) -> Option<&str> {
        let host = self.host.strip_suffix('.').unwrap_or(&self.host);
        AWS_SUFFIXES.iter().find_map(|suffix| match host.strip_suffix(suffix)? {
            "" => Some(""),
            labels => labels.strip_suffix('.'),
        })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// Returns whether a host, as written in a URI, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = without_brackets(host);
    let name = host.strip_suffix('.').unwrap_or(host);
    name.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> HttpUrl {
        HttpUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"))
    }

    #[test]
    fn scheme_and_host_are_case_insensitive() {
        for (text, normalised) in [
            ("HTTP://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("hTTps://Gateway.Example/Path/", "https://gateway.example/Path"),
            ("http://[::1]:80/", "http://[::1]:80"),
            (" https://h/a?b=C#d ", "https://h/a?b=C"),
        ] {
            assert_eq!(url(text).to_string(), normalised);
            assert_eq!(url(normalised), url(text));
            assert_eq!(url(text).is_plain_http(), normalised.starts_with("http://"), "{text}");
        }
        for text in ["", "localhost:8080", "ftp://h", "http://", "//h", "/path", "http:/h", "aws", "https:h"] {
            assert_eq!(HttpUrl::parse(text), Err(UrlError::Malformed), "{text}");
        }
        assert_eq!(HttpUrl::parse("HTTPS://user:word@h"), Err(UrlError::Credentials));
        assert_eq!(url("http://[::1]:80").host(), "::1");
    }

    #[test]
    fn loopback_follows_from_the_address() {
        for host in ["LOCALHOST", "localhost.", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(url(&format!("http://{host}:80")).is_loopback(), "{host}");
        }
        for host in ["localhost.example", "127.0.0.1.example", "128.0.0.1", "[::2]", "0.0.0.0", "10.0.0.1"] {
            assert!(!url(&format!("http://{host}:80")).is_loopback(), "{host}");
        }
    }

    #[test]
    fn aws_hosts_are_recognised_by_whole_labels() {
        for (host, is_aws, is_bedrock) in [
            ("bedrock-runtime.us-east-1.amazonaws.com", true, true),
            ("Bedrock-Runtime-FIPS.us-east-1.AmazonAWS.com:443", true, true),
            ("bedrock-runtime.cn-north-1.amazonaws.com.cn", true, true),
            ("bedrock-runtime.cn-north-1.api.amazonwebservices.com.cn", true, true),
            ("bedrock-runtime-fips.us-east-1.api.aws.", true, true),
            ("vpce-0a1-b2.bedrock-runtime.us-east-1.vpce.amazonaws.com", true, true),
            ("amazonaws.com", true, false),
            ("a1b2.execute-api.us-east-1.amazonaws.com", true, false),
            ("bedrock-runtime.us-east-1.elb.amazonaws.com", true, false),
            ("vpce-0a1.vpce-svc-0b2.us-east-1.vpce.amazonaws.com", true, false),
            ("amazonaws.com.example", false, false),
            ("bedrock-runtime.us-east-1.amazonaws.com.example", false, false),
            ("bedrock-runtime.us-east-1.notamazonaws.com", false, false),
            ("evilapi.aws", false, false),
            ("x.on.aws", false, false),
        ] {
            let url = url(&format!("https://{host}"));
            assert_eq!((url.is_aws(), url.is_bedrock()), (is_aws, is_bedrock), "{host}");
        }
        assert!(
            !url("http://bedrock-runtime.us-east-1.amazonaws.com").is_bedrock(),
            "without TLS the server is not authenticated"
        );
    }
}
