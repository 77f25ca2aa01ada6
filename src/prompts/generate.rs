//! Text that nobody has written: notes about a business, varied and of a given size, with a bounded
//! task at the end. It is drawn from the run's seed, so that a run can be repeated word for word.
//!
//! The size goes by four words for five tokens, which is what these words make with two public
//! tokenizers (`cl100k_base` and `o200k_base`: 3 % fewer), and four characters for a token say nearly
//! the same (5 % more). What a model's own tokenizer makes of it is in the records (`input_tokens`).

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use std::sync::LazyLock;

/// The streams of the run's seed from which texts are written, one per name.
const STREAMS: u64 = 1 << 60;

/// Of what is written here: another version writes another text, and a hash must tell them apart.
pub(super) const VERSION: u32 = 1;

/// Below it the task alone would be a good part of the text.
pub(super) const SHORTEST: u32 = 200;

/// More than any model reads.
pub(super) const LONGEST: u32 = 10_000_000;

/// Four words for five tokens.
const WORDS_PER_TOKEN: f64 = 0.8;

/// What is asked about the notes. Bounded, so that replies are of one length whatever the size.
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

/// About so many tokens, for a prompt of this name in a run with this seed.
pub(super) fn text(name: &str, input_tokens: u32, seed: u64) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAMS | u64::from(fnv(name)));
    let wanted = (f64::from(input_tokens) * WORDS_PER_TOKEN) as usize;
    let mut text = String::with_capacity(input_tokens as usize * 5);
    let mut words = count(TASK);
    let mut note = 1;
    loop {
        let mut paragraph = format!("Note {note}.");
        let mut is_full = false;
        for _ in 0..rng.random_range(3..=6) {
            let sentence = sentence(&mut rng);
            // As near as whole sentences come.
            is_full = words + count(&paragraph) + count(&sentence) / 2 >= wanted;
            if is_full {
                break;
            }
            paragraph.push(' ');
            paragraph += &sentence;
        }
        words += count(&paragraph);
        note += 1;
        text += &paragraph;
        text += "\n\n";
        if is_full {
            return text + TASK;
        }
    }
}

fn sentence(rng: &mut ChaCha8Rng) -> String {
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

fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

/// FNV-1a of 32 bits.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_within_a_tenth_by_words_and_by_characters() {
        for tokens in [SHORTEST, 1_000, 10_000, 100_000] {
            for seed in 0..3 {
                let text = text("size", tokens, seed);
                let by_words = count(&text) as f64 * 5.0 / 4.0 / f64::from(tokens);
                let by_characters = text.chars().count() as f64 / 4.0 / f64::from(tokens);
                let bound = if tokens == SHORTEST { 0.15 } else { 0.1 };
                assert!((by_words - 1.0).abs() < bound, "{tokens}: {by_words} by words");
                assert!((by_characters - 1.0).abs() < bound, "{tokens}: {by_characters} by characters");
                assert!(text.ends_with(TASK));
            }
        }
    }

    /// `cell_hash` counts on it: a text that changes needs another [`VERSION`].
    #[test]
    fn the_text_of_this_version_stays() {
        assert_eq!((VERSION, fnv(&text("a", 500, 1)), fnv(&text("size", 10_000, 7))), (1, 205_870_999, 3_312_899_994));
    }

    #[test]
    fn the_seed_and_the_name_decide() {
        assert_eq!(text("a", 500, 1), text("a", 500, 1));
        assert_ne!(text("a", 500, 1), text("a", 500, 2));
        assert_ne!(text("a", 500, 1), text("b", 500, 1), "one prompt is not the beginning of another");
    }

    #[test]
    fn sentences_do_not_come_again_and_again() {
        let text = text("a", 10_000, 1);
        let mut sentences: Vec<&str> = text.split(". ").collect();
        let all = sentences.len();
        sentences.sort_unstable();
        sentences.dedup();
        assert!(sentences.len() * 100 > all * 95, "{} of {all}", sentences.len());
    }
}
