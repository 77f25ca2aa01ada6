//! Which shard of a run this process is: said, or read off what a scheduler sets.

use crate::matrix::Shard;
use std::collections::BTreeMap;

/// Says it where no scheduler does: `2/8`.
const SAID: &str = "BEDROCK_PLAN_SHARD";
/// Says how many where a scheduler only tells which.
const COUNT: &str = "BEDROCK_PLAN_SHARDS";

/// Why it is not known.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum DetectError {
    /// Something that says it is malformed.
    #[error("{whence}: {message}")]
    Malformed {
        /// A flag or a variable.
        whence: &'static str,
        /// What is wrong.
        message: String,
    },
    /// Two say different things.
    #[error("{one} says shard {ones}, and {other} says {others}")]
    Disagree {
        /// A flag or variables.
        one: &'static str,
        /// What it says.
        ones: Shard,
        /// Variables.
        other: &'static str,
        /// What they say.
        others: Shard,
    },
    /// A batch script's own commands run once, whatever the number of tasks.
    #[error("SLURM_NTASKS is {0}, but this is the batch script itself and none of its tasks")]
    NoStep(u32),
    /// An array whose indices are not those of shards.
    #[error("a Slurm array of {count}, from {min} to {max}: a run needs --array=0-{}", count.saturating_sub(1))]
    Array {
        /// The lowest index.
        min: u32,
        /// The highest.
        max: u32,
        /// How many tasks there are.
        count: u32,
    },
    /// Kubernetes tells which, and not of how many.
    #[error("JOB_COMPLETION_INDEX is {0}, and nothing says of how many")]
    NoCount(u32),
    /// What was begun cannot be joined again.
    #[error("{variable} is {value}: this task was started again, and a run that was begun cannot be joined again")]
    Restarted {
        /// What tells it.
        variable: &'static str,
        /// Its value.
        value: u32,
    },
    /// Nothing says it.
    #[error("nothing says which shard this is: no --shard, no BEDROCK_PLAN_SHARD, no scheduler's variable")]
    Unknown,
}

type Environment = BTreeMap<String, String>;

/// Asks all who may know, which must agree. A flag that says `0/1` is alone, whatever a scheduler says.
///
/// # Errors
/// When they disagree, nobody knows, or the task was started before.
pub(crate) fn detect(flag: Option<&str>, environment: &Environment) -> Result<Shard, DetectError> {
    let said = [("--shard", flag), (SAID, text(environment, SAID))];
    let said = said.into_iter().filter_map(|(source, text)| Some((source, text?)));
    let said: Vec<(&'static str, Shard)> = said
        .map(|(source, text)| match text.parse() {
            Ok(shard) => Ok((source, shard)),
            Err(message) => Err(DetectError::Malformed { whence: source, message }),
        })
        .collect::<Result<_, _>>()?;
    if let Some((_, alone)) = said.first().filter(|(source, shard)| *source == "--shard" && !shard.is_part()) {
        return Ok(*alone);
    }
    let scheduled = [slurm_array(environment)?, slurm_step(environment, !said.is_empty())?, batch(environment)?];
    // One task of one says nothing: each task of an array is a step of its own too.
    let mut known = said.clone();
    known.extend(scheduled.iter().flatten().filter(|(_, shard)| shard.is_part()));
    known.extend(kubernetes(environment, known.first().map(|(_, shard)| *shard))?);
    if known.is_empty() {
        known.extend(scheduled.into_iter().flatten());
    }
    not_restarted(environment)?;
    let Some((first, shard)) = known.first().copied() else { return Err(DetectError::Unknown) };
    match known.iter().find(|(_, other)| *other != shard) {
        Some((other, others)) => Err(DetectError::Disagree { one: first, ones: shard, other, others: *others }),
        None => Ok(shard),
    }
}

/// How many tasks of a Slurm step run this command, each of which would run the whole plan.
pub(crate) fn tasks_beside(environment: &Environment) -> Option<u32> {
    let tasks = slurm_step(environment, true).ok()??.1.count;
    (tasks > 1).then_some(tasks)
}

fn text<'a>(environment: &'a Environment, variable: &str) -> Option<&'a str> {
    environment.get(variable).map(|value| value.trim()).filter(|value| !value.is_empty())
}

fn number(environment: &Environment, variable: &'static str) -> Result<Option<u32>, DetectError> {
    let Some(text) = text(environment, variable) else { return Ok(None) };
    let message = || format!("{text} is not a number");
    text.parse().map(Some).map_err(|_| DetectError::Malformed { whence: variable, message: message() })
}

fn shard(source: &'static str, index: u32, count: u32) -> Result<Option<(&'static str, Shard)>, DetectError> {
    match format!("{index}/{count}").parse() {
        Ok(shard) => Ok(Some((source, shard))),
        Err(message) => Err(DetectError::Malformed { whence: source, message }),
    }
}

fn slurm_array(environment: &Environment) -> Result<Option<(&'static str, Shard)>, DetectError> {
    let of = |variable| number(environment, variable);
    let (Some(index), Some(count)) = (of("SLURM_ARRAY_TASK_ID")?, of("SLURM_ARRAY_TASK_COUNT")?) else {
        return Ok(None);
    };
    let (min, max) = (of("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0), of("SLURM_ARRAY_TASK_MAX")?);
    let max = max.unwrap_or(count.saturating_sub(1));
    // 1-8 or 0-14:2 have as many tasks, and no shard 0 or 1 among them.
    if min != 0 || u64::from(max) + 1 != u64::from(count) {
        return Err(DetectError::Array { min, max, count });
    }
    shard("SLURM_ARRAY_TASK_ID", index, count)
}

fn slurm_step(environment: &Environment, is_said: bool) -> Result<Option<(&'static str, Shard)>, DetectError> {
    let of = |variable| number(environment, variable);
    let count = of("SLURM_STEP_NUM_TASKS")?.or(of("SLURM_NTASKS")?);
    let (Some(index), Some(count)) = (of("SLURM_PROCID")?, count) else { return Ok(None) };
    if text(environment, "SLURM_STEP_ID").is_none() {
        return if count > 1 && !is_said { Err(DetectError::NoStep(count)) } else { Ok(None) };
    }
    shard("SLURM_PROCID", index, count)
}

fn batch(environment: &Environment) -> Result<Option<(&'static str, Shard)>, DetectError> {
    let of = |variable| number(environment, variable);
    match (of("AWS_BATCH_JOB_ARRAY_INDEX")?, of("AWS_BATCH_JOB_ARRAY_SIZE")?) {
        (Some(index), Some(count)) => shard("AWS_BATCH_JOB_ARRAY_INDEX", index, count),
        _ => Ok(None),
    }
}

/// `known` is what others say: where nothing says of how many, the index alone must agree.
fn kubernetes(environment: &Environment, known: Option<Shard>) -> Result<Option<(&'static str, Shard)>, DetectError> {
    let Some(index) = number(environment, "JOB_COMPLETION_INDEX")? else { return Ok(None) };
    match (number(environment, COUNT)?, known) {
        (Some(count), _) => shard("JOB_COMPLETION_INDEX", index, count),
        (None, Some(known)) => shard("JOB_COMPLETION_INDEX", index, known.count),
        (None, None) => Err(DetectError::NoCount(index)),
    }
}

fn not_restarted(environment: &Environment) -> Result<(), DetectError> {
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

    fn of(flag: Option<&str>, variables: &[(&str, &str)]) -> Result<String, String> {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        detect(flag, &environment).map(|shard| shard.to_string()).map_err(|error| error.to_string())
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
    fn schedulers_tell_which_shard_it_is() {
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(of(Some("2/8"), &[]), ok("2/8"));
        assert_eq!(of(None, &[(SAID, " 2/8 ")]), ok("2/8"));
        assert_eq!(of(None, &STEP), ok("3/8"));
        assert_eq!(of(None, &ARRAY), ok("2/4"), "a task of an array is a step of one task too");
        assert_eq!(of(None, &[("AWS_BATCH_JOB_ARRAY_INDEX", "1"), ("AWS_BATCH_JOB_ARRAY_SIZE", "3")]), ok("1/3"));
        assert_eq!(of(None, &[("JOB_COMPLETION_INDEX", "4"), (COUNT, "5")]), ok("4/5"));
        assert_eq!(of(Some("4/5"), &[("JOB_COMPLETION_INDEX", "4")]), ok("4/5"));
        assert_eq!(of(Some("3/8"), &STEP), ok("3/8"));
        assert_eq!(of(Some("0/1"), &STEP), ok("0/1"), "a run of its own");
        assert_eq!(of(None, &[STEP[0], ("SLURM_NTASKS", "4"), ("SLURM_STEP_NUM_TASKS", "8"), STEP[2]]), ok("3/8"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let mut found = Vec::new();
        let mut say = |what: &str, flag, variables: &[(&str, &str)]| {
            found.push(format!("{what}: {}", of(flag, variables).unwrap_err()));
        };
        say("nothing", None, &[]);
        say("out of range", Some("8/8"), &[]);
        say("a flag and a step", Some("2/8"), &STEP);
        say("a flag and a variable", Some("2/8"), &[(SAID, "3/8")]);
        say("an array of steps", None, &[&ARRAY[..4], &STEP[..]].concat());
        say("a batch script", None, &STEP[..2]);
        say(
            "an array from 1",
            None,
            &[ARRAY[0], ARRAY[1], ("SLURM_ARRAY_TASK_MIN", "1"), ("SLURM_ARRAY_TASK_MAX", "4")],
        );
        say(
            "an array of one",
            None,
            &[ARRAY[0], ("SLURM_ARRAY_TASK_COUNT", "1"), ("SLURM_ARRAY_TASK_MIN", "2"), ("SLURM_ARRAY_TASK_MAX", "2")],
        );
        say("an index of nothing", None, &[("JOB_COMPLETION_INDEX", "4")]);
        say("another index", Some("3/5"), &[("JOB_COMPLETION_INDEX", "4")]);
        say("no number", None, &[("SLURM_PROCID", "x"), STEP[1], STEP[2]]);
        say("a task started again", None, &[STEP[0], STEP[1], STEP[2], ("SLURM_RESTART_COUNT", "1")]);
        say("a second attempt", Some("1/3"), &[("AWS_BATCH_JOB_ATTEMPT", "2")]);
        insta::assert_snapshot!(found.join("\n"));
    }

    #[test]
    fn a_step_of_several_tasks_is_seen_without_being_asked() {
        let environment = |variables: &[(&str, &str)]| {
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(tasks_beside(&environment(&STEP)), Some(8));
        assert_eq!(tasks_beside(&environment(&ARRAY)), None);
        assert_eq!(tasks_beside(&environment(&STEP[..2])), None, "a batch script runs it once");
    }
}
