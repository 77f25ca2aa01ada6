//! The files of a run: one record per request, the journal that contains them, the manifest, and the run directory. Knows
//! plan, matrix and units.
//!
//! The run directory is the only interface between running and reporting: every report can be rebuilt from `manifest.json`
//! and `token_data.jsonl`.

pub(crate) mod acquire;
mod check;
mod checksum;
pub(crate) mod class;
pub(crate) mod damage;
pub(crate) mod dir;
pub(crate) mod disturbance;
mod exclusion;
pub(crate) mod hash;
pub(crate) mod journal;
mod last_reports;
mod lines;
pub(crate) mod manifest;
pub(crate) mod merge;
pub(crate) mod owned;
pub(crate) mod probe;
pub(crate) mod read;
pub(crate) mod request;
pub(crate) mod reservations;
pub(crate) mod resume;
mod seen;

pub(crate) use exclusion::{ExclusionReason, is_blocked};
pub(crate) use last_reports::LastReports;
pub(crate) use request::{Connection, Outcome, Phase, Record, compact_shard};
