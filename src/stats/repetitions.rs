//! The interval that repetitions give a quantile: Student's t over their logarithms. Requests of one repetition share what
//! the service was like at that time, which no number of them reveals. Knows numbers only.

use super::student;

/// Minimum number of repetitions.
pub(super) const LEAST: usize = 3;

/// An interval of a positive quantity that is symmetric in its logarithm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LnInterval {
    low: f64,
    high: f64,
}

impl LnInterval {
    /// Returns the interval of the values of [`LEAST`] or more repetitions that misses with `tail` on either side; `None`
    /// if there are fewer values or one is not positive.
    pub(super) fn new(values: &[f64], tail: f64) -> Option<Self> {
        if values.len() < LEAST || values.iter().any(|value| *value <= 0.0) {
            return None;
        }
        let (mean, half) = student::mean(&values.iter().map(|value| value.ln()).collect::<Vec<_>>(), tail);
        Some(Self { low: (mean - half).exp(), high: (mean + half).exp() })
    }

    /// Returns the wider one of this interval and that from `low` to `high`, extended to contain the estimate `value`.
    pub(super) fn wider(self, low: f64, high: f64, value: f64) -> (Option<f64>, Option<f64>) {
        let is_wider = self.high / self.low > high / low;
        let (low, high) = if is_wider { (self.low, self.high) } else { (low, high) };
        (Some(low.min(value)), Some(high.max(value)))
    }
}
