//! Bodies of Converse and `ConverseStream` requests, parsed with the simulator's own types and validated as Bedrock
//! does.

use super::fault::Refusal;
use serde::Deserialize;

/// A rough ratio: the model's tokenizer is not available.
pub(super) const CHARACTERS_PER_TOKEN: u32 = 4;

/// Returns the estimated number of tokens of a text.
pub(super) fn tokens(text: &str) -> u32 {
    (text.chars().count() as u32).div_ceil(CHARACTERS_PER_TOKEN)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    system: Vec<Block>,
    #[serde(default)]
    inference_config: InferenceConfig,
    service_tier: Option<Tier>,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: Vec<Block>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    text: Option<String>,
    cache_point: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InferenceConfig {
    max_tokens: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Tier {
    r#type: String,
}

/// A valid request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    /// All text, the system prompt first.
    pub(super) prompt: String,
    /// The text before the last cache point.
    pub(super) cached_prefix: Option<String>,
    /// Tokens of the prompt.
    pub(super) input_tokens: u32,
    /// Maximum number of output tokens.
    pub(super) max_tokens: u32,
    /// The requested tier; `default` if none was requested.
    pub(super) tier: String,
}

/// Parses a body.
///
/// # Errors
/// Fails with a `ValidationException` that has Bedrock's text.
pub(super) fn parse(bytes: &[u8]) -> Result<Request, Refusal> {
    let body: Body = serde_json::from_slice(bytes)
        .map_err(|error| Refusal::validation(format!("The request body is not valid: {error}")))?;
    let wrong = |message: &str| Err(Refusal::validation(message.to_owned()));
    let Some(first) = body.messages.first() else {
        return wrong("The value at messages is empty: a conversation has at least one message.");
    };
    if first.role != "user" {
        return wrong(
            "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
        );
    }
    if body.messages.iter().any(|message| !matches!(message.role.as_str(), "user" | "assistant")) {
        return wrong("The value at messages.role is not one of [user, assistant].");
    }
    if body.messages.iter().any(|message| message.content.is_empty()) {
        return wrong(
            "The content field in the Message object is empty. Add a ContentBlock object to the content field and try again.",
        );
    }
    let blocks = || body.system.iter().chain(body.messages.iter().flat_map(|message| &message.content));
    if blocks().filter_map(|block| block.text.as_ref()).any(|text| text.trim().is_empty()) {
        return wrong("The text field in the ContentBlock object is blank. Add text to the text field, and try again.");
    }
    let max_tokens = match body.inference_config.max_tokens {
        None => 4_096,
        Some(tokens) if tokens >= 1 => u32::try_from(tokens).unwrap_or(u32::MAX),
        Some(_) => return wrong("The value at inferenceConfig.maxTokens is smaller than 1."),
    };
    for (name, value) in [("temperature", body.inference_config.temperature), ("topP", body.inference_config.top_p)] {
        if value.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
            return Err(Refusal::validation(format!("The value at inferenceConfig.{name} is outside [0, 1].")));
        }
    }
    let tier = body.service_tier.map_or_else(|| "default".to_owned(), |tier| tier.r#type);
    match tier.as_str() {
        "default" | "priority" | "flex" => {}
        "reserved" => return wrong("Reservation not found."),
        _ => return wrong("The service tier provided is invalid."),
    }
    let mut prompt = String::new();
    let mut cached_prefix = None;
    for block in blocks() {
        if block.cache_point.is_some() {
            cached_prefix = Some(prompt.clone());
        }
        if let Some(text) = &block.text {
            prompt.push_str(text);
        }
    }
    Ok(Request { input_tokens: tokens(&prompt), prompt, cached_prefix, max_tokens, tier })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_requests_are_refused_as_by_bedrock() {
        let refused = [
            r"{",
            r"{}",
            r#"{"messages":[]}"#,
            r#"{"messages":[{"role":"assistant","content":[{"text":"hi"}]}]}"#,
            r#"{"messages":[{"role":"user","content":[]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":" "}]}]}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"maxTokens":0}}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"temperature":1.5}}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"serviceTier":{"type":"gold"}}"#,
            r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}],"serviceTier":{"type":"reserved"}}"#,
        ];
        for body in refused {
            assert_eq!(parse(body.as_bytes()).unwrap_err().name, "ValidationException", "{body}");
        }
    }

    #[test]
    fn cache_point_ends_the_cached_prefix() {
        let body = r#"{"messages":[{"role":"user","content":[{"text":"abcdefgh"},{"cachePoint":{"type":"default"}},{"text":"ij"}]}],
            "inferenceConfig":{"maxTokens":7},"serviceTier":{"type":"flex"}}"#;
        let request = parse(body.as_bytes()).unwrap();
        assert_eq!(request.cached_prefix.as_deref(), Some("abcdefgh"));
        assert_eq!((request.input_tokens, request.max_tokens, request.tier.as_str()), (3, 7, "flex"));
    }
}
