//! `bedrock-plan`: declarative load tests for the Amazon Bedrock Converse API.
//!
//! Data flows in one direction through the main modules, from the plan to the files of a report:
//!
//! plan -> matrix -> executor -> record -> stats -> verdict -> report
//!
//! Only [`simulator`] (a simulated Bedrock runtime, usable in tests of other programs) and [`app::main`] are public.
//! Everything else is private, so that the compiler reports dead code.

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

pub(crate) mod cluster;

pub(crate) mod guard;

pub(crate) mod result;

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
