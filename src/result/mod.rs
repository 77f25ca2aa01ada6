//! What was found, as data. `stats` and `verdict` provide the values, reports format them, and `summary.json` is their
//! serialisation: keys, units and rounding are declared here, once. A value that is not known is absent, never zero.
//! This module computes nothing and must not know where a value comes from or how it is displayed.

mod cell;
mod comparison;
mod number;
mod run;
mod times;
mod validity;

pub(crate) use cell::{
    CellResult, Client, ClientMeasurements, Coordinates, Cost, Counts, ErrorCount, PromptUses, Requests,
    ShardMeasurements, Stage, Tokens, WarningNote,
};
pub(crate) use comparison::{CommonDrift, ComparisonResult, ComparisonRow, NextStep, SessionInfo, UnmatchedCell};
pub(crate) use number::{millionths, thousandths};
pub(crate) use run::{
    Difference, Machine, Quantity, Relation, RunInfo, RunResult, Shards, Tally, ThresholdResult, TierResult,
};
pub(crate) use times::{LEVELS, Percentile, Quality, Times, reported_ranks};
pub(crate) use validity::{Validity, Verdict};
