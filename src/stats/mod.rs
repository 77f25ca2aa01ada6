//! Statistics of records. Uses record, matrix, plan, prices and units; `verdict` evaluates the results, `report` renders
//! them.
//!
//! [`Collector`] reads records one by one and keeps a few dozen bytes of each; [`Summary`] contains the statistics of
//! every cell and of pools of cells.

mod blocks;
mod collect;
mod collector;
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
mod pool;
mod pooled;
mod prompts;
pub(crate) mod proportion;
pub(crate) mod repeated;
mod repetitions;
mod replies;
pub(crate) mod series;
mod slowest;
mod spend;
mod stages;
mod stalls;
mod stopped;
pub(crate) mod student;
pub(crate) mod sufficiency;
mod summary;
pub(crate) mod timeline;
mod tokens;
mod validity;
mod warning;
pub(crate) mod window;

pub(crate) use collect::Sample;
pub(crate) use collector::Collector;
pub(crate) use errors::OTHER_MESSAGES;
pub(crate) use health::Health;
pub(crate) use histogram::LatencyHistogram;
pub(crate) use interval::ConfidenceInterval;
pub(crate) use latency::Latency;
pub(crate) use machine::ShardHealth;
pub(crate) use overhead::OverheadReference;
pub(crate) use phases::PhaseSummary;
pub(crate) use pool::Pool;
pub(crate) use slowest::SlowRequest;
pub(crate) use spend::{Spend, may_be_charged};
pub(crate) use stalls::TICK_MS;
pub(crate) use stopped::Stopped;
pub(crate) use summary::{CellSummary, Summary};
pub(crate) use warning::Warning;
