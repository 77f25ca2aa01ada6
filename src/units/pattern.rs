//! Messages without what differs from request to request, so that equal faults are counted as one.

use std::iter::Peekable;
use std::str::CharIndices;

/// What stands for a number.
const NUMBER: &str = "N";

/// What stands for an id.
const ID: &str = "ID";

/// Both.
pub(crate) const PLACEHOLDERS: [&str; 2] = [NUMBER, ID];

/// The longest quoted id, in bytes.
const LONGEST_QUOTE: usize = 120;

/// Returns a message with its numbers, hexadecimal ids and quoted ids replaced. The time is linear in its length.
pub(crate) fn pattern(message: &str) -> String {
    let mut pattern = String::with_capacity(message.len());
    let mut chars = message.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if matches!(c, '\'' | '"' | '`')
            && let Some(length) = quoted_id(&message[at + 1..], c)
        {
            pattern.push(c);
            pattern.push_str(ID);
            pattern.push(c);
            let end = at + 1 + length;
            while chars.next_if(|(at, _)| *at <= end).is_some() {}
        } else if is_of_word(c) {
            let end = end_of_word(message, c, &mut chars);
            push_word(&mut pattern, &message[at..end]);
        } else {
            pattern.push(c);
        }
    }
    pattern
}

/// The length of an id up to the closing quote: one word with a digit. A quoted name without digits is no id.
fn quoted_id(rest: &str, quote: char) -> Option<usize> {
    for (at, c) in rest.char_indices() {
        if c == quote {
            return rest[..at].contains(|c: char| c.is_ascii_digit()).then_some(at);
        }
        if c.is_whitespace() || at > LONGEST_QUOTE {
            return None;
        }
    }
    None
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_')
}

/// Consumes the rest of a word. Points, commas and colons between digits are part of it: `1,204.5`, `12:30:07`.
fn end_of_word(message: &str, first: char, chars: &mut Peekable<CharIndices>) -> usize {
    let mut last = first;
    while let Some((at, c)) = chars.peek().copied() {
        let is_inside = matches!(c, '.' | ',' | ':')
            && last.is_ascii_digit()
            && message[at + 1..].starts_with(|next: char| next.is_ascii_digit());
        if !is_of_word(c) && !is_inside {
            return at;
        }
        last = c;
        chars.next();
    }
    message.len()
}

fn push_word(pattern: &mut String, word: &str) {
    if is_id(word) {
        pattern.push_str(ID);
        return;
    }
    let mut in_number = false;
    for c in word.chars() {
        let is_separator = in_number && matches!(c, '.' | ',' | ':');
        if c.is_ascii_digit() {
            if !in_number {
                pattern.push_str(NUMBER);
            }
            in_number = true;
        } else if !is_separator {
            pattern.push(c);
            in_number = false;
        }
    }
}

/// A hexadecimal number or a UUID, or letters and digits that are too long for a name.
fn is_id(word: &str) -> bool {
    let has_digit = word.contains(|c: char| c.is_ascii_digit());
    let has_letter = word.contains(|c: char| c.is_ascii_alphabetic());
    if !has_digit || !has_letter {
        return false;
    }
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    is_hex && (digits.len() >= 8 || digits.len() < word.len())
        || word.len() >= 20 && word.chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::pattern;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_ids_are_replaced_and_names_are_kept() {
        for (message, expected) in [
            ("the stream ended after 37 chunks", "the stream ended after N chunks"),
            ("waited 1,204.5 ms until 12:30:07, then 7.", "waited N ms until N, then N."),
            ("request 1b4e28ba-2fa1-11d2-883f-0016d3cca427 failed", "request ID failed"),
            ("no model 'us.amazon.nova-2-lite-v1:0', see `x7`", "no model 'ID', see `ID`"),
            ("`temperature` is deprecated and isn't sent", "`temperature` is deprecated and isn't sent"),
            ("nova-premier-v1 with on-demand throughput", "nova-premier-vN with on-demand throughput"),
            ("at 0x7ffe, id AKIA4EXAMPLE7EXAMPLE9", "at ID, id ID"),
            ("facade, added on 2026-11-27", "facade, added on N-N-N"),
            ("\u{5e9}7 \"", "\u{5e9}N \""),
        ] {
            assert_eq!(pattern(message), expected);
        }
    }

    proptest! {
        #[test]
        fn pattern_has_no_digit_and_is_idempotent(message in "[ -~\u{5e9}]{0,80}") {
            let once = pattern(&message);
            prop_assert!(!once.contains(|c: char| c.is_ascii_digit()), "{once}");
            prop_assert_eq!(pattern(&once), once);
        }
    }
}
