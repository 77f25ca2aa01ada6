//! Validity of a cell and verdicts on thresholds: enums up to the last byte.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Validity of the numbers of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Validity {
    /// Usable.
    Ok,
    /// The cell never started.
    NotRun,
    /// The service does not support the tier; contains the error of the pre-flight.
    Unsupported(String),
    /// Permanent error of the pre-flight.
    Refused(String),
    /// All of its first requests failed permanently.
    Aborted,
    /// The client was too slow, or a shard is missing; contains the reason.
    Invalid(String),
}

impl fmt::Display for Validity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => out.write_str("ok"),
            Self::NotRun => out.write_str("not_run"),
            Self::Unsupported(error) => write!(out, "unsupported: {error}"),
            Self::Refused(error) => write!(out, "refused: {error}"),
            Self::Aborted => out.write_str("aborted"),
            Self::Invalid(reason) => write!(out, "INVALID: {reason}"),
        }
    }
}

impl Serialize for Validity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Validity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Validity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Verdict on a bound in a cell, the most important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Verdict {
    /// The whole 95 % interval violates the bound.
    Fail,
    /// The data do not decide.
    Inconclusive,
    /// The whole 95 % interval meets the bound.
    Pass,
}

impl Verdict {
    /// All verdicts in order.
    pub(crate) const ALL: [Self; 3] = [Self::Fail, Self::Inconclusive, Self::Pass];

    /// Returns the name used in result files.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Fail => "FAIL",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Pass => "PASS",
        }
    }
}
