//! `summary.md`: a summary for pull requests, from `templates/summary.md`.

use super::templates::Templates;
use super::view::View;
use super::{Rendered, ReportError};

/// Renders one file.
pub(super) fn render(view: &View, templates: &Templates) -> Result<Vec<Rendered>, ReportError> {
    let bytes = bounded(templates.render("summary.md", view)?, "summary.json contains all of it");
    Ok(vec![Rendered { path: "summary.md".into(), bytes }])
}

/// Maximum size in bytes. GitHub allows 65,536 characters per comment; this leaves room for surrounding text.
const LARGEST: usize = 60_000;

/// Truncates Markdown to at most [`LARGEST`] bytes. The templates bound every list. Output that is still longer (very
/// long names, or a user template) is truncated at the end of a line, with a reference to the rest.
pub(super) fn bounded(markdown: Vec<u8>, rest: &str) -> Vec<u8> {
    const DETAILS: [&str; 2] = ["<details>", "</details>"];
    if markdown.len() < LARGEST {
        return markdown;
    }
    let note = format!("\n\n(cut: {rest})\n");
    let room = LARGEST - note.len() - DETAILS[1].len() - 2;
    let end = markdown[..room].iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let mut cut = markdown[..end].to_vec();
    let text = String::from_utf8_lossy(&cut);
    let [opened, closed] = DETAILS.map(|tag| text.matches(tag).count());
    if opened > closed {
        cut.extend_from_slice(format!("\n\n{}", DETAILS[1]).as_bytes());
    }
    cut.extend_from_slice(note.as_bytes());
    cut
}

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
    use super::{LARGEST, bounded, escape};

    #[test]
    fn what_is_too_long_is_cut_at_the_end_of_a_line() {
        let short = vec![b'x'; LARGEST - 1];
        assert_eq!(bounded(short.clone(), "x"), short);
        let long = format!("<details><summary>all</summary>\n\n{}", "| a row |\n".repeat(9_000));
        let cut = String::from_utf8(bounded(long.into_bytes(), "a.json contains all of it")).unwrap();
        assert!(cut.len() < LARGEST && cut.len() > LARGEST - 200, "{}", cut.len());
        assert!(
            cut.ends_with("| a row |\n\n</details>\n\n(cut: a.json contains all of it)\n"),
            "{}",
            &cut[cut.len() - 99..]
        );
    }

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
