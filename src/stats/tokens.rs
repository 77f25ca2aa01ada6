//! Sums of tokens, which can be added over cells.

use super::sample::Sample;
use crate::record::Outcome;
use crate::result::Tokens;

/// Sums of the tokens of successes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TokenSums {
    successes: u64,
    /// Replies that report input tokens, and their sum.
    input: (u64, u64),
    /// Replies that report output tokens, and their sum.
    output: (u64, u64),
}

impl TokenSums {
    pub(super) fn from_samples<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut sums = Self::default();
        for sample in samples.into_iter().filter(|sample| sample.outcome == Outcome::Succeeded) {
            sums.successes += 1;
            for (sum, tokens) in [(&mut sums.input, sample.input_tokens), (&mut sums.output, sample.output_tokens)] {
                if let Some(tokens) = tokens {
                    *sum = (sum.0 + 1, sum.1 + u64::from(tokens));
                }
            }
        }
        sums
    }

    pub(super) fn add(self, other: Self) -> Self {
        let add = |one: (u64, u64), other: (u64, u64)| (one.0 + other.0, one.1 + other.1);
        Self {
            successes: self.successes + other.successes,
            input: add(self.input, other.input),
            output: add(self.output, other.output),
        }
    }

    pub(super) fn tokens(self) -> Tokens {
        let mean = |(n, sum): (u64, u64)| (n > 0).then(|| sum as f64 / n as f64);
        let total = |(n, sum): (u64, u64)| (n > 0 || self.successes == 0).then_some(sum);
        Tokens {
            avg_input: mean(self.input),
            avg_output: mean(self.output),
            total_input: total(self.input),
            total_output: total(self.output),
        }
    }
}
