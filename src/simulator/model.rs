//! The configuration of the simulated endpoint: `[simulator]` of a plan.

use crate::units::duration::text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How the simulated endpoint behaves. Times are drawn per request from log-normal distributions;
/// every draw comes from `seed` and the request's number, so that a seed repeats itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// The seed of everything that is drawn.
    pub seed: u64,
    /// Median time to the first token.
    #[serde(with = "text")]
    #[schemars(with = "crate::units::duration::Text")]
    pub ttft: Duration,
    /// Sigma of its logarithm; 0 is always the median.
    pub ttft_sigma: f64,
    /// What each input token that is not cached adds to the time to the first token.
    #[serde(with = "text")]
    #[schemars(with = "crate::units::duration::Text")]
    pub prefill_per_token: Duration,
    /// Median time per further output token.
    #[serde(with = "text")]
    #[schemars(with = "crate::units::duration::Text")]
    pub tpot: Duration,
    /// Sigma of its logarithm.
    pub tpot_sigma: f64,
    /// Median length of a reply in tokens, before `maxTokens` cuts it.
    pub output_tokens: f64,
    /// Sigma of its logarithm.
    pub output_tokens_sigma: f64,
    /// The share of a reply's tokens that is reasoning, which comes before the answer; 0 to 1.
    pub reasoning: f64,
    /// All times of the tier `priority` are multiplied by this.
    pub priority_factor: f64,
    /// All times of the tier `flex` are multiplied by this.
    pub flex_factor: f64,
    /// Requests in flight above which all times grow in proportion (in flight / capacity, taken when
    /// a request arrives); 0 is no limit.
    pub capacity: u32,
    /// Requests per second above which a token bucket throttles; 0 is off.
    pub throttle_rate: f64,
    /// Requests that the bucket holds.
    pub throttle_burst: u32,
    /// Whether prompts are cached without being asked for, as several models do.
    pub implicit_cache: bool,
    /// Prefixes shorter than so many tokens are not cached.
    pub cache_min_tokens: u32,
    /// How long a prefix stays cached after its last use.
    #[serde(with = "text")]
    #[schemars(with = "crate::units::duration::Text")]
    pub cache_ttl: Duration,
    /// The share of `flex` requests served as `default`, 0 to 1; the reply says so.
    pub flex_as_default: f64,
    /// So often the server stands still; 0s is never.
    #[serde(with = "text")]
    #[schemars(with = "crate::units::duration::Text")]
    pub freeze_every: Duration,
    /// For so long.
    #[serde(with = "text")]
    #[schemars(with = "crate::units::duration::Text")]
    pub freeze_for: Duration,
    /// Models answered with `ResourceNotFoundException`.
    pub missing_models: Vec<String>,
    /// Models answered with `AccessDeniedException`.
    pub denied_models: Vec<String>,
    /// Tiers answered with `ValidationException`, as models that lack a tier do.
    pub refused_tiers: Vec<String>,
    /// Faults, each at a rate.
    pub faults: Faults,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            seed: 1,
            ttft: Duration::from_millis(350),
            ttft_sigma: 0.3,
            prefill_per_token: Duration::from_micros(100),
            tpot: Duration::from_millis(8),
            tpot_sigma: 0.2,
            output_tokens: 180.0,
            output_tokens_sigma: 0.3,
            reasoning: 0.0,
            priority_factor: 0.75,
            flex_factor: 1.6,
            capacity: 60,
            throttle_rate: 0.0,
            throttle_burst: 10,
            implicit_cache: true,
            cache_min_tokens: 1_024,
            cache_ttl: Duration::from_secs(300),
            flex_as_default: 0.0,
            freeze_every: Duration::ZERO,
            freeze_for: Duration::ZERO,
            missing_models: Vec::new(),
            denied_models: Vec::new(),
            refused_tiers: Vec::new(),
            faults: Faults::default(),
        }
    }
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The share of requests, 0 to 1, that meet each fault; together at most 1. All are off by default.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Faults {
            $($(#[doc = $doc])+ pub $name: f64,)+
        }

        impl Faults {
            /// Each fault with its rate, in the order in which a draw is compared with them.
            pub(super) fn rates(&self) -> Vec<(&'static str, f64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

faults! {
    /// `ThrottlingException`, 429.
    throttling,
    /// `ModelNotReadyException`, 429.
    model_not_ready,
    /// `ServiceQuotaExceededException`, 400.
    service_quota_exceeded,
    /// `InternalServerException`, 500.
    internal_server,
    /// `ServiceUnavailableException`, 503.
    service_unavailable,
    /// `ModelTimeoutException`, 408.
    model_timeout,
    /// `ModelErrorException`, 424.
    model_error,
    /// `ValidationException`, 400.
    validation,
    /// `AccessDeniedException`, 403.
    access_denied,
    /// `ResourceNotFoundException`, 404.
    resource_not_found,
    /// The connection is closed before the reply.
    reset,
    /// The connection is closed inside the reply.
    reset_in_body,
    /// A reply that no SDK can read.
    garbage,
    /// Never an answer.
    stall,
    /// 200 without content and without output tokens.
    empty_reply,
    /// Streams: `internalServerException` in the middle.
    stream_internal_server,
    /// Streams: `modelStreamErrorException` in the middle.
    stream_model_error,
    /// Streams: `validationException` in the middle.
    stream_validation,
    /// Streams: `throttlingException` in the middle.
    stream_throttling,
    /// Streams: `serviceUnavailableException` in the middle.
    stream_service_unavailable,
    /// Streams: the end comes before messageStop.
    stream_no_stop,
    /// Streams: the end comes before metadata.
    stream_no_metadata,
    /// Streams: a frame is cut in the middle.
    stream_truncated,
    /// Streams: nothing more comes after the middle.
    stream_stall,
}

impl Model {
    /// What makes no sense, as (dotted key below `simulator`, what is wrong with it).
    pub fn validate(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let not_negative = [
            ("ttft_sigma", self.ttft_sigma),
            ("tpot_sigma", self.tpot_sigma),
            ("output_tokens_sigma", self.output_tokens_sigma),
            ("throttle_rate", self.throttle_rate),
        ];
        for (key, value) in not_negative {
            if !(0.0..1e9).contains(&value) {
                problems.push((key.to_owned(), format!("{value} is no number of zero or more")));
            }
        }
        let positive = [
            ("output_tokens", self.output_tokens),
            ("priority_factor", self.priority_factor),
            ("flex_factor", self.flex_factor),
        ];
        for (key, value) in positive {
            if !(value > 0.0 && value < 1e9) {
                problems.push((key.to_owned(), format!("{value} is not greater than zero")));
            }
        }
        let share = |key: String, value: f64| {
            (!(0.0..=1.0).contains(&value)).then(|| (key, format!("{value} is no share from 0 to 1")))
        };
        problems.extend(share("reasoning".into(), self.reasoning));
        problems.extend(share("flex_as_default".into(), self.flex_as_default));
        let rates = self.faults.rates();
        problems.extend(rates.iter().filter_map(|(name, rate)| share(format!("faults.{name}"), *rate)));
        let sum: f64 = rates.iter().map(|(_, rate)| rate).sum();
        if sum > 1.0 + 1e-9 && rates.iter().all(|(_, rate)| *rate <= 1.0) {
            problems.push(("faults".into(), format!("the rates sum up to {sum}: together they are at most 1")));
        }
        if self.freeze_for > self.freeze_every {
            problems.push(("freeze_for".into(), "is longer than freeze_every".into()));
        }
        if self.throttle_rate > 0.0 && self.throttle_burst == 0 {
            problems.push(("throttle_burst".into(), "a bucket of 0 lets nothing through: write 1 or more".into()));
        }
        problems
    }
}
