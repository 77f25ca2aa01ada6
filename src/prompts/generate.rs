//! Generated prompts: varied notes about a business, of a given size, with a bounded task at the end. The text is drawn from
//! the run's seed, so that a run can be repeated exactly.
//!
//! The size assumes four words per five tokens, which is the ratio of these words with two public tokenizers (`cl100k_base`
//! and `o200k_base`: 3 % fewer tokens); four characters per token give almost the same (5 % more). The count of the model's
//! own tokenizer is in the records (`input_tokens`).

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use std::sync::LazyLock;

/// Streams of the run's seed for generated texts, one per name.
const STREAMS: u64 = 1 << 60;

/// Version of the generator. It is part of the hash, since another version generates another text.
pub(super) const VERSION: u32 = 1;

/// Minimum size in tokens: in a shorter text, the task would be a large part.
pub(super) const MIN_TOKENS: u32 = 200;

/// Maximum size in tokens, more than any context window.
pub(super) const MAX_TOKENS: u32 = 10_000_000;

/// Words per token of the generated text.
const WORDS_PER_TOKEN: f64 = 0.8;

/// The task about the notes. It is bounded, so that the length of replies does not depend on the size.
const TASK: &str = "Task: say in at most 40 words which of these notes matters most, and why.";

/// The parts of sentences.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    subjects: Vec<String>,
    verbs: Vec<String>,
    objects: Vec<String>,
    times: Vec<String>,
    clauses: Vec<String>,
    conjunctions: Vec<String>,
}

static WORDS: LazyLock<Words> =
    LazyLock::new(|| toml::from_str(include_str!("words.toml")).expect("the embedded words are TOML"));

/// Generates a text of about `input_tokens` tokens for a prompt with this name in a run with this seed.
pub(super) fn generate_text(name: &str, input_tokens: u32, seed: u64) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAMS | u64::from(fnv(name)));
    let target_words = (f64::from(input_tokens) * WORDS_PER_TOKEN) as usize;
    let mut text = String::with_capacity(input_tokens as usize * 5);
    let mut words = count_words(TASK);
    let mut note = 1;
    loop {
        let mut paragraph = format!("Note {note}.");
        let mut is_full = false;
        for _ in 0..rng.random_range(3..=6) {
            let sentence = draw_sentence(&mut rng);
            // The nearest number of whole sentences.
            is_full = words + count_words(&paragraph) + count_words(&sentence) / 2 >= target_words;
            if is_full {
                break;
            }
            paragraph.push(' ');
            paragraph += &sentence;
        }
        words += count_words(&paragraph);
        note += 1;
        text += &paragraph;
        text += "\n\n";
        if is_full {
            return text + TASK;
        }
    }
}

fn draw_sentence(rng: &mut ChaCha8Rng) -> String {
    let words = &*WORDS;
    let mut one = |from: &'static [String]| from.choose(rng).map(String::as_str).unwrap_or_default();
    let (subject, verb, object) = (one(&words.subjects), one(&words.verbs), one(&words.objects));
    let (time, conjunction, clause) = (one(&words.times), one(&words.conjunctions), one(&words.clauses));
    let number = rng.random_range(2..=980_u32);
    let capitalized = {
        let mut letters = subject.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    match rng.random_range(0..4_u32) {
        0 => format!("{capitalized} {verb} {number} {object} {time}."),
        1 => format!("{capitalized} {verb} the {object} {time}, {conjunction} {clause}."),
        2 => format!(
            "Of {number} {object}, {subject} {verb} one in {}, {conjunction} {clause}.",
            rng.random_range(2..=9_u32)
        ),
        _ => format!("It was {subject} who {verb} {number} {object} {time}, {conjunction} {clause}."),
    }
}

fn count_words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Returns the 32-bit FNV-1a hash.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_within_a_tenth_by_words_and_by_characters() {
        for tokens in [MIN_TOKENS, 1_000, 10_000, 100_000] {
            for seed in 0..3 {
                let text = generate_text("size", tokens, seed);
                let by_words = count_words(&text) as f64 * 5.0 / 4.0 / f64::from(tokens);
                let by_characters = text.chars().count() as f64 / 4.0 / f64::from(tokens);
                let bound = if tokens == MIN_TOKENS { 0.15 } else { 0.1 };
                assert!((by_words - 1.0).abs() < bound, "{tokens}: {by_words} by words");
                assert!((by_characters - 1.0).abs() < bound, "{tokens}: {by_characters} by characters");
                assert!(text.ends_with(TASK));
            }
        }
    }

    /// `cell_hash` depends on it: another text requires another [`VERSION`].
    #[test]
    fn text_of_this_version_is_unchanged() {
        let hashes = (fnv(&generate_text("a", 500, 1)), fnv(&generate_text("size", 10_000, 7)));
        assert_eq!((VERSION, hashes), (1, (205_870_999, 3_312_899_994)));
    }

    #[test]
    fn text_depends_on_the_seed_and_the_name() {
        assert_eq!(generate_text("a", 500, 1), generate_text("a", 500, 1));
        assert_ne!(generate_text("a", 500, 1), generate_text("a", 500, 2));
        assert_ne!(generate_text("a", 500, 1), generate_text("b", 500, 1), "prompts do not share a prefix");
    }

    #[test]
    fn sentences_are_rarely_repeated() {
        let text = generate_text("a", 10_000, 1);
        let mut sentences: Vec<&str> = text.split(". ").collect();
        let all = sentences.len();
        sentences.sort_unstable();
        sentences.dedup();
        assert!(sentences.len() * 100 > all * 95, "{} of {all}", sentences.len());
    }
}
