//! Colours, where they are wanted.

use console::Style;

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Like any other.
    Plain,
    /// To be seen first.
    Strong,
    /// To be seen last.
    Soft,
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
    /// Not as it should be.
    Bad,
}

/// Whether texts are coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Paint {
    /// No control characters at all.
    #[default]
    Plain,
    /// With the escape sequences of a terminal.
    Coloured,
}

impl Paint {
    /// Coloured where `wanted`.
    pub(crate) fn of(wanted: bool) -> Self {
        if wanted { Self::Coloured } else { Self::Plain }
    }

    /// The text in its colour.
    pub(crate) fn ink(self, ink: Ink, text: &str) -> String {
        let style = Style::new().force_styling(true);
        let style = match (self, ink) {
            (Self::Plain, _) | (_, Ink::Plain) => return text.into(),
            (_, Ink::Strong) => style.bold(),
            (_, Ink::Soft) => style.dim(),
            (_, Ink::Good) => style.green(),
            (_, Ink::Warning) => style.yellow(),
            (_, Ink::Bad) => style.red(),
        };
        style.apply_to(text).to_string()
    }

    /// The end-of-run text: what must be seen is, whoever reads on a terminal.
    pub(crate) fn summary(self, text: &str) -> String {
        if self == Self::Plain {
            return text.into();
        }
        let line = |line: &str| {
            let start = |word: &str, ink| line.strip_prefix(word).map(|rest| self.ink(ink, word) + rest);
            start("FAIL ", Ink::Bad)
                .or_else(|| start("PASS ", Ink::Good))
                .or_else(|| start("INCONCLUSIVE ", Ink::Warning))
                .or_else(|| start("SIMULATED", Ink::Warning))
                .or_else(|| start("NOT AWS", Ink::Warning))
                .or_else(|| start("FAILURES INCLUDED", Ink::Warning))
                .or_else(|| start("RUNNING", Ink::Warning))
                .or_else(|| start("!", Ink::Warning))
                .unwrap_or_else(|| line.to_owned())
        };
        text.split('\n').map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_and_warnings_have_colours() {
        let text = "SIMULATED: x\nFAIL  a\nPASSED\n! b\n";
        assert_eq!(Paint::Plain.summary(text), text);
        let coloured = Paint::Coloured.summary(text);
        assert_eq!(console::strip_ansi_codes(&coloured), text);
        assert!(coloured.contains("\u{1b}[31mFAIL ") && coloured.contains("\nPASSED\n"), "{coloured:?}");
    }
}
