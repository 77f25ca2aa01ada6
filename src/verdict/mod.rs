//! Verdicts on measured numbers: thresholds, baselines, tiers and prices. Uses stats, record, matrix, plan and units;
//! `report` renders the results.

pub(crate) mod baseline;
pub(crate) mod compare;
pub(crate) mod price;
pub(crate) mod slo;
pub(crate) mod tiers;
