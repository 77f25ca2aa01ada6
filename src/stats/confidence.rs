//! Confidence intervals.

/// Probability outside a 95 % interval on either side.
pub(crate) const TAIL: f64 = 0.025;

/// A value with its confidence interval; an open end is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ConfidenceInterval {
    pub(crate) value: f64,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}
