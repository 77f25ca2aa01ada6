//! The prompt cache. A prompt is cut into blocks; a block is known by everything before it too, so
//! that the longest known prefix is what can be read.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// Tokens per block.
const BLOCK_TOKENS: u32 = 64;

/// Prefixes that were seen, by model and content.
#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<u64, Instant>);

/// Tokens read from and written to the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hits {
    pub(super) read: u32,
    pub(super) written: u32,
}

impl Cache {
    /// Looks up a prefix of a prompt and remembers it. What is shorter than `min_tokens` is not cached.
    pub(super) fn look_up(&mut self, model: &str, prefix: &str, min_tokens: u32, ttl: Duration, now: Instant) -> Hits {
        let tokens = super::request::tokens(prefix);
        if tokens < min_tokens {
            return Hits::default();
        }
        let mut hasher = DefaultHasher::new();
        model.hash(&mut hasher);
        let characters: Vec<char> = prefix.chars().collect();
        let block = (BLOCK_TOKENS * super::request::CHARACTERS_PER_TOKEN) as usize;
        let (mut read, mut covered, mut unbroken) = (0, 0, true);
        for part in characters.chunks(block) {
            part.hash(&mut hasher);
            covered += part.len();
            let known = self.0.insert(hasher.finish(), now + ttl).is_some_and(|until| until > now);
            unbroken &= known;
            if unbroken {
                read = tokens.min((covered as u32).div_ceil(super::request::CHARACTERS_PER_TOKEN));
            }
        }
        let read = if read < min_tokens { 0 } else { read };
        Hits { read, written: tokens - read }
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
}
