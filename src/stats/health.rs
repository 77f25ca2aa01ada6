//! Is the client to blame? What this machine did to a cell's numbers, from the raw values that the
//! executor left. Limits are those of the measurement notes.

use super::collect::Sample;
use super::latency::{Latency, Metric, Population};
use super::machine::{self, Machine};
use super::overhead::Growth;
use super::stalls::{Stalls, Standstill};
use super::warning::Warning;
use super::window::Window;
use crate::matrix::Cell;
use crate::record::Outcome;
use crate::record::manifest::{Manifest, TurnReport};
use crate::units::text::count;

/// Send lag below this is never held against a cell.
const LAG_MS: f64 = 5.0;
/// A larger share of the median latency is.
const LAG_SHARE: f64 = 0.01;
/// Of the cores that this process may use.
const CPU_SHARE: f64 = 0.8;
/// Of the users' time.
pub(super) const IDLE_SHARE: f64 = 0.02;

/// What this machine did; where several made the run, what the worst of them did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    /// Of all requests, and of the worst machine.
    pub(crate) raw: Raw,
    /// Users' time that is neither thought nor waited for an answer, 0 to 1 (closed loop).
    pub(crate) idle_share: Option<f64>,
    /// The median of what the client saw beyond the service's own latency, milliseconds.
    pub(crate) gap_p50_ms: Option<f64>,
    /// The service's own latency, milliseconds.
    pub(crate) server_p50_ms: Option<f64>,
    /// How long this machine stood still; nothing if it did not, or where several made the run.
    pub(crate) standstill: Option<Standstill>,
    /// The cell is INVALID since a machine stood still. Lag and CPU use follow from that, and give no further advice.
    pub(crate) stood_still: bool,
    /// Jumps of the wall clock: the machine where several made the run, epoch milliseconds before it, and by how many
    /// milliseconds.
    pub(crate) clock_jumps: Vec<(Option<u32>, u64, f64)>,
    /// Why the cell's numbers are not to be trusted; empty where they are.
    pub(crate) invalid: Vec<String>,
    /// Each machine by its index, where several made the run.
    pub(crate) machines: Vec<Machine>,
}

/// What a machine says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Raw {
    /// From due to sent, milliseconds.
    pub(crate) send_lag_p50_ms: Option<f64>,
    /// As above.
    pub(crate) send_lag_p99_ms: Option<f64>,
    /// The second largest: of fewer than 100 requests p99 is the largest, and one late request proves nothing.
    pub(crate) send_lag_second_ms: Option<f64>,
    /// The worst lateness of a 10 ms ticker in the window, milliseconds.
    pub(crate) ticker_worst_ms: Option<f64>,
    /// CPU of this process over the window, of what its cores or its CPU quota allow, 0 to 1.
    pub(crate) cpu_share: Option<f64>,
    /// For how long it stood still, milliseconds; nothing if it did not.
    pub(crate) stalled_ms: Option<f64>,
    /// Starts that waited for the disk.
    pub(crate) starts_waited: u64,
}

/// A machine's part of a turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    /// How it went.
    pub(super) report: &'a TurnReport,
    /// When the load of the turn ended, on whatever machine that was the first, milliseconds.
    pub(super) until_ms: f64,
}

impl Raw {
    /// Of a machine that may use so many cores.
    pub(super) fn of<'a>(
        cores: f64,
        parts: &[Part],
        window: &Window,
        samples: impl IntoIterator<Item = &'a Sample>,
    ) -> Self {
        let sent: Vec<&Sample> = samples.into_iter().filter(|sample| window.holds(sample)).collect();
        let lag = Latency::of_metric(sent.iter().copied(), Population::Pooled, Metric::SendLag);
        let (_, send_lag_second_ms) = sent.iter().map(|sample| sample.send_lag_ms).fold((None, None), two_largest);
        let seconds = || {
            parts.iter().flat_map(|part| {
                let from = (window.start_ms / 1e3).ceil() as usize;
                let to = (part.until_ms / 1e3).floor() as usize;
                part.report.series.iter().take(to).skip(from)
            })
        };
        Self {
            send_lag_p50_ms: lag.value_ms(0.5),
            send_lag_p99_ms: lag.value_ms(0.99),
            send_lag_second_ms,
            ticker_worst_ms: seconds().map(|second| second.ticker_ms).max_by(f64::total_cmp),
            cpu_share: mean(seconds().filter_map(|second| second.cpu_ms)).map(|ms| ms / 1e3 / cores),
            stalled_ms: None,
            starts_waited: parts.iter().filter_map(|part| part.report.starts_waited).sum(),
        }
    }

    /// Why numbers that it made are not to be trusted.
    pub(super) fn invalid(&self, lag_limit_ms: f64) -> Vec<String> {
        let is_repeated = self.send_lag_second_ms.is_some_and(|second| second > lag_limit_ms);
        let lag = self.send_lag_p99_ms.filter(|lag| *lag > lag_limit_ms && is_repeated);
        let cpu = self.cpu_share.filter(|share| *share > CPU_SHARE);
        let lag = lag.map(|lag| format!("send lag p99 {lag:.2} ms > {lag_limit_ms:.2} ms"));
        let cpu = cpu.map(|share| format!("CPU {:.0} % > {:.0} %", share * 100.0, CPU_SHARE * 100.0));
        let disk = (self.starts_waited > 0)
            .then(|| format!("{} waited for the disk", count(self.starts_waited as usize, "start")));
        lag.into_iter().chain(cpu).chain(disk).collect()
    }

    /// Takes the stalls into account. The worst tick may have been counted in a second outside the window.
    pub(super) fn with_standstill(self, standstill: Option<&Standstill>) -> Self {
        let Some(standstill) = standstill else { return self };
        let ticker_worst_ms = self.ticker_worst_ms.unwrap_or(0.0).max(standstill.longest_ms);
        Self { stalled_ms: Some(standstill.total_ms), ticker_worst_ms: Some(ticker_worst_ms), ..self }
    }
}

impl Health {
    /// Users waited for some machine more than they should have.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle_share.is_some_and(|share| share > IDLE_SHARE) || self.machines.iter().any(Machine::is_idle)
    }

    /// What to know of the client beside that the cell is INVALID.
    pub(super) fn warnings(&self, client_stalled: u64, overhead: Option<&Growth>) -> impl Iterator<Item = Warning> {
        let warnings = [
            (client_stalled > 0, Warning::ClientStalled),
            (!self.clock_jumps.is_empty(), Warning::ClockJump),
            (overhead.is_some(), Warning::ClientOverhead),
        ];
        warnings.into_iter().filter_map(|(holds, warning)| holds.then_some(warning))
    }

    pub(super) fn of(
        cell: &Cell,
        manifest: &Manifest,
        turns: &[TurnReport],
        window: &Window,
        samples: &[Sample],
        median_ms: Option<f64>,
        stalls: &Stalls,
    ) -> Self {
        let windowed = || samples.iter().filter(|sample| window.takes(sample));
        let median = |metric| Latency::of_metric(windowed(), Population::Successes, metric).value_ms(0.5);
        let limit_ms = LAG_MS.max(LAG_SHARE * median_ms.unwrap_or(0.0));
        let parts: Vec<Part> = turns.iter().map(|report| Part { report, until_ms: report.load_ms }).collect();
        let (standstill, moved) = (Standstill::of(&parts, window, stalls.limit_ms()), stalls.moved());
        let mut raw =
            Raw::of(manifest.machine.allowed_cores(), &parts, window, samples).with_standstill(standstill.as_ref());
        let mut balance = Balance::of(&parts, samples);
        let machines = machine::all(cell, manifest, turns, window, samples, limit_ms, stalls.limit_ms());
        let mut invalid = raw.invalid(limit_ms);
        let mut own = standstill.iter().chain(machines.iter().filter_map(|machine| machine.standstill.as_ref()));
        let stood_still = moved.is_some() || own.any(|standstill| standstill.exceeds(window));
        if let Some(standstill) = standstill.filter(|_| stood_still) {
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
            let told = |machine: &Machine| {
                let shard = machine.shard;
                machine.invalid.iter().map(|why| format!("shard {shard}: {why}")).collect::<Vec<_>>()
            };
            invalid = machines.iter().flat_map(told).collect();
            if let Some(moved) = moved {
                let stood = machines.iter().filter(|machine| machine.standstill.is_some());
                let shards: Vec<u32> = stood.map(|machine| machine.shard).collect();
                invalid.push(format!("{} stood still; {}", machine::listed(&shards), moved.text()));
            }
        }
        Self {
            raw,
            standstill,
            stood_still,
            clock_jumps: clock_jumps(turns),
            idle_share: balance.idle_share().filter(|_| !cell.is_open()),
            gap_p50_ms: median(Metric::BeyondServer),
            server_p50_ms: median(Metric::Server),
            invalid,
            machines,
        }
    }
}

/// All jumps of wall clocks, in order of time.
fn clock_jumps(turns: &[TurnReport]) -> Vec<(Option<u32>, u64, f64)> {
    let parts = turns.iter().flat_map(TurnReport::machines);
    let of_part = |part: &TurnReport| {
        let (shard, started_ms) = (part.shard, part.started_ms);
        let jumps = part.disturbances.clock_jumps.clone().into_iter();
        jumps.map(move |jump| (shard, started_ms.saturating_add(jump.at_ms as u64), jump.by_ms))
    };
    let mut jumps: Vec<_> = parts.flat_map(of_part).collect();
    jumps.sort_by_key(|(_, at_ms, _)| *at_ms);
    jumps
}

/// The two largest values seen so far, and one more.
fn two_largest((first, second): (Option<f64>, Option<f64>), value: f64) -> (Option<f64>, Option<f64>) {
    if first.is_none_or(|first| value > first) {
        (Some(value), first)
    } else if second.is_none_or(|second| value > second) {
        (first, Some(value))
    } else {
        (first, second)
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (n, sum) = values.fold((0_u32, 0.0), |(n, sum), value| (n + 1, sum + value));
    (n > 0).then(|| sum / f64::from(n))
}

/// Little's law of one machine: U T = responses + think time + idle, each cut at T, which is its own. Milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Balance {
    there: f64,
    thought: f64,
    waited: f64,
}

impl Balance {
    pub(super) fn of<'a>(parts: &[Part], samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let reports = || parts.iter().map(|part| part.report);
        let mut waited = 0.0;
        for sample in samples {
            let load_ms = reports().find(|turn| turn.repetition == sample.repetition).map_or(0.0, |turn| turn.load_ms);
            waited += sample.response_ms.min((load_ms - sample.start_ms).max(0.0));
        }
        Self {
            there: reports().map(|turn| turn.user_ms).sum(),
            thought: reports().map(|turn| turn.think_ms).sum(),
            waited,
        }
    }

    /// Users' time that is neither, 0 to 1; nothing where nobody was there.
    pub(super) fn idle_share(self) -> Option<f64> {
        let Self { there, thought, waited } = self;
        (there > 0.0).then(|| ((there - thought - waited) / there).max(0.0))
    }
}

impl std::iter::Sum for Balance {
    fn sum<I: Iterator<Item = Self>>(balances: I) -> Self {
        balances.fold(Self::default(), |sum, one| Self {
            there: sum.there + one.there,
            thought: sum.thought + one.thought,
            waited: sum.waited + one.waited,
        })
    }
}

/// The longest time in the window of a closed loop in which nothing ended although much should have:
/// what users would have asked meanwhile is missing from its percentiles. Milliseconds.
///
/// What this machine stood still for is not the service's: it is taken off the gap.
///
/// With ends at a rate r, a gap g without any has the chance exp(-r g): 15 expected ends are taken
/// for no chance. Users that move in step leave gaps of one cycle, so that two are asked for.
pub(super) fn stall(
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
        .filter(|sample| sample.outcome == Outcome::Succeeded && window.holds(sample))
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

    fn idle(turns: &[TurnReport], samples: &[Sample]) -> Option<f64> {
        let parts: Vec<Part> = turns.iter().map(|report| Part { report, until_ms: report.load_ms }).collect();
        Balance::of(&parts, samples).idle_share()
    }

    fn turn(user_ms: f64, think_ms: f64) -> TurnReport {
        TurnReport { user_ms, think_ms, ..super::super::collect::tests::turn() }
    }

    fn sample(start_ms: f64, response_ms: f64) -> Sample {
        Sample { start_ms, response_ms, ..super::super::collect::tests::sample() }
    }

    #[test]
    fn littles_law_counts_what_t_cuts() {
        // One user for 1 s: 300 ms waited, 400 thought, and a request from 800 ms on that lasts 500.
        let samples = [sample(0.0, 300.0), sample(800.0, 500.0)];
        assert!((idle(&[turn(1_000.0, 400.0)], &samples).unwrap() - 0.1).abs() < 1e-12);
        assert_eq!(idle(&[turn(0.0, 0.0)], &samples), None, "nothing is known of a run that was killed");
    }

    #[test]
    fn one_late_request_of_a_few_makes_no_cell_invalid() {
        let window = Window { start_ms: 0.0, length_s: 10.0, settled: true };
        let late = |lags: &[f64]| {
            let samples: Vec<Sample> = (0..93_u32)
                .map(|n| Sample {
                    send_lag_ms: lags.get(n as usize).copied().unwrap_or(0.1),
                    ..sample(f64::from(n), 20.0)
                })
                .collect();
            Raw::of(1.0, &[], &window, &samples).invalid(LAG_MS)
        };
        assert_eq!(late(&[]), [""; 0]);
        assert_eq!(late(&[80.0]), [""; 0]);
        assert_eq!(late(&[80.0, 4.9]), [""; 0]);
        assert_eq!(late(&[80.0, 7.0]), ["send lag p99 80.00 ms > 5.00 ms"]);
        assert_eq!(late(&[7.0, 80.0]), ["send lag p99 80.00 ms > 5.00 ms"]);
    }

    #[test]
    fn a_start_that_waited_for_the_disk_makes_the_cell_invalid() {
        let raw = |starts_waited| {
            let report = TurnReport { starts_waited, ..turn(0.0, 0.0) };
            let window = Window { start_ms: 0.0, length_s: 1.0, settled: true };
            Raw::of(1.0, &[Part { report: &report, until_ms: 1_000.0 }], &window, &[])
        };
        assert!(raw(None).invalid(5.0).is_empty());
        assert_eq!(raw(Some(3)).invalid(5.0), ["3 starts waited for the disk"]);
    }

    #[test]
    fn a_stall_is_a_long_silence_among_many_ends() {
        let mut plan = crate::plan::tests::plan();
        plan.load.think_time.min = std::time::Duration::ZERO;
        plan.load.think_time.max = std::time::Duration::ZERO;
        let cell = &crate::matrix::expand(&plan)[0];
        let window = Window { start_ms: 0.0, length_s: 10.0, settled: true };
        let every_10_ms = |from: u32, to: u32| (from..to).map(|n| sample(f64::from(n) * 10.0, 20.0));
        let none = Stalls::default();
        let steady: Vec<Sample> = every_10_ms(0, 1_000).collect();
        assert_eq!(stall(cell, &window, &steady, Some(20.0), &none), None);
        let frozen: Vec<Sample> = every_10_ms(0, 400).chain(every_10_ms(500, 1_000)).collect();
        assert_eq!(stall(cell, &window, &frozen, Some(20.0), &none), Some(1_010.0));
        let few: Vec<Sample> = frozen.iter().copied().step_by(100).collect();
        assert_eq!(stall(cell, &window, &few, Some(20.0), &none), None, "a second without one of a few is chance");
        // The second in which nothing ended is the one in which this machine stood still.
        let mut turn = super::super::collect::tests::turn();
        turn.disturbances.stalls = vec![Stall { from_ms: 4_015.0, length_ms: 990.0, suspended_ms: 0.0 }];
        let own = Stalls::exclude(&[turn], &mut frozen.clone());
        assert_eq!(stall(cell, &window, &frozen, Some(20.0), &own), None);
    }
}
