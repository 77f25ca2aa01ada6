//! Settings of connections, from the environment.

use super::proxy::ProxySettings;
use super::roots::CaBundle;

/// Settings of connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct NetworkSettings {
    /// Proxies from the environment.
    pub(crate) proxies: ProxySettings,
    /// Trusted certificates; `None` selects those of the system.
    pub(crate) ca_bundle: Option<CaBundle>,
}
