//! The random draws of a request. The draws of request k use stream k of the seed: the same seed gives the same
//! server, independent of timing.

use super::model::Model;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};
use std::time::Duration;

/// The draws of one request, before load, tier and cache change them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draw {
    /// Time to the first token without prefill.
    pub(super) ttft: Duration,
    /// Time per output token after the first.
    pub(super) tpot: Duration,
    /// Length of the reply in tokens, before `maxTokens`.
    pub(super) output_tokens: u32,
    /// Uniform in 0..1, compared with the rates of the faults.
    pub(super) fault: f64,
    /// Uniform in 0..1, compared with `flex_as_default`.
    pub(super) tier: f64,
}

impl Draw {
    pub(super) fn new(model: &Model, number: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(model.seed);
        rng.set_stream(number);
        let ttft = log_normal(model.ttft.as_secs_f64(), model.ttft_sigma, &mut rng);
        let tpot = log_normal(model.tpot.as_secs_f64(), model.tpot_sigma, &mut rng);
        let tokens = log_normal(model.output_tokens, model.output_tokens_sigma, &mut rng);
        Self {
            ttft: Duration::from_secs_f64(ttft),
            tpot: Duration::from_secs_f64(tpot),
            output_tokens: tokens.round().clamp(1.0, 1e6) as u32,
            fault: rng.random(),
            tier: rng.random(),
        }
    }
}

/// Returns a sample of the log-normal distribution with this median, at most 1e6.
fn log_normal(median: f64, sigma: f64, rng: &mut ChaCha8Rng) -> f64 {
    let spread = LogNormal::new(0.0, sigma).map_or(1.0, |distribution| distribution.sample(rng));
    (median * spread).min(1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_draws_and_request_numbers_differ() {
        let model = Model::default();
        assert_eq!(Draw::new(&model, 7), Draw::new(&model, 7));
        assert_ne!(Draw::new(&model, 7), Draw::new(&model, 8));
        assert_ne!(Draw::new(&model, 7), Draw::new(&Model { seed: 2, ..model }, 7));
    }

    #[test]
    fn half_of_the_draws_are_below_the_median() {
        let model = Model::default();
        let below = (0..2_000).filter(|number| Draw::new(&model, *number).ttft < model.ttft).count();
        assert!((900..1_100).contains(&below), "{below}");
    }
}
