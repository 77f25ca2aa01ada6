//! Data sets: one JSON object per line, each a prompt.

use super::file::said;
use super::{Line, Message, Prompt, Role};
use serde::Deserialize;
use std::ops::Range;

/// What a line looks like.
pub(super) const HINT: &str = "a line is {\"text\": \"...\"} or {\"messages\": [{\"role\": \"user\", \"text\": \"...\"}]}, each with a \"system\" if there is one";

/// So many faults are said one by one.
const SHOWN: usize = 5;

/// A line as it stands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"text\": \"...\"}")]
struct Raw {
    text: Option<String>,
    messages: Option<Vec<Message>>,
    system: Option<String>,
    /// For people.
    #[serde(rename = "id")]
    _id: Option<serde_json::Value>,
    /// For people.
    #[serde(rename = "description")]
    _description: Option<String>,
}

/// Reads all lines; empty ones are passed over. `system` is for lines that have none.
///
/// # Errors
/// What is wrong and where, the first few one by one.
pub(super) fn parse(text: &str, system: Option<&str>) -> Result<Vec<Line>, Vec<(Range<usize>, String)>> {
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    let mut start = 0;
    for (index, whole) in text.split_inclusive('\n').enumerate() {
        let line = whole.trim_end();
        if !line.trim().is_empty() {
            match read(line, system) {
                Ok(prompt) => lines.push(Line { number: index as u32 + 1, prompt }),
                Err((at, message)) => {
                    let at = start + at.min(line.len());
                    wrong.push((at..(start + line.len()).max(at), format!("line {}: {message}", index + 1)));
                }
            }
        }
        start += whole.len();
    }
    if wrong.len() > SHOWN {
        let more = wrong.len() - SHOWN;
        wrong.truncate(SHOWN);
        if let Some((_, message)) = wrong.last_mut() {
            *message += &format!(" (and {more} more lines are wrong)");
        }
    }
    if wrong.is_empty() && lines.is_empty() {
        wrong.push((0..0, "it has no prompts".into()));
    }
    if wrong.is_empty() { Ok(lines) } else { Err(wrong) }
}

/// One line; an error with the byte at which it is.
fn read(line: &str, system: Option<&str>) -> Result<Prompt, (usize, String)> {
    let raw: Raw = serde_json::from_str(line).map_err(|error| {
        let what = if error.is_data() { "" } else { "this is not JSON: " };
        let at = if error.is_data() { 0 } else { super::file::offset(line, 1, error.column()) };
        (at, format!("{what}{}", said(&error)))
    })?;
    let messages = match (raw.text, raw.messages) {
        (Some(text), None) => vec![Message { role: Role::User, text }],
        (None, Some(messages)) => messages,
        (Some(_), Some(_)) => return Err((0, "it has `text` and `messages`, and one of them is asked".into())),
        (None, None) => return Err((0, "it has neither `text` nor `messages`".into())),
    };
    Prompt::checked(raw.system.or_else(|| system.map(str::to_owned)), messages).map_err(|why| (0, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_prompt_and_an_empty_one_is_none() {
        let text = "{\"text\": \"a\"}\n\n{\"messages\": [{\"role\": \"user\", \"text\": \"b\"}], \"system\": \"s\", \"id\": 7}\r\n";
        let lines = parse(text, Some("be brief")).unwrap();
        let told: Vec<_> = lines.iter().map(|line| (line.number, line.prompt.system.as_deref().unwrap())).collect();
        assert_eq!(told, [(1, "be brief"), (3, "s")]);
    }

    #[test]
    fn faults_are_found_at_their_place_and_counted() {
        let text = "{\"text\": \"a\"}\n{\"text\": \"b\"\n{\"text\": 5}\n{\"txt\": \"c\"}\n";
        let wrong = parse(text, None).unwrap_err();
        assert_eq!(wrong.len(), 3);
        assert!(wrong[0].1.starts_with("line 2: this is not JSON"), "{wrong:?}");
        assert!(text[..wrong[0].0.start].matches('\n').count() == 1, "{wrong:?}");
        assert!(wrong[1].1.starts_with("line 3: invalid type") && wrong[2].1.contains("`txt`"), "{wrong:?}");
        let wrong = parse(&"x\n".repeat(12), None).unwrap_err();
        assert!(wrong.len() == SHOWN && wrong[SHOWN - 1].1.ends_with("(and 7 more lines are wrong)"), "{wrong:?}");
        assert!(parse("\n\n", None).is_err());
    }
}
