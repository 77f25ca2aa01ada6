//! Limit of open files, of which each connection needs one. The soft limit is raised as far as the system allows. A
//! limit that is still too low is reported before any request is sent.

use crate::error::Error;
use crate::matrix::{Cell, Shard};

/// Files that the process needs besides its connections: journal, epoll, standard streams, name resolution.
const OTHER_FILES: u64 = 64;

/// Raises the limit of open files to this shard's share of the peak load of the cells. With `simulated`, both ends of
/// each connection count. Logs a warning if `max_in_flight` of an open loop exceeds the limit.
///
/// # Errors
/// [`Error::OpenFiles`] if the limit is too low for the users of a closed loop.
pub(super) fn raise_open_files(cells: &[Cell], shard: Shard, simulated: bool) -> Result<(), Error> {
    let files_per_connection = if simulated { 2 } else { 1 };
    let users =
        cells.iter().filter(|cell| !cell.is_open()).map(|cell| shard.share(cell.peak() as u64)).max().unwrap_or(0);
    let arrivals =
        cells.iter().filter(|cell| cell.is_open()).map(|cell| shard.share(u64::from(cell.load.max_in_flight))).max();
    let allowed = raise(users.max(arrivals.unwrap_or(0)) * files_per_connection + OTHER_FILES);
    match allowed {
        Some(allowed) if allowed < users * files_per_connection + OTHER_FILES => {
            Err(Error::OpenFiles { needed: users * files_per_connection + OTHER_FILES, allowed, users })
        }
        // The number of requests in flight of an open loop is not known in advance, so this is only a warning.
        Some(allowed) if arrivals.is_some_and(|arrivals| allowed < arrivals * files_per_connection + OTHER_FILES) => {
            let max = allowed.saturating_sub(OTHER_FILES) / files_per_connection;
            tracing::warn!(allowed, "only some {max} requests can be in flight, less than max_in_flight: `ulimit -n`");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Raises the soft limit to `needed`, or to the hard limit if that is lower. Returns the resulting limit; `None` if
/// there is none.
#[cfg(unix)]
fn raise(needed: u64) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let current = limit.current?;
    if current >= needed {
        return Some(current);
    }
    let wanted = limit.maximum.map_or(needed, |max| max.min(needed));
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }) {
        Ok(()) => Some(wanted),
        Err(error) => {
            tracing::debug!(%error, wanted, "the limit of open files stays as it is");
            Some(current)
        }
    }
}

#[cfg(not(unix))]
fn raise(_needed: u64) -> Option<u64> {
    None
}
