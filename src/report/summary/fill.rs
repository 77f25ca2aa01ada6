//! Converts a view to the types of `summary.json`. Computes nothing.

use super::{Difference, Machine, Quantity, Run, Shards, Summary, Threshold, Tier, VERSION, Verdicts};
use crate::report::view::View;
use crate::report::view::slo::SloRow;
use crate::report::view::{MachineRow, MachinesView, TierRow, TierView};
use crate::result::Verdict;

impl<'a> Summary<'a> {
    pub(super) fn of(view: &'a View) -> Self {
        let run = &view.run;
        let count = |verdict| view.slo.rows.iter().filter(|row| row.verdict == verdict).count();
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
                calibration: Some(run.calibration.as_str()).filter(|sentence| !sentence.is_empty()),
                cost: &run.cost,
                notes: &run.notes,
            },
            shards: view.machines.as_ref().map(Shards::of),
            verdicts: Verdicts {
                pass_count: count(Verdict::Pass),
                fail_count: count(Verdict::Fail),
                inconclusive_count: count(Verdict::Inconclusive),
            },
            thresholds: view.slo.rows.iter().map(Threshold::of).collect(),
            cells: view.cells.iter().map(|cell| &cell.result).collect(),
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
                cpu_quota_cores: part.machine.cpu_quota_cores,
                clock_synchronised: part.clock.map(|clock| clock.synchronised),
                clock_max_error_ms: part.clock.filter(|clock| clock.synchronised).map(|clock| clock.max_error_ms),
                late_ms: row.late_ms,
                requests_count: row.requests,
                end: &row.end,
            })
        };
        Self {
            shards_count: machines.count,
            complete: machines.complete,
            missing: &machines.missing,
            start_skew_ms: machines.start_skew_ms,
            parts: machines.rows.iter().filter_map(part).collect(),
        }
    }
}

impl<'a> Threshold<'a> {
    fn of(row: &'a SloRow) -> Self {
        let quantity = |value: f64| match row.unit {
            "ms" => Quantity::Ms(value),
            "share" => Quantity::Share(value),
            _ => Quantity::PerSec(value),
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

impl<'a> Tier<'a> {
    fn of(tier: &'a TierView) -> Self {
        let row = |row: &'a TierRow| {
            let quantity = |value: f64| match row.metric {
                "output_tokens_per_sec" => Quantity::PerSec(value),
                "cost_per_1k_requests" => Quantity::UsdPer1kRequests(value),
                _ => Quantity::Ms(value),
            };
            Difference {
                metric: row.metric,
                default: row.default.map(quantity),
                tier: row.tier.map(quantity),
                ratio: row.ratio,
                ratio_low: row.low,
                ratio_high: row.high,
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
