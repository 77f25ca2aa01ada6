//! `calibrate`: measures the error of this machine's latencies at the peak load of a plan. The simulator runs in a
//! separate process with the plan's latencies and records how it served each request. Client and server times are
//! matched by request id.

use super::cells::sources;
use super::stdout::print;
use crate::cli::CalibrateFormat;
use crate::config::Resolved;
use crate::error::Error;
use crate::executor::connect::NetworkSettings;
use crate::executor::port::{Event, Gate, Refusal, Stop};
use crate::executor::{Bedrock, Job, Target, execute};
use crate::matrix::order::PlannedRun;
use crate::matrix::{Cell, Shard, expand};
use crate::plan::AfterAbort;
use crate::record::manifest::{Calibration, Paired, PercentileError};
use crate::record::{Outcome, Record};
use crate::report::view;
use crate::result::Quality;
use crate::simulator::{Faults, Model, Truth};
use crate::stats::percentile::{Curve, Observation};
use crate::units::url::HttpUrl;
use crate::units::{Rate, us_to_ms};
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Duration of the load. With the drain and the start of the simulator, a calibration takes less than 20 seconds.
const LOAD: Duration = Duration::from_secs(10);
const RAMP: Duration = Duration::from_secs(1);
const DRAIN: Duration = Duration::from_secs(6);

/// Percentile ranks to report, where the sample is large enough.
const LEVELS: [f64; 4] = [50.0, 95.0, 99.0, 99.9];

/// Calibrates and prints the result. Returns the exit code.
pub(super) fn calibrate(format: CalibrateFormat, resolved: &Resolved) -> Result<u8, Error> {
    let calibration = measure(resolved)?;
    let text = match format {
        CalibrateFormat::Table => view::calibration::block(&calibration),
        CalibrateFormat::Json => {
            let json = serde_json::to_value(&calibration).unwrap_or_default();
            format!("{json:#}\n")
        }
    };
    print(text.as_bytes())?;
    Ok(0)
}

/// Calibrates at the peak load of a plan.
///
/// # Errors
/// If the limit of open files is too low for the load, or the simulator or the client cannot be started.
pub(super) fn measure(resolved: &Resolved) -> Result<Calibration, Error> {
    let cell = peak_cell(&expand(&resolved.plan));
    super::limits::raise_open_files(std::slice::from_ref(&cell), Shard::WHOLE, false)?;
    let server = SimulatorProcess::start(&without_faults(&resolved.plan.simulator))?;
    let records = run_load(&cell, &server.url, resolved)?;
    let truth = server.stop()?;
    Ok(compare(&cell, &records, &truth))
}

/// Returns the cell with the highest peak load, changed to hold that peak for the whole test duration.
fn peak_cell(cells: &[Cell]) -> Cell {
    let Some(highest) = cells.iter().max_by(|a, b| a.peak().total_cmp(&b.peak())) else {
        unreachable!("a plan that was read has cells")
    };
    let mut cell = highest.clone();
    let level = cell.peak();
    (cell.users, cell.arrival_rate) =
        if cell.is_open() { (None, Some(Rate(level))) } else { (Some(level as u32), None) };
    cell.profile = None;
    cell.load.test_duration = LOAD;
    cell.load.spawn_rate = level / RAMP.as_secs_f64();
    cell.load.drain = DRAIN;
    (cell.load.requests, cell.load.min_samples, cell.load.max_duration) = (None, None, None);
    cell
}

/// Returns the simulator model with the same latencies, and without anything that keeps requests from being answered.
fn without_faults(model: &Model) -> Model {
    Model {
        faults: Faults::default(),
        throttle_rate: 0.0,
        // The peak load may exceed the model's capacity. Queued requests do not depend on this machine.
        capacity: 0,
        freeze_every: Duration::ZERO,
        freeze_for: Duration::ZERO,
        missing_models: Vec::new(),
        denied_models: Vec::new(),
        refused_tiers: Vec::new(),
        ..model.clone()
    }
}

/// `simulate` in a separate process. It ends when its standard input closes, so it never outlives this process.
struct SimulatorProcess {
    process: Child,
    url: HttpUrl,
    dir: PathBuf,
}

impl SimulatorProcess {
    fn start(model: &Model) -> Result<Self, Error> {
        #[derive(serde::Serialize)]
        struct Plan<'a> {
            simulator: &'a Model,
        }
        let dir = std::env::temp_dir().join(format!("bedrock-plan-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&dir).map_err(Error::Internal)?;
        let plan = toml::to_string(&Plan { simulator: model })
            .unwrap_or_else(|error| unreachable!("a simulator is plain data: {error}"));
        std::fs::write(dir.join("plan.toml"), plan).map_err(Error::Internal)?;
        let mut command = Command::new(std::env::current_exe().map_err(Error::Internal)?);
        command
            .args(["simulate", "--port", "0", "--until-stdin-closes", "--plan", "plan.toml", "--truth", "truth.csv"])
            .current_dir(&dir)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn().map_err(Error::Internal)?;
        let mut line = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(Error::Internal)?;
        }
        if let Some(url) = line.split_whitespace().find_map(|word| HttpUrl::parse(word).ok()) {
            return Ok(Self { process, url, dir });
        }
        let _ = process.kill();
        let _ = process.wait();
        let _ = std::fs::remove_dir_all(&dir);
        Err(Error::Internal(std::io::Error::other("the simulator for the calibration did not start")))
    }

    /// Stops the server and returns its truth records by request id.
    ///
    /// # Errors
    /// If the file of the truth records cannot be read.
    fn stop(mut self) -> Result<HashMap<String, Truth>, Error> {
        drop(self.process.stdin.take());
        self.process.wait().map_err(Error::Internal)?;
        read_truth(&self.dir.join("truth.csv"))
    }
}

impl Drop for SimulatorProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn read_truth(path: &Path) -> Result<HashMap<String, Truth>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::Internal)?;
    Ok(text.lines().filter_map(Truth::parse).map(|truth| (truth.request_id.clone(), truth)).collect())
}

/// Gate that admits every request.
struct OpenGate;

impl Gate for OpenGate {
    fn start_cell(&self, _cell: usize) {}
    fn admit(&self) -> Result<(), Refusal> {
        Ok(())
    }
    fn settle(&self, _record: &Record) {}
}

/// Runs the cell against the server and returns the records of all requests.
fn run_load(cell: &Cell, url: &HttpUrl, resolved: &Resolved) -> Result<Vec<Record>, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Internal)?;
    let target = Target {
        endpoint_url: Some(url.clone()),
        simulated: true,
        is_trusted: true,
        allow_http: false,
        region: None,
        regions: Vec::new(),
        profile: None,
        bearer_token: None,
        network: NetworkSettings::default(),
        secrets: crate::units::Secrets::default(),
    };
    let bedrock = Arc::new(runtime.block_on(Bedrock::connect(&target))?);
    let seed = resolved.plan.load.seed.unwrap_or(1);
    let job = Job {
        shard: Shard::WHOLE,
        barrier: None,
        backlog: Arc::default(),
        prompts: sources(resolved, std::slice::from_ref(cell), seed),
        cells: vec![cell.clone()],
        order: vec![PlannedRun::new(0, 1)],
        planned_runs: vec![0],
        seed,
        cool_down: Duration::ZERO,
        keep_text: false,
        after_abort: AfterAbort::Continue,
    };
    let records = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&records);
    let sink = Arc::new(move |event: Event| {
        if let Event::Ended { record, .. } = event {
            collected.lock().unwrap_or_else(PoisonError::into_inner).push(*record);
        }
    });
    runtime.block_on(execute(bedrock, job, Arc::new(OpenGate), sink, &Stop::default()));
    let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(std::mem::take(&mut *records))
}

/// Returns the client time minus the server time, per request and per percentile.
fn compare(cell: &Cell, records: &[Record], truth: &HashMap<String, Truth>) -> Calibration {
    let successes = || records.iter().filter(|record| record.outcome == Outcome::Succeeded);
    let matched: Vec<(&Record, &Truth)> =
        successes().filter_map(|record| Some((record, truth.get(record.request_id.as_deref()?)?))).collect();
    let client = |record: &Record| record.service_time_ms.unwrap_or(record.response_time_ms);
    let times: Vec<(f64, f64)> = matched
        .iter()
        .map(|(record, truth)| (client(record), us_to_ms(truth.replied_us - truth.received_us)))
        .collect();
    let first: Vec<(f64, f64)> = matched
        .iter()
        .filter_map(|(record, truth)| Some((record.ttft_ms?, us_to_ms(truth.first_token_us? - truth.received_us))))
        .collect();
    let served = truth.values().filter(|truth| truth.status == 200).count();
    let unit = if cell.is_open() { "requests/s" } else { "users" };
    Calibration {
        load: format!("{} {unit}, {}", cell.peak(), cell.api),
        requests: matched.len() as u64,
        unmatched: (records.len() - matched.len() + served.saturating_sub(matched.len())) as u64,
        paired: paired(&times),
        ttft: (!first.is_empty()).then(|| paired(&first)),
        percentiles: percentiles(&times),
    }
}

fn paired(times: &[(f64, f64)]) -> Paired {
    let curve = curve(times.iter().map(|(client, server)| client - server));
    let at = |p| curve.value(p).unwrap_or(0.0);
    Paired { p50_ms: at(0.50), p99_ms: at(0.99), max_ms: at(1.0) }
}

/// Returns the errors of those percentiles for which the sample is large enough.
fn percentiles(times: &[(f64, f64)]) -> Vec<PercentileError> {
    let (client, server) = (curve(times.iter().map(|time| time.0)), curve(times.iter().map(|time| time.1)));
    let errors = LEVELS.iter().filter_map(|p| {
        let (client, server) = (client.percentile(p / 100.0)?, server.percentile(p / 100.0)?);
        (client.quality == Quality::Ok).then_some(PercentileError {
            p: *p,
            server_ms: server.value_ms,
            client_ms: client.value_ms,
        })
    });
    errors.collect()
}

fn curve(values: impl Iterator<Item = f64>) -> Curve {
    Curve::new(values.map(|ms| Observation::independent(ms, true)))
}
