//! Properties of replies that affect their times: reasoning first, burst, truncated at `max_tokens`, or without an
//! answer.

use super::sample::Sample;
use crate::record::Outcome;

/// Properties of the successes in the latencies; fractions are `None` without such replies.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Replies {
    /// Streams with content.
    pub(crate) streams: u64,
    /// Streams that began with reasoning.
    pub(crate) reasoned: u64,
    /// Median of (TTFAT - TTFT) / E2E of streams that contain reasoning and an answer.
    pub(crate) reasoning_time_share: Option<f64>,
    /// Streams that contain reasoning but no answer.
    pub(crate) without_answer: u64,
    /// Streams whose content arrived in one burst.
    pub(crate) bursts: u64,
    /// Replies, whether streamed or not.
    pub(crate) successes: u64,
    /// Replies that were cut at `max_tokens`.
    pub(crate) cut: u64,
}

impl Replies {
    /// Computes the properties of the successes among the samples.
    pub(super) fn from_samples<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut replies = Self::default();
        let mut shares = Vec::new();
        for sample in samples.into_iter().filter(|sample| sample.outcome == Outcome::Succeeded) {
            replies.successes += 1;
            replies.cut += u64::from(sample.cut);
            let Some(first) = sample.ttft_ms else { continue };
            replies.streams += 1;
            replies.bursts += u64::from(sample.is_burst());
            match (sample.ttfat_ms, sample.e2e_ms) {
                (None, _) => {
                    replies.reasoned += 1;
                    replies.without_answer += 1;
                }
                (Some(answer), e2e) if answer > first => {
                    replies.reasoned += 1;
                    shares.extend(e2e.filter(|e2e| *e2e > 0.0).map(|e2e| (answer - first) / e2e));
                }
                _ => {}
            }
        }
        shares.sort_by(f64::total_cmp);
        replies.reasoning_time_share = shares.get(shares.len().saturating_sub(1) / 2).copied();
        replies
    }

    /// Returns the fraction of streams that began with reasoning.
    pub(crate) fn reasoning_share(&self) -> Option<f64> {
        share(self.reasoned, self.streams)
    }

    /// Returns the fraction of streams that arrived in one burst.
    pub(crate) fn burst_share(&self) -> Option<f64> {
        share(self.bursts, self.streams)
    }

    /// Returns the fraction of replies that were cut at `max_tokens`.
    pub(crate) fn cut_share(&self) -> Option<f64> {
        share(self.cut, self.successes)
    }

    /// Returns whether cut and uncut replies are mixed, so that latencies contain two reply lengths. If all are cut,
    /// that is often intended; if almost none are cut, the effect is negligible.
    pub(super) fn is_mixed(&self) -> bool {
        self.cut_share().is_some_and(|share| (MIXED..=1.0 - MIXED).contains(&share))
    }

    /// Returns whether a relevant fraction of the streams ended before the answer began.
    pub(super) fn lacks_answers(&self) -> bool {
        self.without_answer > 0 && self.without_answer as f64 >= NO_ANSWER * self.streams as f64
    }
}

/// Minimum fraction of cut, and of uncut, replies for a mixture.
const MIXED: f64 = 0.01;

/// Minimum fraction of streams without an answer for a warning.
const NO_ANSWER: f64 = 0.01;

/// Returns the total output tokens of the successes.
pub(super) fn output_tokens<'a>(samples: impl Iterator<Item = &'a Sample>) -> f64 {
    let succeeded = samples.filter(|sample| sample.outcome == Outcome::Succeeded);
    succeeded.filter_map(|sample| sample.output_tokens).fold(0.0, |sum, tokens| sum + f64::from(tokens))
}

/// Returns whether the first token of a stream was not part of its answer.
pub(super) fn has_reasoned(sample: &Sample) -> bool {
    sample.ttft_ms.is_some() && sample.ttfat_ms != sample.ttft_ms
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(ttft: f64, ttfat: Option<f64>, e2e: f64, cut: bool) -> Sample {
        Sample {
            ttft_ms: Some(ttft),
            ttfat_ms: ttfat,
            e2e_ms: Some(e2e),
            tpot_ms: Some(1.0),
            cut,
            outcome: Outcome::Succeeded,
            ..super::super::collect::tests::sample()
        }
    }

    #[test]
    fn reasoning_truncation_and_bursts_are_counted() {
        let samples = [
            stream(100.0, Some(100.0), 500.0, false),
            stream(100.0, Some(300.0), 500.0, false),
            stream(100.0, Some(200.0), 500.0, true),
            stream(100.0, None, 500.0, true),
            stream(490.0, Some(490.0), 500.0, false),
        ];
        let replies = Replies::from_samples(&samples);
        assert_eq!((replies.streams, replies.reasoned, replies.without_answer), (5, 3, 1));
        assert_eq!((replies.bursts, replies.cut), (1, 2));
        assert_eq!(replies.reasoning_time_share, Some(0.2));
        assert_eq!((replies.reasoning_share(), replies.cut_share()), (Some(0.6), Some(0.4)));
        assert!(replies.is_mixed() && replies.lacks_answers());
    }

    #[test]
    fn uniformly_truncated_replies_are_not_mixed() {
        let cut = vec![stream(100.0, Some(100.0), 500.0, true); 200];
        assert!(!Replies::from_samples(&cut).is_mixed() && Replies::from_samples(&cut).cut_share() == Some(1.0));
        let mut one = vec![stream(100.0, Some(100.0), 500.0, false); 200];
        one[0].cut = true;
        assert!(!Replies::from_samples(&one).is_mixed(), "half a percent");
        let none = Replies::from_samples(&[]);
        assert_eq!((none.reasoning_share(), none.burst_share(), none.cut_share()), (None, None, None));
        assert!(!none.is_mixed() && !none.lacks_answers());
    }
}
