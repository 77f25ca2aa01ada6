//! The course of a cell's load over time: straight pieces of users, or of arrivals per second. A user
//! count, an arrival rate and a profile are all such courses.

use crate::plan::{Profile, Stage};
use std::time::Duration;

/// A straight piece: the level moves evenly from `from` to `to`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Piece {
    /// From the cell's first moment.
    pub(crate) start: Duration,
    /// How long it takes; zero is a jump.
    pub(crate) length: Duration,
    /// The level at its start.
    pub(crate) from: f64,
    /// The level at its end.
    pub(crate) to: f64,
}

/// A user that joins or leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// From the cell's first moment.
    pub(crate) at: Duration,
    /// It joins; else the one that joined last leaves.
    pub(crate) joins: bool,
}

/// The whole course.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Course {
    pieces: Vec<Piece>,
    length: Duration,
}

impl Course {
    /// So many users, spawned at a rate, until the end.
    pub(crate) fn of_users(users: u32, spawn_rate: f64, length: Duration) -> Self {
        let ramp = Duration::from_secs_f64(f64::from(users) / spawn_rate);
        Self::of_stages(&[Stage { users: Some(users), rate: None, over: ramp, hold: length.saturating_sub(ramp) }])
    }

    /// One rate until the end.
    pub(crate) fn of_rate(rate: f64, length: Duration) -> Self {
        Self::of_stages(&[Stage { users: None, rate: Some(rate), over: Duration::ZERO, hold: length }])
    }

    /// The stages of a profile.
    pub(crate) fn of_profile(profile: &Profile) -> Self {
        Self::of_stages(&profile.stages)
    }

    fn of_stages(stages: &[Stage]) -> Self {
        let (mut pieces, mut start, mut from) = (Vec::new(), Duration::ZERO, 0.0);
        for stage in stages {
            let to = stage.level();
            pieces.push(Piece { start, length: stage.over, from, to });
            pieces.push(Piece { start: start + stage.over, length: stage.hold, from: to, to });
            start += stage.length();
            from = to;
        }
        Self { pieces, length: start }
    }

    /// The pieces, one after the other.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The same course with its last level held until `length`; a course that is longer stays as it is.
    pub(crate) fn until(&self, length: Duration) -> Self {
        let mut course = self.clone();
        if let Some(last) = course.pieces.last_mut()
            && length > self.length
        {
            last.length += length.saturating_sub(self.length);
            course.length = length;
        }
        course
    }

    /// Users that join and leave, in the order of time.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for piece in &self.pieces {
            let (from, to) = (piece.from as u32, piece.to as u32);
            let (low, high) = (from.min(to), from.max(to));
            // The k-th of n steps begins after k/n of the piece.
            for step in 0..high - low {
                let share = f64::from(step) / f64::from(high - low);
                changes.push(Change { at: piece.start + piece.length.mul_f64(share), joins: to > from });
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(users: u32, over_s: u64, hold_s: u64) -> Stage {
        Stage { users: Some(users), rate: None, over: Duration::from_secs(over_s), hold: Duration::from_secs(hold_s) }
    }

    #[test]
    fn users_join_at_the_spawn_rate() {
        let course = Course::of_users(3, 2.0, Duration::from_secs(60));
        let at: Vec<_> = course.changes().iter().map(|change| (change.at.as_millis(), change.joins)).collect();
        assert_eq!(at, [(0, true), (500, true), (1_000, true)]);
        assert_eq!(course.length, Duration::from_secs(60));
    }

    #[test]
    fn users_of_a_profile_join_and_leave() {
        let course = Course::of_stages(&[stage(2, 0, 10), stage(4, 2, 5), stage(1, 3, 0)]);
        let at: Vec<_> = course.changes().iter().map(|change| (change.at.as_millis(), change.joins)).collect();
        assert_eq!(
            at,
            [(0, true), (0, true), (10_000, true), (11_000, true), (17_000, false), (18_000, false), (19_000, false)]
        );
        assert_eq!(course.length, Duration::from_secs(20));
        assert_eq!(course.until(Duration::from_secs(30)).length, Duration::from_secs(30));
    }
}
