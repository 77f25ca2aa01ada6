//! What is asked: prompts files, data sets, generated texts, and the prompts that are embedded in the
//! binary. Gives data alone: which prompts there are, and which request gets which. Knows plan and
//! units, and nothing of how a request is sent.

mod dataset;
mod file;
mod generate;
mod minimum;
mod source;

pub(crate) use file::Files;
pub(crate) use minimum::minimum_prefix;
pub(crate) use source::{Choice, Drawing, Source, TEMPLATE};

use crate::plan::Mix;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// Characters per token: as good a guess as any without the model's tokenizer.
const CHARACTERS_PER_TOKEN: f64 = 4.0;

/// Prompts by name, in the order of their file, the plan's data sets behind them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prompts(Vec<(String, Entry)>);

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
enum Entry {
    /// The same for every request.
    One(Prompt),
    /// The same for every request of a run, written once its seed is known.
    Generated { system: Option<String>, input_tokens: u32 },
    /// One of many.
    Dataset(Vec<Line>),
}

/// A line of a data set.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    /// From 1.
    number: u32,
    prompt: Prompt,
}

/// One prompt as it is sent, before a cache mode adds to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Prompt {
    /// What the model is told first; nothing leaves it to the plan's `request.system`.
    pub(crate) system: Option<String>,
    /// At least one; the first and the last are the user's, and they alternate.
    pub(crate) messages: Vec<Message>,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"role\": \"user\", \"text\": \"...\"}")]
pub(crate) struct Message {
    /// Who says it.
    pub(crate) role: Role,
    /// What.
    pub(crate) text: String,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

impl Prompt {
    /// One message of a user.
    pub(crate) fn of_text(text: impl Into<String>) -> Self {
        Self { system: None, messages: vec![Message { role: Role::User, text: text.into() }] }
    }

    /// About how many tokens it has. `system` is the plan's, for a prompt without its own.
    fn about_tokens(&self, system: Option<&str>) -> f64 {
        let system = self.system.as_deref().or(system);
        let texts = system.into_iter().chain(self.messages.iter().map(|message| message.text.as_str()));
        texts.map(|text| text.chars().count() as f64).sum::<f64>() / CHARACTERS_PER_TOKEN
    }

    /// All that determines what is sent; a plain text is itself, as it was when there was nothing else.
    fn canonical(&self) -> Value {
        let messages = || self.messages.iter().map(|message| json!({"role": message.role, "text": message.text}));
        match (&self.system, &self.messages[..]) {
            (None, [only]) => only.text.clone().into(),
            (None, _) => json!({"messages": messages().collect::<Vec<_>>()}),
            (Some(system), _) => json!({"messages": messages().collect::<Vec<_>>(), "system": system}),
        }
    }
}

impl Entry {
    /// Mean and smallest number of tokens of what it stands for, about.
    fn about_tokens(&self, system: Option<&str>) -> (f64, f64) {
        match self {
            Self::One(prompt) => {
                let tokens = prompt.about_tokens(system);
                (tokens, tokens)
            }
            Self::Generated { system: own, input_tokens } => {
                let system = own.as_deref().or(system).unwrap_or_default();
                let tokens = f64::from(*input_tokens) + system.chars().count() as f64 / CHARACTERS_PER_TOKEN;
                (tokens, tokens)
            }
            Self::Dataset(lines) => {
                let tokens = || lines.iter().map(|line| line.prompt.about_tokens(system));
                (tokens().sum::<f64>() / lines.len() as f64, tokens().fold(f64::INFINITY, f64::min))
            }
        }
    }

    /// See [`Prompt::canonical`]. A generated text is its size: the seed is in no hash.
    fn canonical(&self, name: &str) -> Value {
        match self {
            Self::One(prompt) => prompt.canonical(),
            Self::Generated { system, input_tokens } => {
                json!({"generate": input_tokens, "name": name, "system": system, "v": generate::VERSION})
            }
            Self::Dataset(lines) => {
                json!({"dataset": lines.iter().map(|line| line.prompt.canonical()).collect::<Vec<_>>()})
            }
        }
    }
}

impl Prompts {
    /// The prompts in the binary.
    pub(crate) fn shipped() -> Self {
        Self::parse(include_str!("../../prompts/prompts.json"), &Files::none())
            .unwrap_or_else(|errors| unreachable!("the shipped prompts are part of this program: {errors:?}"))
    }

    /// The names, in the order of the file.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether a prompt has this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<&Entry> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, entry)| entry)
    }

    /// What a prompt size stands for: a prompt, or the prompts of a mix with their weights.
    fn parts<'a>(&'a self, size: &'a str, mixes: &'a [Mix]) -> Vec<(&'a str, f64, &'a Entry)> {
        match mixes.iter().find(|mix| mix.name == size) {
            Some(mix) => {
                mix.sizes.iter().filter_map(|(name, weight)| Some((name.as_str(), *weight, self.get(name)?))).collect()
            }
            None => self.get(size).map(|entry| (size, 1.0, entry)).into_iter().collect(),
        }
    }

    /// About how many input tokens a request of this size has, on average: four characters each, and
    /// what `generate` asks for. `system` is the plan's.
    pub(crate) fn about_tokens(&self, size: &str, mixes: &[Mix], system: Option<&str>) -> f64 {
        let parts = self.parts(size, mixes);
        let total: f64 = parts.iter().map(|(_, weight, _)| weight).sum();
        let tokens = parts.iter().map(|(_, weight, entry)| weight * entry.about_tokens(system).0).sum::<f64>();
        if total > 0.0 { tokens / total } else { 0.0 }
    }

    /// The prompt with the fewest tokens that a request of this size may get, and how many that are.
    pub(crate) fn shortest<'a>(
        &'a self,
        size: &'a str,
        mixes: &'a [Mix],
        system: Option<&str>,
    ) -> Option<(&'a str, f64)> {
        let tokens = |(name, _, entry): (&'a str, f64, &Entry)| (name, entry.about_tokens(system).1);
        self.parts(size, mixes).into_iter().map(tokens).min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// How many distinct prompts requests of a size may get, and whether a data set is among them.
    pub(crate) fn distinct(&self, size: &str, mixes: &[Mix]) -> (usize, bool) {
        let parts = self.parts(size, mixes);
        let distinct = |entry: &Entry| match entry {
            Entry::One(_) | Entry::Generated { .. } => 1,
            Entry::Dataset(lines) => lines.iter().map(|line| &line.prompt).collect::<HashSet<_>>().len(),
        };
        let has_dataset = parts.iter().any(|(.., entry)| matches!(entry, Entry::Dataset(_)));
        (parts.iter().map(|(.., entry)| distinct(entry)).sum(), has_dataset)
    }

    /// All that determines what requests of a size are sent, for a hash.
    pub(crate) fn canonical(&self, size: &str, mixes: &[Mix]) -> Value {
        if mixes.iter().any(|mix| mix.name == size) {
            let part = |(name, weight, entry): (&str, f64, &Entry)| json!([weight, entry.canonical(name)]);
            return json!({"mix": self.parts(size, mixes).into_iter().map(part).collect::<Vec<_>>()});
        }
        self.get(size).map_or(Value::from(""), |entry| entry.canonical(size))
    }

    /// What requests of a size are drawn from in a run with this seed.
    pub(crate) fn source(&self, size: &str, mixes: &[Mix], seed: u64) -> Source {
        let parts = self.parts(size, mixes).into_iter().map(|(name, weight, entry)| {
            let choice = |line: Option<u32>, prompt: &Prompt| Choice {
                name: name.to_owned(),
                line,
                same_as: None,
                prompt: prompt.clone(),
            };
            let choices = match entry {
                Entry::One(prompt) => vec![choice(None, prompt)],
                Entry::Generated { system, input_tokens } => {
                    let text = generate::text(name, *input_tokens, seed);
                    vec![choice(None, &Prompt { system: system.clone(), ..Prompt::of_text(text) })]
                }
                Entry::Dataset(lines) => lines.iter().map(|line| choice(Some(line.number), &line.prompt)).collect(),
            };
            (weight, choices)
        });
        Source::new(parts.collect())
    }

    /// A source for each size, one for those that are the same.
    pub(crate) fn sources<'a>(
        &self,
        sizes: impl IntoIterator<Item = &'a str>,
        mixes: &[Mix],
        seed: u64,
    ) -> Vec<Arc<Source>> {
        let mut made: Vec<(&str, Arc<Source>)> = Vec::new();
        sizes
            .into_iter()
            .map(|size| {
                if let Some((_, source)) = made.iter().find(|(known, _)| *known == size) {
                    return Arc::clone(source);
                }
                let source = Arc::new(self.source(size, mixes, seed));
                made.push((size, Arc::clone(&source)));
                source
            })
            .collect()
    }
}
