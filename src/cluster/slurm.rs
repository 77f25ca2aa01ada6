//! Slurm job script of a run on several machines: one job whose tasks all start together, or not at all. Does not
//! depend on the plan. The comments in the script explain its flags, because people read it after a job has failed.

use minijinja::{Environment, UndefinedBehavior, context};
use std::borrow::Cow;

/// Start of the second line of each script, which identifies it as written by this program.
pub(crate) const SCRIPT_MARK: &str = "# Written by `bedrock-plan submit`";

/// Placeholder for the job id in a path or a URL; the shell replaces it.
pub(crate) const JOB_PLACEHOLDER: &str = "job_SLURM_JOB_ID";

/// Options of `sbatch` that the script sets itself: the machines start together and are counted by task.
const RESERVED_OPTIONS: [&str; 7] = ["--array", "-a", "--ntasks", "-n", "--ntasks-per-node", "--requeue", "--wrap"];

/// Values of a job script.
#[derive(Debug)]
pub(crate) struct Job {
    /// Name of the plan, safe in a file name.
    pub(crate) name: String,
    /// Number of machines.
    pub(crate) tasks: u32,
    /// Time limit in Slurm's notation.
    pub(crate) time_limit: String,
    /// Longest duration of the plan, for the reader of the script.
    pub(crate) planned: String,
    /// Longest time that machines wait for each other, for the reader of the script.
    pub(crate) start_wait: String,
    /// Seconds before the time limit at which the machines receive the signal to end.
    pub(crate) notice_s: u64,
    /// Further options of `sbatch`.
    pub(crate) options: Vec<String>,
    /// Environment variables that the plan was read with.
    pub(crate) environment: Vec<(String, String)>,
    /// Directory that relative paths refer to; absolute.
    pub(crate) working_dir: String,
    /// Path of this program; absolute.
    pub(crate) program: String,
    /// Path of the plan; absolute.
    pub(crate) plan: String,
    /// Further flags of `run`.
    pub(crate) flags: Vec<String>,
    /// Results directory of each machine, with [`JOB_PLACEHOLDER`] in it; absolute.
    pub(crate) results: String,
    /// URL of the exchange, with [`JOB_PLACEHOLDER`] in it; `None` selects a directory below the results.
    pub(crate) exchange: Option<String>,
    /// Directory of the merged results; absolute. `None` selects the results directory.
    pub(crate) merged: Option<String>,
}

/// Reason why a script cannot be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ScriptError {
    /// An option that the script sets itself.
    ReservedOption(String),
    /// A text with a NUL, or an option of `sbatch` with a control character such as a line break.
    UnsafeText(String),
}

/// Returns the first option that the script sets itself.
pub(crate) fn reserved_option(options: &[String]) -> Option<&String> {
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
    pub(crate) fn script(&self) -> Result<String, ScriptError> {
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

/// Returns whether a file is a script that this program wrote.
pub(crate) fn is_script(script: &[u8]) -> bool {
    script.split(|byte| *byte == b'\n').nth(1).is_some_and(|line| line.starts_with(SCRIPT_MARK.as_bytes()))
}

/// Formats seconds as `HH:MM:SS`.
pub(crate) fn format_time_limit(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Parses a time limit in Slurm's notation to seconds: `M`, `M:S`, `H:M:S`, `D-H`, `D-H:M`, `D-H:M:S`.
pub(crate) fn parse_time_limit(text: &str) -> Option<u64> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(days.parse::<u64>().ok()?), rest),
        None => (None, text),
    };
    let digits =
        |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u64>().ok()).flatten();
    let parts = rest.split(':').map(digits).collect::<Option<Vec<_>>>()?;
    let units: &[u64] = match (days, parts.len()) {
        (Some(_), 1..=3) | (None, 3) => &[3_600, 60, 1],
        (None, 1..=2) => &[60, 1],
        _ => return None,
    };
    let sum: u64 = parts.iter().zip(units).map(|(part, unit)| part.saturating_mul(*unit)).fold(0, u64::saturating_add);
    Some(sum.saturating_add(days.unwrap_or(0).saturating_mul(86_400))).filter(|limit| *limit > 0)
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

    #[test]
    fn time_limits_follow_slurm() {
        for (text, wanted) in [
            ("90", Some(5_400)),
            ("2:30", Some(150)),
            ("01:00:05", Some(3_605)),
            ("1-0", Some(86_400)),
            ("1-2:03", Some(93_780)),
            ("1-02:03:04", Some(93_784)),
            ("0", None),
            ("1h", None),
            ("", None),
            ("-5", None),
            ("1:2:3:4", None),
            ("+5", None),
        ] {
            assert_eq!(parse_time_limit(text), wanted, "{text}");
        }
        assert_eq!(parse_time_limit(&format_time_limit(360_123)), Some(360_123));
    }
}
