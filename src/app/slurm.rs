//! The Slurm job of a run on several machines, as a script: one job whose tasks start all together or
//! not at all. Pure text; knows nothing of plans. What each flag is for stands in the script itself,
//! since that is what people read when a job went wrong.

use std::borrow::Cow;

/// The second line of each script: by it a script of ours is known.
pub(super) const MARK: &str = "# Written by `bedrock-plan submit`";

/// What a path or a URL has where the shell puts the job's id in.
pub(super) const JOB: &str = "job_SLURM_JOB_ID";

/// What `sbatch` would be told twice: a gang job whose parts are counted by its tasks.
const DECIDED: [&str; 7] = ["--array", "-a", "--ntasks", "-n", "--ntasks-per-node", "--requeue", "--wrap"];

/// A job.
#[derive(Debug)]
pub(super) struct Job {
    /// Of the plan, safe in a file name.
    pub(super) name: String,
    /// Machines.
    pub(super) tasks: u32,
    /// As Slurm reads it.
    pub(super) time: String,
    /// What the plan takes of it at most, for the script's reader.
    pub(super) takes: String,
    /// How long machines wait for each other, for the script's reader.
    pub(super) late: String,
    /// So long before its end the machines are told to end, seconds.
    pub(super) notice_s: u64,
    /// Options of `sbatch` beside these.
    pub(super) options: Vec<String>,
    /// Variables that the plan was read with.
    pub(super) environment: Vec<(String, String)>,
    /// What relative paths are relative to; absolute.
    pub(super) working_dir: String,
    /// This program; absolute.
    pub(super) program: String,
    /// The plan; absolute.
    pub(super) plan: String,
    /// Flags of `run` beside those that every job has.
    pub(super) flags: Vec<String>,
    /// Where each machine's own results go, with [`JOB`] in it; absolute.
    pub(super) results: String,
    /// Where they meet, a URL with [`JOB`] in it; below the results where it is not said.
    pub(super) exchange: Option<String>,
    /// Where the merged results go, if not where each machine's are; absolute.
    pub(super) to: Option<String>,
}

/// Why there is no script.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unsaid {
    /// The script decides this option itself.
    Decided(String),
    /// A text with a NUL or, in an option of `sbatch`, a line's end.
    Text(String),
}

/// What `sbatch` is told beside the script's own must not be the script's.
pub(super) fn decided(options: &[String]) -> Option<&String> {
    options.iter().find(|option| {
        let name = option.split_once('=').map_or(option.as_str(), |(name, _)| name);
        let glued = |known: &str| known.len() == 2 && !option.starts_with("--") && option.starts_with(known);
        DECIDED.iter().any(|known| name == *known || glued(known))
    })
}

impl Job {
    /// The script.
    pub(super) fn script(&self) -> Result<String, Unsaid> {
        if let Some(option) = decided(&self.options) {
            return Err(Unsaid::Decided(option.clone()));
        }
        let results = of_job(&self.results)?;
        let exchange = match &self.exchange {
            Some(url) => of_job(url)?,
            None => of_job(&format!("file://{}/exchange", self.results))?,
        };
        let to = match &self.to {
            Some(dir) => quoted(dir)?.into_owned(),
            None => r#""$results""#.to_owned(),
        };
        let environment = self
            .environment
            .iter()
            .map(|(name, value)| Ok(format!("export {name}={}\n", quoted(value)?)))
            .collect::<Result<String, Unsaid>>()?;
        let program = quoted(&self.program)?;
        let flags = self.flags.iter().map(|flag| Ok(format!(" {}", quoted(flag)?))).collect::<Result<String, _>>()?;
        Ok(format!(
            r#"#!/bin/bash
{MARK}, {version}: hand it in with sbatch.
# The plan {name} on {tasks}, as one job: all of them start, or none. This program, the plan and
# the results must be where every machine sees them.
#
#SBATCH --job-name={name}
#SBATCH --ntasks={n}
#SBATCH --ntasks-per-node=1
# A load that was sent is never sent again by itself.
#SBATCH --no-requeue
# Who loses a machine loses its part, not the others'.
#SBATCH --no-kill
# The plan takes {takes} at most. Beside that: machines that come late, {late} at most, the first
# requests, the start of each cell on all machines at once, and the merge.
#SBATCH --time={time}
# So many seconds before that nothing new starts, what is in flight ends, and records are kept.
#SBATCH --signal=TERM@{notice}
{options}
results={results}
exchange={exchange}
{environment}cd {dir} || exit

# scancel asks this shell to end as well: it waits for the machines and merges what they leave. (A
# trap that does something, so that the machines are not deaf to the signal.)
trap : TERM
# What srun itself does not pass on: the cores of a task.
[ -z "${{SLURM_CPUS_PER_TASK-}}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"

# One machine's end is not the others', however it ends. Each line says whose it is.
srun --label --no-kill --wait=0 --kill-on-bad-exit=0 \
    {program} run {plan} --yes \
    --results-dir "$results" --exchange "$exchange"{flags}

# Whether all is there is seen here alone, since srun does not say it: this code is the job's.
{program} merge "$exchange" --to {to}
"#,
            version = env!("CARGO_PKG_VERSION"),
            name = self.name,
            tasks = crate::units::text::count(self.tasks as usize, "machine"),
            n = self.tasks,
            takes = self.takes,
            late = self.late,
            time = self.time,
            notice = self.notice_s,
            options = self.options()?,
            dir = quoted(&self.working_dir)?,
            plan = quoted(&self.plan)?,
        ))
    }

    /// The line of the options that `sbatch` was to be told.
    fn options(&self) -> Result<String, Unsaid> {
        if self.options.is_empty() {
            return Ok(String::new());
        }
        let mut line = "#SBATCH".to_owned();
        for option in &self.options {
            if option.chars().any(char::is_control) {
                return Err(Unsaid::Text(option.clone()));
            }
            line.push(' ');
            line.push_str(&quoted(option)?);
        }
        line.push('\n');
        Ok(line)
    }
}

/// A text for the shell, which puts the job's id in.
fn of_job(text: &str) -> Result<String, Unsaid> {
    let parts = text.split(JOB).map(|part| if part.is_empty() { Ok(Cow::Borrowed("")) } else { quoted(part) });
    Ok(parts.collect::<Result<Vec<_>, _>>()?.join("job_${SLURM_JOB_ID}"))
}

fn quoted(text: &str) -> Result<Cow<'_, str>, Unsaid> {
    shlex::try_quote(text).map_err(|_| Unsaid::Text(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_s_id_is_for_the_shell_and_nothing_else_is() {
        assert_eq!(of_job("/r/job_SLURM_JOB_ID").unwrap(), "/r/job_${SLURM_JOB_ID}");
        assert_eq!(of_job("/r $x/job_SLURM_JOB_ID.d").unwrap(), "'/r $x/'job_${SLURM_JOB_ID}.d");
        assert_eq!(of_job("/r\0"), Err(Unsaid::Text("/r\0".into())));
    }

    #[test]
    fn what_the_script_decides_is_found_in_every_form() {
        let found = |option: &str| decided(&["-p".into(), option.into()]).is_some();
        for option in ["--array=0-3", "--array", "-a", "-a0-3", "-n4", "--ntasks=8", "--requeue"] {
            assert!(found(option), "{option}");
        }
        for option in ["--account=load", "-c4", "--nodelist=n1", "--partition", "load", "--no-requeue"] {
            assert!(!found(option), "{option}");
        }
    }
}
