//! The split of a run between shards. One rule applies to everything that is numbered (users, arrivals, requests): shard i
//! of n has every number with remainder i modulo n, so that the loads of all shards differ by at most one at any time.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One of the machines that make one run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// Index, from 0.
    pub(crate) index: u32,
    /// Number of shards: at least 1 and greater than `index`.
    pub(crate) count: u32,
}

impl Shard {
    /// Maximum number of shards, which bounds the memory and work per shard.
    pub(crate) const MAX_COUNT: u32 = 1 << 16;

    /// The only shard of a run.
    pub(crate) const WHOLE: Self = Self { index: 0, count: 1 };

    /// Returns whether the item with this number, from 0, belongs to this shard.
    pub(crate) fn owns(self, number: u64) -> bool {
        number % u64::from(self.count) == u64::from(self.index)
    }

    /// Returns the number in the run of this shard's n-th item, from 0.
    pub(crate) fn number(self, nth: u64) -> u64 {
        nth.saturating_mul(u64::from(self.count)).saturating_add(u64::from(self.index))
    }

    /// Returns this shard's share of `total` items. The shares of all shards add up to `total`.
    pub(crate) fn share(self, total: u64) -> u64 {
        total / u64::from(self.count) + u64::from(u64::from(self.index) < total % u64::from(self.count))
    }

    /// Returns whether there are several shards.
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

    /// Parses `2/8`, the third of eight shards.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('/').and_then(|(index, count)| Some((number(index)?, number(count)?)));
        match numbers {
            Some((_, count)) if count > Self::MAX_COUNT => {
                Err(format!("`{text}` has more than {} shards: use fewer", Self::MAX_COUNT))
            }
            Some((index, count)) if index < count => Ok(Self { index, count }),
            Some((_, 0)) => Err(format!("`{text}`: a run has at least one shard")),
            Some((_, count)) => {
                Err(format!("`{text}`: shards are counted from 0, the last one is {}/{count}", count - 1))
            }
            None => Err(format!("`{text}` is not a shard: expected INDEX/COUNT, for example 0/8 to 7/8")),
        }
    }
}

/// Formats a list of shards: `shard 3`, `shards 1, 2 and 5`. At most `max` are listed: `shards 0, 1, 2 and 9 more`.
pub(crate) fn format_shards(shards: &[u32], max: usize) -> String {
    let names = |shards: &[u32]| shards.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    match shards {
        [one] => format!("shard {one}"),
        [first @ .., last] if shards.len() <= max => format!("shards {} and {last}", names(first)),
        _ => {
            let first = &shards[..shards.len().min(max - 1)];
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
        fn each_item_belongs_to_exactly_one_shard(total in 0_u64..5_000, count in 1_u32..64) {
            let shards = || (0..count).map(|index| Shard { index, count });
            prop_assert_eq!(shards().map(|shard| shard.share(total)).sum::<u64>(), total);
            for shard in shards() {
                let own: Vec<u64> = (0..total).filter(|number| shard.owns(*number)).collect();
                let counted: Vec<u64> = (0..shard.share(total)).map(|nth| shard.number(nth)).collect();
                prop_assert_eq!(own, counted);
            }
            for number in 0..total.min(200) {
                prop_assert_eq!(shards().filter(|shard| shard.owns(number)).count(), 1);
            }
        }

        #[test]
        fn shares_differ_by_at_most_one(total in 0_u64..100_000, count in 1_u32..512) {
            let shares = (0..count).map(|index| Shard { index, count }.share(total));
            let (least, most) = shares.fold((u64::MAX, 0), |(least, most), share| (least.min(share), most.max(share)));
            prop_assert!(most - least <= 1);
        }
    }

    #[test]
    fn shard_is_parsed_with_an_index_from_zero() {
        assert_eq!("2/8".parse(), Ok(Shard { index: 2, count: 8 }));
        assert_eq!(Shard { index: 2, count: 8 }.to_string(), "2/8");
        for (text, expected) in [
            ("8/8", "the last one is 7/8"),
            ("0/0", "at least one"),
            ("3", "INDEX/COUNT"),
            ("-1/4", "INDEX/COUNT"),
            ("a/b", "INDEX/COUNT"),
            ("1/99999999999", "INDEX/COUNT"),
            ("1/4294967295", "more than 65536"),
        ] {
            let error = text.parse::<Shard>().unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
