//! Detects duplicate records: a journal that was copied, concatenated or damaged may contain some. Requests of the load have
//! dense numbers and take about one bit each; a hostile journal takes at most a few hundred bytes per line.

use super::Record;
use std::collections::{HashMap, HashSet};

/// Requests per page.
const PAGE: u64 = 512;

/// The requests that have been read. The key is the owner (cell or probe), the repetition, the attempt and `seq`: numbers
/// are unique in a cell run across users and shards.
#[derive(Debug, Default)]
pub(super) struct SeenRequests {
    load: HashMap<(usize, u32, u32, u64), [u64; (PAGE / 64) as usize]>,
    /// Pre-flight and priming requests have numbers of their own in each session and on each shard, so the shard and the
    /// time of their end belong to the key.
    others: HashSet<(usize, u32, u32, u64, Option<u32>, u64)>,
}

impl SeenRequests {
    /// Adds a request. Returns whether it is new.
    pub(super) fn insert(&mut self, owner: usize, record: &Record) -> bool {
        let Record { repetition, cell_attempt, seq, shard, .. } = *record;
        if !record.phase.is_load() {
            return self.others.insert((owner, repetition, cell_attempt, seq, shard, record.timestamp.to_bits()));
        }
        let page = self.load.entry((owner, repetition, cell_attempt, seq / PAGE)).or_default();
        let (word, bit) = ((seq % PAGE / 64) as usize, 1 << (seq % 64));
        let is_new = page[word] & bit == 0;
        page[word] |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Phase;
    use crate::record::request::tests::record;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn request_is_new_once(
            requests in prop::collection::vec((0_usize..3, 1_u32..3, 1_u32..3, prop_oneof![0_u64..1_100, Just(u64::MAX)]), 0..400),
        ) {
            let (mut seen, mut expected) = (SeenRequests::default(), HashSet::new());
            for (owner, repetition, cell_attempt, seq) in requests {
                let record = Record { repetition, cell_attempt, seq, ..record() };
                prop_assert_eq!(seen.insert(owner, &record), expected.insert((owner, repetition, cell_attempt, seq)));
            }
        }
    }

    #[test]
    fn dense_numbers_take_about_one_bit_each() {
        let mut seen = SeenRequests::default();
        assert!((0..100_000).all(|seq| seen.insert(0, &Record { seq, ..record() })));
        assert_eq!(seen.load.len(), 196);
    }

    #[test]
    fn preflight_requests_of_sessions_differ() {
        let request = |timestamp| Record { phase: Phase::Preflight, timestamp, ..record() };
        let mut seen = SeenRequests::default();
        let new = [1.0, 2.0, 1.0].map(|timestamp| seen.insert(0, &request(timestamp)));
        assert_eq!(new, [true, true, false]);
    }
}
