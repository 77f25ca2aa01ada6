//! Access control of the simulator. It serves programs on this machine. A web page in a browser on this machine, or a
//! name that is rebound to a loopback address (DNS rebinding), must not be able to use it.

use super::fault::Refusal;
use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use hyper::http::uri::Authority;
use std::net::IpAddr;

/// Checks the host (`Host` header and authority) and the origin. The `Host` header is optional: the SDK for
/// JavaScript sends only `:authority`.
///
/// # Errors
/// Fails if a host is not a loopback name or address, or the origin is not the simulator's own.
pub(super) fn check<B>(request: &hyper::Request<B>) -> Result<(), Refusal> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut hosts: Vec<String> = request.headers().get_all(HOST).iter().map(text).collect();
    hosts.extend(request.uri().authority().map(|authority| authority.as_str().to_owned()));
    if let Some(host) = hosts.iter().find(|host| !is_loopback(host)) {
        return Err(Refusal::foreign_host(host));
    }
    let is_own = |origin: &String| hosts.iter().any(|host| origin.eq_ignore_ascii_case(&format!("http://{host}")));
    match request.headers().get_all(ORIGIN).iter().map(text).find(|origin| !is_own(origin)) {
        Some(origin) => Err(Refusal::foreign_origin(&origin)),
        None => Ok(()),
    }
}

/// Returns whether the content type is JSON, with or without parameters.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else { return false };
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let is_local = || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    !host.contains('@') && (name.eq_ignore_ascii_case("localhost") || is_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_and_addresses_are_served() {
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.8.9.10", "[::1]:80", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:80",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "10.0.0.1",
            "0.0.0.0",
            "[::2]",
            "localhost:80:90",
            "a b",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
