//! A view as the types of `summary.json`. Rounds, and computes nothing.

use super::{
    Cell, Client, Coordinate, Cost, Difference, Failure, Machine, MachineHealth, Percentile, Prompts, Quantity, Raw,
    Requests, Run, Shards, Stage, Summary, Threshold, Tier, Times, Tokens, VERSION, Verdicts, Warning,
};
use crate::matrix::AxisValue;
use crate::report::view::View;
use crate::report::view::slo::SloRow;
use crate::report::view::{
    AxisView, CellView, ErrorView, MachineRow, MachinesView, Numbers, StageView, TierRow, TierView,
};

/// Three decimals: records have no more.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Six: shares and ratios are small.
fn fine(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl<'a> Summary<'a> {
    pub(super) fn of(view: &'a View) -> Self {
        let run = &view.run;
        let count = |verdict: &str| view.slo.rows.iter().filter(|row| row.verdict == verdict).count();
        Self {
            schema: VERSION,
            run: Run {
                name: &run.name,
                description: &run.description,
                run_id: &run.run_id,
                started: &run.started,
                endpoint: &run.endpoint,
                region: run.region.as_deref(),
                simulated: run.simulated,
                not_aws: run.not_aws,
                interrupted: run.interrupted,
                running: Some(run.running.as_str()).filter(|running| !running.is_empty()),
                tool_version: &run.tool_version,
                include_failures: run.include_failures,
                include_ramp: run.include_ramp,
                calibration: Some(run.calibration.as_str()).filter(|said| !said.is_empty()),
                cost: &run.cost,
                notes: &run.notes,
            },
            shards: view.machines.as_ref().map(Shards::of),
            verdicts: Verdicts {
                pass_count: count("PASS"),
                fail_count: count("FAIL"),
                inconclusive_count: count("INCONCLUSIVE"),
            },
            thresholds: view.slo.rows.iter().map(Threshold::of).collect(),
            cells: view.cells.iter().map(Cell::of).collect(),
            tiers: view.tiers.tiers.iter().map(Tier::of).collect(),
        }
    }
}

impl<'a> Shards<'a> {
    fn of(machines: &'a MachinesView) -> Self {
        let part = |row: &'a MachineRow| {
            let part = row.part.as_ref()?;
            Some(Machine {
                shard: row.shard,
                host: &part.host,
                os: &part.machine.os,
                arch: &part.machine.arch,
                cores_count: part.machine.cores,
                cpu_quota_cores: part.machine.cpu_quota_cores.map(fine),
                clock_synchronised: part.clock.map(|clock| clock.synchronised),
                clock_max_error_ms: part
                    .clock
                    .filter(|clock| clock.synchronised)
                    .map(|clock| round(clock.max_error_ms)),
                late_ms: row.late_ms.map(round),
                requests_count: row.requests,
                end: &row.end,
            })
        };
        Self {
            shards_count: machines.count,
            complete: machines.complete,
            missing: &machines.missing,
            start_skew_ms: machines.start_skew_ms.map(round),
            parts: machines.rows.iter().filter_map(part).collect(),
        }
    }
}

impl Raw {
    fn of(raw: &crate::stats::ClientMeasurements, idle_share: Option<f64>) -> Self {
        Self {
            send_lag_p50_ms: raw.send_lag_p50_ms.map(round),
            send_lag_p99_ms: raw.send_lag_p99_ms.map(round),
            ticker_worst_ms: raw.ticker_worst_ms.map(round),
            cpu_share: raw.cpu_share.map(fine),
            stalled_ms: raw.stalled_ms.map(round),
            idle_share: idle_share.map(fine),
        }
    }
}

impl<'a> MachineHealth<'a> {
    fn of(machine: &'a crate::stats::ShardHealth) -> Self {
        Self {
            shard: machine.shard,
            complete: machine.is_whole,
            requests_count: machine.requests,
            late_ms: machine.late_ms.map(round),
            raw: Raw::of(&machine.raw, machine.idle_share()),
            invalid: &machine.invalid,
        }
    }
}

impl<'a> Threshold<'a> {
    fn of(row: &'a SloRow) -> Self {
        let quantity = |value: f64| match row.unit {
            "ms" => Quantity::Ms(round(value)),
            "share" => Quantity::Share(fine(value)),
            _ => Quantity::PerSec(round(value)),
        };
        Self {
            slo_number: row.number,
            name: &row.title,
            test_id: &row.test_id,
            metric: &row.metric,
            relation: row.relation,
            bound: quantity(row.limit),
            measured: row.value.map(quantity),
            low: row.low.map(quantity),
            high: row.high.map(quantity),
            verdict: row.verdict,
            reason: &row.reason,
        }
    }
}

impl<'a> Cell<'a> {
    fn of(cell: &'a CellView) -> Self {
        let times = |numbers: &Option<Numbers>| numbers.as_ref().map(Times::of);
        let health = &cell.health;
        Self {
            test_id: &cell.id,
            axes: cell.axes.iter().filter_map(coordinate).collect(),
            validity: &cell.validity,
            verdict: Some(cell.slo_verdict).filter(|verdict| !verdict.is_empty()),
            warnings: cell.warnings.iter().map(|told| Warning { key: told.key, text: &told.text }).collect(),
            requests: Requests {
                total_count: cell.counts.total,
                succeeded_count: cell.counts.succeeded,
                throttled_count: cell.counts.throttled,
                failed_count: cell.counts.failed,
                censored_count: cell.counts.censored,
                dropped_count: cell.dropped,
                tier_mismatch_count: cell.tier_mismatches,
                cache_contaminated_count: cell.cache_contaminated,
                warm_miss_count: cell.warm_misses,
                client_stalled_count: cell.client_stalled,
                blocked_count: cell.blocked.values().sum(),
                blocked_by_stop_reason: &cell.blocked,
                implausible_value_count: cell.implausible,
                cache_read_count: cell.cache_reads,
            },
            prompts: cell.prompts.map(|prompts| Prompts {
                distinct_count: prompts.distinct,
                min_uses_count: prompts.min,
                median_uses_count: prompts.median,
                max_uses_count: prompts.max,
            }),
            response_time: Times::of(&cell.latency),
            success_response_time: Times::of(&cell.success),
            service_time: times(&cell.service),
            time_to_first_token: times(&cell.ttft),
            time_to_first_answer_token: times(&cell.ttfat),
            time_per_output_token: times(&cell.tpot),
            longest_chunk_gap: times(&cell.chunk_gap),
            requests_per_sec: cell.requests_per_sec.map(round),
            failures_per_sec: cell.failures_per_sec.map(round),
            output_tokens_per_sec: cell.output_tokens_per_sec.map(round),
            goodput_per_sec: cell.goodput.map(round),
            tokens: Tokens {
                input_mean_tokens: cell.avg_input_tokens.map(round),
                output_mean_tokens: cell.avg_output_tokens.map(round),
                input_total_tokens: cell.total_input_tokens,
                output_total_tokens: cell.total_output_tokens,
            },
            cost: cell.cost.as_ref().map(|cost| Cost {
                total_usd: cost.total,
                per_1k_requests_usd: cost.per_1k_requests,
                per_1m_output_tokens_usd: cost.per_1m_output_tokens,
            }),
            client: Client {
                raw: Raw::of(&health.raw, health.idle_share),
                server_latency_p50_ms: health.server_p50_ms.map(round),
                beyond_server_p50_ms: health.gap_p50_ms.map(round),
            },
            shards: health.machines.iter().map(MachineHealth::of).collect(),
            errors: cell.errors.iter().map(Failure::of).collect(),
            stages: cell.stages.iter().map(Stage::of).collect(),
        }
    }
}

fn coordinate(axis: &AxisView) -> Option<(&'static str, Coordinate<'_>)> {
    let coordinate = match &axis.value {
        AxisValue::Count(count) => Coordinate::Number((*count).into()),
        AxisValue::Rate(rate) => Coordinate::Number(serde_json::Number::from_f64(rate.0)?),
        AxisValue::Text(text) => Coordinate::Text(text),
        AxisValue::Absent => return None,
    };
    Some((axis.field, coordinate))
}

impl Times {
    fn of(numbers: &Numbers) -> Self {
        let percentile = |known: &crate::stats::percentile::Percentile| Percentile {
            level_percent: round(known.p * 100.0),
            value_ms: round(known.value_ms),
            low_ms: known.low_ms.map(round),
            high_ms: known.high_ms.map(round),
            quality: known.quality.key(),
        };
        Self {
            samples_count: numbers.n,
            mean_ms: numbers.mean.map(round),
            min_ms: numbers.min.map(round),
            max_ms: numbers.max.map(round),
            percentiles: numbers.percentiles.iter().map(percentile).collect(),
        }
    }
}

impl<'a> Failure<'a> {
    fn of(error: &'a ErrorView) -> Self {
        Self {
            class: &error.class,
            message: &error.message,
            requests_count: error.count,
            first_seen: &error.first_seen,
            last_seen: &error.last_seen,
            hint: &error.hint,
        }
    }
}

impl Stage {
    fn of(stage: &StageView) -> Self {
        Self {
            start_s: round(stage.start_s),
            length_s: round(stage.length_s),
            users_count: stage.users,
            arrivals_per_sec: stage.rate,
            total_count: stage.counts.total,
            succeeded_count: stage.counts.succeeded,
            response_time: Times::of(&stage.latency),
            requests_per_sec: round(stage.requests_per_sec),
        }
    }
}

impl<'a> Tier<'a> {
    fn of(tier: &'a TierView) -> Self {
        let row = |row: &'a TierRow| {
            let quantity = |value: f64| match row.metric {
                "output_tokens_per_sec" => Quantity::PerSec(round(value)),
                "cost_per_1k_requests" => Quantity::UsdPer1kRequests(value),
                _ => Quantity::Ms(round(value)),
            };
            Difference {
                metric: row.metric,
                default: row.default.map(quantity),
                tier: row.tier.map(quantity),
                ratio: row.ratio.map(fine),
                ratio_low: row.low.map(fine),
                ratio_high: row.high.map(fine),
                verdict: row.verdict,
                basis: &row.basis,
                reason: &row.reason,
            }
        };
        Self {
            test_id: &tier.id,
            service_tier: &tier.tier,
            sentence: &tier.sentence,
            differences: tier.rows.iter().map(row).collect(),
        }
    }
}
