//! Which part of a run is a machine's, where several make one run. One rule for all that is numbered
//! (users, arrivals, requests): every n-th is the n-th machine's, so that at each moment of a ramp or a
//! spike all machines have the same load to within one. Knows numbers, and nobody who has them.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One of the machines of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// From 0.
    pub(crate) index: u32,
    /// How many there are; at least 1, and more than `index`.
    pub(crate) count: u32,
}

impl Shard {
    /// The most shards of a run: what is kept for each of them, and done for each of them, stays small.
    pub(crate) const MAX_COUNT: u32 = 1 << 16;

    /// The only one: all is its.
    pub(crate) const WHOLE: Self = Self { index: 0, count: 1 };

    /// Whether what has this number, from 0, is its.
    pub(crate) fn owns(self, number: u64) -> bool {
        number % u64::from(self.count) == u64::from(self.index)
    }

    /// The number in the run of what is its n-th, from 0.
    pub(crate) fn number(self, nth: u64) -> u64 {
        nth.saturating_mul(u64::from(self.count)).saturating_add(u64::from(self.index))
    }

    /// How many of so many are its: the shares of all machines add up.
    pub(crate) fn share(self, of: u64) -> u64 {
        of / u64::from(self.count) + u64::from(u64::from(self.index) < of % u64::from(self.count))
    }

    /// One of several.
    pub(crate) fn is_part(self) -> bool {
        self.count > 1
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    /// `2/8`: the third of eight.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('/').and_then(|(index, count)| Some((number(index)?, number(count)?)));
        match numbers {
            Some((_, count)) if count > Self::MAX_COUNT => {
                Err(format!("`{text}` has more than {} shards: use fewer", Self::MAX_COUNT))
            }
            Some((index, count)) if index < count => Ok(Self { index, count }),
            Some((_, 0)) => Err(format!("{text}: a run has at least one shard")),
            Some((_, count)) => {
                Err(format!("{text}: shards are counted from 0, so that the last one is {}/{count}", count - 1))
            }
            None => Err(format!("{text} is not a shard: INDEX/COUNT, from 0/8 to 7/8")),
        }
    }
}

/// `shard 3`, `shards 1, 2 and 5`; more than `most` are not all named: `shards 0, 1, 2 and 9 more`.
pub(crate) fn listed(shards: &[u32], most: usize) -> String {
    let names = |shards: &[u32]| shards.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    match shards {
        [one] => format!("shard {one}"),
        [first @ .., last] if shards.len() <= most => format!("shards {} and {last}", names(first)),
        _ => {
            let first = &shards[..shards.len().min(most - 1)];
            format!("shards {} and {} more", names(first), shards.len() - first.len())
        }
    }
}

fn number(text: &str) -> Option<u32> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn everything_is_somebodys_once(of in 0_u64..5_000, count in 1_u32..64) {
            let shards = || (0..count).map(|index| Shard { index, count });
            prop_assert_eq!(shards().map(|shard| shard.share(of)).sum::<u64>(), of);
            for shard in shards() {
                let own: Vec<u64> = (0..of).filter(|number| shard.owns(*number)).collect();
                let counted: Vec<u64> = (0..shard.share(of)).map(|nth| shard.number(nth)).collect();
                prop_assert_eq!(own, counted);
            }
            for number in 0..of.min(200) {
                prop_assert_eq!(shards().filter(|shard| shard.owns(number)).count(), 1);
            }
        }

        #[test]
        fn whatever_the_first_so_many_are_all_have_the_same_of_them(of in 0_u64..100_000, count in 1_u32..512) {
            let shares = (0..count).map(|index| Shard { index, count }.share(of));
            let (least, most) = shares.fold((u64::MAX, 0), |(least, most), share| (least.min(share), most.max(share)));
            prop_assert!(most - least <= 1);
        }
    }

    #[test]
    fn a_shard_is_said_from_zero() {
        assert_eq!("2/8".parse(), Ok(Shard { index: 2, count: 8 }));
        assert_eq!(Shard { index: 2, count: 8 }.to_string(), "2/8");
        for (text, says) in [
            ("8/8", "the last one is 7/8"),
            ("0/0", "at least one"),
            ("3", "INDEX/COUNT"),
            ("-1/4", "INDEX/COUNT"),
            ("a/b", "INDEX/COUNT"),
            ("1/99999999999", "INDEX/COUNT"),
            ("1/4294967295", "more than 65536"),
        ] {
            let error = text.parse::<Shard>().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
