//! History of a cell: one row per second as in Locust's history, over all phases.

use super::histogram::LatencyHistogram;
use super::percentile::nearest_rank;
use super::sample::Sample;
use crate::record::Outcome;
use crate::record::manifest::CellRunReport;
use crate::result::LEVELS;
use std::collections::{BTreeMap, VecDeque};

/// Length of the sliding window of a row, seconds.
const NOW_S: f64 = 10.0;

/// One second of the history.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HistoryRow {
    /// Epoch seconds.
    pub(crate) epoch_s: u64,
    /// Seconds from the start of the cell run, from 1.
    pub(crate) second: u64,
    /// Number of running users.
    pub(crate) users: u32,
    /// Requests in flight; `None` if unknown.
    pub(crate) in_flight: Option<u32>,
    /// Largest delay of a 10 ms ticker of this machine, milliseconds.
    pub(crate) ticker_ms: Option<f64>,
    /// Requests that ended in the last 10 s, per second.
    pub(crate) requests_per_sec: f64,
    /// Failures among them.
    pub(crate) failures_per_sec: f64,
    /// Percentiles of the last 10 s, milliseconds; `None` if no request ended.
    pub(crate) percentiles_ms: Option<[f64; LEVELS.len()]>,
    /// Requests that ended since the cell's start.
    pub(crate) total_requests: u64,
    /// Failures among them.
    pub(crate) total_failures: u64,
    /// Median of all requests since the start, milliseconds.
    pub(crate) total_median_ms: Option<f64>,
    /// Mean of the same requests, milliseconds.
    pub(crate) total_mean_ms: Option<f64>,
    /// Minimum of the same requests, milliseconds.
    pub(crate) total_min_ms: Option<f64>,
    /// Maximum of the same requests, milliseconds.
    pub(crate) total_max_ms: Option<f64>,
    /// Mean size of a reply's body, bytes.
    pub(crate) total_content_bytes: Option<f64>,
}

/// Returns the rows of all cell runs in sequence. Times are those of successes; with `include_failures` also those of
/// failed and throttled requests. Requests in flight during a stall of this machine are excluded.
pub(super) fn history(turns: &[CellRunReport], samples: &[Sample], include_failures: bool) -> Vec<HistoryRow> {
    turns.iter().flat_map(|turn| one_turn(turn, samples, include_failures)).collect()
}

fn one_turn(turn: &CellRunReport, samples: &[Sample], include_failures: bool) -> Vec<HistoryRow> {
    let shifts: BTreeMap<Option<u16>, f64> = turn
        .parts
        .iter()
        .filter_map(|part| {
            let earlier = turn.started_ms as f64 - part.started_ms as f64;
            Some((Some(u16::try_from(part.shard?).ok()?), earlier / 1e3))
        })
        .collect();
    // Seconds count from a machine's own start, as those of its series do.
    let ended_s = |sample: &Sample| sample.ended_s + shifts.get(&sample.shard).copied().unwrap_or(0.0);
    let mut ended: Vec<&Sample> = samples.iter().filter(|sample| sample.repetition == turn.repetition).collect();
    ended.sort_by(|a, b| ended_s(a).total_cmp(&ended_s(b)));
    let start_s = turn.started_ms as f64 / 1e3;
    let length_s = seconds(turn);
    let mut total = Total::new();
    let mut next = ended.into_iter().peekable();
    let mut recent: VecDeque<&Sample> = VecDeque::new();
    (1..=length_s)
        .map(|second| {
            // The last second takes what a rounding left behind.
            let until_s = if second == length_s { f64::INFINITY } else { start_s + second as f64 };
            while let Some(sample) = next.next_if(|sample| ended_s(sample) <= until_s) {
                total.add(sample, include_failures);
                recent.push_back(sample);
            }
            let since_s = start_s + second as f64 - NOW_S;
            while recent.front().is_some_and(|sample| ended_s(sample) <= since_s) {
                recent.pop_front();
            }
            let users = turn.series.get(second as usize - 1).or(turn.series.last()).map_or(0, |sampled| sampled.users);
            let covered_s = (second as f64).min(NOW_S);
            let failures = recent.iter().filter(|sample| sample.outcome.is_failure()).count();
            let sampled = turn.series.get(second as usize - 1);
            HistoryRow {
                epoch_s: (start_s + second as f64) as u64,
                second,
                users,
                in_flight: sampled.map(|sampled| sampled.in_flight),
                ticker_ms: sampled.map(|sampled| sampled.ticker_ms),
                requests_per_sec: recent.len() as f64 / covered_s,
                failures_per_sec: failures as f64 / covered_s,
                percentiles_ms: percentiles(&recent, include_failures),
                total_requests: total.requests,
                total_failures: total.failures,
                total_median_ms: total.times.percentile_ms(0.5),
                total_mean_ms: (total.timed > 0).then(|| total.sum_ms / total.timed as f64),
                total_min_ms: (total.timed > 0).then_some(total.min_ms),
                total_max_ms: (total.timed > 0).then_some(total.max_ms),
                total_content_bytes: (total.bodies > 0).then(|| total.bytes / total.bodies as f64),
            }
        })
        .collect()
}

/// Returns the length of a cell run, rounded up. If the times of a manifest are far apart and its series is short, the
/// seconds between them are unknown and take no memory.
fn seconds(turn: &CellRunReport) -> u64 {
    /// A killed cell run has no series.
    const UNSAMPLED: u64 = 7 * 86_400;
    /// Seconds that were not sampled because the machine stood still.
    const SLACK: u64 = 3_600;
    let most = if turn.series.is_empty() { UNSAMPLED } else { turn.series.len() as u64 + SLACK };
    turn.ended_ms.saturating_sub(turn.started_ms).div_ceil(1_000).clamp(1, most)
}

fn is_timed(sample: &Sample, include_failures: bool) -> bool {
    sample.unfit.is_none()
        && (sample.outcome == Outcome::Succeeded || (include_failures && sample.outcome.is_failure()))
}

fn percentiles(recent: &VecDeque<&Sample>, include_failures: bool) -> Option<[f64; LEVELS.len()]> {
    let mut times: Vec<f64> =
        recent.iter().filter(|sample| is_timed(sample, include_failures)).map(|sample| sample.response_ms).collect();
    times.sort_by(f64::total_cmp);
    let n = times.len();
    (n > 0).then(|| LEVELS.map(|p| times[nearest_rank(n, p)]))
}

/// Totals since the start of a cell run.
struct Total {
    requests: u64,
    failures: u64,
    timed: u64,
    sum_ms: f64,
    min_ms: f64,
    max_ms: f64,
    bodies: u64,
    bytes: f64,
    times: LatencyHistogram,
}

impl Total {
    fn new() -> Self {
        Self {
            requests: 0,
            failures: 0,
            timed: 0,
            sum_ms: 0.0,
            min_ms: f64::INFINITY,
            max_ms: f64::NEG_INFINITY,
            bodies: 0,
            bytes: 0.0,
            times: LatencyHistogram::new(),
        }
    }

    fn add(&mut self, sample: &Sample, include_failures: bool) {
        self.requests += 1;
        self.failures += u64::from(sample.outcome.is_failure());
        if sample.response_bytes > 0 {
            self.bodies += 1;
            self.bytes += f64::from(sample.response_bytes);
        }
        if is_timed(sample, include_failures) {
            self.timed += 1;
            self.sum_ms += sample.response_ms;
            self.min_ms = self.min_ms.min(sample.response_ms);
            self.max_ms = self.max_ms.max(sample.response_ms);
            self.times.add(sample.response_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::collect::tests::{sample, turn};
    use super::*;
    use crate::record::ExclusionReason;

    #[test]
    fn requests_in_flight_during_a_stall_are_counted_and_not_timed() {
        let failed = |unfit, response_ms| Sample { outcome: Outcome::Failed, unfit, response_ms, ..sample() };
        let turn = CellRunReport { ended_ms: 1_000, ..turn() };
        let samples = [
            failed(Some(ExclusionReason::ClientStalled), 9_000.0),
            Sample { unfit: Some(ExclusionReason::ClientStalled), response_ms: 8_000.0, ..sample() },
            failed(None, 7.0),
        ];
        let rows = history(&[turn], &samples, true);
        assert_eq!((rows[0].total_requests, rows[0].total_failures, rows[0].total_max_ms), (3, 2, Some(7.0)));
        assert_eq!(rows[0].percentiles_ms.map(|percentiles| percentiles[LEVELS.len() - 1]), Some(7.0));
    }
}
