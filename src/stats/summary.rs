//! Statistics of every cell and of pools of cells. Pools combine samples; percentiles are never averaged.

use super::cell_summary::CellSummary;
use super::collect::CellAccumulator;
use super::compared::ComparedValues;
use super::confidence::TAIL;
use super::goodput::{has_goodput, is_good};
use super::health::{self, Health};
use super::histogram;
use super::interval::tail_of;
use super::latency::{Latency, Metric, Population};
use super::machine;
use super::overhead;
use super::overhead_by_load;
use super::phases;
use super::pooled::{PooledLatencies, reported_population};
use super::replies::{self, Replies};
use super::sample::Sample;
use super::series;
use super::spend::Spend;
use super::stages;
use super::stalls::Stalls;
use super::stopped::Stopped;
use super::sufficiency;
use super::timeline::Timeline;
use super::tokens::TokenSums;
use super::validity;
use super::warning::Warning;
use super::window::Window;
use crate::matrix::Cell;
use crate::matrix::rule::matches;
use crate::plan::{Api, CacheMode, RateMetric, Slo};
use crate::record::damage::Damage;
use crate::record::manifest::{CellRunEnd, CellRunReport, Manifest};
use crate::record::probe::ExcludedCells;
use crate::record::{ExclusionReason, Outcome};
use crate::result::Counts;
use std::collections::{BTreeMap, HashMap};

/// Minimum fraction of cache reads among successes for a warning.
const CACHE_READS: f64 = 0.01;

/// Minimum number of requests for a report of idle time of users.
const IDLE_REQUESTS: u64 = 50;

/// Minimum fraction of burst streams for a warning.
const BURSTS: f64 = 0.01;

/// Statistics of a run.
#[derive(Debug)]
pub(crate) struct Summary {
    /// One entry per cell of the manifest, in matrix order.
    pub(crate) cells: Vec<CellSummary>,
    /// Whether the journal's last line is incomplete and was excluded.
    pub(crate) is_cut: bool,
    /// Parts of the journal that could not be used.
    pub(crate) damage: Damage,
    /// Cost of the pre-flight, which is not part of any cell.
    pub(crate) preflight: Spend,
    /// Whether the run is in progress, so that more records may follow.
    pub(crate) is_in_progress: bool,
    /// Time line of the run.
    pub(crate) timeline: Timeline,
}

impl Counts {
    pub(super) fn from_samples<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut counts = Self::default();
        for sample in samples {
            counts.total += 1;
            *match sample.outcome {
                Outcome::Succeeded => &mut counts.succeeded,
                Outcome::Throttled => &mut counts.throttled,
                Outcome::Failed => &mut counts.failed,
                Outcome::Censored => &mut counts.censored,
            } += 1;
        }
        counts
    }
}

impl CellSummary {
    /// Computes everything else that needs the samples, and drops them.
    pub(super) fn drop_samples(mut self, thresholds: &[Slo]) -> Self {
        let applicable = thresholds.iter().enumerate().filter(|(_, threshold)| matches(&threshold.when, &self.cell));
        let bounds = applicable.flat_map(|(slo, threshold)| {
            let tail = tail_of(threshold);
            threshold.bounds.iter().enumerate().map(move |(index, bound)| ((slo, index), bound, tail))
        });
        self.bounds = bounds.filter_map(|(key, bound, tail)| Some((key, self.measure(bound, tail)?))).collect();
        self.output_token_rate = self.rate_interval(RateMetric::OutputTokens, TAIL);
        self.compared = self.compared_values();
        self.overhead_p95 = overhead::p95(self.samples.iter().filter(|sample| self.window.includes(sample)));
        self.samples = Vec::new();
        self
    }
}

impl Summary {
    pub(super) fn new(mut cells: Vec<CellSummary>, preflight: Spend, timeline: Timeline) -> Self {
        overhead_by_load::compare_loads(&mut cells);
        Self { cells, is_cut: false, damage: Damage::default(), preflight, is_in_progress: false, timeline }
    }

    /// Marks the run as in progress: a cell run without a report is running, not interrupted.
    pub(crate) fn mark_in_progress(&mut self, manifest: &Manifest) {
        self.is_in_progress = true;
        let reports = manifest.last_reports();
        for cell in &mut self.cells {
            if reports.of_cell(&cell.cell.id).iter().any(|report| report.end.is_incomplete()) {
                continue;
            }
            for warning in cell.warnings.iter_mut().filter(|warning| **warning == Warning::Interrupted) {
                *warning = Warning::InProgress;
            }
        }
    }
}

/// Computes the summary of a cell. Its samples are kept until [`CellSummary::drop_samples`].
#[allow(clippy::too_many_lines)] // a flat list of statistics
pub(super) fn cell(
    manifest: &Manifest,
    left_out: &ExcludedCells,
    cell: &Cell,
    turns: &[CellRunReport],
    planned: usize,
    accumulator: CellAccumulator,
) -> CellSummary {
    let CellAccumulator {
        mut samples,
        slowest,
        errors,
        protocols,
        answered,
        unreported_tiers,
        spend,
        blocked,
        implausible,
        prompts,
    } = accumulator;
    let prompts = prompts.finish();
    machine::end_together(turns, &mut samples);
    let mut stalls = Stalls::exclude(turns, &mut samples);
    let report = &manifest.plan.report;
    let window = Window::new(cell, turns, &samples, report.include_ramp);
    let load_ms: BTreeMap<u32, f64> = turns.iter().map(|turn| (turn.repetition, turn.load_ms)).collect();
    window.assign_blocks(&mut samples, &load_ms);
    let ended = || {
        samples.iter().filter(|sample| window.ends_in(sample, load_ms.get(&sample.repetition).copied().unwrap_or(0.0)))
    };
    let per_second = |count: usize| (window.length_s > 0.0).then(|| count as f64 / window.length_s);
    let windowed = || samples.iter().filter(|sample| window.includes(sample));
    let counts = Counts::from_samples(&samples);
    let token_sums = TokenSums::from_samples(&samples);
    let successes = || samples.iter().filter(|sample| sample.outcome == Outcome::Succeeded);
    let cache_reads = successes().filter(|sample| sample.cache_read).count() as u64;
    let unfit = |why| samples.iter().filter(|sample| sample.unfit == Some(why)).count() as u64;
    let excluded = [
        ExclusionReason::TierMismatch,
        ExclusionReason::CacheContaminated,
        ExclusionReason::WarmMiss,
        ExclusionReason::ClientStalled,
    ]
    .map(unfit);
    let [tier_mismatches, cache_contaminated, warm_misses, client_stalled] = excluded;
    let population = reported_population(report.include_failures);
    let latency = Latency::from_samples(windowed(), Population::Settled);
    let of = |metric, population| Latency::for_metric(windowed(), population, metric);
    let ttft = (cell.api == Api::ConverseStream).then(|| of(Metric::Ttft, Population::Settled));
    let median_ms = ttft.as_ref().and_then(|ttft| ttft.value_ms(0.5)).or(latency.value_ms(0.5));
    stalls.compare(&window, &samples, Population::Settled, ttft.is_some());
    let health = Health::new(cell, manifest, turns, &window, &samples, median_ms, &stalls);
    let missing = machine::missing_shards(manifest, turns);
    let validity = validity::determine(left_out, cell, turns, missing.as_deref(), &health);
    let replies = Replies::from_samples(windowed());
    let dropped: u64 = turns.iter().map(|turn| turn.dropped).sum();
    let stall_ms = health::longest_service_stall(cell, &window, &samples, latency.value_ms(0.5), &stalls);
    let overhead = overhead::between_halves(&window, &load_ms, &samples, latency.value_ms(0.5));
    let success = Latency::from_samples(windowed(), Population::Successes);
    let mut warnings = Vec::new();
    let mut warn = |holds: bool, warning: Warning| warnings.extend(holds.then_some(warning));
    warn(counts.succeeded > 0 && !window.settled, Warning::NotSettled);
    let cached = cache_reads > 0 && cache_reads as f64 >= CACHE_READS * counts.succeeded as f64;
    warn(cached && cell.cache_mode == CacheMode::AsIs, Warning::CacheReads);
    warn(tier_mismatches > 0, Warning::TierMismatch);
    warn(cache_contaminated > 0, Warning::CacheContaminated);
    warn(warm_misses > 0, Warning::WarmMiss);
    let cut_short = turns.iter().any(|turn| turn.end.is_incomplete());
    warn(cut_short, Warning::Interrupted);
    warn(replies.bursts > 0 && replies.bursts as f64 >= BURSTS * success.n as f64, Warning::Bursts);
    warn(dropped > 0, Warning::Dropped);
    let aborted = turns.iter().any(|turn| turn.end == CellRunEnd::Aborted);
    // Of few requests, what a process needs once (its first connection, its first signature) looks like idle time.
    warn(health.is_idle() && counts.total >= IDLE_REQUESTS && !cut_short && !aborted, Warning::Idle);
    warn(stall_ms.is_some(), Warning::Stalls);
    let failed_early = turns.iter().any(|turn| turn.end == CellRunEnd::FailedEarly);
    warn(!sufficiency::has_min_samples(cell, &success) && !failed_early, Warning::TooFewSamples);
    warn(sufficiency::is_uneven(&latency), Warning::Uneven);
    warn(replies.is_mixed(), Warning::CutReplies);
    warn(replies.lacks_answers(), Warning::NoAnswer);
    warn(!blocked.is_empty(), Warning::Blocked);
    warn(implausible > 0, Warning::Implausible);
    warn(turns.iter().map(|turn| turn.requests).sum::<u64>() > counts.total, Warning::RecordsMissing);
    // The other modes add a text that makes prompts distinct, or repeat them on purpose.
    let repeats = prompts.is_some_and(|prompts| prompts.repeats_dataset());
    warn(repeats && cell.cache_mode == CacheMode::AsIs, Warning::RepeatedPrompts);
    warnings.extend(health.warnings(client_stalled, overhead.as_ref()));
    CellSummary {
        cell: cell.clone(),
        counts,
        answered,
        service: cell.is_open().then(|| of(Metric::Service, Population::Settled)),
        pooled: report.include_failures.then(|| PooledLatencies::new(cell, &window, &samples)),
        tpot: ttft.is_some().then(|| of(Metric::Tpot, Population::Successes)),
        chunk_gap: ttft.is_some().then(|| of(Metric::ChunkGap, Population::Successes)),
        ttfat: windowed().any(replies::has_reasoned).then(|| of(Metric::Ttfat, Population::Settled)),
        ttft,
        replies,
        output_tokens_per_sec: (window.length_s > 0.0).then(|| replies::output_tokens(ended()) / window.length_s),
        goodput: has_goodput(cell, &manifest.plan.goodput)
            .then(|| per_second(ended().filter(|sample| is_good(sample, &manifest.plan.goodput)).count()))
            .flatten(),
        dropped,
        protocols,
        stall_ms,
        stages: stages::summarise_stages(cell, &load_ms, &samples, population),
        phases: phases::summarise_phases(&samples, population),
        slowest: slowest.finish(&stalls),
        histogram: histogram::log(&cell.id, turns, &window, windowed()),
        health,
        latency,
        success: success.times(&report.percentiles),
        requests_per_sec: per_second(ended().count()),
        failures_per_sec: per_second(ended().filter(|sample| sample.outcome.is_failure()).count()),
        avg_content_bytes: mean_bytes(&samples),
        tokens: token_sums.tokens(),
        token_sums,
        spend,
        cache_reads,
        tier_mismatches,
        cache_contaminated,
        warm_misses,
        client_stalled,
        overhead,
        blocked,
        implausible,
        prompts,
        errors: errors.by_frequency(),
        validity,
        stopped: if turns.is_empty() { None } else { Stopped::from_turns(turns, planned) },
        missing,
        warnings,
        history: series::history(turns, &samples, report.include_failures),
        unreported_tiers,
        window,
        bounds: HashMap::new(),
        output_token_rate: None,
        compared: ComparedValues::default(),
        overhead_p95: None,
        samples,
        load_ms,
    }
}

/// Returns the mean size of the received bodies, bytes.
fn mean_bytes(samples: &[Sample]) -> Option<f64> {
    let (n, sum) = samples
        .iter()
        .filter(|sample| sample.response_bytes > 0)
        .fold((0_u64, 0.0), |(n, sum), sample| (n + 1, sum + f64::from(sample.response_bytes)));
    (n > 0).then(|| sum / n as f64)
}
