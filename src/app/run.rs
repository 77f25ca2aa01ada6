//! `run`: executes a plan, then reports on what it left on the disk.

use super::outcome::CellEnd;
use super::recorder::{self, Recorder};
use super::runtime::BackgroundRuntime;
use super::screen::Screen;
use super::shards::{self, Asked, Part};
use super::signals::{self, Signals};
use super::{budget, calibrate, limits, network, outcome, preflight, report, resume, simulated, watch};
use crate::config::{Resolved, expand_home};
use crate::error::Error;
use crate::estimate::estimate;
use crate::executor::connect::{self, NetworkSettings};
use crate::executor::port::{Gate, Stop};
use crate::executor::{Bedrock, EventSink, Execution, Job, execute};
use crate::guard::{AbortGate, AllGates, CredentialsGate, DailyQuotaGate, EarlyStopGate, ExtensionGate};
use crate::matrix::{Cell, Shard, expand, order};
use crate::plan::{Endpoint, OnInvalid, Plan};
use crate::prices::Prices;
use crate::record::dir::{self, OnExisting};
use crate::record::hash::{cell_hash, plan_hash};
use crate::record::manifest::{self, Machine, Manifest, PlannedCell};
use crate::record::owned;
use crate::stats::live::LiveStats;
use crate::terminal;
use crate::units::{Secrets, timestamp};
use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// What becomes of a run that is in the results directory already.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum There {
    /// It is not touched, and nothing starts.
    #[default]
    Refuse,
    /// It is replaced.
    Overwrite,
    /// It is continued.
    Resume {
        /// Cells to run again: `failed`, `invalid`, or id patterns.
        rerun: Vec<String>,
        /// Start a new run if there is none.
        or_start: bool,
    },
}

impl There {
    /// What to do with files of an earlier run, if it is not continued.
    fn on_existing(&self) -> OnExisting {
        match self {
            Self::Refuse => OnExisting::Refuse,
            Self::Overwrite => OnExisting::Overwrite,
            Self::Resume { .. } => OnExisting::Resume,
        }
    }
}

/// What `run` is told beside the plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Do not ask.
    pub(crate) yes: bool,
    /// What becomes of a run that is there already.
    pub(crate) there: There,
    /// End after the journal.
    pub(crate) no_report: bool,
    /// Only find out what can be asked.
    pub(crate) preflight_only: bool,
    /// Patterns on cell ids; empty is all.
    pub(crate) only: Vec<String>,
    /// It is one of several machines.
    pub(crate) shard: Option<Asked>,
    /// How it is shown.
    pub(crate) screen: Screen,
    /// How the files of the report are made.
    pub(crate) output: report::Output,
}

/// What asks, and what answers where that is the simulator.
pub(super) struct Connected {
    pub(super) runtime: BackgroundRuntime,
    pub(super) simulator: Option<simulated::Simulated>,
    pub(super) bedrock: Arc<Bedrock>,
}

/// Makes room for the connections of the cells, and gets ready to ask.
pub(super) fn connect(
    resolved: &Resolved,
    cells: &[Cell],
    environment: &BTreeMap<String, String>,
    secrets: &Secrets,
    shard: Shard,
) -> Result<Connected, Error> {
    limits::make_room(cells, shard, resolved.plan.target.endpoint == Endpoint::Simulated)?;
    let runtime = BackgroundRuntime::new().map_err(Error::Internal)?;
    let simulator = match resolved.plan.target.endpoint {
        Endpoint::Simulated => Some(simulated::start(&resolved.plan.simulator)?),
        _ => None,
    };
    let network = match simulator {
        Some(_) => NetworkSettings::default(),
        None => network::settings(environment, resolved.plan.target.profile.as_deref())?,
    };
    let url = simulator.as_ref().map(simulated::Simulated::url);
    let target = network::target(resolved, cells, url, network, environment, secrets);
    let bedrock = Arc::new(runtime.block_on(Bedrock::connect(&target))?);
    Ok(Connected { runtime, simulator, bedrock })
}

/// Runs a plan. Returns the exit code.
pub(crate) fn run(
    options: &Options,
    resolved: &Resolved,
    environment: &BTreeMap<String, String>,
    secrets: &Secrets,
) -> Result<u8, Error> {
    if options.preflight_only {
        return preflight::only(options, resolved, environment, secrets);
    }
    // For the directory's name alone: the run starts once all questions are answered.
    let launched_ms = timestamp::now_ms();
    // A template that is broken is said before the run, not after it.
    let output = if options.no_report { &report::Output::default() } else { &options.output };
    let means = output.open(environment)?;
    if let Some(error) = means.templates.broken() {
        return Err(Error::Template(error));
    }
    let all_cells = expand(&resolved.plan);
    let results = results_dir(&resolved.plan, options.shard.as_ref(), launched_ms, environment);
    let shard = options.shard.as_ref().map_or(Shard::WHOLE, |asked| asked.shard);
    let mut before = earlier(options, resolved, &results, &all_cells)?;
    if let Some(before) = before.as_mut().filter(|before| before.turns.is_empty()) {
        before.manifest.interrupted &= before.manifest.has_unfinished();
        if options.no_report {
            return report::exit_code(&results, &before.manifest);
        }
        return report::render(&results, &results, &before.manifest, means);
    }
    let cells = match &before {
        Some(before) => before.manifest.cells.iter().map(|planned| planned.cell.clone()).collect(),
        None => super::select(&all_cells, &options.only)?,
    };
    if before.is_none() {
        check_results(&results, options, resolved, &cells, launched_ms)?;
    }
    let Connected { runtime, simulator, bedrock } = connect(resolved, &cells, environment, secrets, shard)?;
    // Who is asked must know what; of several machines one tells it.
    let is_told = options.screen.mode != terminal::DisplayMode::Quiet && shard.index == 0;
    if is_told || !options.yes {
        introduce(resolved, &cells, before.as_ref(), &results);
    }
    confirm(options.yes)?;
    // A server that cannot be reached must not cost the results that are there.
    if options.there == There::Overwrite && dir::is_occupied(&results) {
        runtime.block_on(bedrock.check_reachable())?;
    }
    let calibration = calibrated(resolved)?;
    let resumed = before.is_some();
    let mut part = None;
    let (taken, mut manifest, order, turns) = if let Some(before) = before {
        before.same_region(&called(&cells, &bedrock.region))?;
        before.go_on(resolved, timestamp::now_ms())
    } else {
        let mut begun = Begun::now(&resolved.plan);
        if let Some(asked) = &options.shard {
            let profile = resolved.plan.target.profile.as_deref();
            let access = shards::Access { profile, allow_http: resolved.allow_http, environment, secrets };
            let meeting = shards::Meeting::new(asked, access, resolved, &cells);
            let Some(joined) = shards::join(&meeting, &runtime, &begun)? else { return Ok(130) };
            begun = joined.begun();
            part = Some(joined);
        }
        let region = called(&cells, &bedrock.region);
        let mut manifest = manifest(resolved, &all_cells, &cells, begun, &region, &options.only);
        if let Some(part) = &part {
            part.enter(&mut manifest);
        }
        let taken = dir::take_for(&results, &owned::files_of_run(&manifest), options.there.on_existing())
            .map_err(Error::Results)?;
        let order = manifest.order.clone();
        let turns = (0..order.len()).collect();
        (taken, manifest, order, turns)
    };
    manifest.calibration = calibration.or(manifest.calibration);
    let job = Job {
        prompts: super::sources(resolved, &cells, manifest.seed),
        order,
        turns,
        seed: manifest.seed,
        cool_down: resolved.plan.load.cool_down,
        keep_text: resolved.plan.record.text,
        after_abort: resolved.plan.abort.then,
        shard,
        barrier: part.as_ref().map(Part::meet),
        backlog: Arc::default(),
        cells,
    };
    let asked: Vec<Cell> = job.turns.iter().map(|place| job.cells[job.order[*place].cell].clone()).collect();
    preflight::enter(&mut manifest, &asked);
    dir::write_manifest(&results, &manifest)?;
    // After the manifest, which lists it: a kill leaves no file that is nobody's.
    dir::write(&results, Path::new(dir::PLAN), report::plan_text(&results, &manifest).as_bytes())?;
    let Driven { mut manifest, ends, execution, display } =
        drive(&runtime, bedrock, job, taken, manifest, options.screen, part.as_ref())?;
    drop(simulator);

    // A wish to stop that came when nothing was left cut nothing short.
    manifest.interrupted = execution.interrupted && manifest.has_unfinished();
    manifest.ended_ms = Some(timestamp::now_ms());
    dir::write_manifest(&results, &manifest)?;
    let code = if let Some(part) = part {
        part.finish(&results, &mut manifest, &ends, execution.barrier_error.as_deref())
    } else if options.no_report {
        unreported(&results, &manifest, &ends, resumed)
    } else {
        report::render(&results, &results, &manifest, means)
    };
    // Last: it may be that stderr takes nothing any more.
    if let Err(failure) = display {
        failure.report();
    }
    code
}

/// The run to continue, if there is one.
fn earlier(
    options: &Options,
    resolved: &Resolved,
    results: &Path,
    all_cells: &[Cell],
) -> Result<Option<resume::Before>, Error> {
    let There::Resume { rerun, or_start } = &options.there else { return Ok(None) };
    let is_known = !resolved.plan.results_dir.contains("{started}");
    if is_known && !or_start && !results.join(dir::MANIFEST).exists() {
        return Err(Error::NothingToResume { dir: results.to_owned() });
    }
    resume::look(results, &options.only, rerun, resolved, all_cells)
}

/// Checks that a new run may write its results, and that nothing is erased for one that can send nothing.
fn check_results(
    results: &Path,
    options: &Options,
    resolved: &Resolved,
    cells: &[Cell],
    launched_ms: u64,
) -> Result<(), Error> {
    let existing = options.there.on_existing();
    let ids = cells.iter().map(|cell| cell.id.as_str());
    let files = owned::run_files(launched_ms, ids, options.shard.is_some());
    dir::check_files(results, &files, existing).map_err(Error::Results)?;
    let shard = options.shard.as_ref().map_or(Shard::WHOLE, |asked| asked.shard);
    budget::check(existing, resolved, cells, shard)
}

/// How far the numbers are off on this machine, if the plan wants to know.
fn calibrated(resolved: &Resolved) -> Result<Option<manifest::Calibration>, Error> {
    if !resolved.plan.run.calibrate {
        return Ok(None);
    }
    let _ = writeln!(std::io::stderr(), "calibrating at the peak load, some 15 s");
    calibrate::measure(resolved).map(Some)
}

/// Ends after the journal. Returns the exit code.
fn unreported(results: &Path, manifest: &Manifest, ends: &[CellEnd], resumed: bool) -> Result<u8, Error> {
    let mut err = std::io::stderr();
    let _ = writeln!(err, "records in {}; `bedrock-plan report {0}` renders them", results.display());
    // Whether this machine spoiled a cell, or how one ended in an earlier session, takes the whole summary to say.
    if resumed || manifest.plan.run.on_invalid == OnInvalid::Fail {
        return report::exit_code(results, manifest);
    }
    Ok(outcome::exit_code(manifest, ends, false))
}

/// What tells a run from others, the same on all its machines.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    /// Epoch milliseconds.
    pub(super) started_ms: u64,
    pub(super) run_id: String,
    pub(super) seed: u64,
}

impl Begun {
    /// A run that begins now.
    fn now(plan: &Plan) -> Self {
        let started_ms = timestamp::now_ms();
        // What is drawn can be said again: TOML has no number above 2^63, and many a reader of JSON none above 2^53.
        let drawn = || rand::random_range(0..1 << 53);
        Self { started_ms, run_id: run_id(started_ms), seed: plan.load.seed.unwrap_or_else(drawn) }
    }
}

/// What is about to be done, before it is asked.
fn introduce(resolved: &Resolved, cells: &[Cell], before: Option<&resume::Before>, results: &Path) {
    let mut err = std::io::stderr();
    let plan = &resolved.plan;
    let expected = match before {
        Some(before) => before.estimate(plan, &resolved.prompts),
        None => estimate(cells, plan, &resolved.prompts),
    };
    let intro = terminal::plan::block(plan, &resolved.origins, cells, &expected, terminal::width());
    let _ = writeln!(err, "{intro}{}results go to {}", super::show::warnings(resolved), results.display());
    if let Some(before) = before {
        let _ = writeln!(err, "{}", before.sentence());
    }
    let _ = writeln!(err);
}

/// What became of a job.
struct Driven {
    manifest: Manifest,
    ends: Vec<CellEnd>,
    execution: Execution,
    /// Whether the display has ended in order.
    display: Result<(), terminal::DisplayFailure>,
}

/// Executes the job with a recorder and a display beside it.
fn drive(
    runtime: &Runtime,
    bedrock: Arc<Bedrock>,
    mut job: Job,
    taken: dir::RunDir,
    manifest: Manifest,
    screen: Screen,
    part: Option<&Part>,
) -> Result<Driven, Error> {
    let stop = Stop::default();
    let extend = ExtensionGate::new(&job.cells, manifest.plan.report.include_ramp, job.shard);
    let budget = Arc::new(budget::open(&taken.path, &manifest, &job)?);
    let mut gates: Vec<Arc<dyn Gate>> = vec![
        Arc::new(DailyQuotaGate::new(&job.cells)),
        Arc::new(CredentialsGate::default()),
        Arc::new(AbortGate::new(manifest.plan.abort)),
        Arc::new(extend),
        Arc::clone(&budget) as Arc<dyn Gate>,
    ];
    // Whether a threshold can still be met nobody knows who sees a part of the requests.
    if !job.shard.is_part() {
        gates.push(Arc::new(EarlyStopGate::new(&job.cells, &manifest.plan)));
    }
    let gate: Arc<dyn Gate> = Arc::new(AllGates(gates));
    let live = Arc::new(Mutex::new(LiveStats::new(Prices::kept(&manifest.prices))));
    let state = watch::watch(&manifest, &job, Arc::clone(&live));
    let display = terminal::Display::start(screen.mode, screen.err, state).map_err(Error::Internal)?;
    let mut known = manifest.clone();
    let signals = part.map_or_else(|| Signals::listen(3), Part::signals);
    let backlog = Arc::clone(&job.backlog);
    let recorder = Recorder::start(taken, manifest, live, stop.clone(), Arc::clone(&backlog))?;
    let (record, work) = (recorder.tell(), part.map(|part| part.work(&job.cells)));
    let tell: EventSink = Arc::new(move |event| {
        if let Some(work) = &work {
            work.note(&event);
        }
        record(event);
    });
    let tell = simulated::announce(Arc::clone(&bedrock), &known.plan, tell);
    let mut watching = JoinSet::new();
    watching.spawn_on(signals::watch(signals.clone(), stop.clone(), display.handle()), runtime.handle());
    let say = display.handle();
    watching.spawn_on(recorder::watch(backlog, move |line| say.print(line)), runtime.handle());
    let execution = runtime.block_on(async {
        let say = display.handle();
        let beating = part.map(Part::beat);
        let mut parted = None;
        if known.plan.run.preflight {
            let found = preflight::before(&mut known, &mut job, &bedrock, &gate, &tell, &stop, &say, part).await;
            parted = found.err().map(|error| error.to_string());
        }
        let mut execution = execute(bedrock, job, gate, tell, &stop).await;
        execution.barrier_error = execution.barrier_error.or(parted);
        for why in execution.barrier_error.iter().chain(&execution.refusal) {
            say.print(why);
        }
        drop(say);
        beating.inspect(tokio::task::JoinHandle::abort);
        execution
    });
    let recorded = recorder.finish(&stop);
    // What is left is the report, which can be made again.
    signals.end_at_next();
    runtime.block_on(watching.shutdown());
    let display = display.finish();
    let (manifest, ends) = recorded?;
    // After the journal is synced: what it contains counts from here on.
    budget.close()?;
    Ok(Driven { manifest, ends, execution, display })
}

/// The regions that a run calls, for people; `resolved` is that of cells that name none.
fn called(cells: &[Cell], resolved: &str) -> String {
    let mut regions = network::regions(cells);
    if regions.is_empty() || cells.iter().any(|cell| cell.region.is_none()) {
        regions.insert(0, resolved.to_owned());
    }
    regions.dedup();
    regions.join(", ")
}

/// `results_dir` with its placeholders filled in; of several machines each has its own below it.
fn results_dir(plan: &Plan, shard: Option<&Asked>, started_ms: u64, environment: &BTreeMap<String, String>) -> PathBuf {
    let started = timestamp::compact(started_ms);
    let name = crate::units::id::file_safe(&plan.name);
    // The plan was checked: a home directory is known where it names one.
    let dir = expand_home(&plan.results_dir, environment).unwrap_or(plan.results_dir.as_str().into());
    let whole = PathBuf::from(dir.replace("{name}", &name).replace("{started}", &started));
    shard.map_or(whole.clone(), |asked| asked.results(&whole))
}

/// Asks before anything is sent or written.
fn confirm(yes: bool) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::NotConfirmed);
    }
    let mut err = std::io::stderr();
    let _ = write!(err, "Start? [y/N] ");
    let _ = err.flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(Error::Internal)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::Declined),
    }
}

fn manifest(
    resolved: &Resolved,
    all_cells: &[Cell],
    cells: &[Cell],
    begun: Begun,
    region: &str,
    only: &[String],
) -> Manifest {
    let plan = &resolved.plan;
    let Begun { started_ms, run_id, seed } = begun;
    let hash = |cell: &Cell| hash(resolved, cell);
    let simulated = plan.target.endpoint == Endpoint::Simulated;
    Manifest {
        format: manifest::FORMAT,
        run_id,
        tool_version: env!("CARGO_PKG_VERSION").into(),
        started_ms,
        resumed_ms: Vec::new(),
        ended_ms: None,
        interrupted: false,
        simulator: None,
        endpoint: plan.target.endpoint.to_string(),
        region: (!simulated).then(|| region.to_owned()),
        connection_policy: connect::POLICY.into(),
        machine: Machine {
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu_quota_cores: crate::executor::cpu_quota_cores(),
        },
        plan: plan.clone(),
        origins: resolved.origins.clone(),
        plan_hash: plan_hash(&all_cells.iter().map(hash).collect::<Vec<_>>()),
        seed,
        calibration: None,
        preflight: Vec::new(),
        prices: Prices::of(plan).used(cells),
        only: only.to_vec(),
        cells: cells.iter().map(|cell| PlannedCell { cell: cell.clone(), cell_hash: hash(cell) }).collect(),
        order: order::turns(cells, &plan.load, seed),
        turns: Vec::new(),
        shards: None,
    }
}

/// What identifies a cell across runs.
pub(super) fn hash(resolved: &Resolved, cell: &Cell) -> String {
    let plan = &resolved.plan;
    cell_hash(cell, &plan.target, &resolved.prompts.canonical(&cell.prompt_size, &plan.mix))
}

/// The start and 32 random bits: sorts by time, and two runs of one second differ.
fn run_id(started_ms: u64) -> String {
    format!("{}-{:08x}", timestamp::compact(started_ms), rand::random::<u32>())
}
