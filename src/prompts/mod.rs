//! Prompts files and the prompts that are embedded in the binary. Knows units only.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::ops::Range;

/// Prompts by name, in the order of their file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prompts(Vec<(String, Prompt)>);

/// One prompt.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prompt {
    /// Sent verbatim.
    text: String,
    /// For people.
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

/// Why a prompts file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PromptsError {
    /// What is wrong.
    pub(crate) message: String,
    /// Where, in bytes of the file.
    pub(crate) span: Range<usize>,
}

impl Prompts {
    /// The prompts in the binary.
    pub(crate) fn shipped() -> Self {
        Self::parse(include_str!("../../prompts/prompts.json"))
            .unwrap_or_else(|error| unreachable!("the shipped prompts are part of this program: {}", error.message))
    }

    /// Reads `{"NAME": {"text": "...", "description": "..."}}`.
    ///
    /// # Errors
    /// What is wrong and where; a file without prompts is an error too.
    pub(crate) fn parse(text: &str) -> Result<Self, PromptsError> {
        let wrong = |message: String, span| PromptsError { message, span };
        let entries: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
            let at = offset(text, error.line(), error.column());
            let message = error.to_string();
            let message = message.split(" at line").next().unwrap_or_default();
            wrong(format!("the prompts file is not a JSON object of prompts: {message}"), at..at)
        })?;
        if entries.is_empty() {
            return Err(wrong("the prompts file has no prompts".into(), 0..text.len().min(1)));
        }
        let place = |name: &str| {
            let key = Value::from(name).to_string();
            text.find(&key).map_or(0..0, |start| start..start + key.len())
        };
        let read = |(name, value): (String, Value)| {
            let prompt: Prompt = serde_json::from_value(value)
                .map_err(|error| wrong(format!("the prompt `{name}` cannot be used: {error}"), place(&name)))?;
            if prompt.text.trim().is_empty() {
                return Err(wrong(format!("the prompt `{name}` is empty"), place(&name)));
            }
            Ok((name, prompt))
        };
        entries.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The names, in the order of the file.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// About how many tokens a prompt has: four characters each.
    pub(crate) fn about_tokens(&self, name: &str) -> Option<f64> {
        self.text(name).map(|text| text.chars().count() as f64 / 4.0)
    }

    /// The text of a prompt.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, prompt)| prompt.text.as_str())
    }
}

/// The byte at which a line (from 1) and a column (from 1, in bytes) stand.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut at = (before + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_prompts_have_the_sizes_they_claim() {
        let prompts = Prompts::shipped();
        let words = |name| prompts.text(name).unwrap().split_whitespace().count();
        assert_eq!(prompts.names().collect::<Vec<_>>(), ["small", "medium", "large"]);
        assert!((4..=6).contains(&words("small")), "{}", words("small"));
        assert!((35..=45).contains(&words("medium")), "{}", words("medium"));
        assert!((140..=160).contains(&words("large")), "{}", words("large"));
    }

    #[test]
    fn what_is_wrong_is_found_where_it_stands() {
        let text = "{\n  \"a\": {\"text\": \"x\"},\n  \"b\": {\"text\": 5}\n}";
        let error = Prompts::parse(text).unwrap_err();
        assert_eq!(&text[error.span], "\"b\"");
        assert!(Prompts::parse("{\n \"a\": }").unwrap_err().span.start == 8);
        assert!(Prompts::parse("{}").is_err() && Prompts::parse("").is_err() && Prompts::parse("[]").is_err());
    }
}
