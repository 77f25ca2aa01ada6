//! `manifest.json`: what was to run, on what, and how each cell ended. Written before the first
//! request, rewritten whole and renamed when a cell ends.

use super::disturbance::Disturbances;
use super::last_reports::LastReports;
use super::probe::{self, Checked, Excluded, grounds};
use crate::matrix::Cell;
use crate::matrix::order::{self, Turn};
use crate::plan::{Endpoint, Origins, Plan, Price};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The version of the manifest that this tool writes.
pub(crate) const FORMAT: u32 = 2;

/// The oldest version that it reads.
pub(crate) const OLDEST_FORMAT: u32 = 1;

/// The version from which on every line of the journal has a checksum. Lines of older runs may have one: a run that is
/// resumed keeps its format.
pub(super) const CHECKED_FORMAT: u32 = 2;

/// Everything but the records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// [`OLDEST_FORMAT`] to [`FORMAT`].
    pub(crate) format: u32,
    /// Unique to the run; in every record too.
    pub(crate) run_id: String,
    /// The version of this tool.
    pub(crate) tool_version: String,
    /// The run's start, epoch milliseconds; file names carry it.
    pub(crate) started_ms: u64,
    /// When it was gone on with, epoch milliseconds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) resumed_ms: Vec<u64>,
    /// The run's end, epoch milliseconds; nothing while it runs, or where it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_ms: Option<u64>,
    /// A person or CI stopped it.
    #[serde(default)]
    pub(crate) interrupted: bool,
    /// What the server at a URL calls itself, where it is a simulator: `bedrock-plan/0.1.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) simulator: Option<String>,
    /// Where the requests went; `simulated` for the simulator inside this process.
    pub(crate) endpoint: String,
    /// The AWS region that was resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// How connections are made.
    pub(crate) connection_policy: String,
    /// What it ran on.
    pub(crate) machine: Machine,
    /// The resolved plan.
    pub(crate) plan: Plan,
    /// Where each of its values came from.
    pub(crate) origins: Origins,
    /// Over the hashes of all cells of the plan, before `--only`.
    pub(crate) plan_hash: String,
    /// The seed of everything that was drawn.
    pub(crate) seed: u64,
    /// How far this machine's numbers are off at the plan's peak load, where `run --calibrate` found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calibration: Option<Calibration>,
    /// The prices of the models asked, in the order in which they are looked up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) prices: Vec<Price>,
    /// The patterns of `--only`; empty if all cells were asked for.
    #[serde(default)]
    pub(crate) only: Vec<String>,
    /// What was asked before the load, and what came of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) preflight: Vec<Checked>,
    /// The cells asked for, in matrix order.
    pub(crate) cells: Vec<PlannedCell>,
    /// The realised order.
    pub(crate) order: Vec<Turn>,
    /// How each turn went, in the order in which they ran; a turn that is missing did not start.
    pub(crate) turns: Vec<TurnReport>,
    /// The machines, where several made the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shards: Option<Shards>,
}

/// The machines of a run that several made, as far as they are here: one in what each of them leaves, all of them in
/// what they are merged to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shards {
    /// How many there were to be.
    pub(crate) count: u32,
    /// All of them are here.
    pub(crate) complete: bool,
    /// Those that are here, by their index.
    pub(crate) parts: Vec<ShardPart>,
}

/// One machine of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ShardPart {
    /// From 0.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) host: String,
    /// What it is.
    pub(crate) machine: Machine,
    /// Its clock at the start; nothing where the system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clock: Option<ClockState>,
    /// Epoch milliseconds.
    pub(crate) started_ms: u64,
    /// Epoch milliseconds; nothing where it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_ms: Option<u64>,
    /// A person or a scheduler stopped it.
    #[serde(default)]
    pub(crate) interrupted: bool,
    /// Why it ended before the plan did, where it was not stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What a system says of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClockState {
    /// Something keeps it in step with the world's.
    pub(crate) synchronised: bool,
    /// It is off by no more, milliseconds; says nothing where it is not synchronised.
    pub(crate) max_error_ms: f64,
}

impl Shards {
    /// Of so many, those that are here.
    pub(crate) fn of(count: u32, mut parts: Vec<ShardPart>) -> Self {
        parts.sort_by_key(|part| part.index);
        let mut shards = Self { count, complete: false, parts };
        shards.complete = shards.missing().is_empty() && shards.parts.iter().all(|part| part.ended_ms.is_some());
        shards
    }

    /// `3 of 4`.
    pub(crate) fn shown(&self) -> String {
        format!("{} of {}", self.parts.len(), self.count)
    }

    /// Those that are not here.
    pub(crate) fn missing(&self) -> Vec<u32> {
        let here: HashSet<u32> = self.parts.iter().map(|part| part.index).collect();
        (0..self.count).filter(|index| !here.contains(index)).collect()
    }
}

/// A cell and what identifies it across runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlannedCell {
    /// The cell.
    #[serde(flatten)]
    pub(crate) cell: Cell,
    /// SHA-256 over what makes two cells comparable.
    pub(crate) cell_hash: String,
}

/// The machine, as far as it bears on the numbers.
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

/// A quota of nothing would make every share of it infinite.
fn quota<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let cores = Option::<f64>::deserialize(from)?;
    match cores {
        Some(cores) if !(cores > 0.0 && cores <= 1e6) => {
            Err(serde::de::Error::custom(format!("`{cores}` is not a CPU quota in cores")))
        }
        cores => Ok(cores),
    }
}

/// How far this machine's numbers are from the truth: client time minus server time, milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calibration {
    /// `90 users`.
    pub(crate) load: String,
    /// Requests that both sides know of.
    pub(crate) requests: u64,
    /// Requests that only one side knows of.
    pub(crate) unmatched: u64,
    /// Of whole requests, matched by request id.
    pub(crate) paired: Paired,
    /// Of first tokens, of streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttft: Option<Paired>,
    /// Percentile by percentile, those that the sample allows.
    pub(crate) percentiles: Vec<PercentileError>,
}

/// Client minus server, request by request.
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

/// How far a percentile is off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct PercentileError {
    /// 0 to 100.
    pub(crate) p: f64,
    /// The truth.
    pub(crate) server_ms: f64,
    /// What was reported.
    pub(crate) client_ms: f64,
}

impl PercentileError {
    /// Reported minus true, milliseconds.
    pub(crate) fn error_ms(self) -> f64 {
        self.client_ms - self.server_ms
    }
}

impl Calibration {
    /// The largest error of a percentile, without its sign.
    pub(crate) fn worst_ms(&self) -> f64 {
        self.percentiles.iter().map(|error| error.error_ms().abs()).fold(0.0, f64::max)
    }
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TurnEnd {
    /// It ran for its time.
    Finished,
    /// It measured nothing: all was refused, or nearly all failed.
    Aborted,
    /// A threshold with `abort_on_fail` could not be met any more.
    FailedEarly,
    /// A person or CI stopped the run.
    Interrupted,
    /// The run's budget was used up.
    OutOfBudget,
    /// The credentials expired, and could not be renewed.
    LostCredentials,
    /// The daily token quota of the model was used up.
    DailyQuota,
}

/// The bound of a threshold that a turn could not meet any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedBound {
    /// Which `[[slo]]` of the plan, from 0.
    pub(crate) slo: usize,
    /// Its key: `p95`.
    pub(crate) metric: String,
}

/// How one turn of a cell went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TurnReport {
    /// The cell's id.
    pub(crate) test_id: String,
    /// Counted from 1.
    pub(crate) repetition: u32,
    /// See `Turn`.
    #[serde(default = "order::first_attempt", skip_serializing_if = "order::is_first")]
    pub(crate) attempt: u32,
    /// Epoch milliseconds of the first start.
    pub(crate) started_ms: u64,
    /// Epoch milliseconds when nothing was in flight any more.
    pub(crate) ended_ms: u64,
    /// From the first start to the moment after which nothing new started, milliseconds: the
    /// test duration, or less where the turn was stopped.
    pub(crate) load_ms: f64,
    /// How it ended.
    pub(crate) end: TurnEnd,
    /// Why, where it did not finish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// What it could not meet any more, where it [failed early](TurnEnd::FailedEarly).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<FailedBound>,
    /// Records of this turn in the journal.
    pub(crate) requests: u64,
    /// Connections opened.
    pub(crate) connections_opened: u64,
    /// Requests that found an idle connection.
    pub(crate) connections_reused: u64,
    /// Starts that `max_in_flight` forbade, or that were overdue when the load ended (open loop).
    #[serde(default)]
    pub(crate) dropped: u64,
    /// Starts that waited for the disk, since the recorder's queue was full; nothing where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) starts_waited: Option<u64>,
    /// The time that users were there until the load ended, all together, milliseconds.
    #[serde(default)]
    pub(crate) user_ms: f64,
    /// What they thought of it, milliseconds.
    #[serde(default)]
    pub(crate) think_ms: f64,
    /// One entry per second from the first start.
    pub(crate) series: Vec<Second>,
    /// The machine whose part this is, from 0, where several made the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<u32>,
    /// By how much its load began after the moment that all machines had agreed on, by its own clock, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) late_ms: Option<f64>,
    /// Stalls, suspensions and clock jumps of the machine that made it; where several made the run, each part has its own.
    #[serde(default, skip_serializing_if = "Disturbances::is_empty")]
    pub(crate) disturbances: Disturbances,
    /// How it went on each machine, by their index, where several made the run: what is above is of all together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<TurnReport>,
}

/// What was sampled at the end of a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    /// Users running.
    pub(crate) users: u32,
    /// Requests in flight.
    pub(crate) in_flight: u32,
    /// CPU time of this process within the second, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ms: Option<f64>,
    /// The worst lateness of a 10 ms ticker, milliseconds.
    #[serde(default)]
    pub(crate) ticker_ms: f64,
    /// Starts dropped within the second.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) dropped: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants a reference
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl TurnEnd {
    /// A turn that ended so is run again when the run is gone on with.
    pub(crate) fn is_broken(self) -> bool {
        matches!(self, Self::Interrupted | Self::OutOfBudget | Self::LostCredentials | Self::DailyQuota)
    }
}

impl TurnReport {
    /// How it went on each machine: itself where there is one.
    pub(crate) fn machines(&self) -> &[Self] {
        if self.parts.is_empty() { std::slice::from_ref(self) } else { &self.parts }
    }

    /// How far apart its machines began, each by its own clock, milliseconds; nothing where there is one.
    pub(crate) fn start_skew_ms(&self) -> Option<f64> {
        let late = || self.parts.iter().filter_map(|part| part.late_ms);
        let (least, most) = (late().min_by(f64::total_cmp)?, late().max_by(f64::total_cmp)?);
        (late().count() > 1).then_some(most - least)
    }
}

impl Manifest {
    /// Indexes the reports of the last attempt of every cell run. A loop over cells builds the index once, before it.
    pub(crate) fn last_reports(&self) -> LastReports<'_> {
        LastReports::new(self)
    }

    /// Some turn that may run did not come to its end.
    pub(crate) fn has_unfinished(&self) -> bool {
        let (reports, excluded) = (self.last_reports(), self.excluded());
        self.order.iter().any(|turn| {
            let cell = &self.cells[turn.cell].cell;
            let report = reports.get(&cell.id, turn.repetition);
            excluded.get(cell).is_none() && report.is_none_or(|report| report.end.is_broken())
        })
    }

    /// Indexes the findings of the pre-flight that exclude cells. A loop over cells builds the index once, before it.
    pub(crate) fn excluded(&self) -> Excluded<'_> {
        Excluded::new(&self.preflight)
    }

    /// The indices of the cells that ask as each probe of the pre-flight did, by probe.
    pub(crate) fn asking(&self) -> Vec<Vec<usize>> {
        probe::asking(&self.preflight, self.cells.iter().map(|planned| &planned.cell))
    }

    /// The pre-flight ended the run.
    pub(crate) fn is_grounded(&self) -> bool {
        grounds(&self.preflight, self.plan.run.on_unsupported)
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

    /// How many cells have come to their end, and how many are to run.
    pub(crate) fn progress(&self) -> (usize, usize) {
        let (reports, excluded) = (self.last_reports(), self.excluded());
        let (mut all, mut open) = (HashSet::new(), HashSet::new());
        for turn in &self.order {
            let cell = &self.cells[turn.cell].cell;
            if excluded.get(cell).is_some() {
                continue;
            }
            all.insert(turn.cell);
            if reports.get(&cell.id, turn.repetition).is_none_or(|report| report.end.is_broken()) {
                open.insert(turn.cell);
            }
        }
        (all.len() - open.len(), all.len())
    }
}
