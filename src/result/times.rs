//! Times of a population of requests.

use super::number::{fraction, percent, thousandths};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Percentile levels of Locust's files, 0 to 1.
pub(crate) const LEVELS: [f64; 11] = [0.50, 0.66, 0.75, 0.80, 0.90, 0.95, 0.98, 0.99, 0.999, 0.9999, 1.0];

/// Times of a population of requests, milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Times {
    /// Number of observations, including censored ones.
    #[serde(rename = "samples_count")]
    pub(crate) samples: usize,
    /// Arithmetic mean.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) mean_ms: Option<f64>,
    /// Minimum.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) min_ms: Option<f64>,
    /// Maximum.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) max_ms: Option<f64>,
    /// p50, p90, p95, p99 and the percentiles that the plan requests, in ascending order; empty without samples.
    pub(crate) percentiles: Vec<Percentile>,
    /// Values at [`LEVELS`].
    #[serde(skip)]
    pub(crate) levels: [Option<f64>; LEVELS.len()],
}

/// Returns the percentile ranks (0 to 100) that reports show: p50, p90, p95, p99 and those that the plan requests.
pub(crate) fn reported_ranks(further: &[f64]) -> Vec<f64> {
    let mut ranks = vec![50.0, 90.0, 95.0, 99.0];
    ranks.extend(further);
    ranks.sort_by(f64::total_cmp);
    ranks.dedup();
    ranks
}

impl Times {
    /// Returns the value at one of [`LEVELS`], milliseconds.
    pub(crate) fn at(&self, level: f64) -> Option<f64> {
        LEVELS.iter().position(|known| (known - level).abs() < 1e-9).and_then(|index| self.levels[index])
    }

    /// Returns a percentile with its interval, if it is one of [`Self::percentiles`]. `level` is 0 to 1.
    pub(crate) fn percentile(&self, level: f64) -> Option<&Percentile> {
        self.percentiles.iter().find(|percentile| (percentile.p - level).abs() < 1e-9)
    }

    /// Returns the name of the quality of a percentile, or an empty string without samples.
    pub(crate) fn quality(&self, level: f64) -> &'static str {
        self.percentile(level).map_or("", |percentile| percentile.quality.key())
    }
}

/// A percentile with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Percentile {
    /// Level, 0 to 100.
    // 0 to 1 in memory.
    #[serde(rename = "level_percent", serialize_with = "percent", deserialize_with = "fraction")]
    pub(crate) p: f64,
    /// Milliseconds; the largest observed time if the quality is `censored`.
    #[serde(serialize_with = "thousandths")]
    pub(crate) value_ms: f64,
    /// Lower end of the 95 % interval; absent if it is open.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) low_ms: Option<f64>,
    /// Upper end of the 95 % interval; absent if it is open.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "thousandths")]
    pub(crate) high_ms: Option<f64>,
    /// Number of independent observations that the observations are worth here (effective sample size); their number if
    /// the cell's ten time blocks vary no more than chance allows.
    #[serde(serialize_with = "thousandths")]
    pub(crate) n_eff: f64,
    /// Quality of the value.
    pub(crate) quality: Quality,
}

/// Quality of a percentile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Quality {
    /// A two-sided interval exists.
    Ok,
    /// Only an upper bound (the maximum) exists, with 95 % confidence.
    OneSided,
    /// Too few samples for any bound; do not use the value.
    TooFew,
    /// Too many censored requests: the percentile lies beyond the longest observed time.
    Censored,
}

impl Quality {
    /// Returns the name used in result files.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::OneSided => "one_sided",
            Self::TooFew => "too_few",
            Self::Censored => "censored",
        }
    }
}
