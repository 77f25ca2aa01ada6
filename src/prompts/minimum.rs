//! The shortest prefix that a model's prompt cache keeps, where it is known.
//!
//! From "Prompt caching for faster model inference" of the Amazon Bedrock user guide, column "minimum
//! number of tokens per cache checkpoint". A model that is not listed is not judged.

/// A part of a model id, and tokens. The first that fits counts.
const MINIMA: [(&str, u32); 13] = [
    ("claude-haiku-4-5", 4_096),
    ("claude-opus-4-5", 4_096),
    ("claude-3-5-haiku", 2_048),
    ("claude-3-5-sonnet-20241022", 1_024),
    ("claude-3-7-sonnet", 1_024),
    ("claude-sonnet-4-5", 1_024),
    ("claude-opus-4-1", 1_024),
    ("claude-sonnet-4-20", 1_024),
    ("claude-opus-4-20", 1_024),
    ("nova-micro-v1", 1_000),
    ("nova-lite-v1", 1_000),
    ("nova-pro-v1", 1_000),
    ("nova-premier-v1", 1_000),
];

/// Tokens below which a cache point of this model does nothing; nothing where it is not known.
pub(crate) fn minimum_prefix(model_id: &str) -> Option<u32> {
    MINIMA.iter().find(|(part, _)| model_id.contains(part)).map(|(_, tokens)| *tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_is_not_listed_is_not_judged() {
        assert_eq!(minimum_prefix("anthropic.claude-haiku-4-5-20251001-v1:0"), Some(4_096));
        assert_eq!(minimum_prefix("anthropic.claude-sonnet-4-20250514-v1:0"), Some(1_024));
        assert_eq!(minimum_prefix("amazon.nova-premier-v1:0"), Some(1_000));
        assert_eq!(minimum_prefix("amazon.nova-2-lite-v1:0"), None);
    }
}
