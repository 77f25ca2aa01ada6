//! The options of sharding, from flags and from the variables of a scheduler, and what follows from them.

use super::detect::{DetectError, detect_shard, slurm_step_tasks};
use crate::matrix::{Cell, Shard};
use crate::units::duration;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Options of sharding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardOptions {
    /// URL of the exchange.
    pub(crate) url: String,
    /// This shard.
    pub(crate) shard: Shard,
    /// How long this shard waits for the others.
    pub(crate) timeout: Duration,
}

impl ShardOptions {
    /// Creates the options from the flags and from the variables that a scheduler set. Returns `None` if no exchange is
    /// set.
    ///
    /// # Errors
    /// If a shard is set without an exchange, if a Slurm step runs several tasks without an exchange, or if a value is
    /// invalid.
    pub(crate) fn from_flags(
        exchange: Option<String>,
        shard: Option<&str>,
        timeout: &str,
        environment: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, DetectError> {
        let timeout = duration::parse(timeout).map_err(DetectError::BarrierTimeout)?;
        let Some(url) = exchange else {
            return match (shard, slurm_step_tasks(environment)) {
                (Some(text), _) => match text.parse::<Shard>() {
                    Ok(shard) if shard.is_part() => Err(DetectError::NoExchange { shard }),
                    Ok(_) => Ok(None),
                    Err(message) => Err(DetectError::Malformed { origin: "--shard", message }),
                },
                (None, Some(tasks)) => Err(DetectError::StepTasksWithoutExchange { tasks }),
                (None, None) => Ok(None),
            };
        };
        let shard = detect_shard(shard, environment)?;
        Ok(Some(Self { url, shard, timeout }))
    }

    /// Returns the results directory of this shard, below that of the whole run.
    pub(crate) fn results_dir(&self, run_dir: &Path) -> PathBuf {
        run_dir.join(format!("shard_{}_of_{}", self.shard.index, self.shard.count))
    }
}

/// Returns the longest time in which a working shard may finish nothing: a request that takes its whole timeout, the
/// drain and the cool-down. Each second of a load counts as progress, whatever its think times and arrivals are.
pub(crate) fn longest_quiet(cells: &[Cell], cool_down: Duration) -> Duration {
    let longest = |duration: fn(&Cell) -> Duration| cells.iter().map(duration).max().unwrap_or_default();
    cool_down.saturating_add(longest(|cell| cell.request.timeout)).saturating_add(longest(|cell| cell.load.drain))
}
