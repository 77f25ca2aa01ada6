//! Proxy settings. The environment is an argument. Loopback is never proxied: a proxy could not reach a simulator on this
//! machine.

use crate::units::url::is_loopback;
use hyper::Uri;
use hyper::http::HeaderValue;
use hyper::http::uri::Scheme;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The proxies per destination.
#[derive(Clone)]
pub(crate) struct ProxySettings(Arc<Matcher>);

impl ProxySettings {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case, lower case first.
    pub(crate) fn from_environment(environment: &BTreeMap<String, String>) -> Self {
        let value = |name: &str| {
            [name.to_lowercase(), name.to_uppercase()]
                .iter()
                .find_map(|name| environment.get(name).filter(|value| !value.is_empty()).cloned())
                .unwrap_or_default()
        };
        Self(Arc::new(
            Matcher::builder()
                .all(value("all_proxy"))
                .http(value("http_proxy"))
                .https(value("https_proxy"))
                .no(value("no_proxy"))
                .build(),
        ))
    }

    pub(super) fn intercept(&self, destination: &Uri) -> Option<Intercept> {
        if destination.host().is_some_and(is_loopback) { None } else { self.0.intercept(destination) }
    }

    /// Returns the value of `Proxy-Authorization` for a request over plain http, if its proxy has a login.
    pub(super) fn login_of_plain_http(&self, destination: &Uri) -> Option<HeaderValue> {
        let is_plain_http = destination.scheme() == Some(&Scheme::HTTP);
        let proxy = self.intercept(destination).filter(|_| is_plain_http)?;
        let mut login = proxy.basic_auth()?.clone();
        // Never logged.
        login.set_sensitive(true);
        Some(login)
    }
}

impl Default for ProxySettings {
    /// No proxies.
    fn default() -> Self {
        Self::from_environment(&BTreeMap::new())
    }
}

impl fmt::Debug for ProxySettings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL of a proxy may contain a password.
        out.write_str("ProxySettings")
    }
}
