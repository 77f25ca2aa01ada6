//! The prompt cache. A prompt is split into blocks. The hash of a block covers everything before it, so the longest
//! cached prefix is a run of cached blocks from the start.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Tokens per block.
const BLOCK_TOKENS: u32 = 64;

/// Maximum number of blocks in the cache (64 million tokens): bounds the memory in a long test with cold prompts.
const MAX_BLOCKS: usize = 1 << 20;

/// Cached prefixes by model and content. Expired blocks are removed; above the maximum, the least recently used
/// blocks are removed too.
#[derive(Debug)]
pub(super) struct Cache {
    /// Expiry of each block.
    expiry: HashMap<u64, Instant>,
    /// Each block once, with its expiry when it was enqueued. A later use does not move it before it is due.
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
pub(super) struct CacheTokens {
    pub(super) read: u32,
    pub(super) written: u32,
}

impl Cache {
    fn new(max_blocks: usize) -> Self {
        Self { expiry: HashMap::new(), queue: VecDeque::new(), max_blocks }
    }

    /// Looks up a prefix of a prompt and caches it. A prefix shorter than `min_tokens` is not cached.
    pub(super) fn look_up(
        &mut self,
        model: &str,
        prefix: &str,
        min_tokens: u32,
        ttl: Duration,
        now: Instant,
    ) -> CacheTokens {
        self.remove_expired(now);
        let tokens = super::request::tokens(prefix);
        if tokens < min_tokens {
            return CacheTokens::default();
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
        CacheTokens { read, written: tokens - read }
    }

    /// Inserts a block or extends its expiry. Returns whether it was cached.
    fn touch(&mut self, block: u64, now: Instant, expiry: Instant) -> bool {
        if let Some(before) = self.expiry.insert(block, expiry) {
            return before > now;
        }
        self.queue.push_back((block, expiry));
        while self.expiry.len() > self.max_blocks {
            self.remove_or_requeue_first(|expiry, enqueued| expiry == enqueued);
        }
        false
    }

    fn remove_expired(&mut self, now: Instant) {
        while self.queue.front().is_some_and(|(_, due)| *due <= now) {
            self.remove_or_requeue_first(|expiry, _| expiry <= now);
        }
    }

    /// Removes the first block of the queue, or moves it to the end if it was used since it was enqueued.
    fn remove_or_requeue_first(&mut self, is_removable: impl Fn(Instant, Instant) -> bool) {
        let Some((block, enqueued)) = self.queue.pop_front() else { return };
        match self.expiry.get(&block) {
            Some(expiry) if !is_removable(*expiry, enqueued) => self.queue.push_back((block, *expiry)),
            _ => {
                self.expiry.remove(&block);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_cached_prefix_is_read_and_the_rest_written() {
        let mut cache = Cache::default();
        let now = Instant::now();
        let ttl = Duration::from_secs(300);
        let shared = "word ".repeat(1_024);
        let mut look = |text: &str, at| cache.look_up("m", text, 1_024, ttl, at);
        assert_eq!(look(&shared, now), CacheTokens { read: 0, written: 1_280 });
        assert_eq!(look(&shared, now), CacheTokens { read: 1_280, written: 0 });
        let longer = format!("{shared}and a different last line");
        let hits = look(&longer, now);
        assert!(hits.read == 1_280 && hits.written > 0, "{hits:?}");
        assert_eq!(look(&format!("nonce {shared}"), now).read, 0, "a different first line is cold");
        assert_eq!(look(&shared, now + ttl + Duration::from_secs(1)).read, 0, "an expired prefix is cold");
        assert_eq!(look("short", now), CacheTokens::default());
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
            assert_eq!(hits.read > 0, number > 0, "a recently used prefix is kept: {number}");
            assert!(cache.expiry.len() <= 10 && cache.queue.len() == cache.expiry.len(), "{cache:?}");
        }
        // One look-up after all other blocks have expired: only its own block is left.
        let mut cache = Cache::default();
        for number in 0..1_000 {
            cache.look_up("m", &format!("{number}"), 1, ttl, start);
        }
        assert_eq!(cache.expiry.len(), 1_000);
        cache.look_up("m", "another", 1, ttl, start + ttl + Duration::from_secs(1));
        assert_eq!((cache.expiry.len(), cache.queue.len()), (1, 1));
    }
}
