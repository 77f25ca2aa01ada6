//! Text for people: what comes from outside made safe to show (it stays on its line, moves no cursor, and
//! turns no other text around), and counted things.

use std::borrow::Cow;

/// Line breaks and tabs become blanks; other control characters, and those that change the direction of
/// what follows, become U+FFFD. Right-to-left text itself is text like any other.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().all(|c| shown(c) == c) { Cow::Borrowed(text) } else { text.chars().map(shown).collect() }
}

/// As [`clean`], of text that has lines.
pub(crate) fn clean_lines(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n")
}

/// Two digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// `1 session`, `5 sessions`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

fn shown(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        // Marks, embeddings, overrides and isolates; and what XML does not know.
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
    fn what_moves_a_cursor_or_turns_text_around_is_replaced() {
        assert_eq!(
            clean("a\r\n\tb \u{1b}[2J\u{7}\u{9b}1m\u{202e}txt"),
            "a   b \u{fffd}[2J\u{fffd}\u{fffd}1m\u{fffd}txt"
        );
        assert!(matches!(clean("plain, \u{5e9}\u{5dc}\u{5d5}\u{5dd}, \u{1f600}"), Cow::Borrowed(_)));
    }
}
