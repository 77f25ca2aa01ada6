//! Rounding of numbers when they are serialised.

use serde::{Serialize, Serializer};

/// A number, or an optional one, that can be rounded to a multiple of `1 / steps`.
pub(crate) trait Rounded: Copy + Serialize {
    fn rounded(self, steps: f64) -> Self;
}

impl Rounded for f64 {
    fn rounded(self, steps: f64) -> Self {
        (self * steps).round() / steps
    }
}

impl Rounded for Option<f64> {
    fn rounded(self, steps: f64) -> Self {
        self.map(|value| value.rounded(steps))
    }
}

/// Serialises with three decimals, the precision of records.
pub(crate) fn thousandths<T: Rounded, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.rounded(1e3).serialize(serializer)
}

/// Serialises with six decimals, for shares and ratios.
pub(crate) fn millionths<T: Rounded, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.rounded(1e6).serialize(serializer)
}

/// Serialises a fraction as a percentage with three decimals.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
pub(super) fn percent<S: Serializer>(fraction: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    thousandths(&(fraction * 100.0), serializer)
}
