//! Parsing of prompts files and of the files they name: all errors are reported together, with their position.

use super::collection::{Entry, Line, Prompts};
use super::json::{json_message, offset};
use super::prompt::{Message, Prompt, Role};
use super::{dataset, generate};
use crate::units::text_file;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// An error in a prompts file, or in a file that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PromptsError {
    pub(crate) message: String,
    /// Path and text, if the error is in a file that the prompts file names.
    pub(crate) file: Option<(String, String)>,
    /// Byte range in the file.
    pub(crate) span: Range<usize>,
    /// How to fix it.
    pub(crate) hint: Option<String>,
}

impl PromptsError {
    fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        Self { message: message.into(), file: None, span, hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Directory of the files that a prompts file names.
#[derive(Debug, Clone)]
pub(crate) struct Files(Option<PathBuf>);

impl Files {
    /// No directory: the embedded prompts name no file.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// The directory of a prompts file.
    pub(crate) fn beside(file: &Path) -> Self {
        Self(Some(file.parent().unwrap_or(Path::new("")).to_owned()))
    }

    /// Reads a file; returns its path for display and its text.
    fn read(&self, name: &str) -> Result<(String, String), String> {
        let dir = self.0.as_ref().ok_or("the embedded prompts cannot name files")?;
        let path = dir.join(name);
        let shown = path.display().to_string();
        match text_file::read(&path) {
            Ok(text) => Ok((shown, text)),
            Err(error) => Err(format!("{shown} cannot be read: {error}")),
        }
    }
}

/// An entry, before validation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"text\": \"...\"}")]
struct RawEntry {
    text: Option<String>,
    messages: Option<Vec<Message>>,
    generate: Option<Generate>,
    file: Option<String>,
    dataset: Option<String>,
    system: Option<String>,
    /// Ignored; for documentation.
    #[serde(rename = "description")]
    _description: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"input_tokens\": 1000}")]
struct Generate {
    input_tokens: u32,
}

impl Prompts {
    /// Returns the prompts embedded in the binary.
    pub(crate) fn shipped() -> Self {
        Self::parse(include_str!("../../prompts/prompts.json"), &Files::none())
            .unwrap_or_else(|errors| unreachable!("the shipped prompts are part of this program: {errors:?}"))
    }

    /// Parses `{"NAME": {"text": "..."}, ...}` and the files that it names.
    ///
    /// # Errors
    /// Returns all errors with their position; a file without prompts is an error.
    pub(crate) fn parse(text: &str, files: &Files) -> Result<Self, Vec<PromptsError>> {
        let entries: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
            let at = offset(text, error.line(), error.column());
            let message = json_message(&error);
            vec![PromptsError::new(format!("the prompts file is not a JSON object of prompts: {message}"), at..at)]
        })?;
        if entries.is_empty() {
            return Err(vec![PromptsError::new("the prompts file contains no prompts", 0..text.len().min(1))]);
        }
        let (mut read, mut errors) = (Vec::new(), Vec::new());
        for (name, value) in entries {
            let key = Value::from(name.as_str()).to_string();
            let place = text.find(&key).map_or(0..0, |start| start..start + key.len());
            match parse_entry(&name, value, files, &place) {
                Ok(entry) => read.push((name, entry)),
                Err(invalid) => errors.extend(invalid),
            }
        }
        if errors.is_empty() { Ok(Self(read)) } else { Err(errors) }
    }

    /// Adds a data set with a name.
    ///
    /// # Errors
    /// Returns all errors with their position in the data set.
    pub(crate) fn add_dataset(&mut self, name: &str, path: &Path) -> Result<(), Vec<PromptsError>> {
        let shown = path.display().to_string();
        let text = text_file::read(path)
            .map_err(|error| vec![PromptsError::new(format!("the data set {shown} cannot be read: {error}"), 0..0)])?;
        let lines = parse_dataset(name, &shown, &text, None)?;
        self.0.push((name.to_owned(), Entry::Dataset(lines)));
        Ok(())
    }
}

fn parse_entry(name: &str, value: Value, files: &Files, place: &Range<usize>) -> Result<Entry, Vec<PromptsError>> {
    let invalid = |message: String| vec![PromptsError::new(message, place.clone())];
    let raw: RawEntry =
        serde_json::from_value(value).map_err(|error| invalid(format!("the prompt `{name}` is invalid: {error}")))?;
    let forms = [
        ("text", raw.text.is_some()),
        ("messages", raw.messages.is_some()),
        ("generate", raw.generate.is_some()),
        ("file", raw.file.is_some()),
        ("dataset", raw.dataset.is_some()),
    ];
    let forms: Vec<String> = forms.iter().filter(|(_, is_set)| *is_set).map(|(key, _)| format!("`{key}`")).collect();
    if forms.len() != 1 {
        let found = if forms.is_empty() { "no content".to_owned() } else { forms.join(" and ") };
        return Err(vec![
            PromptsError::new(format!("the prompt `{name}` has {found}"), place.clone())
                .hint("set exactly one of `text`, `messages`, `generate`, `file` and `dataset`"),
        ]);
    }
    let validated = |system, messages| {
        Prompt::validated(system, messages).map(Entry::One).map_err(|why| match why.strip_prefix("it is ") {
            Some(rest) => invalid(format!("the prompt `{name}` is {rest}")),
            None => vec![
                PromptsError::new(format!("the prompt `{name}` is invalid: {why}"), place.clone())
.hint("messages are [{\"role\": \"user\", \"text\": \"...\"}], with one of the assistant between two of the user"),
            ],
        })
    };
    let missing = |why: &str| {
        vec![
            PromptsError::new(format!("the prompt `{name}`: {why}"), place.clone())
                .hint("file names are relative to the prompts file"),
        ]
    };
    let user_message = |text: String| vec![Message { role: Role::User, text }];
    if let Some(text) = raw.text {
        return validated(raw.system, user_message(text));
    }
    if let Some(messages) = raw.messages {
        return validated(raw.system, messages);
    }
    if let Some(file) = raw.file {
        let (shown, text) = files.read(&file).map_err(|why| missing(&why))?;
        if text.trim().is_empty() {
            return Err(invalid(format!("the prompt `{name}`: {shown} is empty")));
        }
        return validated(raw.system, user_message(text));
    }
    if let Some(Generate { input_tokens }) = raw.generate {
        let system = validated(raw.system, user_message("x".into()))?;
        let range = generate::MIN_TOKENS..=generate::MAX_TOKENS;
        if !range.contains(&input_tokens) {
            let message = format!("the prompt `{name}` generates {input_tokens} tokens");
            let hint = format!("write a number from {} to {}", range.start(), range.end());
            return Err(vec![PromptsError::new(message, place.clone()).hint(hint)]);
        }
        let Entry::One(Prompt { system, .. }) = system else { unreachable!("one text is one prompt") };
        return Ok(Entry::Generated { system, input_tokens });
    }
    let dataset = raw.dataset.unwrap_or_default();
    let (shown, text) = files.read(&dataset).map_err(|why| missing(&why))?;
    parse_dataset(name, &shown, &text, raw.system.as_deref()).map(Entry::Dataset)
}

/// Parses a data set; errors contain its text.
fn parse_dataset(name: &str, shown: &str, text: &str, system: Option<&str>) -> Result<Vec<Line>, Vec<PromptsError>> {
    dataset::parse(text, system).map_err(|errors| {
        errors
            .into_iter()
            .map(|(span, message)| PromptsError {
                message: format!("the data set `{name}`: {message}"),
                file: Some((shown.to_owned(), text.to_owned())),
                span,
                hint: Some(dataset::HINT.into()),
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Prompts, Vec<PromptsError>> {
        Prompts::parse(text, &Files::none())
    }

    fn first_text<'a>(prompts: &'a Prompts, name: &str) -> &'a str {
        match prompts.get(name).unwrap() {
            Entry::One(prompt) => &prompt.messages[0].text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn shipped_prompts_have_the_documented_sizes() {
        let prompts = Prompts::shipped();
        let words = |name| first_text(&prompts, name).split_whitespace().count();
        assert_eq!(prompts.names().collect::<Vec<_>>(), ["small", "medium", "large"]);
        assert!((4..=6).contains(&words("small")), "{}", words("small"));
        assert!((35..=45).contains(&words("medium")), "{}", words("medium"));
        assert!((140..=160).contains(&words("large")), "{}", words("large"));
    }

    #[test]
    fn errors_have_the_position_of_the_entry() {
        let text =
            "{\n  \"a\": {\"text\": \"x\"},\n  \"b\": {\"text\": 5},\n  \"c\": {\"text\": \"x\", \"file\": \"y\"}\n}";
        let errors = parse(text).unwrap_err();
        assert_eq!(errors.iter().map(|error| &text[error.span.clone()]).collect::<Vec<_>>(), ["\"b\"", "\"c\""]);
        assert!(parse("{\n \"a\": }").unwrap_err()[0].span.start == 8);
        assert!(parse("{}").is_err() && parse("").is_err() && parse("[]").is_err());
    }

    #[test]
    fn conversation_alternates_and_ends_with_the_user() {
        let conversation = |roles: &[&str]| {
            let messages: Vec<_> = roles.iter().map(|role| serde_json::json!({"role": role, "text": "x"})).collect();
            parse(&serde_json::json!({"a": {"messages": messages}}).to_string())
        };
        assert!(conversation(&["user"]).is_ok() && conversation(&["user", "assistant", "user"]).is_ok());
        for roles in [&["assistant"][..], &["user", "assistant"], &["user", "user"], &["model"], &[]] {
            assert!(conversation(roles).is_err(), "{roles:?}");
        }
    }

    #[test]
    fn plain_text_is_hashed_verbatim_and_other_prompts_by_their_parameters() {
        let prompts = parse(
            r#"{"plain": {"text": "hello", "description": "d"}, "with_system": {"text": "hello", "system": "be brief"},
                "made": {"generate": {"input_tokens": 500}},
                "talk": {"messages": [{"role": "user", "text": "a"}, {"role": "assistant", "text": "b"}, {"role": "user", "text": "c"}]}}"#,
        )
        .unwrap();
        let canonical = |name| prompts.canonical(name, &[]).to_string();
        assert_eq!(canonical("plain"), "\"hello\"");
        assert_eq!(canonical("with_system"), r#"{"messages":[{"role":"user","text":"hello"}],"system":"be brief"}"#);
        assert_eq!(canonical("made"), r#"{"generate":500,"name":"made","system":null,"v":1}"#);
        let mix = crate::plan::Mix {
            name: "chat".into(),
            sizes: [("plain".to_owned(), 7.0), ("with_system".to_owned(), 3.0)].into_iter().collect(),
        };
        assert!(
            prompts.canonical("chat", std::slice::from_ref(&mix)).to_string().starts_with(r#"{"mix":[[7.0,"hello"],"#)
        );
        assert!((prompts.estimated_tokens("chat", &[mix], None) - (0.7 * 1.25 + 0.3 * 3.25)).abs() < 1e-9);
        assert!((prompts.estimated_tokens("plain", &[], Some("12345678")) - 3.25).abs() < 1e-9);
        assert!((prompts.estimated_tokens("made", &[], None) - 500.0).abs() < 1e-9);
        assert_eq!(prompts.source("talk", &[], 1).choices()[0].prompt.messages.len(), 3);
    }
}
