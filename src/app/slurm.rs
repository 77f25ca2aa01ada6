//! Slurm job script of a run on several machines: one job whose tasks all start together, or not at all. Does not
//! depend on the plan. The comments in the script explain its flags, because people read it after a job has failed.

use minijinja::{Environment, UndefinedBehavior, context};
use std::borrow::Cow;

/// Start of the second line of each script, which identifies it as written by this program.
pub(super) const SCRIPT_MARK: &str = "# Written by `bedrock-plan submit`";

/// Placeholder for the job id in a path or a URL; the shell replaces it.
pub(super) const JOB_PLACEHOLDER: &str = "job_SLURM_JOB_ID";

/// Options of `sbatch` that the script sets itself: the machines start together and are counted by task.
const RESERVED_OPTIONS: [&str; 7] = ["--array", "-a", "--ntasks", "-n", "--ntasks-per-node", "--requeue", "--wrap"];

/// Values of a job script.
#[derive(Debug)]
pub(super) struct Job {
    /// Name of the plan, safe in a file name.
    pub(super) name: String,
    /// Number of machines.
    pub(super) tasks: u32,
    /// Time limit in Slurm's notation.
    pub(super) time_limit: String,
    /// Longest duration of the plan, for the reader of the script.
    pub(super) planned: String,
    /// Longest time that machines wait for each other, for the reader of the script.
    pub(super) start_wait: String,
    /// Seconds before the time limit at which the machines receive the signal to end.
    pub(super) notice_s: u64,
    /// Further options of `sbatch`.
    pub(super) options: Vec<String>,
    /// Environment variables that the plan was read with.
    pub(super) environment: Vec<(String, String)>,
    /// Directory that relative paths refer to; absolute.
    pub(super) working_dir: String,
    /// Path of this program; absolute.
    pub(super) program: String,
    /// Path of the plan; absolute.
    pub(super) plan: String,
    /// Further flags of `run`.
    pub(super) flags: Vec<String>,
    /// Results directory of each machine, with [`JOB_PLACEHOLDER`] in it; absolute.
    pub(super) results: String,
    /// URL of the exchange, with [`JOB_PLACEHOLDER`] in it; `None` selects a directory below the results.
    pub(super) exchange: Option<String>,
    /// Directory of the merged results; absolute. `None` selects the results directory.
    pub(super) merged: Option<String>,
}

/// Reason why a script cannot be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ScriptError {
    /// An option that the script sets itself.
    ReservedOption(String),
    /// A text with a NUL, or an option of `sbatch` with a control character such as a line break.
    UnsafeText(String),
}

/// Returns the first option that the script sets itself.
pub(super) fn reserved_option(options: &[String]) -> Option<&String> {
    options.iter().find(|option| {
        let name = option.split_once('=').map_or(option.as_str(), |(name, _)| name);
        let has_attached_value =
            |known: &str| known.len() == 2 && !option.starts_with("--") && option.starts_with(known);
        RESERVED_OPTIONS.iter().any(|known| name == *known || has_attached_value(known))
    })
}

impl Job {
    /// Returns the text of the script.
    ///
    /// # Errors
    /// [`ScriptError`] if an option is reserved or a text cannot be quoted.
    pub(super) fn script(&self) -> Result<String, ScriptError> {
        if let Some(option) = reserved_option(&self.options) {
            return Err(ScriptError::ReservedOption(option.clone()));
        }
        if let Some(option) = self.options.iter().find(|option| option.chars().any(char::is_control)) {
            return Err(ScriptError::UnsafeText(option.clone()));
        }
        let exchange = self.exchange.clone().unwrap_or_else(|| format!("file://{}/exchange", self.results));
        let merged = match &self.merged {
            Some(dir) => quoted(dir)?.into_owned(),
            None => r#""$results""#.to_owned(),
        };
        let all_quoted = |texts: &[String]| -> Result<Vec<String>, ScriptError> {
            texts.iter().map(|text| Ok(quoted(text)?.into_owned())).collect()
        };
        let (options, flags) = (all_quoted(&self.options)?, all_quoted(&self.flags)?);
        let environment = self.environment.iter().map(|(name, value)| Ok((name.clone(), quoted(value)?.into_owned())));
        let environment: Vec<_> = environment.collect::<Result<_, ScriptError>>()?;
        let values = context! {
            first_line => format!("{SCRIPT_MARK},"),
            version => env!("CARGO_PKG_VERSION"),
            name => &self.name,
            machines => crate::units::text::count(self.tasks as usize, "machine"),
            tasks => self.tasks,
            planned => &self.planned,
            start_wait => &self.start_wait,
            time_limit => &self.time_limit,
            notice_s => self.notice_s,
            options,
            results => with_job_id(&self.results)?,
            exchange => with_job_id(&exchange)?,
            environment,
            working_dir => &*quoted(&self.working_dir)?,
            program => &*quoted(&self.program)?,
            plan => &*quoted(&self.plan)?,
            flags,
            merged,
        };
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        // The engine removes one line break at the end.
        let script = templates.render_str(include_str!("slurm.sbatch"), values).expect("the embedded template renders");
        Ok(script + "\n")
    }
}

/// Quotes a text for the shell, and replaces the placeholder of the job id by its variable.
fn with_job_id(text: &str) -> Result<String, ScriptError> {
    let quoted_or_empty = |part| if str::is_empty(part) { Ok(Cow::Borrowed("")) } else { quoted(part) };
    let parts = text.split(JOB_PLACEHOLDER).map(quoted_or_empty);
    Ok(parts.collect::<Result<Vec<_>, _>>()?.join("job_${SLURM_JOB_ID}"))
}

fn quoted(text: &str) -> Result<Cow<'_, str>, ScriptError> {
    shlex::try_quote(text).map_err(|_| ScriptError::UnsafeText(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_job_id_is_left_to_the_shell() {
        assert_eq!(with_job_id("/r/job_SLURM_JOB_ID").unwrap(), "/r/job_${SLURM_JOB_ID}");
        assert_eq!(with_job_id("/r $x/job_SLURM_JOB_ID.d").unwrap(), "'/r $x/'job_${SLURM_JOB_ID}.d");
        assert_eq!(with_job_id("/r\0"), Err(ScriptError::UnsafeText("/r\0".into())));
    }

    #[test]
    fn reserved_options_are_found_in_every_form() {
        let found = |option: &str| reserved_option(&["-p".into(), option.into()]).is_some();
        for option in ["--array=0-3", "--array", "-a", "-a0-3", "-n4", "--ntasks=8", "--requeue"] {
            assert!(found(option), "{option}");
        }
        for option in ["--account=load", "-c4", "--nodelist=n1", "--partition", "load", "--no-requeue"] {
            assert!(!found(option), "{option}");
        }
    }
}
