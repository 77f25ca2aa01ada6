//! Prompts by name: prompts files and data sets together, and what they mean for a prompt size.

use super::generate;
use super::prompt::{CHARACTERS_PER_TOKEN, Prompt};
use super::source::{Choice, Source};
use crate::plan::Mix;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// Prompts by name, in the order of the file, followed by the plan's data sets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prompts(pub(super) Vec<(String, Entry)>);

/// The prompts of one name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entry {
    /// One prompt for every request.
    One(Prompt),
    /// One prompt for every request of a run, generated from the run's seed.
    Generated { system: Option<String>, input_tokens: u32 },
    /// One prompt per line.
    Dataset(Vec<Line>),
}

/// A line of a data set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// Line number, from 1.
    pub(super) number: u32,
    pub(super) prompt: Prompt,
}

impl Entry {
    /// Returns the mean and the minimum of the estimated numbers of tokens.
    fn estimated_tokens(&self, system: Option<&str>) -> (f64, f64) {
        match self {
            Self::One(prompt) => {
                let tokens = prompt.estimated_tokens(system);
                (tokens, tokens)
            }
            Self::Generated { system: own, input_tokens } => {
                let system = own.as_deref().or(system).unwrap_or_default();
                let tokens = f64::from(*input_tokens) + system.chars().count() as f64 / CHARACTERS_PER_TOKEN;
                (tokens, tokens)
            }
            Self::Dataset(lines) => {
                let tokens = || lines.iter().map(|line| line.prompt.estimated_tokens(system));
                (tokens().sum::<f64>() / lines.len() as f64, tokens().fold(f64::INFINITY, f64::min))
            }
        }
    }

    /// See [`Prompt::canonical`]. A generated text is represented by its size: the seed is in no hash.
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
    /// Returns the names in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Returns whether a prompt has this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, entry)| entry)
    }

    /// Returns the prompts of a size with their weights: one prompt, or the prompts of a mix.
    fn parts<'a>(&'a self, size: &'a str, mixes: &'a [Mix]) -> Vec<(&'a str, f64, &'a Entry)> {
        match mixes.iter().find(|mix| mix.name == size) {
            Some(mix) => {
                mix.sizes.iter().filter_map(|(name, weight)| Some((name.as_str(), *weight, self.get(name)?))).collect()
            }
            None => self.get(size).map(|entry| (size, 1.0, entry)).into_iter().collect(),
        }
    }

    /// Returns the estimated mean number of input tokens of a request of this size. `system` is the plan's.
    pub(crate) fn estimated_tokens(&self, size: &str, mixes: &[Mix], system: Option<&str>) -> f64 {
        let parts = self.parts(size, mixes);
        let total: f64 = parts.iter().map(|(_, weight, _)| weight).sum();
        let tokens = parts.iter().map(|(_, weight, entry)| weight * entry.estimated_tokens(system).0).sum::<f64>();
        if total > 0.0 { tokens / total } else { 0.0 }
    }

    /// Returns the shortest prompt of a size and its estimated number of tokens.
    pub(crate) fn shortest<'a>(
        &'a self,
        size: &'a str,
        mixes: &'a [Mix],
        system: Option<&str>,
    ) -> Option<(&'a str, f64)> {
        let tokens = |(name, _, entry): (&'a str, f64, &Entry)| (name, entry.estimated_tokens(system).1);
        self.parts(size, mixes).into_iter().map(tokens).min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Returns the number of distinct prompts of a size, and whether a data set is among them.
    pub(crate) fn distinct(&self, size: &str, mixes: &[Mix]) -> (usize, bool) {
        let parts = self.parts(size, mixes);
        let distinct = |entry: &Entry| match entry {
            Entry::One(_) | Entry::Generated { .. } => 1,
            Entry::Dataset(lines) => lines.iter().map(|line| &line.prompt).collect::<HashSet<_>>().len(),
        };
        let has_dataset = parts.iter().any(|(.., entry)| matches!(entry, Entry::Dataset(_)));
        (parts.iter().map(|(.., entry)| distinct(entry)).sum(), has_dataset)
    }

    /// Returns everything that determines the prompts of a size, for a hash.
    pub(crate) fn canonical(&self, size: &str, mixes: &[Mix]) -> Value {
        if mixes.iter().any(|mix| mix.name == size) {
            let part = |(name, weight, entry): (&str, f64, &Entry)| json!([weight, entry.canonical(name)]);
            return json!({"mix": self.parts(size, mixes).into_iter().map(part).collect::<Vec<_>>()});
        }
        self.get(size).map_or(Value::from(""), |entry| entry.canonical(size))
    }

    /// Returns the source of the prompts of a size in a run with this seed.
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
                    let text = generate::generate_text(name, *input_tokens, seed);
                    vec![choice(None, &Prompt { system: system.clone(), ..Prompt::from_text(text) })]
                }
                Entry::Dataset(lines) => lines.iter().map(|line| choice(Some(line.number), &line.prompt)).collect(),
            };
            (weight, choices)
        });
        Source::new(parts.collect())
    }

    /// Returns a source for each size; equal sizes share one.
    pub(crate) fn sources<'a>(
        &self,
        sizes: impl IntoIterator<Item = &'a str>,
        mixes: &[Mix],
        seed: u64,
    ) -> Vec<Arc<Source>> {
        let mut sources: Vec<(&str, Arc<Source>)> = Vec::new();
        sizes
            .into_iter()
            .map(|size| {
                if let Some((_, source)) = sources.iter().find(|(known, _)| *known == size) {
                    return Arc::clone(source);
                }
                let source = Arc::new(self.source(size, mixes, seed));
                sources.push((size, Arc::clone(&source)));
                source
            })
            .collect()
    }
}
