//! The configuration of the simulated endpoint: `[simulator]` in a plan.

use crate::units::duration::text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The behaviour of the simulated endpoint. Times are drawn per request from log-normal distributions. Every draw
/// depends only on `seed` and the number of the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// Seed of all random draws.
    pub seed: u64,
    /// Median time to the first token.
    #[serde(with = "text")]
    #[schemars(with = "crate::units::duration::Text")]
    pub ttft: Duration,
    /// Standard deviation of the logarithm of the time to the first token; 0 means a constant time.
    pub ttft_sigma: f64,
    /// Time that each uncached input token adds to the time to the first token.
    #[serde(with = "text")]
    #[schemars(with = "crate::units::duration::Text")]
    pub prefill_per_token: Duration,
    /// Median time per output token after the first.
    #[serde(with = "text")]
    #[schemars(with = "crate::units::duration::Text")]
    pub tpot: Duration,
    /// Standard deviation of the logarithm of the time per output token; 0 means a constant time.
    pub tpot_sigma: f64,
    /// Median length of a reply in tokens, before it is cut to `max_tokens`.
    pub output_tokens: f64,
    /// Standard deviation of the logarithm of the reply length; 0 means a constant length.
    pub output_tokens_sigma: f64,
    /// Share of a reply's tokens that is reasoning, sent before the answer (0 to 1).
    pub reasoning: f64,
    /// Factor on all times of the tier `priority`.
    pub priority_factor: f64,
    /// Factor on all times of the tier `flex`.
    pub flex_factor: f64,
    /// Requests in flight above which all times grow in proportion (in flight / capacity, at the arrival of a
    /// request); 0 means no limit.
    pub capacity: u32,
    /// Requests per second above which a token bucket throttles; 0 means off.
    pub throttle_rate: f64,
    /// Size of the token bucket, in requests.
    pub throttle_burst: u32,
    /// Whether prompts without a cache point are cached too, as with several models.
    pub implicit_cache: bool,
    /// Minimum length of a cached prefix, in tokens.
    pub cache_min_tokens: u32,
    /// Time for which a prefix stays cached after its last use.
    #[serde(with = "text")]
    #[schemars(with = "crate::units::duration::Text")]
    pub cache_ttl: Duration,
    /// Share of `flex` requests served as `default` (0 to 1); the reply reports the tier `default`.
    pub flex_as_default: f64,
    /// Period of the freezes of the server; 0s means never.
    #[serde(with = "text")]
    #[schemars(with = "crate::units::duration::Text")]
    pub freeze_every: Duration,
    /// Duration of each freeze.
    #[serde(with = "text")]
    #[schemars(with = "crate::units::duration::Text")]
    pub freeze_for: Duration,
    /// Models for which the server replies with `ResourceNotFoundException`.
    pub missing_models: Vec<String>,
    /// Models for which the server replies with `AccessDeniedException`.
    pub denied_models: Vec<String>,
    /// Tiers for which the server replies with `ValidationException`, as for models that do not support the tier.
    pub refused_tiers: Vec<String>,
    /// Injected faults, each with a rate.
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
        /// Share of requests with each fault (0 to 1); the sum is at most 1. All are off by default.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Faults {
            $($(#[doc = $doc])+ pub $name: f64,)+
        }

        impl Faults {
            /// Returns each fault with its rate, in the order in which a draw is compared with them.
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
    /// The reply is not valid JSON.
    garbage,
    /// The server never replies.
    stall,
    /// The reply has status 200, no content and no output tokens.
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
    /// Streams: the stream ends before messageStop.
    stream_no_stop,
    /// Streams: the stream ends before metadata.
    stream_no_metadata,
    /// Streams: a frame is cut in the middle.
    stream_truncated,
    /// Streams: the server sends nothing after the middle.
    stream_stall,
}

impl Model {
    /// Returns all invalid values: the dotted key below `simulator`, and the message.
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
                problems.push((key.to_owned(), format!("`{value}` is out of range: expected a number from 0 to 1e9")));
            }
        }
        let positive = [
            ("output_tokens", self.output_tokens),
            ("priority_factor", self.priority_factor),
            ("flex_factor", self.flex_factor),
        ];
        for (key, value) in positive {
            if !(value > 0.0 && value < 1e9) {
                problems.push((key.to_owned(), format!("`{value}` is out of range: expected a number greater than 0")));
            }
        }
        let share = |key: String, value: f64| {
            (!(0.0..=1.0).contains(&value))
                .then(|| (key, format!("`{value}` is out of range: expected a share from 0 to 1")))
        };
        problems.extend(share("reasoning".into(), self.reasoning));
        problems.extend(share("flex_as_default".into(), self.flex_as_default));
        let rates = self.faults.rates();
        problems.extend(rates.iter().filter_map(|(name, rate)| share(format!("faults.{name}"), *rate)));
        let sum: f64 = rates.iter().map(|(_, rate)| rate).sum();
        if sum > 1.0 + 1e-9 && rates.iter().all(|(_, rate)| *rate <= 1.0) {
            problems.push(("faults".into(), format!("the sum of the rates is `{sum}`: expected at most 1")));
        }
        if self.freeze_for > self.freeze_every {
            problems.push(("freeze_for".into(), "is longer than freeze_every".into()));
        }
        if self.throttle_rate > 0.0 && self.throttle_burst == 0 {
            problems.push((
                "throttle_burst".into(),
                "`0` is out of range: a bucket of 0 admits no request; expected 1 or more".into(),
            ));
        }
        problems
    }
}
