//! Text for people: foreign text made safe to display (no line breaks, control characters or direction changes), and
//! counted nouns.

use std::borrow::Cow;

/// Replaces line breaks and tabs by blanks, and other control characters and direction changes by U+FFFD. Right-to-left
/// text itself is kept.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| safe_char(c) == c) { Cow::Borrowed(text) } else { text.chars().map(safe_char).collect() }
}

/// Applies [`clean`] to each line.
pub(crate) fn clean_lines(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

/// Returns two hexadecimal digits per byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Returns a number with a noun: `1 session`, `5 sessions`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

fn safe_char(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        // Direction marks, embeddings, overrides and isolates.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
            char::REPLACEMENT_CHARACTER
        }
        '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_direction_changes_are_replaced() {
        assert_eq!(
            clean("a\r\n\tb \u{1b}[2J\u{7}\u{9b}1m\u{202e}txt"),
            "a   b \u{fffd}[2J\u{fffd}\u{fffd}1m\u{fffd}txt"
        );
        assert!(matches!(clean("plain, \u{5e9}\u{5dc}\u{5d5}\u{5dd}, \u{1f600}"), Cow::Borrowed(_)));
    }
}
