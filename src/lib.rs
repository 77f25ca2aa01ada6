//! `bedrock-plan`: declarative load tests for the Amazon Bedrock Converse API.
//!
//! The rooms, in walking order; data goes one way, from the plan to the bytes of a report:
//!
//! plan -> matrix -> executor -> record -> stats -> verdict -> report
//!
//! Public are [`simulator`] (a Bedrock of its own, usable in tests of other programs) and
//! [`app::main`]; everything else is private, so that dead code is seen.

pub(crate) mod units;

pub(crate) mod files;

pub(crate) mod plan;

pub(crate) mod config;

pub(crate) mod prompts;

pub(crate) mod matrix;

pub(crate) mod prices;

pub(crate) mod estimate;

pub(crate) mod record;

pub(crate) mod executor;

pub(crate) mod exchange;

pub(crate) mod guard;

pub(crate) mod stats;

pub(crate) mod verdict;

pub(crate) mod report;

pub(crate) mod terminal;

pub(crate) mod cli;

pub(crate) mod error;

pub mod app;

#[cfg(test)]
mod fuzz;

pub mod simulator;
