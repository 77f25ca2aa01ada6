//! What a run leaves behind: one record per request, the journal they are appended to, the manifest
//! beside it, and the directory that holds both. Knows plan, matrix and units.
//!
//! The run directory is the only thing between running and reporting: whatever a report says can be
//! rebuilt from `manifest.json` and `token_data.jsonl`.

mod check;
mod checksum;
pub(crate) mod class;
pub(crate) mod damage;
pub(crate) mod dir;
pub(crate) mod disturbance;
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
mod unfit;

pub(crate) use last_reports::LastReports;
pub(crate) use request::{Connection, Outcome, Phase, Record};
pub(crate) use unfit::{Unfit, is_blocked};
