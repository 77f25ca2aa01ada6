//! Assignment of prompts to requests. The n-th request of every cell with the same prompt size has the same prompt: it
//! depends only on the run's seed, the repetition and n, not on other axes or the user.

use super::prompt::Prompt;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;

/// Streams of the run's seed for prompts: per repetition one for the weights of a mix, and one for the order of each data
/// set.
const STREAMS: u64 = 1 << 61;

/// Maximum number of words of a stream per draw.
const WORDS: u128 = 16;

/// Maximum tokens that the model's template and the unique line of a cache mode add to a prompt.
pub(crate) const TEMPLATE_TOKENS: u64 = 64;

/// All prompts of one prompt size.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    choices: Vec<Choice>,
    parts: Vec<Part>,
}

/// One prompt of a source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    /// Name of the prompt; in a mix it differs from the prompt size.
    pub(crate) name: String,
    /// Line in a data set, from 1.
    pub(crate) line: Option<u32>,
    /// First line with the same prompt, if it is another one.
    pub(crate) same_as: Option<u32>,
    pub(crate) prompt: Prompt,
}

/// One name of a mix: a range of the choices.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    weight: f64,
    first: usize,
    count: usize,
}

impl Source {
    pub(super) fn new(parts: Vec<(f64, Vec<Choice>)>) -> Self {
        let mut source = Self { choices: Vec::new(), parts: Vec::new() };
        for (weight, mut choices) in parts {
            mark_repeated(&mut choices);
            source.parts.push(Part { weight, first: source.choices.len(), count: choices.len() });
            source.choices.extend(choices);
        }
        source
    }

    /// Creates a source with one text.
    pub(crate) fn from_text(text: &str) -> Self {
        let choice = Choice { name: "text".into(), line: None, same_as: None, prompt: Prompt::from_text(text) };
        Self::new(vec![(1.0, vec![choice])])
    }

    /// Returns all prompts.
    pub(crate) fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// Returns an upper bound of the tokens of a prompt, including its system prompt and the model's template: no text has
    /// more tokens than bytes. `system` is the plan's.
    pub(crate) fn max_tokens(&self, system: Option<&str>) -> u64 {
        self.max_bytes(system).saturating_add(TEMPLATE_TOKENS)
    }

    /// Returns the bytes of the longest prompt, including its system prompt.
    fn max_bytes(&self, system: Option<&str>) -> u64 {
        let bytes = |choice: &Choice| {
            let own = choice.prompt.system.as_deref().or(system).unwrap_or_default();
            own.len() + choice.prompt.messages.iter().map(|message| message.text.len()).sum::<usize>()
        };
        self.choices.iter().map(bytes).max().unwrap_or(0) as u64
    }

    /// Returns the draws of one repetition.
    pub(crate) fn draws(&self, seed: u64, repetition: u32) -> PromptDraws {
        let stream = |number: usize| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(STREAMS | u64::from(repetition) << 20 | number as u64);
            rng
        };
        let mut upper = 0.0;
        let parts = self.parts.iter().enumerate().map(|(index, part)| {
            upper += part.weight;
            let mut order: Vec<usize> = (part.first..part.first + part.count).collect();
            order.shuffle(&mut stream(index + 1));
            (upper, order)
        });
        PromptDraws { parts: parts.collect(), rng: stream(0) }
    }
}

/// Records which lines of a data set repeat the prompt of an earlier line.
fn mark_repeated(choices: &mut [Choice]) {
    let mut first: HashMap<&Prompt, u32> = HashMap::new();
    let mut same_as: Vec<Option<u32>> = Vec::new();
    for Choice { line, prompt, .. } in &*choices {
        same_as.push(line.and_then(|line| Some(*first.entry(prompt).or_insert(line)).filter(|first| *first != line)));
    }
    for (choice, same_as) in choices.iter_mut().zip(same_as) {
        choice.same_as = same_as;
    }
}

/// The draws of one repetition, with random access.
#[derive(Debug, Clone)]
pub(crate) struct PromptDraws {
    /// Cumulative weight of each part, and its choices in shuffled order.
    parts: Vec<(f64, Vec<usize>)>,
    rng: ChaCha8Rng,
}

impl PromptDraws {
    /// Returns the index in [`Source::choices`] for the n-th request, from 0. A data set is cycled in its shuffled order.
    pub(crate) fn pick(&self, n: u64) -> usize {
        let part = match &self.parts[..] {
            [] => return 0,
            [only] => only,
            [.., last] => {
                let mut rng = self.rng.clone();
                rng.set_word_pos(u128::from(n) * WORDS);
                let at = rng.random_range(0.0..last.0);
                self.parts.iter().find(|(upper, _)| at < *upper).unwrap_or(last)
            }
        };
        part.1[(n % part.1.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(weights: &[(f64, usize)]) -> Source {
        let choices = |name: usize, count: usize| {
            (0..count).map(move |line| Choice {
                name: name.to_string(),
                line: Some(line as u32),
                same_as: None,
                prompt: Prompt::from_text("x"),
            })
        };
        Source::new(
            weights.iter().enumerate().map(|(n, (weight, count))| (*weight, choices(n, *count).collect())).collect(),
        )
    }

    #[test]
    fn mix_is_drawn_by_weight() {
        let drawing = source(&[(7.0, 1), (3.0, 1)]).draws(5, 1);
        let n = 20_000_u64;
        let second = (0..n).filter(|n| drawing.pick(*n) == 1).count() as f64 / n as f64;
        // Five standard deviations of a binomial.
        assert!((second - 0.3).abs() < 5.0 * (0.21 / n as f64).sqrt(), "{second}");
        let runs = (1..n).filter(|n| drawing.pick(*n) == drawing.pick(n - 1)).count() as f64 / (n - 1) as f64;
        assert!((runs - 0.58).abs() < 0.02, "neighbours are independent: {runs}");
    }

    #[test]
    fn draws_depend_only_on_the_seed_and_the_repetition() {
        let source = source(&[(1.0, 5), (1.0, 4)]);
        let draws = |seed, repetition| {
            let drawing = source.draws(seed, repetition);
            (0..50).map(|n| drawing.pick(n)).collect::<Vec<_>>()
        };
        assert_eq!(draws(1, 1), draws(1, 1));
        assert_ne!(draws(1, 1), draws(2, 1));
        assert_ne!(draws(1, 1), draws(1, 2));
        let drawing = source.draws(1, 1);
        assert_eq!(
            (0..50).rev().map(|n| drawing.pick(n)).collect::<Vec<_>>(),
            draws(1, 1).into_iter().rev().collect::<Vec<_>>()
        );
    }

    #[test]
    fn data_set_is_used_completely_before_it_repeats() {
        let drawing = source(&[(1.0, 40)]).draws(3, 1);
        let mut first: Vec<usize> = (0..40).map(|n| drawing.pick(n)).collect();
        assert_ne!(first, (0..40).collect::<Vec<_>>(), "shuffled");
        assert_eq!(drawing.pick(40), first[0]);
        first.sort_unstable();
        assert_eq!(first, (0..40).collect::<Vec<_>>());
    }
}
