//! `manifest.json`: the plan of a run, its machine, and the reports of its cell runs. Written before the first request, and
//! replaced atomically whenever a cell ends.

use super::disturbance::Disturbances;
use super::probe::{self, ExcludedCells, ProbeResult, ends_run};
use crate::matrix::Cell;
use crate::matrix::order::{self, PlannedRun};
use crate::plan::{Endpoint, Origins, Plan, Price};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The version of the manifest that this tool writes.
pub(crate) const FORMAT: u32 = 2;

/// The oldest version that it reads.
pub(crate) const OLDEST_FORMAT: u32 = 1;

/// The first version in which every line of the journal has a checksum. Lines of older runs may have one: a resumed run
/// keeps its format.
pub(super) const CHECKED_FORMAT: u32 = 2;

/// The manifest of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// [`OLDEST_FORMAT`] to [`FORMAT`].
    pub(crate) format: u32,
    /// Unique id of the run; also in every record.
    pub(crate) run_id: String,
    pub(crate) tool_version: String,
    /// Start of the run, epoch milliseconds; part of file names.
    pub(crate) started_ms: u64,
    /// Times of resumption, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) resumed_ms: Vec<u64>,
    /// End of the run, epoch milliseconds; `None` while it runs or if it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_ms: Option<u64>,
    /// A person or CI stopped the run.
    #[serde(default)]
    pub(crate) interrupted: bool,
    /// Name and version of the simulator at a URL, such as `bedrock-plan/0.1.0`; `None` for other servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) simulator: Option<String>,
    /// Endpoint of the requests; `simulated` for the simulator in this process.
    pub(crate) endpoint: String,
    /// The AWS region that was resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// How connections are made.
    pub(crate) connection_policy: String,
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    /// Origin of each value of the plan.
    pub(crate) origins: Origins,
    /// Over the hashes of all cells of the plan, before `--only`.
    pub(crate) plan_hash: String,
    /// Seed of all random numbers.
    pub(crate) seed: u64,
    /// Measurement error of this machine at the peak load of the plan, if `run --calibrate` measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calibration: Option<Calibration>,
    /// Prices of the models, in look-up order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) prices: Vec<Price>,
    /// The patterns of `--only`; empty selects all cells.
    #[serde(default)]
    pub(crate) only: Vec<String>,
    /// Results of the pre-flight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) preflight: Vec<ProbeResult>,
    /// The selected cells, in matrix order.
    pub(crate) cells: Vec<PlannedCell>,
    /// The realised order.
    pub(crate) order: Vec<PlannedRun>,
    /// Reports of the cell runs in the order in which they ran; a cell run without a report did not start.
    #[serde(rename = "turns")]
    pub(crate) planned_runs: Vec<CellRunReport>,
    /// The shards of a sharded run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shards: Option<Shards>,
}

/// The shards of a run: one in the results of each shard, all known ones in merged results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shards {
    /// Planned number of shards.
    pub(crate) count: u32,
    /// Whether the results of all shards are included.
    pub(crate) complete: bool,
    /// The included shards, by index.
    pub(crate) parts: Vec<ShardPart>,
}

/// One shard of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShardPart {
    /// From 0.
    pub(crate) index: u32,
    /// Name of the machine.
    pub(crate) host: String,
    pub(crate) machine: Machine,
    /// Clock at the start; `None` if the system does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clock: Option<ClockState>,
    /// Epoch milliseconds.
    pub(crate) started_ms: u64,
    /// Epoch milliseconds; `None` if it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_ms: Option<u64>,
    /// A person or a scheduler stopped the shard.
    #[serde(default)]
    pub(crate) interrupted: bool,
    /// Why it ended early without being stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// The state of a system clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClockState {
    /// Whether the clock is synchronised.
    pub(crate) synchronised: bool,
    /// Maximum error, milliseconds; meaningless if the clock is not synchronised.
    pub(crate) max_error_ms: f64,
}

impl Shards {
    /// Creates the shards of a run from the included parts.
    pub(crate) fn new(count: u32, mut parts: Vec<ShardPart>) -> Self {
        parts.sort_by_key(|part| part.index);
        let mut shards = Self { count, complete: false, parts };
        shards.complete = shards.missing().is_empty() && shards.parts.iter().all(|part| part.ended_ms.is_some());
        shards
    }

    /// Returns `3 of 4`.
    pub(crate) fn shown(&self) -> String {
        format!("{} of {}", self.parts.len(), self.count)
    }

    /// Returns the indices of missing shards.
    pub(crate) fn missing(&self) -> Vec<u32> {
        let included: HashSet<u32> = self.parts.iter().map(|part| part.index).collect();
        (0..self.count).filter(|index| !included.contains(index)).collect()
    }
}

/// A cell with its hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlannedCell {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    /// SHA-256 over everything that makes two cells comparable.
    pub(crate) cell_hash: String,
}

/// The properties of a machine that affect measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// `linux`, `macos`, ...
    pub(crate) os: String,
    /// `x86_64`, `aarch64`, ...
    pub(crate) arch: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// The CPU quota of the process in cores, below one too, where it is smaller than the number of cores.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "quota")]
    pub(crate) cpu_quota_cores: Option<f64>,
}

impl Machine {
    /// CPU seconds that this process may use per second.
    pub(crate) fn allowed_cores(&self) -> f64 {
        self.cpu_quota_cores.unwrap_or(self.cores as f64)
    }
}

/// Refuses a quota of zero: every fraction of it would be infinite.
fn quota<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let cores = Option::<f64>::deserialize(from)?;
    match cores {
        Some(cores) if !(cores > 0.0 && cores <= 1e6) => {
            Err(serde::de::Error::custom(format!("`{cores}` is not a CPU quota in cores")))
        }
        cores => Ok(cores),
    }
}

/// The measurement error of a machine: client time minus server time, milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calibration {
    /// `90 users`.
    pub(crate) load: String,
    /// Requests that client and server recorded.
    pub(crate) requests: u64,
    /// Requests that only one of them recorded.
    pub(crate) unmatched: u64,
    /// Errors of response times, matched by request id.
    pub(crate) paired: Paired,
    /// Errors of times to first token of streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttft: Option<Paired>,
    /// Errors of the percentiles that the sample size allows.
    pub(crate) percentiles: Vec<PercentileError>,
}

/// Distribution of client minus server time per request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_field_names)] // the unit belongs to each
pub(crate) struct Paired {
    /// The median.
    pub(crate) p50_ms: f64,
    /// The 99th percentile.
    pub(crate) p99_ms: f64,
    /// The largest.
    pub(crate) max_ms: f64,
}

/// The error of a percentile.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct PercentileError {
    /// 0 to 100.
    pub(crate) p: f64,
    /// Server time.
    pub(crate) server_ms: f64,
    /// Client time.
    pub(crate) client_ms: f64,
}

impl PercentileError {
    /// Returns client minus server time, milliseconds.
    pub(crate) fn error_ms(self) -> f64 {
        self.client_ms - self.server_ms
    }
}

impl Calibration {
    /// Returns the largest absolute error of a percentile, milliseconds.
    pub(crate) fn worst_ms(&self) -> f64 {
        self.percentiles.iter().map(|error| error.error_ms().abs()).fold(0.0, f64::max)
    }
}

/// How a cell run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CellRunEnd {
    /// It ran for its planned time.
    Finished,
    /// It was aborted: every request was refused, or nearly all failed.
    Aborted,
    /// A threshold with `abort_on_fail` could no longer be met.
    FailedEarly,
    /// A person or CI stopped the run.
    Interrupted,
    /// The budget of the run was used up.
    OutOfBudget,
    /// The credentials expired and could not be renewed.
    LostCredentials,
    /// The daily token quota of the model was used up.
    DailyQuota,
}

/// The bound of a threshold that a cell run could no longer meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedBound {
    /// Index of the `[[slo]]` in the plan, from 0.
    pub(crate) slo: usize,
    /// Key of the bound: `p95`.
    pub(crate) metric: String,
}

/// The report of a cell run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CellRunReport {
    /// Id of the cell.
    pub(crate) test_id: String,
    /// Counted from 1.
    pub(crate) repetition: u32,
    /// See [`PlannedRun`].
    #[serde(default = "order::first_attempt", skip_serializing_if = "order::is_first")]
    pub(crate) attempt: u32,
    /// Epoch milliseconds of the first start.
    pub(crate) started_ms: u64,
    /// Epoch milliseconds when the last request ended.
    pub(crate) ended_ms: u64,
    /// Time from the first start to the end of the load, milliseconds: the test duration, or less if the cell run was
    /// stopped.
    pub(crate) load_ms: f64,
    pub(crate) end: CellRunEnd,
    /// Why it did not finish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The bound that it could no longer meet, if it [failed early](CellRunEnd::FailedEarly).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<FailedBound>,
    /// Records of this cell run in the journal.
    pub(crate) requests: u64,
    /// Connections opened.
    pub(crate) connections_opened: u64,
    /// Requests that found an idle connection.
    pub(crate) connections_reused: u64,
    /// Arrivals dropped by `max_in_flight`, or overdue at the end of the load (open loop).
    #[serde(default)]
    pub(crate) dropped: u64,
    /// Starts that waited for the disk because the queue of the recorder was full; `None` if none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) starts_waited: Option<u64>,
    /// Total time of all users until the end of the load, milliseconds.
    #[serde(default)]
    pub(crate) user_ms: f64,
    /// Total think time within it, milliseconds.
    #[serde(default)]
    pub(crate) think_ms: f64,
    /// One entry per second from the first start.
    pub(crate) series: Vec<Second>,
    /// Index of the shard, from 0, in a sharded run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<u32>,
    /// Start of the load after the time that the shards agreed on, by the clock of the shard, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) late_ms: Option<f64>,
    /// Stalls, suspensions and clock jumps of the machine; in a sharded run each part has its own.
    #[serde(default, skip_serializing_if = "Disturbances::is_empty")]
    pub(crate) disturbances: Disturbances,
    /// Reports of the shards by index in a sharded run; the other fields are totals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<CellRunReport>,
}

/// Samples at the end of a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    /// Users running.
    pub(crate) users: u32,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// CPU time of this process within the second, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ms: Option<f64>,
    /// Maximum lateness of a 10 ms ticker, milliseconds.
    #[serde(default)]
    pub(crate) ticker_ms: f64,
    /// Starts dropped within the second.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) dropped: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // required by serde
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl CellRunEnd {
    /// Whether a resumed run repeats the cell run.
    pub(crate) fn is_incomplete(self) -> bool {
        matches!(self, Self::Interrupted | Self::OutOfBudget | Self::LostCredentials | Self::DailyQuota)
    }
}

impl CellRunReport {
    /// Returns the report of each machine: this one if the run is not sharded.
    pub(crate) fn machines(&self) -> &[Self] {
        if self.parts.is_empty() { std::slice::from_ref(self) } else { &self.parts }
    }

    /// Returns the largest difference of starts between shards by their own clocks, milliseconds; `None` for one machine.
    pub(crate) fn start_skew_ms(&self) -> Option<f64> {
        let late = || self.parts.iter().filter_map(|part| part.late_ms);
        let (least, most) = (late().min_by(f64::total_cmp)?, late().max_by(f64::total_cmp)?);
        (late().count() > 1).then_some(most - least)
    }
}

impl Manifest {
    /// Indexes the findings of the pre-flight that exclude cells. A loop over cells builds the index once, before it.
    pub(crate) fn excluded(&self) -> ExcludedCells<'_> {
        ExcludedCells::new(&self.preflight)
    }

    /// Returns the indices of the cells of each pre-flight probe.
    pub(crate) fn cells_by_probe(&self) -> Vec<Vec<usize>> {
        probe::cells_by_probe(&self.preflight, self.cells.iter().map(|planned| &planned.cell))
    }

    /// Whether the pre-flight ended the run.
    pub(crate) fn is_ended_by_preflight(&self) -> bool {
        ends_run(&self.preflight, self.plan.run.on_unsupported)
    }

    /// Whether all output is labelled NOT AWS: requests went to a server that is not AWS's.
    pub(crate) fn is_other_server(&self) -> bool {
        let is_other = || Endpoint::parse(&self.endpoint).map_or(true, |endpoint| endpoint.is_other_server());
        !self.simulated() && is_other()
    }

    /// Whether all output is labelled SIMULATED: the replies are those of the simulator, in this process or at a URL.
    pub(crate) fn simulated(&self) -> bool {
        self.endpoint == "simulated" || self.simulator.is_some()
    }
}
