//! Templates: the built-in ones, any of which a file of the same name in a user's own directory
//! replaces. Knows sources by their names and reads no disk itself.
//!
//! What is filled in comes from outside and is escaped by what the template's name ends with: `.html`
//! as HTML, `.md` so that it is text in Markdown.

use super::ReportError;
use super::markdown;
use super::view::text;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The built-in templates by file name.
pub(crate) const BUILT_IN: &[(&str, &str)] = &[
    ("chart.html", include_str!("../../templates/chart.html")),
    ("chart.css", include_str!("../../templates/chart.css")),
    ("base.html", include_str!("../../templates/base.html")),
    ("report.html", include_str!("../../templates/report.html")),
    ("cell.html", include_str!("../../templates/cell.html")),
    ("compare.html", include_str!("../../templates/compare.html")),
    ("compare.md", include_str!("../../templates/compare.md")),
    ("page.css", include_str!("../../templates/page.css")),
    ("page.js", include_str!("../../templates/page.js")),
    ("summary.md", include_str!("../../templates/summary.md")),
];

/// What `.md` templates escape for.
const MARKDOWN: &str = "markdown";

/// A file of a user's own.
#[derive(Debug, Clone)]
pub(crate) struct OwnTemplate {
    /// Its name, which is that of a built-in one or of what another of them includes.
    pub(crate) name: String,
    /// Where it was found, for messages.
    pub(crate) path: PathBuf,
    /// What is in it.
    pub(crate) source: String,
}

/// All templates, compiled.
#[derive(Debug)]
pub(crate) struct Templates {
    environment: Environment<'static>,
    /// Where a user's own come from.
    paths: BTreeMap<String, PathBuf>,
    /// Those that do not compile: what is wrong, by name.
    broken: BTreeMap<String, String>,
    /// Style and script, which are no templates.
    texts: BTreeMap<String, String>,
}

impl Templates {
    /// The built-in ones, replaced and completed by a user's own. One that does not compile spoils what
    /// is made of it, and nothing else.
    pub(crate) fn new(own: Vec<OwnTemplate>) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| match extension(name) {
            Some("html" | "svg") => AutoEscape::Html,
            Some("md") => AutoEscape::Custom(MARKDOWN.into()),
            _ => AutoEscape::None,
        });
        environment.set_formatter(format);
        environment.add_filter("clipped", |text: String| text::clipped(&text));
        environment.add_filter("thousands", |number: u64| text::thousands(number as f64, 0));
        if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
            environment.set_syntax(syntax);
        }
        let paths = own.iter().map(|template| (template.name.clone(), template.path.clone())).collect();
        let mut templates = Self { environment, paths, broken: BTreeMap::new(), texts: BTreeMap::new() };
        for (name, source) in BUILT_IN {
            if !templates.paths.contains_key(*name) {
                templates.add((*name).to_owned(), (*source).to_owned());
            }
        }
        for template in own {
            templates.add(template.name, template.source);
        }
        templates
    }

    fn add(&mut self, name: String, source: String) {
        if matches!(extension(&name), Some("css" | "js")) {
            self.texts.insert(name, source);
            return;
        }
        if let Err(error) = self.environment.add_template_owned(name.clone(), source) {
            let said = self.said(&name, &error);
            self.broken.insert(name, said);
        }
    }

    /// Style or script as it is; empty where there is none of that name.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }

    /// What is wrong with the first that does not compile.
    pub(crate) fn broken(&self) -> Option<ReportError> {
        self.broken.values().next().map(|said| ReportError::Template(said.clone()))
    }

    /// Fills in a template.
    ///
    /// # Errors
    /// When it does not compile, or asks for what is not there; with its file and line.
    pub(crate) fn render(&self, name: &str, context: &impl Serialize) -> Result<Vec<u8>, ReportError> {
        if let Some(said) = self.broken.get(name) {
            return Err(ReportError::Template(said.clone()));
        }
        let rendered = self
            .environment
            .get_template(name)
            .and_then(|template| template.render(Value::from(Serde(context))))
            .map(String::into_bytes);
        // One that another is built on may be the broken one.
        rendered.map_err(|error| self.broken().unwrap_or_else(|| ReportError::Template(self.said(name, &error))))
    }

    /// `mine/cell.html:12: syntax error: unexpected end of block`. Never the context: it is long, and says too much.
    fn said(&self, asked: &str, error: &Error) -> String {
        let name = error.name().unwrap_or(asked);
        let place = self.paths.get(name).map_or_else(|| name.to_owned(), |path| path.display().to_string());
        let line = error.line().map_or_else(String::new, |line| format!(":{line}"));
        let detail = error.detail().map_or_else(String::new, |detail| format!(": {detail}"));
        format!("{place}{line}: {}{detail}", error.kind())
    }
}

fn extension(name: &str) -> Option<&str> {
    Path::new(name).extension().and_then(|end| end.to_str())
}

/// As the library's own, and Markdown beside it.
fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let is_markdown = matches!(state.auto_escape(), AutoEscape::Custom(kind) if *kind == MARKDOWN);
    match value.as_str().filter(|_| is_markdown) {
        Some(text) if !value.is_safe() => Ok(out.write_str(&markdown::escape(text))?),
        _ if is_markdown => Ok(write!(out, "{value}")?),
        _ => minijinja::escape_formatter(out, state, value),
    }
}
