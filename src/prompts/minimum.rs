//! The minimum length of a prefix in a model's prompt cache, if known.
//!
//! Source, of 2026-11-25: the model list of litellm 1.110.2 (`prompt_cache_min_tokens`); for Claude 3.7 and Nova a copy of the
//! table in the Amazon Bedrock user guide ("minimum number of tokens per cache checkpoint"). Third-party data, not verified
//! against AWS. A model that is not listed has no known minimum.

/// Part of a model id and minimum in tokens. The first match applies.
const MINIMA: [(&str, u32); 17] = [
    ("claude-haiku-4-5", 4_096),
    ("claude-opus-4-5", 4_096),
    ("claude-opus-4-6", 4_096),
    ("claude-opus-4-7", 2_048),
    ("claude-3-5-haiku", 2_048),
    ("claude-3-7-sonnet", 1_024),
    ("claude-opus-4-8", 1_024),
    ("claude-opus-4-1", 1_024),
    ("claude-opus-4-20", 1_024),
    ("claude-sonnet-4-5", 1_024),
    ("claude-sonnet-4-6", 1_024),
    ("claude-sonnet-4-20", 1_024),
    ("claude-sonnet-5-5", 512),
    ("claude-sonnet-5", 1_024),
    ("nova-micro-v1", 1_000),
    ("nova-lite-v1", 1_000),
    ("nova-pro-v1", 1_000),
];

/// Returns the number of tokens below which a cache point has no effect; `None` if unknown.
pub(crate) fn minimum_prefix(model_id: &str) -> Option<u32> {
    MINIMA.iter().find(|(part, _)| model_id.contains(part)).map(|(_, tokens)| *tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlisted_model_has_no_known_minimum() {
        assert_eq!(minimum_prefix("anthropic.claude-haiku-4-5-20251001-v1:0"), Some(4_096));
        assert_eq!(minimum_prefix("anthropic.claude-sonnet-4-20250514-v1:0"), Some(1_024));
        assert_eq!(minimum_prefix("amazon.nova-pro-v1:0"), Some(1_000));
        assert_eq!(minimum_prefix("amazon.nova-2-lite-v1:0"), None);
    }
}
