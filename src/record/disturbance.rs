//! What the operating system did to the load generator during a cell run: stalls (the process did not run),
//! suspensions of the machine, and jumps of the wall clock. Raw values; `stats` decides what they mean.
//!
//! The lists are bounded, when they are written and when they are read.

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::marker::PhantomData;

/// Stalls that a cell run lists; of more, the longest.
pub(crate) const MAX_STALLS: usize = 1_000;

/// Jumps of the wall clock that a cell run lists; of more, the first.
pub(crate) const MAX_CLOCK_JUMPS: usize = 100;

/// No time in a manifest is longer: some thirty years, milliseconds.
const MAX_MS: f64 = 1e12;

/// The disturbances of one cell run on one machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Disturbances {
    /// In order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "at_most::<_, _, MAX_STALLS>")]
    pub(crate) stalls: Vec<Stall>,
    /// Further stalls, none of them longer than the shortest in the list.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) unlisted_stalls: u64,
    /// Their lengths together, milliseconds.
    #[serde(default, skip_serializing_if = "is_zero_ms", deserialize_with = "duration_ms")]
    pub(crate) unlisted_ms: f64,
    /// In order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "at_most::<_, _, MAX_CLOCK_JUMPS>")]
    pub(crate) clock_jumps: Vec<ClockJump>,
}

/// A period in which the process did not run: stopped, without CPU time, or on a suspended machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_field_names)] // the unit belongs to each
pub(crate) struct Stall {
    /// When the tick that came late was due, milliseconds from the start of the cell run. The stall began at most one
    /// tick earlier.
    #[serde(deserialize_with = "duration_ms")]
    pub(crate) from_ms: f64,
    /// How late the tick came on the monotonic clock, milliseconds.
    #[serde(deserialize_with = "duration_ms")]
    pub(crate) length_ms: f64,
    /// How long the machine was suspended, milliseconds. The monotonic clock of Linux does not count this time, so it
    /// is not a part of the length; 0 where the machine was not suspended, or where the system does not report it.
    #[serde(default, skip_serializing_if = "is_zero_ms", deserialize_with = "duration_ms")]
    pub(crate) suspended_ms: f64,
}

/// A step of the wall clock against the clock that counts elapsed time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClockJump {
    /// When it was noticed, milliseconds from the start of the cell run.
    #[serde(deserialize_with = "duration_ms")]
    pub(crate) at_ms: f64,
    /// Forward is positive, milliseconds.
    #[serde(deserialize_with = "signed_ms")]
    pub(crate) by_ms: f64,
}

impl Stall {
    /// Returns the time of the late tick, milliseconds from the start of the cell run.
    pub(crate) fn end_ms(&self) -> f64 {
        self.from_ms + self.length_ms
    }

    /// Returns the wall-clock time for which nothing ran, milliseconds.
    pub(crate) fn total_ms(&self) -> f64 {
        self.length_ms + self.suspended_ms
    }
}

impl Disturbances {
    /// Whether there are no disturbances.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds a stall that is later than all others. A full list keeps the longest.
    pub(crate) fn add_stall(&mut self, stall: Stall) {
        self.stalls.push(stall);
        if self.stalls.len() > MAX_STALLS {
            let lengths = self.stalls.iter().map(Stall::total_ms).enumerate();
            if let Some((shortest, ms)) = lengths.min_by(|a, b| a.1.total_cmp(&b.1)) {
                self.stalls.remove(shortest);
                self.unlisted_stalls += 1;
                self.unlisted_ms += ms;
            }
        }
    }

    /// Adds a jump that is later than all others.
    pub(crate) fn add_clock_jump(&mut self, jump: ClockJump) {
        if self.clock_jumps.len() < MAX_CLOCK_JUMPS {
            self.clock_jumps.push(jump);
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
fn is_zero_ms(ms: &f64) -> bool {
    *ms == 0.0
}

fn duration_ms<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let ms = f64::deserialize(from)?;
    let is_valid = (0.0..=MAX_MS).contains(&ms);
    if is_valid { Ok(ms) } else { Err(D::Error::custom(format!("`{ms}` is not a time from 0 to {MAX_MS} ms"))) }
}

fn signed_ms<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let ms = f64::deserialize(from)?;
    let is_valid = (-MAX_MS..=MAX_MS).contains(&ms);
    if is_valid { Ok(ms) } else { Err(D::Error::custom(format!("`{ms}` is not a time within {MAX_MS} ms"))) }
}

/// Reads a list and stops at the first element beyond `MAX`.
fn at_most<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MAX: usize>(from: D) -> Result<Vec<T>, D::Error> {
    struct List<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(out, "a list of at most {MAX} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(element) = from.next_element()? {
                if list.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                list.push(element);
            }
            Ok(list)
        }
    }

    from.deserialize_seq(List::<T, MAX>(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stall(from_ms: f64, length_ms: f64) -> Stall {
        Stall { from_ms, length_ms, suspended_ms: 0.0 }
    }

    #[test]
    fn full_list_keeps_the_longest_stalls_in_order() {
        let mut disturbances = Disturbances::default();
        let lengths = (0..MAX_STALLS + 200).map(|n| 51.0 + (n * 7 % 1_200) as f64);
        let mut all: Vec<f64> = lengths.clone().collect();
        for (n, length) in lengths.enumerate() {
            disturbances.add_stall(stall(n as f64 * 2_000.0, length));
        }
        assert_eq!((disturbances.stalls.len(), disturbances.unlisted_stalls), (MAX_STALLS, 200));
        assert!(disturbances.stalls.is_sorted_by(|a, b| a.from_ms < b.from_ms));
        let listed: f64 = disturbances.stalls.iter().map(Stall::total_ms).sum();
        assert!((listed + disturbances.unlisted_ms - all.iter().sum::<f64>()).abs() < 1e-6);
        all.sort_by(f64::total_cmp);
        let shortest = disturbances.stalls.iter().map(Stall::total_ms).fold(f64::INFINITY, f64::min);
        assert!((shortest - all[200]).abs() < 1e-9, "{shortest}");
    }

    #[test]
    fn empty_disturbances_are_omitted_and_values_round_trip() {
        assert_eq!(serde_json::to_string(&Disturbances::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<Disturbances>("{}").unwrap().is_empty());
        let mut disturbances = Disturbances::default();
        disturbances.add_stall(Stall { suspended_ms: 3_600_000.0, ..stall(10.5, 60.125) });
        disturbances.add_clock_jump(ClockJump { at_ms: 3.0, by_ms: -7_200_000.0 });
        let json = serde_json::to_string(&disturbances).unwrap();
        assert_eq!(serde_json::from_str::<Disturbances>(&json).unwrap(), disturbances, "{json}");
    }

    #[test]
    fn lists_and_values_out_of_bounds_are_refused() {
        let one = r#"{"from_ms":1,"length_ms":60}"#;
        let many = |n: usize| format!(r#"{{"stalls":[{}]}}"#, vec![one; n].join(","));
        assert!(serde_json::from_str::<Disturbances>(&many(MAX_STALLS)).is_ok());
        for (json, expected) in [
            (many(MAX_STALLS + 1), "expected a list of at most 1000 elements"),
            (r#"{"stalls":[{"from_ms":-1,"length_ms":60}]}"#.into(), "`-1` is not a time"),
            (r#"{"stalls":[{"from_ms":1,"length_ms":1e300}]}"#.into(), "is not a time"),
            (r#"{"unlisted_ms":-5}"#.into(), "`-5` is not a time"),
            (r#"{"clock_jumps":[{"at_ms":0,"by_ms":-1e13}]}"#.into(), "is not a time"),
        ] {
            let error = serde_json::from_str::<Disturbances>(&json).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
