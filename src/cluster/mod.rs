//! Several machines as the shards of one run: detection of the shard, the exchange (a store that all shards reach), the
//! barrier, heartbeats, delivery of results, and Slurm job scripts. It depends on shard numbers, text, and the interface of
//! the executor, not on how a run is measured or reported.
//!
//! Keys in an exchange:
//!
//! | key | written by | content |
//! |---|---|---|
//! | `ready/<i>.json` | shard i | its join request |
//! | `start.json` | the first shard to decide | the decision: common start or abort |
//! | `preflight.json` | shard 0 | results of the pre-flight |
//! | `turns/<place>/...` | as above | the same for each cell run |
//! | `turns/<place>/enough/<i>` | shard i | shard i has its share of `min_samples` |
//! | `alive/<i>` | shard i | its heartbeat, with its progress |
//! | `left/<i>.json` | shard i | its leave notice, with the reason |
//! | `shards/<i>/...` | shard i | its results; last `shard.json`, the commit marker |
//!
//! Each key except `alive` is created once and never changed, so that there is exactly one decision.

mod barrier;
mod cell_run_barrier;
pub(crate) mod clock;
mod deliver;
mod detect;
mod heartbeat;
mod host;
mod http;
mod options;
mod progress_tracker;
mod retry;
pub(crate) mod slurm;
mod store;
mod store_error;
#[cfg(test)]
mod tests;
mod transient;

pub(crate) use barrier::{BarrierError, JoinRequest, Member, RunFingerprint, Start};
pub(crate) use cell_run_barrier::CellRunBarrier;
pub(crate) use deliver::{
    COMMIT_MARKER, CommitMarker, DELIVERED_FILES, deliver, expected_shards, fetch, list_commit_markers, missing_shard,
    program_hash, verify,
};
pub(crate) use detect::DetectError;
pub(crate) use heartbeat::Progress;
pub(crate) use host::host_name;
pub(crate) use options::{ShardOptions, longest_quiet};
pub(crate) use progress_tracker::ProgressTracker;
pub(crate) use store::{BucketAccess, Exchange, is_address};
pub(crate) use store_error::StoreError;
