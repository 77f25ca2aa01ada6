//! Progress of this shard for its heartbeats, derived from the events of the executor.

use super::heartbeat::Progress;
use crate::executor::port::Event;
use crate::matrix::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Progress of a shard, derived from its events.
pub(crate) struct ProgressTracker {
    progress: Progress,
    /// Longest duration of each cell's load, seconds, rounded up.
    longest_s: Vec<u64>,
    /// Seconds for which the running load may still last.
    seconds_left: AtomicU64,
}

impl ProgressTracker {
    /// Creates the tracker of a run of these cells.
    pub(crate) fn new(progress: Progress, cells: &[Cell]) -> Self {
        let longest_s = cells.iter().map(|cell| cell.max_length().as_secs() + 1).collect();
        Self { progress, longest_s, seconds_left: AtomicU64::new(0) }
    }

    /// Counts an event as progress. A second of the load counts too, since no request may end in it. The seconds are
    /// limited to the longest duration of the load, because a load that hangs still emits seconds.
    pub(crate) fn count(&self, event: &Event) {
        match event {
            Event::CellRunStarted { run, .. } => self.seconds_left.store(self.longest_s[run.cell], Ordering::Relaxed),
            Event::Second(_) => {
                let take = |seconds: u64| seconds.checked_sub(1);
                if self.seconds_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
                    return;
                }
            }
            _ => {}
        }
        self.progress.advance();
    }
}
