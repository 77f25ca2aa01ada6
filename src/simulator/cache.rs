//! The prompt cache. A prompt is cut into blocks; a block is known by everything before it too, so
//! that the longest known prefix is what can be read.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Tokens per block.
const BLOCK_TOKENS: u32 = 64;

/// Maximum number of blocks in the cache, 64 million tokens: cold prompts never fill the memory in a long test.
const MAX_BLOCKS: usize = 1 << 20;

/// Prefixes that were seen, by model and content. Expired blocks are removed, and beyond the maximum the blocks
/// whose last use is longest ago.
#[derive(Debug)]
pub(super) struct Cache {
    /// When each block expires.
    until: HashMap<u64, Instant>,
    /// Every block once, with the expiry at the time of its entry; a later use does not move it until it is due.
    queue: VecDeque<(u64, Instant)>,
    max_blocks: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(MAX_BLOCKS)
    }
}

/// Tokens read from and written to the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hits {
    pub(super) read: u32,
    pub(super) written: u32,
}

impl Cache {
    fn new(max_blocks: usize) -> Self {
        Self { until: HashMap::new(), queue: VecDeque::new(), max_blocks }
    }

    /// Looks up a prefix of a prompt and remembers it. What is shorter than `min_tokens` is not cached.
    pub(super) fn look_up(&mut self, model: &str, prefix: &str, min_tokens: u32, ttl: Duration, now: Instant) -> Hits {
        self.remove_expired(now);
        let tokens = super::request::tokens(prefix);
        if tokens < min_tokens {
            return Hits::default();
        }
        let mut hasher = DefaultHasher::new();
        model.hash(&mut hasher);
        let block = (BLOCK_TOKENS * super::request::CHARACTERS_PER_TOKEN) as usize;
        let (mut read, mut covered, mut unbroken) = (0, 0, true);
        let mut rest = prefix;
        while !rest.is_empty() {
            let end = rest.char_indices().nth(block).map_or(rest.len(), |(end, _)| end);
            let (part, after) = rest.split_at(end);
            rest = after;
            part.hash(&mut hasher);
            covered += part.chars().count();
            unbroken &= self.touch(hasher.finish(), now, now + ttl);
            if unbroken {
                read = tokens.min((covered as u32).div_ceil(super::request::CHARACTERS_PER_TOKEN));
            }
        }
        let read = if read < min_tokens { 0 } else { read };
        Hits { read, written: tokens - read }
    }

    /// Enters a block or extends its life. Returns whether it was cached.
    fn touch(&mut self, block: u64, now: Instant, until: Instant) -> bool {
        if let Some(before) = self.until.insert(block, until) {
            return before > now;
        }
        self.queue.push_back((block, until));
        while self.until.len() > self.max_blocks {
            self.settle_first(|until, entered| until == entered);
        }
        false
    }

    fn remove_expired(&mut self, now: Instant) {
        while self.queue.front().is_some_and(|(_, due)| *due <= now) {
            self.settle_first(|until, _| until <= now);
        }
    }

    /// Removes the first block of the queue, or moves it to the end if it was used since it was entered there.
    fn settle_first(&mut self, is_over: impl Fn(Instant, Instant) -> bool) {
        let Some((block, entered)) = self.queue.pop_front() else { return };
        match self.until.get(&block) {
            Some(until) if !is_over(*until, entered) => self.queue.push_back((block, *until)),
            _ => {
                self.until.remove(&block);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_known_prefix_is_read_and_the_rest_written() {
        let mut cache = Cache::default();
        let now = Instant::now();
        let ttl = Duration::from_secs(300);
        let shared = "word ".repeat(1_024);
        let mut look = |text: &str, at| cache.look_up("m", text, 1_024, ttl, at);
        assert_eq!(look(&shared, now), Hits { read: 0, written: 1_280 });
        assert_eq!(look(&shared, now), Hits { read: 1_280, written: 0 });
        let longer = format!("{shared}and a last line of its own");
        let hits = look(&longer, now);
        assert!(hits.read == 1_280 && hits.written > 0, "{hits:?}");
        assert_eq!(look(&format!("nonce {shared}"), now).read, 0, "a first line of its own is cold");
        assert_eq!(look(&shared, now + ttl + Duration::from_secs(1)).read, 0, "and so is what has expired");
        assert_eq!(look("short", now), Hits::default());
    }

    #[test]
    fn expired_prefixes_are_removed_and_the_number_of_blocks_is_bounded() {
        let mut cache = Cache::new(10);
        let (start, ttl) = (Instant::now(), Duration::from_secs(300));
        let hot = "hot ".repeat(256);
        for number in 0_u32..1_000 {
            let at = start + Duration::from_millis(u64::from(number));
            cache.look_up("m", &format!("{number} {}", "cold ".repeat(200)), 1, ttl, at);
            let hits = cache.look_up("m", &hot, 1, ttl, at);
            assert_eq!(hits.read > 0, number > 0, "a prefix in use is kept: {number}");
            assert!(cache.until.len() <= 10 && cache.queue.len() == cache.until.len(), "{cache:?}");
        }
        // One more after all others have expired, whose own blocks are all that is left.
        let mut cache = Cache::default();
        for number in 0..1_000 {
            cache.look_up("m", &format!("{number}"), 1, ttl, start);
        }
        assert_eq!(cache.until.len(), 1_000);
        cache.look_up("m", "another", 1, ttl, start + ttl + Duration::from_secs(1));
        assert_eq!((cache.until.len(), cache.queue.len()), (1, 1));
    }
}
