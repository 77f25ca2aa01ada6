//! What is wrong with a plan, and how it is shown: in the file with line and column, or by the
//! variable or flag that said it. All that is wrong is shown at once.

pub(crate) use crate::units::nearest;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt;
use std::ops::Range;

/// A file that problems may point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// As the user wrote it.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
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
        let shown: Vec<String> = self.0.iter().map(|problem| one(problem, &renderer)).collect();
        shown.join("\n\n")
    }
}

fn one(problem: &Problem, renderer: &Renderer) -> String {
    let help = problem.hint.as_deref().map(|hint| Level::HELP.message(hint));
    match &problem.place {
        Place::File(source, span) => {
            let start = span.start.min(source.text.len());
            let span = start..span.end.clamp(start, source.text.len());
            let snippet =
                Snippet::source(&source.text).path(&source.path).annotation(AnnotationKind::Primary.span(span));
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
