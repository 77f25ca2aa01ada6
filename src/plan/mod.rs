//! What will run: plain data, complete and checked. Every room but the simulator may know a plan;
//! how one is read from files, environment and flags is `config`'s business and not known here.
//!
//! Serialised, a plan is the TOML that a user could have written: `show --format toml` and the
//! `plan.toml` beside the results are this struct.

mod api;
mod cache;
mod endpoint;
mod keys;
mod limits;
mod mix;
mod money;
mod origin;
mod overrides;
mod profile;
mod rule;
mod slo;

pub(crate) use api::Api;
pub(crate) use cache::CacheMode;
pub(crate) use endpoint::Endpoint;
pub(crate) use keys::{Keys, fields, laid_over};
pub(crate) use limits::{Abort, Budget, Then};
pub(crate) use mix::{Dataset, Mix};
pub(crate) use money::{Price, Prices, Quota};
pub(crate) use origin::{Layer, Origin, Origins};
pub(crate) use overrides::{Override, RUN_KEYS};
pub(crate) use profile::{MAX_PERCENTILES, MAX_RATE, MAX_USERS, MIN_SPAWN_RATE, Profile, Stage};
pub(crate) use rule::Rule;
pub(crate) use slo::{Bound, Counted, Flow, OnInconclusive, Slo, Timed};

use crate::simulator;
use crate::units::{NoneOr, Rate, Samples, ThinkTime, duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The version of the plan format that this tool reads.
pub(crate) const SCHEMA: u32 = 1;

/// A resolved plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// The format, always [`SCHEMA`].
    pub(crate) schema: u32,
    /// What the run is called; the file's stem where the plan does not say.
    pub(crate) name: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// Where the prompts come from; `None` is the prompts that are embedded in the binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompts_file: Option<PathBuf>,
    /// Where the results go, relative to the working directory; may contain `{name}` and `{started}`.
    pub(crate) results_dir: String,
    /// Who is asked.
    pub(crate) target: Target,
    /// What is compared with what.
    pub(crate) matrix: Matrix,
    /// How hard, how long, in which order.
    pub(crate) load: Load,
    /// What each request carries.
    pub(crate) request: Request,
    /// How a run behaves as a whole.
    pub(crate) run: Run,
    /// What is kept of each request.
    pub(crate) record: Recording,
    /// What is counted in the reports.
    pub(crate) report: Report,
    /// What a request must meet to count as good.
    #[serde(default, skip_serializing_if = "Goodput::is_unset")]
    pub(crate) goodput: Goodput,
    /// What tokens cost, before the shipped price file.
    #[serde(default, skip_serializing_if = "Prices::is_unset")]
    pub(crate) prices: Prices,
    /// What the account may take, to compare with.
    #[serde(default, skip_serializing_if = "Quota::is_unset")]
    pub(crate) quota: Quota,
    /// The most that a run may take.
    #[serde(default, skip_serializing_if = "Budget::is_unset")]
    pub(crate) budget: Budget,
    /// When a cell is given up.
    pub(crate) abort: Abort,
    /// Courses of load that `matrix.profiles` names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) profile: Vec<Profile>,
    /// What some of the cells do otherwise; of several that speak of a cell the last holds.
    #[serde(default, rename = "override", skip_serializing_if = "Vec::is_empty")]
    pub(crate) overrides: Vec<Override>,
    /// Several prompts in one cell; `matrix.prompt_sizes` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mix: Vec<Mix>,
    /// Prompts from files of lines; `matrix.prompt_sizes` and mixes name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dataset: Vec<Dataset>,
    /// What the cells must meet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) slo: Vec<Slo>,
    /// The simulated endpoint, used where `target.endpoint` is `simulated` and by `simulate`.
    pub(crate) simulator: simulator::Model,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// `aws`, `simulated`, or a URL.
    pub(crate) endpoint: Endpoint,
    /// Which operation; nothing where `matrix.apis` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api: Option<Api>,
    /// The AWS region; `None` is the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// The AWS profile; `None` leaves the choice to the SDK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
}

/// The axes. Each list that is used is non-empty and without repetition; of `user_counts`,
/// `arrival_rates` and `profiles` one is used. An axis that goes together with others stands in `zip`,
/// and not beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Matrix {
    /// Model ids without prefix, or ARNs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) model_ids: Vec<String>,
    /// Operations, where more than `target.api` are compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) apis: Vec<Api>,
    /// What requests ask of the prompt cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cache_modes: Vec<CacheMode>,
    /// AWS regions that are called, where more than `target.region` are compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) regions: Vec<String>,
    /// `us`, `eu`, `global`, ...; `none` sends the model id bare.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) region_prefixes: Vec<String>,
    /// `default`, `priority`, `flex`, `reserved`, or any other text; `none` leaves the field out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) service_tiers: Vec<String>,
    /// Names of entries in the prompts file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) prompt_sizes: Vec<String>,
    /// Upper bounds of a reply in tokens, where more than `request.max_tokens` are compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) max_tokens: Vec<u32>,
    /// Virtual users (closed loop).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) user_counts: Vec<u32>,
    /// Arrivals per second (open loop).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) arrival_rates: Vec<Rate>,
    /// Names of load profiles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) profiles: Vec<String>,
    /// Combinations of the axes that are no cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) exclude: Vec<Rule>,
    /// Axes that go together: the first value of each, the second of each, ...; lists of one length by
    /// the names of the axes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) zip: Vec<Keys>,
    /// Cells beside those of the axes, each by its attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) add: Vec<Keys>,
}

/// How hard, how long, in which order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    /// From a cell's first start to its last, ramp included.
    #[serde(with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) test_duration: Duration,
    /// Users started per second.
    pub(crate) spawn_rate: f64,
    /// The pause of each user after each request.
    pub(crate) think_time: ThinkTime,
    /// How the intended starts of an open loop are spaced.
    pub(crate) arrivals: Arrivals,
    /// Requests in flight at which an open loop drops starts.
    pub(crate) max_in_flight: u32,
    /// A cell ends after so many requests, `test_duration` at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests: Option<u64>,
    /// A cell goes on until its latency window holds so many successes, `max_duration` at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min_samples: Option<Samples>,
    /// The cap of `min_samples`; four times the test duration if not said.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional_text")]
    #[schemars(with = "duration::Text")]
    pub(crate) max_duration: Option<Duration>,
    /// The pause between cells, with nothing in flight.
    #[serde(with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) cool_down: Duration,
    /// How long requests that are in flight at the deadline may take to end.
    #[serde(with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) drain: Duration,
    /// The order of the cells.
    pub(crate) order: Order,
    /// The seed of everything that is drawn; `None` is drawn at the start and kept in the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// How often the whole matrix is run.
    pub(crate) repetitions: u32,
}

/// How the intended starts of an open loop are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arrivals {
    /// Evenly.
    Constant,
    /// With exponential gaps, as independent clients do.
    Poisson,
}

/// The order of the cells of one repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// Contexts (all axes but the tier) in random order, their tiers adjacent and in random order.
    Blocked,
    /// All cells shuffled.
    Random,
    /// As expanded.
    Matrix,
}

/// What each request carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)] // Bedrock calls it so
pub(crate) struct Request {
    /// Upper bound of the reply, in tokens. A plan whose `matrix.max_tokens` says it has 0 here; a cell never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) max_tokens: u32,
    /// Left off the wire where `none`.
    pub(crate) temperature: NoneOr,
    /// Left off the wire where `none`.
    pub(crate) top_p: NoneOr,
    /// From the send to the last byte of the reply.
    #[serde(with = "duration::text")]
    #[schemars(with = "duration::Text")]
    pub(crate) timeout: Duration,
    /// What the model is told first, where a prompt does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<String>,
    /// Texts at which the reply ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stop_sequences: Vec<String>,
    /// Latency asked for; nothing leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) performance: Option<Performance>,
    /// Fields of the model's own (reasoning effort, thinking), sent as they stand.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) additional_fields: Map<String, Value>,
    /// Texts that Bedrock's invocation log keeps beside a request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) request_metadata: BTreeMap<String, String>,
}

/// Bedrock's `performanceConfig.latency`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Performance {
    /// As without it.
    Standard,
    /// Faster, where a model offers it.
    Optimized,
}

impl Performance {
    /// As in a plan.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Optimized => "optimized",
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants a reference
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What is kept of each request beside its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recording {
    /// What was said and answered, too.
    pub(crate) text: bool,
}

/// How a run behaves as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    /// What becomes of a cell whose numbers the client itself spoiled.
    pub(crate) on_invalid: OnInvalid,
    /// Ask first, once in each way in which cells ask, whether they can be asked at all.
    pub(crate) preflight: bool,
    /// What follows where a tier is refused then.
    pub(crate) on_unsupported: OnUnsupported,
    /// Find out first how far this machine's numbers are off at this load.
    pub(crate) calibrate: bool,
    /// The latency that estimates assume; left out, the simulator's own or one second.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional_text")]
    #[schemars(with = "duration::Text")]
    pub(crate) assume_latency: Option<Duration>,
    /// Service tiers and region prefixes that are sent although this version does not know them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) allow_unknown: Vec<String>,
}

/// What follows where the pre-flight finds that cells cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnUnsupported {
    /// They are left out, and the others run.
    Continue,
    /// Nothing runs, and the run exits 4.
    Stop,
}

/// What becomes of a cell whose numbers the client itself spoiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnInvalid {
    /// It is marked in every output.
    Warn,
    /// As above, and the run exits 3.
    Fail,
}

/// What a request must meet to count as good; what is not set is not asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Goodput {
    /// Time to the first token, at most.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional_text")]
    #[schemars(with = "duration::Text")]
    pub(crate) ttft: Option<Duration>,
    /// Time per further output token, at most.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional_text")]
    #[schemars(with = "duration::Text")]
    pub(crate) tpot: Option<Duration>,
    /// Time to the whole reply, at most.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "duration::optional_text")]
    #[schemars(with = "duration::Text")]
    pub(crate) e2e: Option<Duration>,
}

impl Goodput {
    /// Nothing is asked.
    pub(crate) fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// What is counted in the reports; the same records can be cut again with other values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// Failed and throttled requests join the pooled latency columns.
    pub(crate) include_failures: bool,
    /// The latency window takes the ramp too, as Locust did.
    pub(crate) include_ramp: bool,
    /// Percentiles beside p50, p95 and p99, above 0 and below 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) percentiles: Vec<f64>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The default matrix of 27 cells, for tests of other rooms.
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
