//! Statistics of every cell and of pools of cells. Pools combine samples; percentiles are never averaged.

use super::collect::{CellAccumulator, Sample};
use super::health::{self, Health};
use super::histogram;
use super::interval::ConfidenceInterval;
use super::latency::{Latency, Metric, Population};
use super::machine;
use super::overhead::{self, OverheadGrowth};
use super::percentile::TAIL;
use super::phases::{self, PhaseSummary};
use super::pooled::{PooledLatencies, reported_population};
use super::repeated::ComparedValues;
use super::replies::{self, Replies};
use super::series::{self, HistoryRow};
use super::slowest::SlowRequest;
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
use crate::plan::{Api, CacheMode, Goodput, RateMetric, Slo};
use crate::record::damage::Damage;
use crate::record::manifest::{CellRunEnd, CellRunReport, Manifest};
use crate::record::probe::ExcludedCells;
use crate::record::{ExclusionReason, Outcome};
use crate::result::{Counts, ErrorCount, Percentile, PromptUses, Stage, Tokens, Validity};
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

/// Statistics of one cell.
#[derive(Debug)]
pub(crate) struct CellSummary {
    pub(crate) cell: Cell,
    /// All requests, ramp and drain included.
    pub(crate) counts: Counts,
    /// Whether any request received an HTTP status.
    pub(crate) answered: bool,
    /// Latency window.
    pub(crate) window: Window,
    /// Response times on which all verdicts are based. Reports show [`Self::reported_latency`].
    pub(crate) latency: Latency,
    /// Latency of the successes only (`success_*`).
    pub(crate) success: Latency,
    /// Requests of any outcome that ended inside the window, per second.
    pub(crate) requests_per_sec: Option<f64>,
    /// Failures among them.
    pub(crate) failures_per_sec: Option<f64>,
    /// Mean size of a reply's body, bytes.
    pub(crate) avg_content_bytes: Option<f64>,
    /// Tokens of the successes.
    pub(crate) tokens: Tokens,
    /// Cost of its requests.
    pub(crate) spend: Spend,
    /// Response time from the send, in an open loop. Reports show [`Self::reported_service`].
    pub(crate) service: Option<Latency>,
    /// The same two with failed and throttled requests as events; `None` without `include_failures`.
    pub(super) pooled: Option<PooledLatencies>,
    /// Time to the first content, of streams.
    pub(crate) ttft: Option<Latency>,
    /// Time to the first content that is not reasoning, if some streams began with reasoning.
    pub(crate) ttfat: Option<Latency>,
    /// Time per output token, of streams.
    pub(crate) tpot: Option<Latency>,
    /// The longest time between two content events, of streams.
    pub(crate) chunk_gap: Option<Latency>,
    /// Properties of the replies in the window.
    pub(crate) replies: Replies,
    /// Output tokens of successes that ended inside the window, per second.
    pub(crate) output_tokens_per_sec: Option<f64>,
    /// Requests that met every limit of `[goodput]`, per second of the window; `None` without limits.
    pub(crate) goodput: Option<f64>,
    /// Starts prevented by `max_in_flight`, or overdue when the load ended.
    pub(crate) dropped: u64,
    /// Requests per protocol.
    pub(crate) protocols: BTreeMap<String, u64>,
    /// Client health.
    pub(crate) health: Health,
    /// Longest stall of the service that a closed loop hides, milliseconds.
    pub(crate) stall_ms: Option<f64>,
    /// The stages of a load profile.
    pub(crate) stages: Vec<Stage>,
    /// Phases of the cell.
    pub(crate) phases: Vec<PhaseSummary>,
    /// Uses of each prompt; `None` without requests.
    pub(crate) prompts: Option<PromptUses>,
    /// The slowest requests of any outcome, the slowest first.
    pub(crate) slowest: Vec<SlowRequest>,
    /// The successes of the window as an interval log of `HdrHistogram`.
    pub(crate) histogram: Vec<u8>,
    /// Successes that report cache reads.
    pub(crate) cache_reads: u64,
    /// Successes served by another tier than requested.
    pub(crate) tier_mismatches: u64,
    /// Successes that should have been cold but read from the cache.
    pub(crate) cache_contaminated: u64,
    /// Successes that should have been warm but did not read from the cache.
    pub(crate) warm_misses: u64,
    /// Requests of any outcome that were in flight while this machine stood still.
    pub(crate) client_stalled: u64,
    /// Growth of the client overhead with the load, if any.
    pub(crate) overhead: Option<OverheadGrowth>,
    /// Blocked replies by stop reason; they are successes.
    pub(crate) blocked: BTreeMap<String, u64>,
    /// Reported values that were dropped because they are implausible.
    pub(crate) implausible: u64,
    /// Errors by kind, the most frequent first.
    pub(crate) errors: Vec<ErrorCount>,
    /// Whether the numbers may be used.
    pub(crate) validity: Validity,
    /// Cause of an incomplete cell, which is not compared. `None` if it never started.
    pub(crate) stopped: Option<Stopped>,
    /// Missing shards; `None` if all are complete.
    pub(crate) missing: Option<String>,
    /// Warnings about the numbers.
    pub(crate) warnings: Vec<Warning>,
    /// History, one row per second.
    pub(crate) history: Vec<HistoryRow>,
    /// Successes that report no tier although one was requested; the requested tier is assumed.
    pub(crate) unreported_tiers: u64,
    /// Intervals of the quantities that thresholds limit, by the index of the threshold and of its bound.
    pub(crate) bounds: HashMap<(usize, usize), ConfidenceInterval>,
    /// Output tokens per second with their interval.
    pub(crate) output_token_rate: Option<ConfidenceInterval>,
    pub(super) compared: ComparedValues,
    /// p95 of the client overhead, if there are enough samples.
    pub(super) overhead_p95: Option<Percentile>,
    pub(super) token_sums: TokenSums,
    /// Empty once the summary is complete: see [`CellSummary::drop_samples`].
    pub(super) samples: Vec<Sample>,
    /// Length of the load by repetition, from the first start until no further request started, milliseconds.
    pub(super) load_ms: BTreeMap<u32, f64>,
}

impl CellSummary {
    /// Computes everything else that needs the samples, and drops them.
    pub(super) fn drop_samples(mut self, thresholds: &[Slo]) -> Self {
        let applicable = thresholds.iter().enumerate().filter(|(_, threshold)| matches(&threshold.when, &self.cell));
        let bounds = applicable.flat_map(|(slo, threshold)| {
            threshold.bounds.iter().enumerate().map(move |(index, bound)| ((slo, index), bound))
        });
        self.bounds = bounds.filter_map(|(key, bound)| Some((key, self.measure(bound, TAIL)?))).collect();
        self.output_token_rate = self.rate_interval(RateMetric::OutputTokens, TAIL);
        self.compared = self.compared_values();
        self.overhead_p95 = overhead::p95(self.samples.iter().filter(|sample| self.window.includes(sample)));
        self.samples = Vec::new();
        self
    }

    /// Returns the number of blocked replies.
    pub(crate) fn blocked_count(&self) -> u64 {
        self.blocked.values().sum()
    }
}

impl Summary {
    pub(super) fn new(mut cells: Vec<CellSummary>, preflight: Spend, timeline: Timeline) -> Self {
        overhead::compare_loads(&mut cells);
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
        success,
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

/// Returns whether limits are set that can be met: a reply that is not streamed has no first token.
fn has_goodput(cell: &Cell, goodput: &Goodput) -> bool {
    let of_streams = goodput.ttft.is_some() || goodput.tpot.is_some();
    !goodput.is_unset() && (cell.api == Api::ConverseStream || !of_streams)
}

/// Returns whether a request met every limit. The delay of a late start is included.
pub(super) fn is_good(sample: &Sample, goodput: &Goodput) -> bool {
    let late_ms = sample.response_ms - sample.service_ms;
    let meets = |limit: Option<std::time::Duration>, ms: Option<f64>| match (limit, ms) {
        (None, _) => true,
        (Some(limit), Some(ms)) => ms <= crate::units::ms(limit),
        (Some(_), None) => false,
    };
    let from_start = |ms: f64| ms + late_ms;
    // A reply of one token has no time per token, and breaks no limit on it.
    let tpot = sample.tpot_ms.or((sample.ttft_ms.is_some() && sample.output_tokens == Some(1)).then_some(0.0));
    sample.outcome == Outcome::Succeeded
        && sample.unfit != Some(ExclusionReason::Blocked)
        && meets(goodput.ttft, sample.ttft_ms.map(from_start))
        && meets(goodput.tpot, tpot)
        && meets(goodput.e2e, Some(sample.e2e_ms.map_or(sample.response_ms, from_start)))
}
