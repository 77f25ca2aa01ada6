//! The shape of a cell's load over time: linear segments of users or of arrivals per second. A user count, an arrival rate
//! and a profile are all converted to such a shape.

use crate::plan::{Profile, Stage};
use std::time::Duration;

/// A linear segment: the level changes from `from` to `to`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Segment {
    /// Start, relative to the start of the cell.
    pub(crate) start: Duration,
    /// Duration; zero is a jump.
    pub(crate) length: Duration,
    /// Level at the start.
    pub(crate) from: f64,
    /// Level at the end.
    pub(crate) to: f64,
}

/// A change of the number of users by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// Time, relative to the start of the cell.
    pub(crate) at: Duration,
    /// Whether a user joins; otherwise the user that joined last leaves.
    pub(crate) joins: bool,
}

/// The shape of a cell's load over time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoadShape {
    segments: Vec<Segment>,
    length: Duration,
}

impl LoadShape {
    /// Creates the shape of a number of users, started at a spawn rate.
    pub(crate) fn from_users(users: u32, spawn_rate: f64, length: Duration) -> Self {
        let ramp = Duration::from_secs_f64(f64::from(users) / spawn_rate);
        Self::from_stages(&[Stage { users: Some(users), rate: None, over: ramp, hold: length.saturating_sub(ramp) }])
    }

    /// Creates the shape of a constant arrival rate.
    pub(crate) fn from_rate(rate: f64, length: Duration) -> Self {
        Self::from_stages(&[Stage { users: None, rate: Some(rate), over: Duration::ZERO, hold: length }])
    }

    /// Creates the shape of a profile.
    pub(crate) fn from_profile(profile: &Profile) -> Self {
        Self::from_stages(&profile.stages)
    }

    fn from_stages(stages: &[Stage]) -> Self {
        let (mut segments, mut start, mut from) = (Vec::new(), Duration::ZERO, 0.0);
        for stage in stages {
            let to = stage.level();
            segments.push(Segment { start, length: stage.over, from, to });
            segments.push(Segment { start: start + stage.over, length: stage.hold, from: to, to });
            start += stage.length();
            from = to;
        }
        Self { segments, length: start }
    }

    /// Returns the consecutive segments.
    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns the shape with its last level held until `length`, if it is shorter.
    pub(crate) fn extended_to(&self, length: Duration) -> Self {
        let mut extended = self.clone();
        if let Some(last) = extended.segments.last_mut()
            && length > self.length
        {
            last.length += length.saturating_sub(self.length);
            extended.length = length;
        }
        extended
    }

    /// Returns the joining and leaving users in order of time.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for segment in &self.segments {
            let (from, to) = (segment.from as u32, segment.to as u32);
            let (low, high) = (from.min(to), from.max(to));
            // Step k of n starts after k/n of the segment.
            for step in 0..high - low {
                let share = f64::from(step) / f64::from(high - low);
                changes.push(Change { at: segment.start + segment.length.mul_f64(share), joins: to > from });
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
        let shape = LoadShape::from_users(3, 2.0, Duration::from_secs(60));
        let at: Vec<_> = shape.changes().iter().map(|change| (change.at.as_millis(), change.joins)).collect();
        assert_eq!(at, [(0, true), (500, true), (1_000, true)]);
        assert_eq!(shape.length, Duration::from_secs(60));
    }

    #[test]
    fn users_of_a_profile_join_and_leave() {
        let shape = LoadShape::from_stages(&[stage(2, 0, 10), stage(4, 2, 5), stage(1, 3, 0)]);
        let at: Vec<_> = shape.changes().iter().map(|change| (change.at.as_millis(), change.joins)).collect();
        assert_eq!(
            at,
            [(0, true), (0, true), (10_000, true), (11_000, true), (17_000, false), (18_000, false), (19_000, false)]
        );
        assert_eq!(shape.length, Duration::from_secs(20));
        assert_eq!(shape.extended_to(Duration::from_secs(30)).length, Duration::from_secs(30));
    }
}
