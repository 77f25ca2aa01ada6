//! Rounding of numbers when they are serialised.

use crate::units::rounded;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number, or an optional one, that can be rounded.
pub(crate) trait Rounded: Copy + Serialize {
    fn rounded(self, decimals: i32) -> Self;
}

impl Rounded for f64 {
    fn rounded(self, decimals: i32) -> Self {
        rounded(self, decimals)
    }
}

impl Rounded for Option<f64> {
    fn rounded(self, decimals: i32) -> Self {
        self.map(|value| rounded(value, decimals))
    }
}

/// Serialises with three decimals, the precision of records.
pub(crate) fn thousandths<T: Rounded, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.rounded(3).serialize(serializer)
}

/// Serialises with six decimals, for shares and ratios.
pub(crate) fn millionths<T: Rounded, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.rounded(6).serialize(serializer)
}

/// Serialises a list with six decimals each.
pub(super) fn each_in_millionths<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|value| rounded(*value, 6)))
}

/// Serialises a fraction as a percentage with three decimals.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
pub(super) fn percent<S: Serializer>(fraction: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    thousandths(&(fraction * 100.0), serializer)
}

/// Deserialises a percentage as a fraction.
pub(super) fn fraction<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    f64::deserialize(deserializer).map(|percent| percent / 100.0)
}
