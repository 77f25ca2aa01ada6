//! Measurements of one machine during a cell run.

use super::latency::{Latency, Metric, Population};
use super::part::Part;
use super::sample::Sample;
use super::stalls::Standstill;
use super::window::Window;
use crate::result::ClientMeasurements;
use crate::units::text::count;

/// Maximum CPU use, as a fraction of the allowed cores.
const CPU_SHARE: f64 = 0.8;
/// Maximum idle time, as a fraction of the users' time.
pub(super) const IDLE_SHARE: f64 = 0.02;

impl ClientMeasurements {
    /// Measures a machine that may use `cores` cores.
    pub(super) fn new<'a>(
        cores: f64,
        parts: &[Part],
        window: &Window,
        samples: impl IntoIterator<Item = &'a Sample>,
    ) -> Self {
        let sent: Vec<&Sample> = samples.into_iter().filter(|sample| window.contains(sample)).collect();
        let lag = Latency::for_metric(sent.iter().copied(), Population::Pooled, Metric::SendLag);
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

    /// Returns why the numbers of this machine are INVALID.
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

    /// Adds the stalls. The worst tick may lie in a second outside the window.
    pub(super) fn with_standstill(self, standstill: Option<&Standstill>) -> Self {
        let Some(standstill) = standstill else { return self };
        let ticker_worst_ms = self.ticker_worst_ms.unwrap_or(0.0).max(standstill.longest_ms);
        Self { stalled_ms: Some(standstill.total_ms), ticker_worst_ms: Some(ticker_worst_ms), ..self }
    }
}

/// Updates the two largest values.
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

/// Little's law on one machine: U T = response time + think time + idle time, each until its own T. Milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[allow(clippy::struct_field_names)] // the unit belongs to each
pub(crate) struct UserTimeBalance {
    user_ms: f64,
    think_ms: f64,
    response_ms: f64,
}

impl UserTimeBalance {
    pub(super) fn new<'a>(parts: &[Part], samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let reports = || parts.iter().map(|part| part.report);
        let mut response_ms = 0.0;
        for sample in samples {
            let load_ms = reports().find(|turn| turn.repetition == sample.repetition).map_or(0.0, |turn| turn.load_ms);
            response_ms += sample.response_ms.min((load_ms - sample.start_ms).max(0.0));
        }
        Self {
            user_ms: reports().map(|turn| turn.user_ms).sum(),
            think_ms: reports().map(|turn| turn.think_ms).sum(),
            response_ms,
        }
    }

    /// Returns the idle fraction of the users' time, 0 to 1; `None` without users.
    pub(super) fn idle_share(self) -> Option<f64> {
        let Self { user_ms, think_ms, response_ms } = self;
        (user_ms > 0.0).then(|| ((user_ms - think_ms - response_ms) / user_ms).max(0.0))
    }
}

impl std::iter::Sum for UserTimeBalance {
    fn sum<I: Iterator<Item = Self>>(balances: I) -> Self {
        balances.fold(Self::default(), |sum, one| Self {
            user_ms: sum.user_ms + one.user_ms,
            think_ms: sum.think_ms + one.think_ms,
            response_ms: sum.response_ms + one.response_ms,
        })
    }
}
