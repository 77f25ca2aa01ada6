//! What is wrong with a plan, and how it is shown: in the file with line and column, or by the
//! variable or flag that said it. All that is wrong is shown at once.

pub(crate) use crate::units::nearest;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Problems that are shown, at most.
const MOST_SHOWN: usize = 50;

/// Endings of files whose lines may be quoted: plans, prompts and data sets. A plan may name any file of this machine,
/// and its errors go into logs that other people read.
const QUOTABLE: [&str; 3] = ["toml", "json", "jsonl"];

/// A file that problems may point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// As the user wrote it.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: Arc<str>,
}

impl Source {
    /// Whether a line of the file may be shown. A link counts as the file that it leads to.
    fn is_quotable(&self) -> bool {
        let path = Path::new(&self.path);
        let is_known = |path: &Path| {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            QUOTABLE.iter().any(|known| ending.eq_ignore_ascii_case(known))
        };
        is_known(path) && path.canonicalize().map_or(true, |target| is_known(&target))
    }

    /// The place of a byte, without anything that stands there: `path:line:column`, from 1.
    fn position(&self, at: usize) -> String {
        let before = &self.text[..self.text.floor_char_boundary(at)];
        let line = before.rsplit('\n').next().unwrap_or_default();
        format!("{}:{}:{}", self.path, before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

/// A message without what it quotes.
fn without_quotations(message: &str) -> String {
    let mut message = message.to_owned();
    for quote in ['`', '"'] {
        if let (Some(first), Some(last)) = (message.find(quote), message.rfind(quote)) {
            message.replace_range(first..=last, &format!("{quote}...{quote}"));
        }
    }
    message
}

/// Where a problem is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file, bytes.
    File(Source, Range<usize>),
    /// A variable, a flag, a default, or a path.
    Name(String),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) place: Place,
    /// What.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into(), hint: None }
    }

    pub(crate) fn named(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Place::Name(name.into()), message)
    }

    pub(crate) fn hint(mut self, hint: Option<impl Into<String>>) -> Self {
        self.hint = hint.map(Into::into);
        self
    }
}

/// All that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// As text, with colours where `styled`.
    pub(crate) fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut shown: Vec<String> = self.0.iter().take(MOST_SHOWN).map(|problem| one(problem, &renderer)).collect();
        let hidden = self.0.len() - shown.len();
        if hidden > 0 {
            shown.push(format!("... and {hidden} more problems"));
        }
        shown.join("\n\n")
    }
}

fn one(problem: &Problem, renderer: &Renderer) -> String {
    let help = problem.hint.as_deref().map(|hint| Level::HELP.message(hint));
    match &problem.place {
        Place::File(source, span) if !source.is_quotable() => {
            let title = format!("{}: {}", source.position(span.start), without_quotations(&problem.message));
            let hint = "lines of a file are shown if its name ends in .toml, .json or .jsonl";
            let help = help.unwrap_or_else(|| Level::HELP.message(hint));
            renderer.render(&[Level::ERROR.primary_title(&title).elements([help])])
        }
        Place::File(source, span) => {
            // One line at most.
            let start = span.start.min(source.text.len());
            let line = source.text[start..].find('\n').map_or(source.text.len(), |length| start + length);
            let span = start..span.end.clamp(start, line);
            let snippet =
                Snippet::source(&*source.text).path(&source.path).annotation(AnnotationKind::Primary.span(span));
            renderer.render(&[Level::ERROR.primary_title(&problem.message).element(snippet).elements(help)])
        }
        Place::Name(name) => {
            let title = format!("{name}: {}", problem.message);
            renderer.render(&[Level::ERROR.primary_title(&title).elements(help)])
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}
