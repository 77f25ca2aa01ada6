//! `run`: executes a plan, then renders a report from the files that it wrote.

use super::cells::{select, sources};
use super::connect::{Connected, connect};
use super::execute::{JobResult, run_job};
use super::identity::RunIdentity;
use super::new_manifest::{called_regions, new_manifest};
use super::outcome::CellEnd;
use super::screen::Screen;
use super::shards::{self, JoinedShard};
use super::{budget, calibrate, outcome, plan_warnings, preflight, render, resume};
use crate::cluster::ShardOptions;
use crate::config::{Resolved, expand_home};
use crate::error::Error;
use crate::estimate::estimate;
use crate::executor::Job;
use crate::matrix::{Cell, Shard, expand};
use crate::plan::{OnInvalid, Plan};
use crate::record::acquire;
use crate::record::dir::{self, OnExisting};
use crate::record::manifest::{self, Manifest};
use crate::record::owned;
use crate::terminal;
use crate::units::{Secrets, timestamp};
use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of `run` besides those of the plan.
#[derive(Debug, Clone, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
pub(crate) struct Options {
    /// Start without confirmation.
    pub(crate) yes: bool,
    /// What to do with a run that is already in the results directory.
    pub(crate) on_existing: OnExisting,
    /// Cells that a resumed run executes again: `failed`, `invalid`, or id patterns.
    pub(crate) rerun: Vec<String>,
    /// Whether to start a new run if there is none to resume.
    pub(crate) resume_or_start: bool,
    /// Write the journal and render no report.
    pub(crate) no_report: bool,
    /// Run only the pre-flight.
    pub(crate) preflight_only: bool,
    /// Patterns of cell ids; empty selects all cells.
    pub(crate) only: Vec<String>,
    /// Options of sharding, if this process is one of several shards.
    pub(crate) shard: Option<ShardOptions>,
    /// How the run is displayed.
    pub(crate) screen: Screen,
    /// Options of the report's files.
    pub(crate) output: render::Output,
}

/// Runs a plan. Returns the exit code.
pub(crate) fn run(
    options: &Options,
    resolved: &Resolved,
    environment: &BTreeMap<String, String>,
    secrets: &Secrets,
) -> Result<u8, Error> {
    if options.preflight_only {
        return preflight::run_alone(&options.only, resolved, environment, secrets);
    }
    // Used for names only: the run's start time is taken after all questions are answered.
    let launched_ms = timestamp::now_ms();
    // Report a broken template before the run, not after it.
    let output = if options.no_report { &render::Output::default() } else { &options.output };
    let context = output.open(environment)?;
    if let Some(error) = context.templates.broken() {
        return Err(Error::Template(error));
    }
    let all_cells = expand(&resolved.plan);
    let results = results_dir(&resolved.plan, options.shard.as_ref(), launched_ms, environment);
    let shard = options.shard.as_ref().map_or(Shard::WHOLE, |options| options.shard);
    let mut before = find_resumed_run(options, resolved, &results, &all_cells)?;
    if let Some(before) = before.as_mut().filter(|before| before.planned_runs.is_empty()) {
        before.manifest.interrupted &= before.manifest.has_unfinished();
        if options.no_report {
            return render::exit_code(&results, &before.manifest);
        }
        return render::render(&results, &results, &before.manifest, context);
    }
    let cells = match &before {
        Some(before) => before.manifest.cells.iter().map(|planned| planned.cell.clone()).collect(),
        None => select(&all_cells, &options.only)?,
    };
    if before.is_none() {
        check_results(&results, options, resolved, &cells, launched_ms)?;
    }
    let Connected { runtime, simulator, bedrock } = connect(resolved, &cells, environment, secrets, shard)?;
    // Print the plan before asking for confirmation. Of several shards, only the first prints it otherwise.
    let prints_plan = options.screen.mode != terminal::DisplayMode::Quiet && shard.index == 0;
    if prints_plan || !options.yes {
        print_plan(resolved, &cells, before.as_ref(), &results);
    }
    confirm(options.yes)?;
    // An unreachable server must not cost the existing results.
    if options.on_existing == OnExisting::Overwrite && acquire::is_occupied(&results) {
        runtime.block_on(bedrock.check_reachable())?;
    }
    let calibration = calibrate_if_enabled(resolved)?;
    let is_resumed = before.is_some();
    let mut joined_shard = None;
    let (taken, mut manifest, order, planned_runs) = if let Some(before) = before {
        before.check_region(&called_regions(&cells, &bedrock.region))?;
        before.into_parts(resolved, timestamp::now_ms())
    } else {
        let mut identity = RunIdentity::new(&resolved.plan);
        if let Some(shard_options) = &options.shard {
            let profile = resolved.plan.target.profile.as_deref();
            let access = shards::Access { profile, allow_http: resolved.allow_http, environment, secrets };
            let context = shards::JoinContext::new(shard_options, access, resolved, &cells);
            let Some(joined) = shards::join(&context, &runtime, &identity)? else { return Ok(130) };
            identity = joined.identity();
            joined_shard = Some(joined);
        }
        let region = called_regions(&cells, &bedrock.region);
        let mut manifest = new_manifest(resolved, &all_cells, &cells, identity, &region, &options.only);
        if let Some(joined_shard) = &joined_shard {
            joined_shard.add_to_manifest(&mut manifest);
        }
        let taken = acquire::take_for(&results, &owned::files_of_run(&manifest), options.on_existing)
            .map_err(Error::Results)?;
        let order = manifest.order.clone();
        let planned_runs = (0..order.len()).collect();
        (taken, manifest, order, planned_runs)
    };
    manifest.calibration = calibration.or(manifest.calibration);
    let job = Job {
        prompts: sources(resolved, &cells, manifest.seed),
        order,
        planned_runs,
        seed: manifest.seed,
        cool_down: resolved.plan.load.cool_down,
        keep_text: resolved.plan.record.text,
        after_abort: resolved.plan.abort.then,
        shard,
        barrier: joined_shard.as_ref().map(JoinedShard::barrier),
        backlog: Arc::default(),
        cells,
    };
    let outstanding: Vec<Cell> =
        job.planned_runs.iter().map(|place| job.cells[job.order[*place].cell].clone()).collect();
    preflight::add_probes(&mut manifest, &outstanding);
    dir::write_manifest(&results, &manifest)?;
    // Written after the manifest, which lists it, so that a kill leaves no file that belongs to no run.
    dir::write(&results, Path::new(dir::PLAN), render::plan_text(&results, &manifest).as_bytes())?;
    let JobResult { mut manifest, ends, execution, display } =
        run_job(&runtime, bedrock, job, taken, manifest, options.screen, joined_shard.as_ref())?;
    drop(simulator);

    // A request to stop that arrived when nothing was left has interrupted nothing.
    manifest.interrupted = execution.interrupted && manifest.has_unfinished();
    manifest.ended_ms = Some(timestamp::now_ms());
    dir::write_manifest(&results, &manifest)?;
    let code = if let Some(joined_shard) = joined_shard {
        joined_shard.finish(&results, &mut manifest, &ends, execution.barrier_error.as_deref())
    } else if options.no_report {
        finish_without_report(&results, &manifest, &ends, is_resumed)
    } else {
        render::render(&results, &results, &manifest, context)
    };
    // Last, because writing to stderr may fail.
    if let Err(failure) = display {
        failure.report();
    }
    code
}

/// Returns the run to resume, if there is one.
///
/// # Errors
/// [`Error::NothingToResume`] if there is none and `--resume` requires one.
fn find_resumed_run(
    options: &Options,
    resolved: &Resolved,
    results: &Path,
    all_cells: &[Cell],
) -> Result<Option<resume::ResumedRun>, Error> {
    if options.on_existing != OnExisting::Resume {
        return Ok(None);
    }
    let is_known = !resolved.plan.results_dir.contains("{started}");
    if is_known && !options.resume_or_start && !results.join(dir::MANIFEST).exists() {
        return Err(Error::NothingToResume { dir: results.to_owned() });
    }
    resume::open(results, &options.only, &options.rerun, resolved, all_cells)
}

/// Checks that a new run may write its results, and that nothing is erased for a run that could send no request.
fn check_results(
    results: &Path,
    options: &Options,
    resolved: &Resolved,
    cells: &[Cell],
    launched_ms: u64,
) -> Result<(), Error> {
    let existing = options.on_existing;
    let ids = cells.iter().map(|cell| cell.id.as_str());
    let files = owned::run_files(launched_ms, ids, options.shard.is_some());
    acquire::check_files(results, &files, existing).map_err(Error::Results)?;
    let shard = options.shard.as_ref().map_or(Shard::WHOLE, |options| options.shard);
    budget::check_affordable(existing, resolved, cells, shard)
}

/// Measures the calibration, if the plan enables it.
fn calibrate_if_enabled(resolved: &Resolved) -> Result<Option<manifest::Calibration>, Error> {
    if !resolved.plan.run.calibrate {
        return Ok(None);
    }
    let _ = writeln!(std::io::stderr(), "calibrating at the peak load, some 15 s");
    calibrate::measure(resolved).map(Some)
}

/// Ends the run without a report. Returns the exit code.
fn finish_without_report(results: &Path, manifest: &Manifest, ends: &[CellEnd], is_resumed: bool) -> Result<u8, Error> {
    let mut err = std::io::stderr();
    let _ = writeln!(err, "records in {}; `bedrock-plan report {0}` renders them", results.display());
    // Only the full summary shows whether a cell is INVALID and how a cell ended in an earlier session.
    if is_resumed || manifest.plan.run.on_invalid == OnInvalid::Fail {
        return render::exit_code(results, manifest);
    }
    Ok(outcome::exit_code(manifest, ends, false))
}

/// Prints the plan and its estimate to stderr, before the confirmation.
fn print_plan(resolved: &Resolved, cells: &[Cell], before: Option<&resume::ResumedRun>, results: &Path) {
    let mut err = std::io::stderr();
    let plan = &resolved.plan;
    let expected = match before {
        Some(before) => before.estimate(plan, &resolved.prompts),
        None => estimate(cells, plan, &resolved.prompts),
    };
    let intro = terminal::plan::block(plan, &resolved.origins, cells, &expected, terminal::width());
    let _ = writeln!(err, "{intro}{}results go to {}", plan_warnings::warnings(resolved), results.display());
    if let Some(before) = before {
        let _ = writeln!(err, "{}", before.describe());
    }
    let _ = writeln!(err);
}

/// Returns `results_dir` with its placeholders filled in. Each shard has its own directory below it.
fn results_dir(
    plan: &Plan,
    shard: Option<&ShardOptions>,
    started_ms: u64,
    environment: &BTreeMap<String, String>,
) -> PathBuf {
    let started = timestamp::compact(started_ms);
    let name = crate::units::id::file_safe(&plan.name);
    // The plan has been checked, so the home directory is known if the path contains it.
    let dir = expand_home(&plan.results_dir, environment).unwrap_or(plan.results_dir.as_str().into());
    let run_dir = PathBuf::from(dir.replace("{name}", &name).replace("{started}", &started));
    shard.map_or(run_dir.clone(), |options| options.results_dir(&run_dir))
}

/// Asks for confirmation before anything is sent or written.
///
/// # Errors
/// If the user declines, or standard input is no terminal.
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
