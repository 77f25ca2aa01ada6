//! Text styles and colours.

use console::Style;

/// Role of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextRole {
    Plain,
    /// Bold.
    Strong,
    /// Dimmed.
    Soft,
    Good,
    Warning,
    Bad,
}

/// Colour mode of the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ColorMode {
    /// No control characters.
    #[default]
    Plain,
    /// With ANSI escape sequences.
    Coloured,
}

impl ColorMode {
    /// Returns the mode for a terminal that supports colours, or not.
    pub(crate) fn from_support(is_coloured: bool) -> Self {
        if is_coloured { Self::Coloured } else { Self::Plain }
    }

    /// Returns the text with the style of its role.
    pub(crate) fn apply(self, role: TextRole, text: &str) -> String {
        let style = Style::new().force_styling(true);
        let style = match (self, role) {
            (Self::Plain, _) | (_, TextRole::Plain) => return text.into(),
            (_, TextRole::Strong) => style.bold(),
            (_, TextRole::Soft) => style.dim(),
            (_, TextRole::Good) => style.green(),
            (_, TextRole::Warning) => style.yellow(),
            (_, TextRole::Bad) => style.red(),
        };
        style.apply_to(text).to_string()
    }

    /// Highlights verdicts and warnings in the end-of-run text.
    pub(crate) fn highlight_summary(self, text: &str) -> String {
        if self == Self::Plain {
            return text.into();
        }
        let line = |line: &str| {
            let start = |word: &str, role| line.strip_prefix(word).map(|rest| self.apply(role, word) + rest);
            start("FAIL ", TextRole::Bad)
                .or_else(|| start("PASS ", TextRole::Good))
                .or_else(|| start("INCONCLUSIVE ", TextRole::Warning))
                .or_else(|| start("SIMULATED", TextRole::Warning))
                .or_else(|| start("NOT AWS", TextRole::Warning))
                .or_else(|| start("FAILURES INCLUDED", TextRole::Warning))
                .or_else(|| start("RUNNING", TextRole::Warning))
                .or_else(|| start("!", TextRole::Warning))
                .unwrap_or_else(|| line.to_owned())
        };
        text.split('\n').map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_and_warnings_are_coloured() {
        let text = "SIMULATED: x\nFAIL  a\nPASSED\n! b\n";
        assert_eq!(ColorMode::Plain.highlight_summary(text), text);
        let coloured = ColorMode::Coloured.highlight_summary(text);
        assert_eq!(console::strip_ansi_codes(&coloured), text);
        assert!(coloured.contains("\u{1b}[31mFAIL ") && coloured.contains("\nPASSED\n"), "{coloured:?}");
    }
}
