//! The resolved plan: data only, complete and valid. Every module except `units` and `simulator` may use it; reading it from
//! files, environment and flags is the task of `config`.
//!
//! A serialised plan is valid input: `show --format toml` and the `plan.toml` beside the results are this struct.

mod api;
mod cache;
mod endpoint;
mod goodput;
mod keys;
mod limits;
mod load;
mod mix;
mod money;
mod origin;
mod overrides;
mod profile;
mod request;
mod rule;
mod slo;

pub(crate) use api::Api;
pub(crate) use cache::CacheMode;
pub(crate) use endpoint::Endpoint;
pub(crate) use goodput::Goodput;
pub(crate) use keys::{Keys, apply_keys, field_names};
pub(crate) use limits::{Abort, AfterAbort, Budget};
pub(crate) use load::{Arrivals, Load, Order};
pub(crate) use mix::{Dataset, Mix};
pub(crate) use money::{Price, Prices, Quota};
pub(crate) use origin::{Layer, Origin, Origins};
pub(crate) use overrides::{Override, RUN_KEYS};
pub(crate) use profile::{MAX_PERCENTILES, MAX_RATE, MAX_USERS, MIN_SPAWN_RATE, Profile, Stage};
pub(crate) use request::{Performance, Request};
pub(crate) use rule::Rule;
pub(crate) use slo::{Bound, OnInconclusive, RateMetric, ShareMetric, Slo, TimeMetric};

use crate::simulator;
use crate::units::{Rate, duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Version of the plan format.
pub(crate) const SCHEMA: u32 = 1;

/// A resolved plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// Version of the format, always [`SCHEMA`].
    pub(crate) schema: u32,
    /// Name of the run; by default the stem of the plan file.
    pub(crate) name: String,
    /// Description, free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// Prompts file; if not set, the prompts embedded in the binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompts_file: Option<PathBuf>,
    /// Results directory, relative to the working directory; may contain `{name}` and `{started}`.
    pub(crate) results_dir: String,
    /// Endpoint, operation and account.
    pub(crate) target: Target,
    /// Axes of the matrix.
    pub(crate) matrix: Matrix,
    /// Load, durations and order.
    pub(crate) load: Load,
    /// Parameters of each request.
    pub(crate) request: Request,
    /// Behaviour of the whole run.
    pub(crate) run: Run,
    /// Content of the records.
    pub(crate) record: Recording,
    /// Settings of the reports.
    pub(crate) report: Report,
    /// Limits of a good request.
    #[serde(default, skip_serializing_if = "Goodput::is_unset")]
    pub(crate) goodput: Goodput,
    /// Prices of tokens, which take precedence over the shipped price file.
    #[serde(default, skip_serializing_if = "Prices::is_unset")]
    pub(crate) prices: Prices,
    /// Quotas of the account, for comparison only.
    #[serde(default, skip_serializing_if = "Quota::is_unset")]
    pub(crate) quota: Quota,
    /// Limits of the whole run.
    #[serde(default, skip_serializing_if = "Budget::is_unset")]
    pub(crate) budget: Budget,
    /// When a cell is aborted.
    pub(crate) abort: Abort,
    /// Load profiles, named in `matrix.profiles`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) profile: Vec<Profile>,
    /// Settings for some cells; the last override that matches a cell takes precedence.
    #[serde(default, rename = "override", skip_serializing_if = "Vec::is_empty")]
    pub(crate) overrides: Vec<Override>,
    /// Mixes of prompts, named in `matrix.prompt_sizes`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mix: Vec<Mix>,
    /// Files with one prompt per line, named in `matrix.prompt_sizes` and mixes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dataset: Vec<Dataset>,
    /// Thresholds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) slo: Vec<Slo>,
    /// The simulated endpoint, used by `simulate` and if `target.endpoint` is `simulated`.
    pub(crate) simulator: simulator::Model,
}

/// Endpoint, operation and account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// `aws`, `simulated`, or a URL.
    pub(crate) endpoint: Endpoint,
    /// Operation; not set if `matrix.apis` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api: Option<Api>,
    /// AWS region; by default that of the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// AWS profile; by default the SDK selects it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
}

/// The axes. A list has at least one value and no duplicates. Exactly one of `user_counts`, `arrival_rates` and `profiles`
/// is used. An axis in `zip` is not set beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Matrix {
    /// Model ids without region prefix, or ARNs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) model_ids: Vec<String>,
    /// Operations to compare, instead of `target.api`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) apis: Vec<Api>,
    /// Uses of the prompt cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cache_modes: Vec<CacheMode>,
    /// AWS regions to call and compare, instead of `target.region`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) regions: Vec<String>,
    /// Region prefixes: `us`, `eu`, `global`, ...; `none` sends the model id without prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) region_prefixes: Vec<String>,
    /// Service tiers: `default`, `priority`, `flex`, `reserved`, or another name; `none` omits the field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) service_tiers: Vec<String>,
    /// Names of prompts, mixes and data sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) prompt_sizes: Vec<String>,
    /// Maximum reply lengths to compare, in tokens, instead of `request.max_tokens`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) max_tokens: Vec<u32>,
    /// Numbers of virtual users (closed loop).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) user_counts: Vec<u32>,
    /// Arrival rates per second (open loop).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) arrival_rates: Vec<Rate>,
    /// Names of load profiles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) profiles: Vec<String>,
    /// Rules for cells to exclude.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) exclude: Vec<Rule>,
    /// Axes combined value by value (the first value of each, the second of each, ...); all lists have the same length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) zip: Vec<Keys>,
    /// Additional cells, each with its attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) add: Vec<Keys>,
}

/// Content of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recording {
    /// Whether records contain prompts and replies.
    pub(crate) text: bool,
}

/// Behaviour of the whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    /// What to do when this machine was too slow for a cell.
    pub(crate) on_invalid: OnInvalid,
    /// Whether to send one small request per model, prefix, tier, api and region before the load (pre-flight).
    pub(crate) preflight: bool,
    /// What to do when the pre-flight finds unsupported cells.
    pub(crate) on_unsupported: OnUnsupported,
    /// Whether to measure this machine's own overhead at the plan's peak load first.
    pub(crate) calibrate: bool,
    /// Latency assumed by the estimate before a run; by default the simulator's own or one second.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional_text")]
    #[schemars(with = "duration::Text")]
    pub(crate) assume_latency: Option<Duration>,
    /// Service tiers and region prefixes to send although this version does not know them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) allow_unknown: Vec<String>,
}

/// What to do when the pre-flight finds unsupported cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnUnsupported {
    /// Skip them and run the others.
    Continue,
    /// Stop before the load with exit code 4.
    Stop,
}

/// What to do when this machine was too slow for a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnInvalid {
    /// Mark the cell in every output.
    Warn,
    /// Mark the cell and exit with code 3.
    Fail,
}

/// Settings of the reports; the same records can be reported again with other values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// Whether the displayed latencies include failed and throttled requests.
    pub(crate) include_failures: bool,
    /// Whether the latency window includes the ramp, as in Locust.
    pub(crate) include_ramp: bool,
    /// Percentiles beside p50, p95 and p99, greater than 0 and less than 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) percentiles: Vec<f64>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::units::{NoneOr, ThinkTime};
    use serde_json::Map;
    use std::collections::BTreeMap;

    /// The default matrix of 27 cells, for tests of other modules.
    pub(crate) fn plan() -> Plan {
        let list = |items: &[&str]| items.iter().map(ToString::to_string).collect();
        Plan {
            schema: SCHEMA,
            name: "test".into(),
            description: String::new(),
            prompts_file: None,
            results_dir: "test_results".into(),
            target: Target { endpoint: Endpoint::Simulated, api: Some(Api::Converse), region: None, profile: None },
            matrix: Matrix {
                model_ids: list(&["amazon.nova-premier-v1:0"]),
                apis: Vec::new(),
                cache_modes: vec![CacheMode::AsIs],
                regions: Vec::new(),
                region_prefixes: list(&["us"]),
                service_tiers: list(&["default", "priority", "flex"]),
                prompt_sizes: list(&["small", "medium", "large"]),
                max_tokens: Vec::new(),
                user_counts: vec![30, 60, 90],
                arrival_rates: Vec::new(),
                profiles: Vec::new(),
                exclude: Vec::new(),
                zip: Vec::new(),
                add: Vec::new(),
            },
            load: Load {
                test_duration: Duration::from_secs(60),
                spawn_rate: 10.0,
                think_time: ThinkTime { min: Duration::from_secs(1), max: Duration::from_secs(2) },
                arrivals: Arrivals::Constant,
                max_in_flight: 10_000,
                requests: None,
                min_samples: None,
                max_duration: None,
                cool_down: Duration::from_secs(2),
                drain: Duration::from_secs(60),
                order: Order::Blocked,
                seed: Some(1),
                repetitions: 1,
            },
            request: Request {
                max_tokens: 4096,
                temperature: NoneOr(None),
                top_p: NoneOr(None),
                timeout: Duration::from_secs(840),
                system: None,
                stop_sequences: Vec::new(),
                performance: None,
                additional_fields: Map::new(),
                request_metadata: BTreeMap::new(),
            },
            run: Run {
                on_invalid: OnInvalid::Warn,
                preflight: true,
                on_unsupported: OnUnsupported::Continue,
                calibrate: false,
                assume_latency: None,
                allow_unknown: Vec::new(),
            },
            record: Recording { text: false },
            report: Report { include_failures: false, include_ramp: false, percentiles: Vec::new() },
            goodput: Goodput::default(),
            prices: Prices::default(),
            quota: Quota::default(),
            budget: Budget::default(),
            abort: Abort::default(),
            profile: Vec::new(),
            overrides: Vec::new(),
            mix: Vec::new(),
            dataset: Vec::new(),
            slo: Vec::new(),
            simulator: simulator::Model::default(),
        }
    }
}
