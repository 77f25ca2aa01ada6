//! Problems of a plan and their rendering: with file, line and column, or with the variable or flag. All problems are
//! reported together.

pub(crate) use crate::units::nearest;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Maximum number of problems shown.
const MAX_SHOWN: usize = 50;

/// Extensions of files whose lines may be quoted: plans, prompts and data sets. A plan may name any file of this machine,
/// and its errors appear in logs that other people read.
const QUOTABLE: [&str; 3] = ["toml", "json", "jsonl"];

/// A file that problems may point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// As the user wrote it.
    pub(crate) path: String,
    pub(crate) text: Arc<str>,
}

impl Source {
    /// Whether a line of the file may be quoted. A link counts as its target.
    fn is_quotable(&self) -> bool {
        let path = Path::new(&self.path);
        let is_known = |path: &Path| {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            QUOTABLE.iter().any(|known| ending.eq_ignore_ascii_case(known))
        };
        is_known(path) && path.canonicalize().map_or(true, |target| is_known(&target))
    }

    /// Returns the position of a byte without its text: `path:line:column`, from 1.
    fn position(&self, at: usize) -> String {
        let before = &self.text[..self.text.floor_char_boundary(at)];
        let line = before.rsplit('\n').next().unwrap_or_default();
        format!("{}:{}:{}", self.path, before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

/// Returns a message without its quotations.
fn without_quotations(message: &str) -> String {
    let mut message = message.to_owned();
    for quote in ['`', '"'] {
        if let (Some(first), Some(last)) = (message.find(quote), message.rfind(quote)) {
            message.replace_range(first..=last, &format!("{quote}...{quote}"));
        }
    }
    message
}

/// The place of a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A byte range in a file.
    File(Source, Range<usize>),
    /// A variable, a flag, a default, or a path.
    Name(String),
}

/// One error in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) place: Place,
    pub(crate) message: String,
    /// How to fix it.
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

/// All errors in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    /// Returns the text, with colours if `styled`.
    pub(crate) fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut shown: Vec<String> =
            self.0.iter().take(MAX_SHOWN).map(|problem| render_problem(problem, &renderer)).collect();
        let hidden = self.0.len() - shown.len();
        if hidden > 0 {
            shown.push(format!("... and {hidden} more problems"));
        }
        shown.join("\n\n")
    }
}

fn render_problem(problem: &Problem, renderer: &Renderer) -> String {
    let help = problem.hint.as_deref().map(|hint| Level::HELP.message(hint));
    match &problem.place {
        Place::File(source, span) if !source.is_quotable() => {
            let title = format!("{}: {}", source.position(span.start), without_quotations(&problem.message));
            let hint = "rename it to .toml, .json or .jsonl to see its lines in errors";
            let help = help.unwrap_or_else(|| Level::HELP.message(hint));
            renderer.render(&[Level::ERROR.primary_title(&title).elements([help])])
        }
        Place::File(source, span) => {
            // At most one line.
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
