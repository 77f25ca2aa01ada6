//! Where the machines of a run meet: which one this is, a place that all of them reach, waiting for each
//! other without a leader, and what each leaves there. Knows the number of a shard and text; not what a
//! run is, what is sent, or how it is measured.
//!
//! What an exchange holds:
//!
//! | key | by whom | what |
//! |---|---|---|
//! | `ready/<i>.json` | shard i | it is there; who it is |
//! | `start.json` | whoever is first | the decision: all begin, or nobody |
//! | `preflight.json` | shard 0 | what can be asked |
//! | `turns/<place>/...` | as above | the same before each turn |
//! | `turns/<place>/enough/<i>` | shard i | it has its share of `min_samples` |
//! | `alive/<i>` | shard i | its heartbeat, with its progress |
//! | `left/<i>.json` | shard i | it went before the end; why |
//! | `shards/<i>/...` | shard i | its results; `shard.json` last: the commit mark |
//!
//! Each key but `alive` is created once and never changed, so that there is one decision whoever makes it.

mod barrier;
pub(crate) mod clock;
mod deliver;
mod detect;
mod heartbeat;
mod http;
mod retry;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use barrier::{Hello, Kind, MeetError, Member, Start};
pub(crate) use deliver::{Left, MARK, Mark, build, expected, fetch, held, left, send, verify};
pub(crate) use detect::{DetectError, detect, tasks_beside};
pub(crate) use heartbeat::Progress;
pub(crate) use retry::PATIENCE;
pub(crate) use store::{BucketAccess, Exchange, StoreError, is_address};
