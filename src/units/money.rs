//! Exact amounts of money. Prices are in US dollars per million tokens with at most six decimals, so that the price of a
//! token is a whole number of picodollars and sums over millions of requests are exact.

use serde::{Serialize, Serializer};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

const PICO: u128 = 1_000_000_000_000;

/// US dollars, counted in picodollars (1e-12 USD). Never negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Usd(u128);

impl Usd {
    /// Returns the cost of one token at a price per million tokens, which must not be negative.
    pub(crate) fn per_token(usd_per_million: f64) -> Self {
        Self((usd_per_million * 1e6).round() as u128)
    }

    /// The largest amount.
    pub(crate) const MAX: Self = Self(u128::MAX);

    /// Converts picodollars, as stored in files.
    pub(crate) fn from_picodollars(picodollars: u64) -> Self {
        Self(picodollars.into())
    }

    /// Returns picodollars, as stored in files; saturates at about 18 million US dollars.
    pub(crate) fn picodollars(self) -> u64 {
        u64::try_from(self.0).unwrap_or(u64::MAX)
    }

    /// Converts US dollars, which must not be negative.
    pub(crate) fn from_f64(usd: f64) -> Self {
        Self((usd * PICO as f64).round() as u128)
    }

    /// Multiplies the amount by a number.
    pub(crate) fn times(self, number: u64) -> Self {
        Self(self.0.saturating_mul(number.into()))
    }

    /// Divides the amount among `among`, rounding down: the shares never exceed the amount together.
    pub(crate) fn share(self, among: u64) -> Self {
        Self(self.0 / u128::from(among.max(1)))
    }

    /// Returns the amount per item in US dollars; `None` if `number` is 0.
    pub(crate) fn per(self, number: u64) -> Option<f64> {
        (number > 0).then(|| self.as_f64() / number as f64)
    }

    /// Returns the square in picodollars squared: exact, so that sums do not depend on their order.
    pub(crate) fn square(self) -> u128 {
        self.0.saturating_mul(self.0)
    }

    /// Returns US dollars.
    pub(crate) fn as_f64(self) -> f64 {
        self.0 as f64 / PICO as f64
    }
}

/// Saturates at [`Usd::MAX`].
impl Add for Usd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Saturates at zero.
impl Sub for Usd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

/// Eight decimals, rounded half up.
impl fmt::Display for Usd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths_of_micro = (self.0 + 5_000) / 10_000;
        write!(out, "{}.{:08}", tenths_of_micro / 100_000_000, tenths_of_micro % 100_000_000)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_small_prices_are_exact() {
        let micro = Usd::per_token(0.035);
        assert_eq!(micro.times(1).to_string(), "0.00000004");
        assert_eq!((0..1_000_000).map(|_| micro).sum::<Usd>(), micro.times(1_000_000));
        assert_eq!(micro.times(1_000_000).to_string(), "0.03500000");
        assert_eq!(Usd::per_token(10.728_47).times(1_000_000_000).to_string(), "10728.47000000");
        assert_eq!((Usd::per_token(2.5).per(0), Usd::per_token(2.5).times(4).per(2)), (None, Some(5e-6)));
    }
}
