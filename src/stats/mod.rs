//! Statistics of records. Uses record, matrix, plan, prices and units; `verdict` evaluates the results, `report` renders
//! them.
//!
//! [`Collector`] reads records one by one and keeps a few dozen bytes of each; [`Summary`] contains the statistics of
//! every cell and of pools of cells.

#[cfg(test)]
pub(crate) mod bench_verdicts;
mod blocks;
mod cell_summary;
mod client;
mod collect;
mod collector;
mod compared;
pub(crate) mod confidence;
mod damage;
mod errors;
mod goodput;
mod health;
mod histogram;
pub(crate) mod interval;
pub(crate) mod latency;
pub(crate) mod live;
pub(crate) mod location;
pub(crate) mod machine;
mod overhead;
mod overhead_by_load;
mod part;
pub(crate) mod percentile;
mod phases;
mod pool;
mod pooled;
mod prompts;
pub(crate) mod proportion;
pub(crate) mod repeated;
mod repetitions;
mod replies;
pub(crate) mod rule_f;
mod sample;
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

pub(crate) use cell_summary::CellSummary;
pub(crate) use collector::Collector;
pub(crate) use compared::CellMetric;
pub(crate) use confidence::ConfidenceInterval;
pub(crate) use errors::OTHER_MESSAGES;
pub(crate) use health::Health;
pub(crate) use histogram::LatencyHistogram;
pub(crate) use latency::Latency;
pub(crate) use machine::ShardHealth;
pub(crate) use overhead::OverheadReference;
pub(crate) use phases::PhaseSummary;
pub(crate) use pool::Pool;
pub(crate) use sample::Sample;
pub(crate) use slowest::SlowRequest;
pub(crate) use spend::{Spend, may_be_charged};
pub(crate) use stalls::TICK_MS;
pub(crate) use stopped::Stopped;
pub(crate) use summary::Summary;
pub(crate) use warning::Warning;
