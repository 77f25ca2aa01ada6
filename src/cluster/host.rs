//! The name of this machine.

/// Returns the name of this machine; `unknown` if the system has none.
pub(crate) fn host_name() -> String {
    #[cfg(unix)]
    return rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    return "unknown".into();
}
