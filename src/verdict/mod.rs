//! From numbers to what they allow to say. Knows stats, record, matrix, plan and units; how it is told
//! is report's.

pub(crate) mod baseline;
pub(crate) mod compare;
pub(crate) mod price;
pub(crate) mod slo;
pub(crate) mod tiers;
