//! What will run: plain data, complete and checked. Every room but the simulator may know a plan;
//! how one is read from files, environment and flags is `config`'s business and not known here.
//!
//! Serialised, a plan is the TOML that a user could have written: `show --format toml` and the
//! `plan.toml` beside the results are this struct.

mod endpoint;
mod origin;

pub(crate) use endpoint::Endpoint;
pub(crate) use origin::{Layer, Origin, Origins};

use crate::simulator;
use crate::units::{NoneOr, ThinkTime, duration};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// The version of the plan format that this tool reads.
pub(crate) const SCHEMA: u32 = 1;

/// A resolved plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// What is counted in the reports.
    pub(crate) report: Report,
    /// The simulated endpoint, used where `target.endpoint` is `simulated` and by `simulate`.
    pub(crate) simulator: simulator::Model,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    /// `aws`, `simulated`, or a URL.
    pub(crate) endpoint: Endpoint,
    /// The AWS region; `None` is the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// The AWS profile; `None` leaves the choice to the SDK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
}

/// The axes. Each list is non-empty and without repetition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Matrix {
    /// Model ids without prefix, or ARNs.
    pub(crate) model_ids: Vec<String>,
    /// `us`, `eu`, `global`, ...; `none` sends the model id bare.
    pub(crate) region_prefixes: Vec<String>,
    /// `default`, `priority`, `flex`, `reserved`, or any other text; `none` leaves the field out.
    pub(crate) service_tiers: Vec<String>,
    /// Names of entries in the prompts file.
    pub(crate) prompt_sizes: Vec<String>,
    /// Virtual users.
    pub(crate) user_counts: Vec<u32>,
}

/// How hard, how long, in which order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    /// From a cell's first start to its last, ramp included.
    #[serde(with = "duration::text")]
    pub(crate) test_duration: Duration,
    /// Users started per second.
    pub(crate) spawn_rate: f64,
    /// The pause of each user after each request.
    pub(crate) think_time: ThinkTime,
    /// The pause between cells, with nothing in flight.
    #[serde(with = "duration::text")]
    pub(crate) cool_down: Duration,
    /// How long requests that are in flight at the deadline may take to end.
    #[serde(with = "duration::text")]
    pub(crate) drain: Duration,
    /// The order of the cells.
    pub(crate) order: Order,
    /// The seed of everything that is drawn; `None` is drawn at the start and kept in the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// How often the whole matrix is run.
    pub(crate) repetitions: u32,
}

/// The order of the cells of one repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Upper bound of the reply, in tokens.
    pub(crate) max_tokens: u32,
    /// Left off the wire where `none`.
    pub(crate) temperature: NoneOr,
    /// Left off the wire where `none`.
    pub(crate) top_p: NoneOr,
    /// From the send to the last byte of the reply.
    #[serde(with = "duration::text")]
    pub(crate) timeout: Duration,
}

/// What is counted in the reports; the same records can be cut again with other values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    /// Failed and throttled requests join the pooled latency columns.
    pub(crate) include_failures: bool,
    /// The latency window takes the ramp too, as Locust did.
    pub(crate) include_ramp: bool,
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
            target: Target { endpoint: Endpoint::Simulated, region: None, profile: None },
            matrix: Matrix {
                model_ids: list(&["amazon.nova-premier-v1:0"]),
                region_prefixes: list(&["us"]),
                service_tiers: list(&["default", "priority", "flex"]),
                prompt_sizes: list(&["small", "medium", "large"]),
                user_counts: vec![30, 60, 90],
            },
            load: Load {
                test_duration: Duration::from_secs(60),
                spawn_rate: 10.0,
                think_time: ThinkTime { min: Duration::from_secs(1), max: Duration::from_secs(2) },
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
            },
            report: Report { include_failures: false, include_ramp: false },
            simulator: simulator::Model::default(),
        }
    }
}
