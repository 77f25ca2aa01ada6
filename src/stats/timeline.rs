//! Time line of a run in at most 240 buckets: ends by outcome, service time, client overhead and client lag. Cell runs
//! follow each other without the pauses between them, because a run can be resumed days later.

use super::sample::Sample;
use crate::record::manifest::CellRunReport;
use crate::record::{ExclusionReason, Outcome};
use std::collections::HashMap;

/// Maximum number of buckets.
const MOST: usize = 240;

/// Readable bucket lengths, seconds.
const LENGTHS: [f64; 16] =
    [0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0];

/// A run in buckets of equal length.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// Seconds.
    pub(crate) bucket_s: f64,
    /// Buckets from the first start on.
    pub(crate) buckets: Vec<Bucket>,
    /// Cell runs in execution order.
    pub(crate) turns: Vec<CellRunSpan>,
}

/// Position of a cell run in a time line.
#[derive(Debug)]
pub(crate) struct CellRunSpan {
    /// Index into the cells.
    pub(crate) cell: usize,
    /// Repetition, from 1.
    pub(crate) repetition: u32,
    /// Start, seconds of the time line.
    pub(crate) start_s: f64,
    /// End, seconds of the time line.
    pub(crate) end_s: f64,
}

/// Bucket of a time line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bucket {
    /// Length, seconds. The last bucket contains the remainder and is between 0.5 and 1.5 times as long as the others.
    pub(crate) covered_s: f64,
    /// Successes that ended in the bucket, without blocked replies.
    pub(crate) succeeded: u64,
    /// Requests refused with HTTP 429.
    pub(crate) throttled: u64,
    /// Requests refused with HTTP 503.
    pub(crate) overloaded: u64,
    /// Requests that failed with another error.
    pub(crate) failed: u64,
    /// Censored requests.
    pub(crate) censored: u64,
    /// Blocked replies that ended in the bucket.
    pub(crate) blocked: u64,
    /// Medians of the latency reported by the service and of the client overhead, over the successes that report the
    /// former and are in the latencies of their cell, milliseconds.
    pub(crate) shares_ms: Option<(f64, f64)>,
    /// Largest delay of a send or of the ticker, milliseconds.
    pub(crate) lag_ms: Option<f64>,
}

/// Fills a time line cell by cell.
#[derive(Debug)]
pub(super) struct TimelineBuilder {
    line: Timeline,
    /// Index of each cell run in the line, by cell and repetition.
    runs: HashMap<(usize, u32), usize>,
    /// Seconds of all cell runs.
    whole_s: f64,
    accumulators: Vec<BucketAccumulator>,
}

impl TimelineBuilder {
    /// Lays out the time line. `turns` contains the reports of the cell runs of each cell.
    pub(super) fn new(turns: &[Vec<CellRunReport>]) -> Self {
        let mut turns: Vec<(usize, &CellRunReport)> =
            turns.iter().enumerate().flat_map(|(index, turns)| turns.iter().map(move |turn| (index, turn))).collect();
        turns.sort_by_key(|(_, turn)| turn.started_ms);
        let length = |turn: &CellRunReport| turn.ended_ms.saturating_sub(turn.started_ms) as f64 / 1e3;
        let whole_s: f64 = turns.iter().map(|(_, turn)| length(turn)).sum();
        if whole_s <= 0.0 {
            return Self { line: Timeline::default(), runs: HashMap::new(), whole_s, accumulators: Vec::new() };
        }
        let bucket_s =
            LENGTHS.into_iter().find(|length| whole_s / length <= MOST as f64).unwrap_or(whole_s / MOST as f64);
        // The last bucket contains the remainder, since a rate over a moment would mean nothing.
        let count = (whole_s / bucket_s).round().max(1.0) as usize;
        let mut start_s = 0.0;
        let spans = turns.iter().map(|(cell, turn)| {
            let end_s = start_s + length(turn);
            let span = CellRunSpan { cell: *cell, repetition: turn.repetition, start_s, end_s };
            start_s = end_s;
            span
        });
        let line = Timeline { bucket_s, buckets: Vec::new(), turns: spans.collect() };
        let runs = turns.iter().enumerate().map(|(index, (cell, turn))| ((*cell, turn.repetition), index)).collect();
        let mut builder = Self { line, runs, whole_s, accumulators: vec![BucketAccumulator::default(); count] };
        for (index, (_, turn)) in turns.iter().enumerate() {
            for (second, sampled) in turn.series.iter().enumerate() {
                let bucket = builder.bucket(index, (second as f64 + 0.5) * 1e3);
                builder.accumulators[bucket].late(sampled.ticker_ms);
            }
        }
        builder
    }

    /// Adds the samples of a cell.
    pub(super) fn add(&mut self, cell: usize, samples: &[Sample]) {
        for sample in samples {
            let Some(run) = self.runs.get(&(cell, sample.repetition)).copied() else { continue };
            let (ended, started) =
                (self.bucket(run, sample.start_ms + sample.response_ms), self.bucket(run, sample.start_ms));
            self.accumulators[ended].end(sample);
            self.accumulators[started].late(sample.send_lag_ms);
        }
    }

    /// Returns the bucket of a time of a cell run, milliseconds from its start.
    fn bucket(&self, run: usize, ms: f64) -> usize {
        let CellRunSpan { start_s, end_s, .. } = self.line.turns[run];
        (((start_s + ms / 1e3).min(end_s) / self.line.bucket_s) as usize).min(self.accumulators.len() - 1)
    }

    pub(super) fn finish(mut self) -> Timeline {
        let (count, bucket_s) = (self.accumulators.len(), self.line.bucket_s);
        let covered = |index: usize| if index + 1 < count { bucket_s } else { self.whole_s - index as f64 * bucket_s };
        let buckets = self.accumulators.into_iter().enumerate().map(|(index, bucket)| bucket.done(covered(index)));
        self.line.buckets = buckets.collect();
        self.line
    }
}

#[derive(Debug, Clone, Default)]
struct BucketAccumulator {
    counts: Bucket,
    server: Vec<f32>,
    beyond: Vec<f32>,
}

impl BucketAccumulator {
    fn end(&mut self, sample: &Sample) {
        let counts = &mut self.counts;
        *match sample.outcome {
            Outcome::Succeeded if sample.unfit == Some(ExclusionReason::Blocked) => &mut counts.blocked,
            Outcome::Succeeded => &mut counts.succeeded,
            Outcome::Throttled => &mut counts.throttled,
            Outcome::Failed if sample.overloaded => &mut counts.overloaded,
            Outcome::Failed => &mut counts.failed,
            Outcome::Censored => &mut counts.censored,
        } += 1;
        if let (Outcome::Succeeded, None, Some(server_ms)) = (sample.outcome, sample.unfit, sample.server_ms) {
            self.server.push(server_ms);
            self.beyond.push((sample.service_ms - f64::from(server_ms)).max(0.0) as f32);
        }
    }

    fn late(&mut self, lag_ms: f64) {
        self.counts.lag_ms = Some(self.counts.lag_ms.map_or(lag_ms, |known| known.max(lag_ms)));
    }

    fn done(self, covered_s: f64) -> Bucket {
        Bucket { covered_s, shares_ms: median(self.server).zip(median(self.beyond)), ..self.counts }
    }
}

fn median(mut values: Vec<f32>) -> Option<f64> {
    values.sort_by(f32::total_cmp);
    (!values.is_empty()).then(|| f64::from(values[super::percentile::nearest_rank(values.len(), 0.5)]))
}

#[cfg(test)]
mod tests {
    use super::super::collect::tests::sample;
    use super::*;

    fn bucket(samples: &[Sample]) -> Bucket {
        let mut accumulators = BucketAccumulator::default();
        for sample in samples {
            accumulators.end(sample);
            accumulators.late(sample.send_lag_ms);
        }
        accumulators.done(1.0)
    }

    #[test]
    fn buckets_separate_quota_from_overload() {
        let ended = |outcome, overloaded| Sample { outcome, overloaded, ..sample() };
        let success = |service_ms, server_ms, send_lag_ms| Sample {
            service_ms,
            server_ms: Some(server_ms),
            send_lag_ms,
            ..sample()
        };
        let bucket = bucket(&[
            success(100.0, 90.0, 0.5),
            success(140.0, 120.0, 7.5),
            success(300.0, 299.0, 1.0),
            ended(Outcome::Throttled, false),
            ended(Outcome::Failed, true),
            ended(Outcome::Failed, false),
            ended(Outcome::Failed, false),
            ended(Outcome::Censored, false),
            // A reply that a guardrail blocked, and a request in flight while this machine stood still.
            Sample { unfit: Some(ExclusionReason::Blocked), ..success(1.0, 0.0, 0.0) },
            Sample { unfit: Some(ExclusionReason::ClientStalled), ..success(9_000.0, 1.0, 0.0) },
        ]);
        let counts = (bucket.succeeded, bucket.throttled, bucket.overloaded, bucket.failed, bucket.censored);
        assert_eq!((counts, bucket.blocked), ((4, 1, 1, 2, 1), 1));
        assert_eq!(bucket.shares_ms, Some((120.0, 10.0)));
        assert_eq!(bucket.lag_ms, Some(7.5));
        assert_eq!(super::tests::bucket(&[]).shares_ms, None, "nothing is not zero");
    }
}
