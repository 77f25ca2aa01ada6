//! The result of a cell from its statistics.

use super::slo;
use super::warnings;
use crate::matrix::{AXES, AxisValue};
use crate::record::manifest::{CellRunReport, Manifest};
use crate::result::{CellResult, Client, Coordinates, Cost, Requests, ShardMeasurements, ThresholdResult};
use crate::stats::{CellSummary, Latency, ShardHealth, Spend};

/// Returns the result of a cell. `further` contains percentile ranks, 0 to 100, in addition to those of every plan.
pub(super) fn cell(
    manifest: &Manifest,
    turns: &[&CellRunReport],
    further: &[f64],
    slo: &[ThresholdResult],
    summary: &CellSummary,
) -> CellResult {
    let times = |latency: Option<&Latency>| latency.map(|latency| latency.times(further));
    let (cell, replies, health) = (&summary.cell, &summary.replies, &summary.health);
    let axes = AXES.iter().map(|axis| (axis.field, (axis.get)(cell)));
    CellResult {
        test_id: cell.id.clone(),
        axes: Coordinates(axes.filter(|(_, value)| *value != AxisValue::Absent).collect()),
        validity: summary.validity.clone(),
        verdict: slo::worst(slo),
        warnings: warnings::view(manifest, summary, turns),
        requests: Requests {
            counts: summary.counts,
            dropped: summary.dropped,
            tier_mismatches: summary.tier_mismatches,
            cache_contaminated: summary.cache_contaminated,
            warm_misses: summary.warm_misses,
            client_stalled: summary.client_stalled,
            blocked: summary.blocked_count(),
            blocked_by_stop_reason: summary.blocked.clone(),
            implausible: summary.implausible,
            cache_reads: summary.cache_reads,
        },
        prompts: summary.prompts,
        response_time: summary.reported_latency().times(further),
        verdict_response_time: summary.latency.times(further),
        success_response_time: summary.success.clone(),
        service_time: times(summary.reported_service()),
        time_to_first_token: times(summary.ttft.as_ref()),
        time_to_first_answer_token: times(summary.ttfat.as_ref()),
        time_per_output_token: times(summary.tpot.as_ref()),
        longest_chunk_gap: times(summary.chunk_gap.as_ref()),
        requests_per_sec: summary.requests_per_sec,
        failures_per_sec: summary.failures_per_sec,
        output_tokens_per_sec: summary.output_tokens_per_sec,
        goodput_per_sec: summary.goodput,
        tokens: summary.tokens,
        cost: cost(&summary.spend),
        client: Client {
            measurements: health.raw,
            idle_share: health.idle_share,
            server_latency_p50_ms: health.server_p50_ms,
            beyond_server_p50_ms: health.gap_p50_ms,
        },
        shards: health.machines.iter().map(shard).collect(),
        errors: summary.errors.clone(),
        stages: summary.stages.clone(),
        mean_content_bytes: summary.avg_content_bytes,
        reasoning_share: replies.reasoning_share(),
        reasoning_time_share: replies.reasoning_time_share,
        burst_share: replies.burst_share(),
        max_tokens_share: replies.cut_share(),
    }
}

/// Returns the cost of a cell if all of its parts are known.
fn cost(spend: &Spend) -> Option<Cost> {
    Some(Cost {
        total: spend.known()?,
        per_1k_requests_usd: spend.per_1k_requests(),
        per_1m_output_tokens_usd: spend.per_1m_output_tokens(),
    })
}

fn shard(machine: &ShardHealth) -> ShardMeasurements {
    ShardMeasurements {
        shard: machine.shard,
        complete: machine.is_whole,
        requests: machine.requests,
        late_ms: machine.late_ms,
        measurements: machine.raw,
        idle_share: machine.idle_share(),
        invalid: machine.invalid.clone(),
    }
}
