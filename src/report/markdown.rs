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

#[cfg(test)]
mod tests {
    use super::{LARGEST, bounded};

    #[test]
    fn too_long_text_is_cut_at_a_line_end() {
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
}
