//! Think time: the pause of a virtual user after each request, constant or uniformly distributed.

use super::duration::{self, TextVisitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// A think time: `1s..2s` is uniform, as Locust's `between(1, 2)`; `1s` is constant; `0s` means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThinkTime {
    /// The shortest pause.
    pub(crate) min: Duration,
    /// The longest pause; equal to `min` if constant.
    pub(crate) max: Duration,
}

super::text_or_seconds_schema!(ThinkTime, "ThinkTime", format!("^({0})(\\.\\.({0}))?$", duration::PATTERN));

impl ThinkTime {
    /// Parses `1s..2s` or `1s`. A reversed range is an error.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some((low, high)) = text.split_once("..") else {
            let constant = duration::parse(text)?;
            return Ok(Self { min: constant, max: constant });
        };
        let (min, max) = (duration::parse(low)?, duration::parse(high)?);
        if min > max {
            return Err(format!("`{text}` is reversed: write `{}..{}`", high.trim(), low.trim()));
        }
        Ok(Self { min, max })
    }

    /// Returns the mean pause.
    pub(crate) fn mean(self) -> Duration {
        (self.min + self.max) / 2
    }
}

impl fmt::Display for ThinkTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            out.write_str(&duration::format(self.min))
        } else {
            write!(out, "{}..{}", duration::format(self.min), duration::format(self.max))
        }
    }
}

impl Serialize for ThinkTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ThinkTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor::new("a think time such as `1s..2s` or `500ms`", Self::parse))
    }
}
