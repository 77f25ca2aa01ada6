//! From records to numbers. Knows record, matrix, plan, prices and units; draws nothing and decides nothing.
//!
//! [`Collector`] takes records one by one and keeps a few dozen bytes of each; [`Summary`] holds what
//! is said of every cell and of every pool of cells.

mod collect;
mod damage;
mod errors;
mod health;
mod histogram;
pub(crate) mod interval;
pub(crate) mod latency;
pub(crate) mod live;
pub(crate) mod location;
pub(crate) mod machine;
mod overhead;
pub(crate) mod percentile;
mod phases;
mod prompts;
pub(crate) mod proportion;
pub(crate) mod repeated;
mod replies;
pub(crate) mod series;
mod shown;
mod slowest;
mod spend;
mod stages;
mod stalls;
mod stopped;
pub(crate) mod student;
mod summary;
pub(crate) mod timeline;
mod validity;
mod warning;
pub(crate) mod window;

pub(crate) use collect::{Collector, Sample};
pub(crate) use errors::{ErrorCount, OTHER_MESSAGES};
pub(crate) use health::{Health, Raw};
pub(crate) use histogram::Times;
pub(crate) use interval::Interval;
pub(crate) use latency::Latency;
pub(crate) use machine::Machine;
pub(crate) use overhead::Against;
pub(crate) use phases::PhaseSummary;
pub(crate) use prompts::PromptUses;
pub(crate) use slowest::Slow;
pub(crate) use spend::{Spend, may_be_charged};
pub(crate) use stages::StageSummary;
pub(crate) use stalls::TICK_MS;
pub(crate) use stopped::Stopped;
pub(crate) use summary::{CellSummary, Counts, Pool, Summary, samples_wanted};
pub(crate) use validity::Validity;
pub(crate) use warning::Warning;
