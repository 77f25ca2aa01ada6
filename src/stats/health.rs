//! Client health: how this machine affected the numbers of a cell, from the values that the executor recorded.

use super::client::{IDLE_SHARE, UserTimeBalance};
use super::latency::{Latency, Metric, Population};
use super::machine::{self, ShardHealth};
use super::overhead::OverheadGrowth;
use super::part::Part;
use super::sample::Sample;
use super::stalls::{Stalls, Standstill};
use super::warning::Warning;
use super::window::Window;
use crate::matrix::Cell;
use crate::record::Outcome;
use crate::record::manifest::{CellRunReport, Manifest};
use crate::result::ClientMeasurements;

/// Send lag up to this never makes a cell INVALID, milliseconds.
const LAG_MS: f64 = 5.0;
/// Send lag up to this fraction of the median latency never makes a cell INVALID.
const LAG_SHARE: f64 = 0.01;

/// Client health of a cell; with shards that of the worst one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    /// Measurements over all requests; with shards the worst values.
    pub(crate) raw: ClientMeasurements,
    /// Fraction of the users' time that is neither think time nor response time, 0 to 1 (closed loop).
    pub(crate) idle_share: Option<f64>,
    /// Median client overhead (service time minus reported latency), milliseconds.
    pub(crate) gap_p50_ms: Option<f64>,
    /// Median reported latency of the service, milliseconds.
    pub(crate) server_p50_ms: Option<f64>,
    /// Stalls of this machine; `None` without stalls or with shards.
    pub(crate) standstill: Option<Standstill>,
    /// The cell is INVALID because a machine stood still. Lag and CPU use are consequences.
    pub(crate) is_standstill_excessive: bool,
    /// Jumps of the wall clock: the machine (with several machines), epoch milliseconds before the jump, and its length
    /// in milliseconds.
    pub(crate) clock_jumps: Vec<(Option<u32>, u64, f64)>,
    /// Why the cell is INVALID; empty if it is not.
    pub(crate) invalid: Vec<String>,
    /// Health per shard; empty without shards.
    pub(crate) machines: Vec<ShardHealth>,
}

impl Health {
    /// Returns whether users were idle on any machine.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle_share.is_some_and(|share| share > IDLE_SHARE) || self.machines.iter().any(ShardHealth::is_idle)
    }

    /// Returns warnings about the client other than INVALID.
    pub(super) fn warnings(
        &self,
        client_stalled: u64,
        overhead: Option<&OverheadGrowth>,
    ) -> impl Iterator<Item = Warning> {
        let warnings = [
            (client_stalled > 0, Warning::ClientStalled),
            (!self.clock_jumps.is_empty(), Warning::ClockJump),
            (overhead.is_some(), Warning::ClientOverhead),
        ];
        warnings.into_iter().filter_map(|(holds, warning)| holds.then_some(warning))
    }

    pub(super) fn new(
        cell: &Cell,
        manifest: &Manifest,
        turns: &[CellRunReport],
        window: &Window,
        samples: &[Sample],
        median_ms: Option<f64>,
        stalls: &Stalls,
    ) -> Self {
        let windowed = || samples.iter().filter(|sample| window.includes(sample));
        let median = |metric| Latency::for_metric(windowed(), Population::Successes, metric).value_ms(0.5);
        let limit_ms = LAG_MS.max(LAG_SHARE * median_ms.unwrap_or(0.0));
        let parts: Vec<Part> = turns.iter().map(|report| Part { report, until_ms: report.load_ms }).collect();
        let (standstill, moved) =
            (Standstill::from_parts(&parts, window, stalls.limit_ms()), stalls.percentile_shift());
        let mut raw = ClientMeasurements::new(manifest.machine.allowed_cores(), &parts, window, samples)
            .with_standstill(standstill.as_ref());
        let mut balance = UserTimeBalance::new(&parts, samples);
        let machines = machine::shard_health(cell, manifest, turns, window, samples, limit_ms, stalls.limit_ms());
        let mut invalid = raw.invalid(limit_ms);
        let mut own = standstill.iter().chain(machines.iter().filter_map(|machine| machine.standstill.as_ref()));
        let is_standstill_excessive = moved.is_some() || own.any(|standstill| standstill.exceeds(window));
        if let Some(standstill) = standstill.filter(|_| is_standstill_excessive) {
            let moved = moved.map(|moved| format!("; {}", moved.text())).unwrap_or_default();
            invalid.push(format!("this machine {}{moved}", standstill.text()));
        }
        if !machines.is_empty() {
            let worst = machines.iter().filter_map(|machine| machine.raw.stalled_ms).max_by(f64::total_cmp);
            raw.stalled_ms = worst;
            if worst.is_some() {
                let ticker = machines.iter().filter_map(|machine| machine.raw.ticker_worst_ms);
                raw.ticker_worst_ms = ticker.max_by(f64::total_cmp);
            }
            raw.cpu_share = machines.iter().filter_map(|machine| machine.raw.cpu_share).max_by(f64::total_cmp);
            balance = machines.iter().map(|machine| machine.balance).sum();
            let reasons = |machine: &ShardHealth| {
                let shard = machine.shard;
                machine.invalid.iter().map(|why| format!("shard {shard}: {why}")).collect::<Vec<_>>()
            };
            invalid = machines.iter().flat_map(reasons).collect();
            if let Some(moved) = moved {
                let stood = machines.iter().filter(|machine| machine.standstill.is_some());
                let shards: Vec<u32> = stood.map(|machine| machine.shard).collect();
                invalid.push(format!("{} stood still; {}", machine::list_shards(&shards), moved.text()));
            }
        }
        Self {
            raw,
            standstill,
            is_standstill_excessive,
            clock_jumps: clock_jumps(turns),
            idle_share: balance.idle_share().filter(|_| !cell.is_open()),
            gap_p50_ms: median(Metric::BeyondServer),
            server_p50_ms: median(Metric::Server),
            invalid,
            machines,
        }
    }
}

/// Returns all wall-clock jumps by time.
fn clock_jumps(turns: &[CellRunReport]) -> Vec<(Option<u32>, u64, f64)> {
    let parts = turns.iter().flat_map(CellRunReport::machines);
    let of_part = |part: &CellRunReport| {
        let (shard, started_ms) = (part.shard, part.started_ms);
        let jumps = part.disturbances.clock_jumps.clone().into_iter();
        jumps.map(move |jump| (shard, started_ms.saturating_add(jump.at_ms as u64), jump.by_ms))
    };
    let mut jumps: Vec<_> = parts.flat_map(of_part).collect();
    jumps.sort_by_key(|(_, at_ms, _)| *at_ms);
    jumps
}

/// Returns the longest service stall in the window of a closed loop, milliseconds: a gap without ends in which many were
/// expected. The requests that users would have sent meanwhile are missing from the percentiles.
///
/// Stalls of this machine are subtracted from the gap.
///
/// At an end rate r a gap g has probability exp(-r g): 15 expected ends are significant. Synchronised users leave gaps of
/// one cycle, so two cycles are required.
pub(super) fn longest_service_stall(
    cell: &Cell,
    window: &Window,
    samples: &[Sample],
    median_ms: Option<f64>,
    stalls: &Stalls,
) -> Option<f64> {
    const EXPECTED: f64 = 15.0;
    if cell.is_open() {
        return None;
    }
    let cycle_ms = median_ms? + crate::units::ms(cell.load.think_time.mean());
    let mut ends: Vec<(u32, f64)> = samples
        .iter()
        .filter(|sample| sample.outcome == Outcome::Succeeded && window.contains(sample))
        .map(|sample| (sample.repetition, sample.start_ms + sample.response_ms))
        .collect();
    ends.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let rate = ends.len() as f64 / (window.length_s * 1e3);
    ends.windows(2)
        .filter(|pair| pair[0].0 == pair[1].0)
        .map(|pair| pair[1].1 - pair[0].1 - stalls.common_ms(pair[0].0, pair[0].1, pair[1].1))
        .filter(|gap| *gap > 2.0 * cycle_ms && gap * rate > EXPECTED)
        .max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::disturbance::Stall;

    fn idle(turns: &[CellRunReport], samples: &[Sample]) -> Option<f64> {
        let parts: Vec<Part> = turns.iter().map(|report| Part { report, until_ms: report.load_ms }).collect();
        UserTimeBalance::new(&parts, samples).idle_share()
    }

    fn turn(user_ms: f64, think_ms: f64) -> CellRunReport {
        CellRunReport { user_ms, think_ms, ..super::super::collect::tests::turn() }
    }

    fn sample(start_ms: f64, response_ms: f64) -> Sample {
        Sample { start_ms, response_ms, ..super::super::collect::tests::sample() }
    }

    #[test]
    fn littles_law_truncates_at_the_end() {
        // One user for 1 s: 300 ms waited, 400 thought, and a request from 800 ms on that lasts 500.
        let samples = [sample(0.0, 300.0), sample(800.0, 500.0)];
        assert!((idle(&[turn(1_000.0, 400.0)], &samples).unwrap() - 0.1).abs() < 1e-12);
        assert_eq!(idle(&[turn(0.0, 0.0)], &samples), None, "nothing is known of a run that was killed");
    }

    #[test]
    fn single_late_request_is_not_invalid() {
        let window = Window { start_ms: 0.0, length_s: 10.0, settled: true };
        let late = |lags: &[f64]| {
            let samples: Vec<Sample> = (0..93_u32)
                .map(|n| Sample {
                    send_lag_ms: lags.get(n as usize).copied().unwrap_or(0.1),
                    ..sample(f64::from(n), 20.0)
                })
                .collect();
            ClientMeasurements::new(1.0, &[], &window, &samples).invalid(LAG_MS)
        };
        assert_eq!(late(&[]), [""; 0]);
        assert_eq!(late(&[80.0]), [""; 0]);
        assert_eq!(late(&[80.0, 4.9]), [""; 0]);
        assert_eq!(late(&[80.0, 7.0]), ["send lag p99 80.00 ms > 5.00 ms"]);
        assert_eq!(late(&[7.0, 80.0]), ["send lag p99 80.00 ms > 5.00 ms"]);
    }

    #[test]
    fn start_delayed_by_the_disk_is_invalid() {
        let raw = |starts_waited| {
            let report = CellRunReport { starts_waited, ..turn(0.0, 0.0) };
            let window = Window { start_ms: 0.0, length_s: 1.0, settled: true };
            ClientMeasurements::new(1.0, &[Part { report: &report, until_ms: 1_000.0 }], &window, &[])
        };
        assert!(raw(None).invalid(5.0).is_empty());
        assert_eq!(raw(Some(3)).invalid(5.0), ["3 starts waited for the disk"]);
    }

    #[test]
    fn long_gap_among_many_ends_is_a_stall() {
        let mut plan = crate::plan::tests::plan();
        plan.load.think_time.min = std::time::Duration::ZERO;
        plan.load.think_time.max = std::time::Duration::ZERO;
        let cell = &crate::matrix::expand(&plan)[0];
        let window = Window { start_ms: 0.0, length_s: 10.0, settled: true };
        let every_10_ms = |from: u32, to: u32| (from..to).map(|n| sample(f64::from(n) * 10.0, 20.0));
        let none = Stalls::default();
        let steady: Vec<Sample> = every_10_ms(0, 1_000).collect();
        assert_eq!(longest_service_stall(cell, &window, &steady, Some(20.0), &none), None);
        let frozen: Vec<Sample> = every_10_ms(0, 400).chain(every_10_ms(500, 1_000)).collect();
        assert_eq!(longest_service_stall(cell, &window, &frozen, Some(20.0), &none), Some(1_010.0));
        let few: Vec<Sample> = frozen.iter().copied().step_by(100).collect();
        assert_eq!(
            longest_service_stall(cell, &window, &few, Some(20.0), &none),
            None,
            "a second without one of a few is chance"
        );
        // The second in which nothing ended is the one in which this machine stood still.
        let mut turn = super::super::collect::tests::turn();
        turn.disturbances.stalls = vec![Stall { from_ms: 4_015.0, length_ms: 990.0, suspended_ms: 0.0 }];
        let own = Stalls::exclude(&[turn], &mut frozen.clone());
        assert_eq!(longest_service_stall(cell, &window, &frozen, Some(20.0), &own), None);
    }
}
