//! `submit`: writes the Slurm job script of a plan that several machines run together. The plan is read and checked
//! like in `run` before the script is written. Sends no request.

use super::cells::select;
use super::plan_warnings;
use super::stdout::print;
use crate::cli::{BARRIER_TIMEOUT, SubmitArgs};
use crate::cluster::DetectError;
use crate::cluster::slurm::{self, Job, ScriptError, format_time_limit, is_script, parse_time_limit};
use crate::config::{Resolved, expand_home, settings};
use crate::error::Error;
use crate::estimate::estimate;
use crate::executor::PREFLIGHT_TIMEOUT;
use crate::files::replace_named;
use crate::matrix::{Cell, expand};
use crate::plan::{Endpoint, Layer, Plan};
use crate::record::acquire;
use crate::record::probe::probes;
use crate::units::text::count;
use crate::units::{duration, id};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Allowance for a barrier that all machines reach in time.
const BARRIER_ALLOWANCE: Duration = Duration::from_secs(10);

/// Allowance for the start of the job, the delivery of the records and their merge.
const START_AND_MERGE_ALLOWANCE: Duration = Duration::from_secs(300);

/// Step in seconds to which the time limit is rounded up.
const TIME_LIMIT_STEP_S: u64 = 300;

/// Allowance for writing and delivering the records after the last request has ended.
const DELIVERY_ALLOWANCE: Duration = Duration::from_secs(30);

/// Shortest time between the signal to end and the time limit.
const MIN_NOTICE: Duration = Duration::from_secs(45);

/// Time by which Slurm may send the signal earlier than requested.
const EARLY_NOTICE: Duration = Duration::from_secs(60);

/// Writes or prints the script, and submits it with `--sbatch`. Returns the exit code.
pub(super) fn submit(
    args: &SubmitArgs,
    resolved: &Resolved,
    environment: &BTreeMap<String, String>,
) -> Result<u8, Error> {
    let cells = select(&expand(&resolved.plan), &args.only)?;
    let to = args.to.as_deref().map(absolute).transpose()?;
    if let Some(to) = &to {
        acquire::check(Path::new(to), false).map_err(Error::TargetDir)?;
    }
    let (job, warnings) = job_from_args(args, resolved, &cells, to, environment)?;
    let script = job.script().map_err(|error| match error {
        ScriptError::ReservedOption(option) => Error::SbatchOption(option),
        ScriptError::UnsafeText(text) => Error::UnquotableText(text),
    })?;
    let mut err = std::io::stderr();
    let _ = write!(err, "{}", plan_warnings::warnings(resolved));
    for warning in warnings {
        let _ = writeln!(err, "warning: {warning}");
    }
    if args.print {
        print(script.as_bytes())?;
        return Ok(0);
    }
    let path = args.script.clone().unwrap_or_else(|| PathBuf::from(format!("{}.sbatch", job.name)));
    write(&path, &script)?;
    if args.sbatch {
        run_sbatch(&path)?;
    } else {
        let _ = writeln!(err, "wrote {}; submit it with `sbatch {}`", path.display(), shell_quoted(&path));
    }
    Ok(0)
}

/// Returns the job, and warnings about settings that are probably mistakes.
fn job_from_args(
    args: &SubmitArgs,
    resolved: &Resolved,
    cells: &[Cell],
    to: Option<String>,
    environment: &BTreeMap<String, String>,
) -> Result<(Job, Vec<String>), Error> {
    let plan = &resolved.plan;
    let barrier = args.barrier_timeout.as_deref().unwrap_or(BARRIER_TIMEOUT);
    let barrier = duration::parse(barrier).map_err(DetectError::BarrierTimeout).map_err(Error::Shard)?;
    let expected = estimate(cells, plan, &resolved.prompts);
    let at_most = Duration::from_secs_f64(expected.seconds_at_most.ceil());
    let cell_runs = u32::try_from(expected.planned_runs).unwrap_or(u32::MAX);
    let preflight = if plan.run.preflight {
        let each = cells.iter().map(|cell| cell.request.timeout).max().unwrap_or_default().min(PREFLIGHT_TIMEOUT);
        each * probes(cells).len() as u32
    } else {
        Duration::ZERO
    };
    let drain = cells.iter().map(|cell| cell.load.drain.min(cell.request.timeout)).max().unwrap_or_default();
    let notice = (drain + DELIVERY_ALLOWANCE).max(MIN_NOTICE);
    let needed = at_most
        + BARRIER_ALLOWANCE * cell_runs
        + barrier
        + preflight
        + START_AND_MERGE_ALLOWANCE
        + notice
        + EARLY_NOTICE;
    let mut warnings: Vec<String> = idle_machines(cells, args.tasks).into_iter().collect();
    if plan.target.endpoint == Endpoint::Simulated {
        warnings.push("each machine starts a simulator of its own: share one with endpoint = \"http://...\"".into());
    }
    let time_limit = match &args.time {
        None => format_time_limit(needed.as_secs().next_multiple_of(TIME_LIMIT_STEP_S)),
        Some(text) => {
            let limit = parse_time_limit(text).ok_or_else(|| Error::TimeLimit(text.clone()))?;
            if limit < at_most.as_secs() {
                warnings.push(format!(
                    "the plan may take {}, but the job ends after {}",
                    format_time_limit(at_most.as_secs()),
                    format_time_limit(limit)
                ));
            }
            text.clone()
        }
    };
    let working_dir = std::env::current_dir().map_err(Error::Internal)?;
    let job = Job {
        name: id::file_safe(&plan.name),
        tasks: args.tasks,
        time_limit,
        planned: format_time_limit(at_most.as_secs()),
        start_wait: duration::format(barrier),
        notice_s: notice.as_secs(),
        options: args.sbatch_args.clone(),
        environment: exported_variables(resolved, environment),
        working_dir: text(&working_dir)?,
        program: text(&std::env::current_exe().map_err(Error::Internal)?)?,
        plan: absolute(&args.plan)?,
        flags: run_flags(args, resolved),
        results: absolute(Path::new(&*expand_home(&results_dir(plan), environment).unwrap_or_default()))?,
        exchange: args.exchange.as_deref().map(job_exchange).transpose()?,
        merged: to,
    };
    Ok((job, warnings))
}

/// Returns the results directory of a job. The job id replaces `{started}`, because machines do not start at the same
/// moment.
fn results_dir(plan: &Plan) -> String {
    let dir = plan.results_dir.replace("{name}", &id::file_safe(&plan.name));
    if dir.contains("{started}") {
        dir.replace("{started}", slurm::JOB_PLACEHOLDER)
    } else {
        format!("{}/{}", dir.trim_end_matches('/'), slurm::JOB_PLACEHOLDER)
    }
}

/// Returns the URL of the exchange of one job, below the URL that the user set.
///
/// # Errors
/// [`Error::ExchangeUrl`] if the URL is no address of an exchange.
fn job_exchange(url: &str) -> Result<String, Error> {
    if !crate::cluster::is_address(url) {
        return Err(Error::ExchangeUrl(url.to_owned()));
    }
    Ok(format!("{}/{}", url.trim_end_matches('/'), slurm::JOB_PLACEHOLDER))
}

/// Returns the environment variables that set values of the plan. The script exports them, so that the plan that runs
/// is the one that was checked. The results directory is not among them, because the script sets it.
fn exported_variables(resolved: &Resolved, environment: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let variable = |(key, origin): (&String, &crate::plan::Origin)| {
        let name = origin.name.as_deref().filter(|_| origin.layer == Layer::Env && key != RESULTS_KEY)?;
        Some((name.to_owned(), environment.get(name)?.clone()))
    };
    let mut variables: BTreeMap<String, String> = resolved.origins.iter().filter_map(variable).collect();
    if resolved.allow_http {
        variables.insert(settings::ALLOW_HTTP.into(), "true".into());
    }
    // This variable decides whether the machines of the job use the endpoint of their profiles.
    variables.extend(
        environment.get_key_value(settings::IGNORE_ENDPOINTS).map(|(name, value)| (name.clone(), value.clone())),
    );
    variables.into_iter().collect()
}

const RESULTS_KEY: &str = "results_dir";

/// Returns the flags of `run` that not every job has.
fn run_flags(args: &SubmitArgs, resolved: &Resolved) -> Vec<String> {
    let results_flags = settings::find(RESULTS_KEY).map_or(&[][..], |setting| setting.flags);
    let mut flags = Vec::new();
    if let Some(barrier) = &args.barrier_timeout {
        flags.extend(["--barrier-timeout".to_owned(), barrier.clone()]);
    }
    for (flag, value) in &args.settings.flags {
        match flag.as_str() {
            "simulated" => flags.push("--simulated".into()),
            // Exported as a variable, since `merge` needs it too.
            "allow-http" => {}
            flag if results_flags.contains(&flag) => {}
            flag => flags.push(format!("--{flag}={value}")),
        }
    }
    // The other machines may not have the profile.
    if resolved.origins.get("target.endpoint").is_some_and(|origin| origin.layer == Layer::Profile) {
        flags.push(format!("--endpoint-url={}", resolved.plan.target.endpoint));
    }
    let sets = args.settings.sets.iter().filter(|set| set.split('=').next().map(str::trim) != Some(RESULTS_KEY));
    for (flag, values) in [("--set", sets.collect::<Vec<_>>()), ("--only", args.only.iter().collect())] {
        flags.extend(values.into_iter().map(|value| format!("{flag}={value}")));
    }
    flags
}

/// Returns a warning if a cell has fewer users than there are machines.
fn idle_machines(cells: &[Cell], tasks: u32) -> Option<String> {
    let too_small = |cell: &&Cell| !cell.is_open() && cell.peak() < f64::from(tasks);
    let smallest = cells.iter().filter(too_small).min_by(|a, b| a.peak().total_cmp(&b.peak()))?;
    let idle = f64::from(tasks) - smallest.peak();
    let more = match cells.iter().filter(too_small).count() - 1 {
        0 => String::new(),
        more => format!(", and some machines are idle in {}", count(more, "other cell")),
    };
    let (users, machines) = (count(smallest.peak() as usize, "user"), count(tasks as usize, "machine"));
    Some(format!("{} has {users}: {idle} of {machines} are idle in it{more}", smallest.id))
}

/// Writes the script in one step. Replaces an existing file only if it is such a script.
fn write(path: &Path, script: &str) -> Result<(), Error> {
    let file_error = |source| Error::File { path: path.display().to_string(), source };
    match std::fs::read(path) {
        Ok(existing) if !is_script(&existing) => return Err(Error::ForeignScript(path.to_owned())),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(file_error(error)),
        _ => {}
    }
    replace_named(path, script.as_bytes()).map_err(file_error)
}

/// Runs `sbatch` and prints its output.
fn run_sbatch(script: &Path) -> Result<(), Error> {
    let output = Command::new("sbatch").arg(script).output().map_err(Error::NoSbatch)?;
    let trimmed = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        return Err(Error::Sbatch { script: script.to_owned(), message: trimmed(&output.stderr) });
    }
    let _ = std::io::stderr().write_all(&output.stderr);
    print(&output.stdout)
}

fn absolute(path: &Path) -> Result<String, Error> {
    text(&std::path::absolute(path).map_err(Error::Internal)?)
}

fn text(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::UnquotableText(path.to_string_lossy().into_owned()))
}

fn shell_quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), std::borrow::Cow::into_owned)
}
