//! Failures of a cell by kind: a class and a message pattern without the parts that differ between requests.

use crate::record::class;
use crate::result::ErrorCount;
use crate::units::pattern::pattern;
use crate::units::timestamp;
use std::collections::BTreeMap;

/// Maximum number of kinds per cell. Further kinds are counted together, per class.
pub(crate) const MAX_KINDS: usize = 100;

/// Message of the kinds that are counted together.
pub(crate) const OTHER_MESSAGES: &str = "other messages";

/// Maximum length of a class and of a message, in characters. A journal is untrusted input.
const LONGEST_CLASS: usize = 100;
const LONGEST_MESSAGE: usize = 500;

/// Counts of failures by class and pattern.
#[derive(Debug, Clone, Default)]
pub(super) struct ErrorKinds {
    kinds: BTreeMap<(String, String), Kind>,
}

#[derive(Debug, Clone)]
struct Kind {
    /// `None` if messages differ.
    message: Option<String>,
    count: u64,
    first_s: f64,
    last_s: f64,
}

impl ErrorKinds {
    /// Counts one failure that ended at `at_s`, epoch seconds.
    pub(super) fn add(&mut self, class: &str, message: &str, at_s: f64) {
        let (class, message) = (shortened(class, LONGEST_CLASS), shortened(message, LONGEST_MESSAGE));
        let mut key = (class.to_owned(), pattern(message));
        let mut message = message;
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&key) {
            // A service may send any class.
            let known = class::find(class).map_or("other", |class| class.name);
            key = (known.to_owned(), OTHER_MESSAGES.to_owned());
            message = OTHER_MESSAGES;
        }
        let kind = self.kinds.entry(key).or_insert_with(|| Kind {
            message: Some(message.to_owned()),
            count: 0,
            first_s: f64::INFINITY,
            last_s: f64::NEG_INFINITY,
        });
        kind.count += 1;
        kind.first_s = kind.first_s.min(at_s);
        kind.last_s = kind.last_s.max(at_s);
        if kind.message.as_deref().is_some_and(|known| known != message) {
            kind.message = None;
        }
    }

    /// Returns the kinds, the most frequent first. Kinds that are counted together come last.
    pub(super) fn by_frequency(self) -> Vec<ErrorCount> {
        let time = |seconds: f64| timestamp::iso((seconds * 1e3) as u64);
        let count = |((class, pattern), kind): ((String, String), Kind)| {
            let message = kind.message.unwrap_or_else(|| pattern.clone());
            ErrorCount {
                hint: class::hint(&class, &message).unwrap_or_default().to_owned(),
                class,
                message,
                pattern,
                count: kind.count,
                first_seen: time(kind.first_s),
                last_seen: time(kind.last_s),
            }
        };
        let mut counts: Vec<ErrorCount> = self.kinds.into_iter().map(count).collect();
        counts.sort_by_key(|error| (error.pattern == OTHER_MESSAGES, std::cmp::Reverse(error.count)));
        counts
    }
}

/// Returns the start of a text, at most `most` characters.
fn shortened(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(errors: impl IntoIterator<Item = (&'static str, String)>) -> Vec<ErrorCount> {
        let mut kinds = ErrorKinds::default();
        for (index, (class, message)) in errors.into_iter().enumerate() {
            kinds.add(class, &message, index as f64);
        }
        kinds.by_frequency()
    }

    #[test]
    fn messages_that_differ_in_numbers_are_one_kind() {
        let chunks = (1..=2_000).map(|n| ("stream_incomplete", format!("the stream ended after {n} chunks")));
        let errors = counted(chunks.chain([("timeout", "no reply within 60 s".into())]));
        let shown = |error: &ErrorCount| {
            (error.message.clone(), error.count, error.first_seen.clone(), error.last_seen.clone())
        };
        let time = |text: &str| format!("1970-01-01T{text}Z");
        assert_eq!(
            errors.iter().map(shown).collect::<Vec<_>>(),
            [
                ("the stream ended after N chunks".into(), 2_000, time("00:00:00"), time("00:33:19")),
                ("no reply within 60 s".into(), 1, time("00:33:20"), time("00:33:20")),
            ],
            "a message that is always the same is shown as it is"
        );
    }

    #[test]
    fn kinds_are_bounded_and_no_failure_is_lost() {
        let word =
            |n: u32| [n / 26 % 26, n % 26, n / 676].map(|n| char::from(b'a' + n as u8)).iter().collect::<String>();
        let errors = counted((0..2_000).map(|n| {
            let class = if n % 2 == 0 { "ExpiredTokenException" } else { "AClassOfAnotherService" };
            (class, format!("failed at {}", word(n)))
        }));
        assert_eq!(errors.len(), MAX_KINDS + 2);
        assert_eq!(errors.iter().map(|error| error.count).sum::<u64>(), 2_000);
        let together: Vec<_> = errors[MAX_KINDS..]
            .iter()
            .map(|error| (error.class.as_str(), error.message.as_str(), error.count))
            .collect();
        assert_eq!(
            together,
            [("ExpiredTokenException", OTHER_MESSAGES, 950), ("other", OTHER_MESSAGES, 950)],
            "the class stays, since exit codes depend on it"
        );
    }
}
