//! Text that nobody has written: notes about a business, varied and of a given size, with a bounded
//! task at the end. It is drawn from the run's seed, so that a run can be repeated word for word.
//!
//! The size goes by four words for five tokens, which is what these words make with two public
//! tokenizers (`cl100k_base` and `o200k_base`: 3 % fewer), and four characters for a token say nearly
//! the same (5 % more). What a model's own tokenizer makes of it is in the records (`input_tokens`).

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

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

const WHO: [&str; 28] = [
    "the north team",
    "a new client",
    "the night shift",
    "our supplier in Lyon",
    "the finance desk",
    "a visitor",
    "the old mill",
    "the shop on Main Street",
    "the second plant",
    "a driver",
    "the school board",
    "our legal adviser",
    "the port office",
    "the test group",
    "a farmer from Ohio",
    "the support line",
    "the branch in Porto",
    "the chief engineer",
    "a local paper",
    "the city council",
    "the repair crew",
    "the ferry company",
    "a former manager",
    "the warehouse",
    "the sales office",
    "an outside auditor",
    "the harbour master",
    "the design studio",
];
const DID: [&str; 28] = [
    "moved",
    "sold",
    "counted",
    "checked",
    "returned",
    "delayed",
    "painted",
    "repaired",
    "ordered",
    "cancelled",
    "measured",
    "replaced",
    "described",
    "shipped",
    "refused",
    "compared",
    "reported",
    "planned",
    "opened",
    "closed",
    "lost",
    "found",
    "tested",
    "approved",
    "rejected",
    "promised",
    "stored",
    "unpacked",
];
const WHAT: [&str; 32] = [
    "pumps",
    "blue crates",
    "copper pipes",
    "train tickets",
    "wool coats",
    "steel doors",
    "solar panels",
    "glass jars",
    "paper files",
    "garden tools",
    "spare wheels",
    "kitchen chairs",
    "water meters",
    "cheap radios",
    "boxes of tea",
    "bags of seed",
    "silver coins",
    "road signs",
    "letters",
    "oak tables",
    "phone lines",
    "parking permits",
    "invoices",
    "safety helmets",
    "paint cans",
    "winter tyres",
    "window frames",
    "hand drills",
    "books",
    "maps of the coast",
    "light bulbs",
    "fishing nets",
];
const WHEN: [&str; 20] = [
    "on Monday",
    "in early May",
    "last week",
    "after the storm",
    "before lunch",
    "at the end of June",
    "during the strike",
    "in the third quarter",
    "by noon",
    "over the holidays",
    "two days late",
    "in the spring",
    "at first light",
    "since April",
    "before the audit",
    "for the first time",
    "after a long talk",
    "without a word",
    "as agreed",
    "in one afternoon",
];
const THEN: [&str; 24] = [
    "nobody had asked for it",
    "the price fell by a third",
    "the bridge was still shut",
    "that was cheaper than we had hoped",
    "the old plan was kept",
    "two people left the project",
    "the numbers did not add up",
    "the weather was to blame",
    "it took the whole day",
    "a second look is due in the autumn",
    "the board was not told",
    "all of them were paid in full",
    "half of the stock is gone",
    "the contract runs out soon",
    "the roof has leaked since then",
    "a better offer came too late",
    "the water was cut off",
    "no one could find the key",
    "the machine stood still for hours",
    "there is room for more",
    "the report has no page on it",
    "a copy was sent to the bank",
    "the road was clear again",
    "this had happened before",
];
const JOIN: [&str; 6] = ["because", "although", "and", "but", "so that", "while"];

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
    let mut one = |from: &[&'static str]| from.choose(rng).copied().unwrap_or_default();
    let (who, did, what, when, join, then) = (one(&WHO), one(&DID), one(&WHAT), one(&WHEN), one(&JOIN), one(&THEN));
    let number = rng.random_range(2..=980_u32);
    let who_first = {
        let mut letters = who.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    };
    match rng.random_range(0..4_u32) {
        0 => format!("{who_first} {did} {number} {what} {when}."),
        1 => format!("{who_first} {did} the {what} {when}, {join} {then}."),
        2 => format!("Of {number} {what}, {who} {did} one in {}, {join} {then}.", rng.random_range(2..=9_u32)),
        _ => format!("It was {who} who {did} {number} {what} {when}, {join} {then}."),
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
