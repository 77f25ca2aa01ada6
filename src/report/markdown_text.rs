//! External text in Markdown.

/// Escapes external text so that Markdown renders it literally: no markup, no HTML and no mention of a person. Line
/// breaks are replaced, since a line break ends a table row.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        let in_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        match c {
            // `<=` does not start a tag.
            '<' if next.is_none_or(|next| next.is_alphabetic() || "/!?".contains(next)) => escaped.push_str("&lt;"),
            '>' if before.is_none() => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // A mention would notify people, and `#12` would become a link.
            '@' => escaped.push_str("&#64;"),
            '#' => escaped.push_str("&#35;"),
            '\\' | '`' | '*' | '|' | '~' | '$' => escaped.extend(['\\', c]),
            // Prevents links, references and footnotes.
            ']' if next.is_some_and(|next| "([:".contains(next)) => escaped.push_str("\\]"),
            '[' if next == Some('^') => escaped.push_str("\\["),
            // An underscore inside a word is not markup, and ids contain many of them.
            '_' if !(in_word(before) && in_word(next)) => escaped.push_str("\\_"),
            c if c.is_whitespace() || c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
        before = Some(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn text_stays_text() {
        assert_eq!(escape("us_flex_small <= 2 [\"cold\"] > 1"), "us_flex_small <= 2 [\"cold\"] > 1");
        assert_eq!(escape("<b>_x_</b> | a\nb"), "&lt;b>\\_x\\_&lt;/b> \\| a b");
        assert_eq!(
            escape("> [a](http://x) @me #1 `c` **d**"),
            "&gt; [a\\](http://x) &#64;me &#35;1 \\`c\\` \\*\\*d\\*\\*"
        );
    }
}
