//! Detection of the shard of this process: set explicitly, or by the variables of a scheduler.

use crate::matrix::Shard;
use crate::units::explained::Explained;
use std::collections::BTreeMap;

/// Variable that sets the shard explicitly: `2/8`.
const SHARD_VARIABLE: &str = "BEDROCK_PLAN_SHARD";
/// Variable that sets the number of shards if the scheduler sets only the index.
const COUNT_VARIABLE: &str = "BEDROCK_PLAN_SHARDS";

/// Why the options of sharding cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum DetectError {
    /// A source has an invalid value.
    #[error("{origin}: {message}")]
    Malformed {
        /// A flag or a variable.
        origin: &'static str,
        message: String,
    },
    /// Two sources have different values.
    #[error("conflicting shards: {first} is {first_shard}, {second} is {second_shard}")]
    Conflict { first: &'static str, first_shard: Shard, second: &'static str, second_shard: Shard },
    /// The process is the Slurm batch script, which runs once whatever the number of tasks.
    #[error("SLURM_NTASKS is {0}, but this process is the batch script, not one of its tasks")]
    BatchScript(u32),
    /// The indices of a Slurm array are not those of shards.
    #[error("the Slurm array has the indices {min} to {max}: expected --array=0-{}", count.saturating_sub(1))]
    Array {
        /// Lowest index.
        min: u32,
        /// Highest index.
        max: u32,
        /// Number of tasks.
        count: u32,
    },
    /// Kubernetes sets the index, but not the number of shards.
    #[error("JOB_COMPLETION_INDEX is {0}, but the number of shards is not set")]
    CountNotSet(u32),
    /// The scheduler has restarted the task.
    #[error("{variable} is {value}: a shard cannot rejoin a run after it has started")]
    Restarted { variable: &'static str, value: u32 },
    /// No source sets the shard.
    #[error("the shard is not set: there is no --shard, no BEDROCK_PLAN_SHARD and no scheduler variable")]
    NotSet,
    /// `--shard` without an exchange.
    #[error("`--shard {shard}` requires `--exchange`")]
    NoExchange { shard: Shard },
    /// Each task of a Slurm step would run the whole plan.
    #[error("each of the {tasks} tasks of this Slurm step would run the whole plan")]
    StepTasksWithoutExchange { tasks: u32 },
    /// `--barrier-timeout`.
    #[error("invalid --barrier-timeout: {0}")]
    BarrierTimeout(String),
}

impl Explained for DetectError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::BatchScript(_) => "start it with `srun`, like the script of `bedrock-plan submit`".into(),
            Self::CountNotSet(_) => {
                "set BEDROCK_PLAN_SHARDS to the number of completions, or pass --shard INDEX/COUNT".into()
            }
            Self::NotSet => "pass --shard INDEX/COUNT, for example 0/8 to 7/8".into(),
            Self::NoExchange { .. } => {
                "pass --exchange file:///shared/dir or s3://bucket/prefix, which all machines can reach".into()
            }
            Self::StepTasksWithoutExchange { .. } => {
                "--exchange URL makes them shards of one run; --shard 0/1 runs the whole plan in each task".into()
            }
            _ => return None,
        })
    }
}

type Environment = BTreeMap<String, String>;

/// Reads all sources, which must agree. The flag `0/1` overrides the scheduler.
///
/// # Errors
/// Fails if sources conflict, if none is set, or if the task was restarted.
pub(super) fn detect_shard(flag: Option<&str>, environment: &Environment) -> Result<Shard, DetectError> {
    let explicit = [("--shard", flag), (SHARD_VARIABLE, text(environment, SHARD_VARIABLE))];
    let explicit = explicit.into_iter().filter_map(|(source, text)| Some((source, text?)));
    let explicit: Vec<(&'static str, Shard)> = explicit
        .map(|(source, text)| match text.parse() {
            Ok(shard) => Ok((source, shard)),
            Err(message) => Err(DetectError::Malformed { origin: source, message }),
        })
        .collect::<Result<_, _>>()?;
    if let Some((_, alone)) = explicit.first().filter(|(source, shard)| *source == "--shard" && !shard.is_part()) {
        return Ok(*alone);
    }
    let scheduled =
        [slurm_array(environment)?, slurm_step(environment, !explicit.is_empty())?, aws_batch_array(environment)?];
    // A shard of one is ignored: each task of an array is also a step with one task.
    let mut known = explicit.clone();
    known.extend(scheduled.iter().flatten().filter(|(_, shard)| shard.is_part()));
    known.extend(kubernetes_index(environment, known.first().map(|(_, shard)| *shard))?);
    if known.is_empty() {
        known.extend(scheduled.into_iter().flatten());
    }
    check_not_restarted(environment)?;
    let Some((first, shard)) = known.first().copied() else { return Err(DetectError::NotSet) };
    match known.iter().find(|(_, other)| *other != shard) {
        Some((second, other)) => Err(DetectError::Conflict { first, first_shard: shard, second, second_shard: *other }),
        None => Ok(shard),
    }
}

/// Returns the number of tasks of the current Slurm step if there are several; each would run the whole plan.
pub(super) fn slurm_step_tasks(environment: &Environment) -> Option<u32> {
    let tasks = slurm_step(environment, true).ok()??.1.count;
    (tasks > 1).then_some(tasks)
}

fn text<'a>(environment: &'a Environment, variable: &str) -> Option<&'a str> {
    environment.get(variable).map(|value| value.trim()).filter(|value| !value.is_empty())
}

fn number(environment: &Environment, variable: &'static str) -> Result<Option<u32>, DetectError> {
    let Some(text) = text(environment, variable) else { return Ok(None) };
    let message = || format!("`{text}` is not a number");
    text.parse().map(Some).map_err(|_| DetectError::Malformed { origin: variable, message: message() })
}

fn parse_shard(source: &'static str, index: u32, count: u32) -> Result<Option<(&'static str, Shard)>, DetectError> {
    match format!("{index}/{count}").parse() {
        Ok(shard) => Ok(Some((source, shard))),
        Err(message) => Err(DetectError::Malformed { origin: source, message }),
    }
}

fn slurm_array(environment: &Environment) -> Result<Option<(&'static str, Shard)>, DetectError> {
    let read = |variable| number(environment, variable);
    let (Some(index), Some(count)) = (read("SLURM_ARRAY_TASK_ID")?, read("SLURM_ARRAY_TASK_COUNT")?) else {
        return Ok(None);
    };
    let (min, max) = (read("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0), read("SLURM_ARRAY_TASK_MAX")?);
    let max = max.unwrap_or(count.saturating_sub(1));
    // `1-8` and `0-14:2` have the same number of tasks, but lack shard 0 or 1.
    if min != 0 || u64::from(max) + 1 != u64::from(count) {
        return Err(DetectError::Array { min, max, count });
    }
    parse_shard("SLURM_ARRAY_TASK_ID", index, count)
}

fn slurm_step(environment: &Environment, is_explicit: bool) -> Result<Option<(&'static str, Shard)>, DetectError> {
    let read = |variable| number(environment, variable);
    let count = read("SLURM_STEP_NUM_TASKS")?.or(read("SLURM_NTASKS")?);
    let (Some(index), Some(count)) = (read("SLURM_PROCID")?, count) else { return Ok(None) };
    if text(environment, "SLURM_STEP_ID").is_none() {
        return if count > 1 && !is_explicit { Err(DetectError::BatchScript(count)) } else { Ok(None) };
    }
    parse_shard("SLURM_PROCID", index, count)
}

fn aws_batch_array(environment: &Environment) -> Result<Option<(&'static str, Shard)>, DetectError> {
    let read = |variable| number(environment, variable);
    match (read("AWS_BATCH_JOB_ARRAY_INDEX")?, read("AWS_BATCH_JOB_ARRAY_SIZE")?) {
        (Some(index), Some(count)) => parse_shard("AWS_BATCH_JOB_ARRAY_INDEX", index, count),
        _ => Ok(None),
    }
}

/// Reads the index set by Kubernetes. `known` is the shard from other sources: its count applies if no count is set.
fn kubernetes_index(
    environment: &Environment,
    known: Option<Shard>,
) -> Result<Option<(&'static str, Shard)>, DetectError> {
    let Some(index) = number(environment, "JOB_COMPLETION_INDEX")? else { return Ok(None) };
    match (number(environment, COUNT_VARIABLE)?, known) {
        (Some(count), _) => parse_shard("JOB_COMPLETION_INDEX", index, count),
        (None, Some(known)) => parse_shard("JOB_COMPLETION_INDEX", index, known.count),
        (None, None) => Err(DetectError::CountNotSet(index)),
    }
}

fn check_not_restarted(environment: &Environment) -> Result<(), DetectError> {
    for (variable, first) in [("SLURM_RESTART_COUNT", 0), ("AWS_BATCH_JOB_ATTEMPT", 1)] {
        if let Some(value) = number(environment, variable)?.filter(|value| *value > first) {
            return Err(DetectError::Restarted { variable, value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(flag: Option<&str>, variables: &[(&str, &str)]) -> Result<String, String> {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        detect_shard(flag, &environment).map(|shard| shard.to_string()).map_err(|error| error.to_string())
    }

    const STEP: [(&str, &str); 3] = [("SLURM_PROCID", "3"), ("SLURM_NTASKS", "8"), ("SLURM_STEP_ID", "0")];
    const ARRAY: [(&str, &str); 7] = [
        ("SLURM_ARRAY_TASK_ID", "2"),
        ("SLURM_ARRAY_TASK_COUNT", "4"),
        ("SLURM_ARRAY_TASK_MIN", "0"),
        ("SLURM_ARRAY_TASK_MAX", "3"),
        ("SLURM_PROCID", "0"),
        ("SLURM_NTASKS", "1"),
        ("SLURM_STEP_ID", "0"),
    ];

    #[test]
    fn shard_is_read_from_flags_and_scheduler_variables() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(detected(Some("2/8"), &[]), ok("2/8"));
        assert_eq!(detected(None, &[(SHARD_VARIABLE, " 2/8 ")]), ok("2/8"));
        assert_eq!(detected(None, &STEP), ok("3/8"));
        assert_eq!(detected(None, &ARRAY), ok("2/4"), "a task of an array is also a step with one task");
        assert_eq!(detected(None, &[("AWS_BATCH_JOB_ARRAY_INDEX", "1"), ("AWS_BATCH_JOB_ARRAY_SIZE", "3")]), ok("1/3"));
        assert_eq!(detected(None, &[("JOB_COMPLETION_INDEX", "4"), (COUNT_VARIABLE, "5")]), ok("4/5"));
        assert_eq!(detected(Some("4/5"), &[("JOB_COMPLETION_INDEX", "4")]), ok("4/5"));
        assert_eq!(detected(Some("3/8"), &STEP), ok("3/8"));
        assert_eq!(detected(Some("0/1"), &STEP), ok("0/1"), "the flag overrides the scheduler");
        assert_eq!(
            detected(None, &[STEP[0], ("SLURM_NTASKS", "4"), ("SLURM_STEP_NUM_TASKS", "8"), STEP[2]]),
            ok("3/8")
        );
    }

    #[test]
    fn invalid_and_conflicting_sources_are_errors() {
        let mut found = Vec::new();
        let mut add_case = |name: &str, flag, variables: &[(&str, &str)]| {
            found.push(format!("{name}: {}", detected(flag, variables).unwrap_err()));
        };
        add_case("nothing", None, &[]);
        add_case("out of range", Some("8/8"), &[]);
        add_case("a flag and a step", Some("2/8"), &STEP);
        add_case("a flag and a variable", Some("2/8"), &[(SHARD_VARIABLE, "3/8")]);
        add_case("an array of steps", None, &[&ARRAY[..4], &STEP[..]].concat());
        add_case("a batch script", None, &STEP[..2]);
        add_case(
            "an array from 1",
            None,
            &[ARRAY[0], ARRAY[1], ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_MAX", "4")],
        );
        add_case(
            "an array of one",
            None,
            &[ARRAY[0], ("SLURM_ARRAY_TASK_COUNT", "1"), ("SLURM_ARRAY_TASK_MIN", "2"), ("SLURM_ARRAY_TASK_MAX", "2")],
        );
        add_case("an index without a count", None, &[("JOB_COMPLETION_INDEX", "4")]);
        add_case("another index", Some("3/5"), &[("JOB_COMPLETION_INDEX", "4")]);
        add_case("no number", None, &[("SLURM_PROCID", "x"), STEP[1], STEP[2]]);
        add_case("a restarted task", None, &[STEP[0], STEP[1], STEP[2], ("SLURM_RESTART_COUNT", "1")]);
        add_case("a second attempt", Some("1/3"), &[("AWS_BATCH_JOB_ATTEMPT", "2")]);
        insta::assert_snapshot!(found.join("\n"));
    }

    #[test]
    fn tasks_of_a_step_are_counted() {
        let environment = |variables: &[(&str, &str)]| {
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(slurm_step_tasks(&environment(&STEP)), Some(8));
        assert_eq!(slurm_step_tasks(&environment(&ARRAY)), None);
        assert_eq!(slurm_step_tasks(&environment(&STEP[..2])), None, "a batch script runs the command once");
    }
}
