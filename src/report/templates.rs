//! Templates: the built-in ones, any of which a file of the same name in the user's template directory replaces. This
//! module receives sources by name and does not read the disk.
//!
//! Values are external text and are escaped by the extension of the template: `.html` as HTML, `.md` as literal text in
//! Markdown.

use super::ReportError;
use super::markdown_text;
use super::view::{cost, overview, text};
use crate::result::{Counts, Quantity, ThresholdResult, Times, Verdict};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Built-in templates by file name.
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

/// Name of the escaping mode of `.md` templates.
const MARKDOWN: &str = "markdown";

/// Template of the user.
#[derive(Debug, Clone)]
pub(crate) struct OwnTemplate {
    /// Name: that of a built-in template, or of a template that another user template includes.
    pub(crate) name: String,
    /// Path of the file, for messages.
    pub(crate) path: PathBuf,
    /// Source of the template.
    pub(crate) source: String,
}

/// All templates, compiled.
#[derive(Debug)]
pub(crate) struct Templates {
    environment: Environment<'static>,
    /// Paths of the user's templates by name.
    paths: BTreeMap<String, PathBuf>,
    /// Errors of the templates that do not compile, by name.
    broken: BTreeMap<String, String>,
    /// Style sheets and scripts, which are not compiled.
    texts: BTreeMap<String, String>,
}

impl Templates {
    /// Compiles the built-in templates, replaced and extended by the user's templates. A template that does not compile
    /// affects only the output that uses it.
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
        environment.add_filter("ms", text::ms_or_nothing);
        environment.add_filter("rate", text::rate);
        environment.add_filter("usd", cost::usd);
        environment.add_filter("failure_rate", |counts: Serde<Counts>| text::percent(counts.0.failure_rate()));
        environment.add_filter("percentile", |times: Serde<Times>, rank: f64| {
            text::percentile_of_times(&times.0, rank / 100.0)
        });
        environment.add_filter("value", |quantity: Serde<Quantity>| quantity.0.value());
        environment.add_filter("bound", |row: Serde<ThresholdResult>| text::bound(&row.0));
        environment.add_filter("measured", |row: Serde<ThresholdResult>| text::measured(&row.0));
        environment.add_filter("interval", |row: Serde<ThresholdResult>| text::interval(&row.0));
        environment.add_filter("state", |verdict: Serde<Verdict>| overview::words(Some(verdict.0)).0);
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
            let text = self.error_text(&name, &error);
            self.broken.insert(name, text);
        }
    }

    /// Returns a style sheet or a script verbatim, or an empty string if there is none of that name.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }

    /// Returns the error of the first template that does not compile.
    pub(crate) fn broken(&self) -> Option<ReportError> {
        self.broken.values().next().map(|text| ReportError::Template(text.clone()))
    }

    /// Renders a template.
    ///
    /// # Errors
    /// If the template does not compile or uses an undefined value; the error contains its file and line.
    pub(crate) fn render(&self, name: &str, context: &impl Serialize) -> Result<Vec<u8>, ReportError> {
        if let Some(text) = self.broken.get(name) {
            return Err(ReportError::Template(text.clone()));
        }
        let rendered = self
            .environment
            .get_template(name)
            .and_then(|template| template.render(Value::from(Serde(context))))
            .map(String::into_bytes);
        // The broken template may be one that this template extends or includes.
        rendered.map_err(|error| self.broken().unwrap_or_else(|| ReportError::Template(self.error_text(name, &error))))
    }

    /// Formats an error: `mine/cell.html:12: syntax error: unexpected end of block`. The message omits the context,
    /// which is long and may contain private data.
    fn error_text(&self, requested: &str, error: &Error) -> String {
        let name = error.name().unwrap_or(requested);
        let place = self.paths.get(name).map_or_else(|| name.to_owned(), |path| path.display().to_string());
        let line = error.line().map_or_else(String::new, |line| format!(":{line}"));
        let detail = error.detail().map_or_else(String::new, |detail| format!(": {detail}"));
        format!("{place}{line}: {}{detail}", error.kind())
    }
}

fn extension(name: &str) -> Option<&str> {
    Path::new(name).extension().and_then(|end| end.to_str())
}

/// Formats a value as minijinja does, with an additional mode for Markdown.
fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let is_markdown = matches!(state.auto_escape(), AutoEscape::Custom(kind) if *kind == MARKDOWN);
    match value.as_str().filter(|_| is_markdown) {
        Some(text) if !value.is_safe() => Ok(out.write_str(&markdown_text::escape(text))?),
        _ if is_markdown => Ok(write!(out, "{value}")?),
        _ => minijinja::escape_formatter(out, state, value),
    }
}
