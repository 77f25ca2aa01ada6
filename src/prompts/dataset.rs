//! Data sets: one JSON object per line, each with a prompt.

use super::collection::Line;
use super::json::{json_message, offset};
use super::prompt::{Message, Prompt, Role};
use serde::Deserialize;
use std::ops::Range;

/// Hint: the form of a line.
pub(super) const HINT: &str = "a line is {\"text\": \"...\"} or {\"messages\": [{\"role\": \"user\", \"text\": \"...\"}]}, optionally with \"system\"";

/// Maximum number of invalid lines that are listed.
const MAX_LISTED: usize = 5;

/// A line, before validation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"text\": \"...\"}")]
struct RawLine {
    text: Option<String>,
    messages: Option<Vec<Message>>,
    system: Option<String>,
    /// Ignored; for documentation.
    #[serde(rename = "id")]
    _id: Option<serde_json::Value>,
    /// Ignored; for documentation.
    #[serde(rename = "description")]
    _description: Option<String>,
}

/// Parses all lines; empty ones are skipped. `system` applies to lines without their own.
///
/// # Errors
/// Returns the byte range and message of each invalid line; only the first few are listed.
pub(super) fn parse(text: &str, system: Option<&str>) -> Result<Vec<Line>, Vec<(Range<usize>, String)>> {
    let (mut lines, mut errors) = (Vec::new(), Vec::new());
    let mut start = 0;
    for (index, whole) in text.split_inclusive('\n').enumerate() {
        let line = whole.trim_end();
        if !line.trim().is_empty() {
            match parse_line(line, system) {
                Ok(prompt) => lines.push(Line { number: index as u32 + 1, prompt }),
                Err((at, message)) => {
                    let at = start + at.min(line.len());
                    errors.push((at..(start + line.len()).max(at), format!("line {}: {message}", index + 1)));
                }
            }
        }
        start += whole.len();
    }
    if errors.len() > MAX_LISTED {
        let more = errors.len() - MAX_LISTED;
        errors.truncate(MAX_LISTED);
        if let Some((_, message)) = errors.last_mut() {
            *message += &format!(" (and {more} more invalid lines)");
        }
    }
    if errors.is_empty() && lines.is_empty() {
        errors.push((0..0, "it contains no prompts".into()));
    }
    if errors.is_empty() { Ok(lines) } else { Err(errors) }
}

/// Parses one line; an error contains its byte offset.
fn parse_line(line: &str, system: Option<&str>) -> Result<Prompt, (usize, String)> {
    let raw: RawLine = serde_json::from_str(line).map_err(|error| {
        let prefix = if error.is_data() { "" } else { "invalid JSON: " };
        let at = if error.is_data() { 0 } else { offset(line, 1, error.column()) };
        (at, format!("{prefix}{}", json_message(&error)))
    })?;
    let messages = match (raw.text, raw.messages) {
        (Some(text), None) => vec![Message { role: Role::User, text }],
        (None, Some(messages)) => messages,
        (Some(_), Some(_)) => return Err((0, "it contains both `text` and `messages`: use one of them".into())),
        (None, None) => return Err((0, "it contains neither `text` nor `messages`".into())),
    };
    Prompt::validated(raw.system.or_else(|| system.map(str::to_owned)), messages).map_err(|why| (0, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_are_skipped_and_system_is_the_default() {
        let text = "{\"text\": \"a\"}\n\n{\"messages\": [{\"role\": \"user\", \"text\": \"b\"}], \"system\": \"s\", \"id\": 7}\r\n";
        let lines = parse(text, Some("be brief")).unwrap();
        let systems: Vec<_> = lines.iter().map(|line| (line.number, line.prompt.system.as_deref().unwrap())).collect();
        assert_eq!(systems, [(1, "be brief"), (3, "s")]);
    }

    #[test]
    fn invalid_lines_are_reported_with_their_position_and_counted() {
        let text = "{\"text\": \"a\"}\n{\"text\": \"b\"\n{\"text\": 5}\n{\"txt\": \"c\"}\n";
        let errors = parse(text, None).unwrap_err();
        assert_eq!(errors.len(), 3);
        assert!(errors[0].1.starts_with("line 2: invalid JSON"), "{errors:?}");
        assert!(text[..errors[0].0.start].matches('\n').count() == 1, "{errors:?}");
        assert!(errors[1].1.starts_with("line 3: invalid type") && errors[2].1.contains("`txt`"), "{errors:?}");
        let errors = parse(&"x\n".repeat(12), None).unwrap_err();
        assert!(
            errors.len() == MAX_LISTED && errors[MAX_LISTED - 1].1.ends_with("(and 7 more invalid lines)"),
            "{errors:?}"
        );
        assert!(parse("\n\n", None).is_err());
    }
}
