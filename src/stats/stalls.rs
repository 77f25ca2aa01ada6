//! Requests that were in flight while this machine stood still: their times are those of the machine and not of the
//! service. Decides which stalls count, which requests they exclude, and whether a cell can be trusted at all.

use super::latency::{Latency, Metric, Population};
use super::part::Part;
use super::percentile::nearest_rank;
use super::sample::Sample;
use super::window::Window;
use crate::record::disturbance::Stall;
use crate::record::manifest::CellRunReport;
use crate::record::{ExclusionReason, Outcome, compact_shard};
use crate::units::timestamp;
use std::collections::HashMap;

/// Period of the ticker: a stall began at most this long before its tick was due, milliseconds.
pub(crate) const TICK_MS: f64 = 10.0;

/// A stall of at most this length excludes no request, milliseconds.
const STALL_MS: f64 = 50.0;

/// A stall of at most this fraction of the cell's p50 excludes no request.
const STALL_SHARE: f64 = 0.05;

/// A cell is INVALID if its machine stood still for more than this fraction of the latency window.
const LATE_SHARE: f64 = 0.01;

/// A cell is INVALID if the excluded requests move its p50 or p95 by more than this fraction.
const MOVED_SHARE: f64 = 0.05;

/// Stalls of the machines of a cell that are long enough to affect its requests.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    /// Stalls of at most this length are ignored, milliseconds.
    limit_ms: f64,
    /// Percentile that the excluded requests would have moved most.
    moved: Option<PercentileShift>,
    /// Stalls in ascending order, by repetition and machine.
    by_machine: HashMap<(u32, Option<u16>), Vec<Span>>,
}

#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_field_names)] // the unit belongs to each
struct Span {
    from_ms: f64,
    to_ms: f64,
    /// Total length of all earlier spans, milliseconds.
    before_ms: f64,
    /// Latest end of this and all earlier spans. Spans that are read from a file may overlap.
    reaches_ms: f64,
}

impl Stalls {
    /// Marks the samples that were in flight during a relevant stall.
    pub(super) fn exclude(turns: &[CellRunReport], samples: &mut [Sample]) -> Self {
        let is_calm = |part: &CellRunReport| part.disturbances.stalls.is_empty();
        if turns.iter().flat_map(CellRunReport::machines).all(is_calm) {
            return Self { limit_ms: STALL_MS, ..Self::default() };
        }
        // The p50 of a cell whose requests all met a stall contains the stalls: it is taken without them.
        let all = Self::longer_than(0.0, turns.iter());
        let mut times: Vec<f64> = samples
            .iter()
            .filter(|sample| sample.outcome == Outcome::Succeeded && sample.unfit.is_none())
            .map(|sample| (sample.response_ms - all.within(sample)).max(0.0))
            .collect();
        times.sort_by(f64::total_cmp);
        let p50_ms = if times.is_empty() { 0.0 } else { times[nearest_rank(times.len(), 0.5)] };
        let stalls = Self::longer_than(STALL_MS.max(STALL_SHARE * p50_ms), turns.iter());
        for sample in samples.iter_mut().filter(|sample| sample.unfit.is_none()) {
            let (start_ms, end_ms) = (sample.start_ms, sample.start_ms + sample.response_ms);
            if stalls.touches((sample.repetition, sample.shard), start_ms, end_ms) {
                sample.unfit = Some(ExclusionReason::ClientStalled);
            }
        }
        stalls
    }

    /// Returns all stalls of these cell runs that may be relevant for any p50.
    pub(super) fn of_turns<'t>(turns: impl IntoIterator<Item = &'t CellRunReport>) -> Self {
        Self::longer_than(STALL_MS, turns)
    }

    fn longer_than<'t>(limit_ms: f64, turns: impl IntoIterator<Item = &'t CellRunReport>) -> Self {
        let mut by_machine = HashMap::new();
        for turn in turns {
            for part in turn.machines() {
                let shard = compact_shard(part.shard);
                let mut stalls: Vec<&Stall> =
                    part.disturbances.stalls.iter().filter(|stall| stall.total_ms() > limit_ms).collect();
                stalls.sort_by(|a, b| a.from_ms.total_cmp(&b.from_ms));
                let (mut before_ms, mut reaches_ms) = (0.0, f64::NEG_INFINITY);
                let span = |stall: &Stall| {
                    reaches_ms = f64::max(reaches_ms, stall.end_ms());
                    let span = Span { from_ms: stall.from_ms, to_ms: stall.end_ms(), before_ms, reaches_ms };
                    before_ms += stall.length_ms;
                    span
                };
                by_machine.insert((turn.repetition, shard), stalls.into_iter().map(span).collect());
            }
        }
        Self { limit_ms, moved: None, by_machine }
    }

    /// Compares the percentiles with and without the requests that [`Self::exclude`] marked.
    pub(super) fn compare(&mut self, window: &Window, samples: &[Sample], population: Population, is_stream: bool) {
        if self.by_machine.values().any(|spans| !spans.is_empty()) {
            self.moved = PercentileShift::most(window, samples, population, is_stream);
        }
    }

    /// Returns the percentile that the excluded requests would have moved most, if by more than 5 %.
    pub(super) fn percentile_shift(&self) -> Option<PercentileShift> {
        self.moved
    }

    /// Stalls of at most this length are ignored, milliseconds.
    pub(super) fn limit_ms(&self) -> f64 {
        self.limit_ms
    }

    fn spans(&self, repetition: u32, shard: Option<u16>) -> &[Span] {
        self.by_machine.get(&(repetition, shard)).map_or(&[], Vec::as_slice)
    }

    /// Whether a request of a repetition and a machine was in flight during a stall. What ended within a tick before the late one may have ended in
    /// the stall, and what was sent when the machine ran again was not delayed by it. In an open loop a request is in
    /// flight from its intended start.
    pub(super) fn touches(&self, (repetition, shard): (u32, Option<u16>), start_ms: f64, end_ms: f64) -> bool {
        let spans = self.spans(repetition, shard);
        let begun = spans.partition_point(|span| span.from_ms - TICK_MS < end_ms);
        begun > 0 && spans[begun - 1].reaches_ms > start_ms
    }

    /// Returns the stalled part of a request's time, milliseconds.
    fn within(&self, sample: &Sample) -> f64 {
        let spans = self.spans(sample.repetition, sample.shard);
        stalled_ms(spans, sample.start_ms, sample.start_ms + sample.response_ms)
    }

    /// Returns a lower bound of the time in which all machines stood still in a period of a repetition, ms.
    pub(super) fn common_ms(&self, repetition: u32, from_ms: f64, to_ms: f64) -> f64 {
        let own = self.by_machine.iter().filter(|((owner, _), _)| *owner == repetition);
        own.map(|(_, spans)| stalled_ms(spans, from_ms, to_ms)).min_by(f64::total_cmp).unwrap_or(0.0)
    }
}

fn stalled_ms(spans: &[Span], from_ms: f64, to_ms: f64) -> f64 {
    let until = |at_ms: f64| {
        let begun = spans.partition_point(|span| span.from_ms < at_ms);
        spans[..begun].last().map_or(0.0, |last| last.before_ms + (last.to_ms.min(at_ms) - last.from_ms))
    };
    (until(to_ms) - until(from_ms)).max(0.0)
}

/// Stalls of a machine while requests of the latency window were in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standstill {
    /// Number of relevant stalls.
    pub(crate) count: u64,
    /// Total length, suspension included, milliseconds.
    pub(crate) total_ms: f64,
    /// Longest stall, milliseconds.
    pub(crate) longest_ms: f64,
    /// Start of the longest stall, epoch milliseconds.
    pub(crate) longest_at_ms: u64,
    /// Part of the total in which the machine was suspended, milliseconds.
    pub(crate) suspended_ms: f64,
    /// Whether there were more stalls than a manifest lists.
    is_partial: bool,
}

impl Standstill {
    /// Computes the stalls of one machine; `None` if no stall exceeds the limit.
    pub(super) fn from_parts(parts: &[Part], window: &Window, limit_ms: f64) -> Option<Self> {
        let mut whole: Option<Self> = None;
        for Part { report, .. } in parts {
            let disturbances = &report.disturbances;
            let counts = |stall: &&Stall| stall.total_ms() > limit_ms && stall.end_ms() >= window.start_ms;
            for stall in disturbances.stalls.iter().filter(counts) {
                let total_ms = stall.length_ms.min(stall.end_ms() - window.start_ms) + stall.suspended_ms;
                let known = whole.get_or_insert(Self {
                    count: 0,
                    total_ms: 0.0,
                    longest_ms: 0.0,
                    longest_at_ms: 0,
                    suspended_ms: 0.0,
                    is_partial: false,
                });
                known.count += 1;
                known.total_ms += total_ms;
                known.suspended_ms += stall.suspended_ms;
                if total_ms > known.longest_ms {
                    known.longest_ms = total_ms;
                    known.longest_at_ms = report.started_ms.saturating_add(stall.from_ms as u64);
                }
            }
            let shortest = disturbances.stalls.iter().map(Stall::total_ms).min_by(f64::total_cmp);
            if let Some(whole) = whole.as_mut()
                && disturbances.unlisted_stalls > 0
                && shortest.is_some_and(|ms| ms > limit_ms)
            {
                whole.count = whole.count.saturating_add(disturbances.unlisted_stalls);
                whole.total_ms += disturbances.unlisted_ms;
                whole.is_partial = true;
            }
        }
        whole
    }

    /// Whether no number of the cell can be trusted: it stood still for more than 1 % of the latency window, or not all
    /// requests that were in flight are known.
    pub(super) fn exceeds(&self, window: &Window) -> bool {
        self.is_partial || self.total_ms > LATE_SHARE * window.length_s * 1e3
    }

    /// `stood still for 6.0 s at 2026-11-24T09:16:03Z`.
    pub(crate) fn text(&self) -> String {
        let Self { count, total_ms, longest_ms, suspended_ms, .. } = self;
        let at = timestamp::iso(self.longest_at_ms);
        let mut text = match count {
            1 => format!("stood still for {} at {at}", seconds(*total_ms)),
            _ => format!(
                "stood still for {} in {count} stalls, the longest of {} at {at}",
                seconds(*total_ms),
                seconds(*longest_ms)
            ),
        };
        if *suspended_ms > 0.0 {
            text += &format!(" (suspended for {})", seconds(*suspended_ms));
        }
        text
    }
}

/// Formats a length, for example `6.0 s`; in milliseconds below one second.
fn seconds(ms: f64) -> String {
    if ms < 999.5 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1e3) }
}

/// A percentile that the excluded requests would have moved by more than 5 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PercentileShift {
    /// `p95`, `p95 of TTFT`.
    what: &'static str,
    /// Value with the excluded requests, milliseconds.
    with_ms: f64,
    /// Value without them, milliseconds; `None` if no request is left.
    without_ms: Option<f64>,
}

impl PercentileShift {
    /// Finds the percentile that they moved most, among response times and times to first token.
    pub(super) fn most(window: &Window, samples: &[Sample], population: Population, is_stream: bool) -> Option<Self> {
        let clean = || samples.iter().filter(|sample| window.includes(sample));
        let stalled = |sample: &&Sample| sample.unfit.is_none() || sample.unfit == Some(ExclusionReason::ClientStalled);
        let all = || samples.iter().filter(|sample| window.contains(sample)).filter(stalled);
        let ttft = is_stream.then_some((Metric::Ttft, Population::Settled, ["p50 of TTFT", "p95 of TTFT"]));
        let mut moved: Vec<Self> = Vec::new();
        for (metric, population, names) in [(Metric::Response, population, ["p50", "p95"])].into_iter().chain(ttft) {
            let with = Latency::for_metric(all(), population, metric);
            let without = Latency::for_metric(clean(), population, metric);
            for (what, p) in names.into_iter().zip([0.5, 0.95]) {
                let Some(with_ms) = with.value_ms(p) else { continue };
                moved.push(Self { what, with_ms, without_ms: without.value_ms(p) });
            }
        }
        let most = moved.into_iter().max_by(|a, b| a.share().total_cmp(&b.share()))?;
        (most.share() > MOVED_SHARE).then_some(most)
    }

    /// Returns the change as a fraction of the value without them.
    fn share(&self) -> f64 {
        match self.without_ms {
            Some(without_ms) if without_ms > 0.0 => (self.with_ms - without_ms).abs() / without_ms,
            Some(_) if self.with_ms > 0.0 => f64::INFINITY,
            Some(_) => 0.0,
            None => f64::INFINITY,
        }
    }

    /// `excluding the requests that were in flight then moves p95 from 6047 ms to 202 ms`.
    pub(super) fn text(&self) -> String {
        let Self { what, with_ms, without_ms } = self;
        match without_ms {
            Some(ms) => {
                format!(
                    "excluding the requests that were in flight then moves {what} from {with_ms:.0} ms to {ms:.0} ms"
                )
            }
            None => "all requests were in flight then".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::collect::tests::{sample, turn};
    use super::*;
    use crate::record::disturbance::Disturbances;
    use proptest::prelude::*;

    fn stalled(stalls: &[(f64, f64)]) -> CellRunReport {
        let stall =
            |(from_ms, length_ms): &(f64, f64)| Stall { from_ms: *from_ms, length_ms: *length_ms, suspended_ms: 0.0 };
        let disturbances = Disturbances { stalls: stalls.iter().map(stall).collect(), ..Disturbances::default() };
        CellRunReport { load_ms: 10_000.0, started_ms: 1_795_511_763_456, disturbances, ..turn() }
    }

    fn sent(start_ms: f64, response_ms: f64) -> Sample {
        Sample { start_ms, response_ms, service_ms: response_ms, ..sample() }
    }

    fn window() -> Window {
        Window { start_ms: 1_000.0, length_s: 9.0, settled: true }
    }

    fn excluded(turns: &[CellRunReport], samples: &mut [Sample]) -> Vec<bool> {
        Stalls::exclude(turns, samples);
        samples.iter().map(|sample| sample.unfit == Some(ExclusionReason::ClientStalled)).collect()
    }

    #[test]
    fn only_requests_in_flight_during_a_stall_are_excluded() {
        let turns = [stalled(&[(2_000.0, 6_000.0)])];
        let mut samples = [
            sent(1_800.0, 100.0),   // ended long before
            sent(1_800.0, 189.0),   // ended before the tick that was on time
            sent(1_800.0, 195.0),   // ended when the machine may have stood still already
            sent(1_900.0, 6_200.0), // sent before, read after
            sent(2_500.0, 5_800.0), // intended in the stall, sent after it: an open loop
            sent(8_000.001, 50.0),  // sent after it
            Sample { outcome: Outcome::Failed, timed_out: true, ..sent(1_990.0, 6_010.0) },
            Sample { repetition: 2, ..sent(1_900.0, 6_200.0) },
            Sample { unfit: Some(ExclusionReason::WarmMiss), ..sent(1_900.0, 6_200.0) },
        ];
        let expected = [false, false, true, true, true, false, true, false, false];
        assert_eq!(excluded(&turns, &mut samples), expected);
        assert_eq!(samples[8].unfit, Some(ExclusionReason::WarmMiss), "each is excluded for one reason");
        let mut calm = [sent(1_900.0, 6_200.0)];
        assert_eq!(excluded(&[stalled(&[])], &mut calm), [false]);
    }

    #[test]
    fn stalls_matter_from_50_ms_or_5_percent_of_p50() {
        let at = |response_ms: f64, stall_ms: f64| {
            let mut samples: Vec<Sample> = (0..100).map(|n| sent(f64::from(n) * 10.0, response_ms)).collect();
            excluded(&[stalled(&[(500.0, stall_ms)])], &mut samples).contains(&true)
        };
        assert_eq!((at(200.0, 50.0), at(200.0, 51.0)), (false, true));
        // Of what remains of 4,000 ms without the stall: 191 and 188 ms.
        assert_eq!((at(4_000.0, 180.0), at(4_000.0, 230.0)), (false, true));
    }

    /// 5 % of a core: 5 ms in which the process runs follow 95 ms in which it does not. A p50 that contains the stalls
    /// would excuse them.
    #[test]
    fn stall_limit_uses_the_p50_without_stalls() {
        let ticks: Vec<(f64, f64)> = (0..100).map(|n| (f64::from(n) * 100.0, 95.0)).collect();
        let turns = [stalled(&ticks)];
        let mut samples: Vec<Sample> = (0..100).map(|n| sent(f64::from(n) * 40.0, 4_000.0)).collect();
        assert!(excluded(&turns, &mut samples).into_iter().all(|is_excluded| is_excluded));
        let parts = [Part { report: &turns[0], until_ms: 10_000.0 }];
        let standstill = Standstill::from_parts(&parts, &window(), STALL_MS).unwrap();
        assert!(standstill.exceeds(&window()) && standstill.count == 90, "{standstill:?}");
        let moved = PercentileShift::most(&window(), &samples, Population::Settled, false).unwrap();
        assert_eq!(moved.text(), "all requests were in flight then");
    }

    #[test]
    fn stalled_time_is_summed_from_the_window_start() {
        let of = |stalls: &[(f64, f64)]| {
            let turns = [stalled(stalls)];
            Standstill::from_parts(&[Part { report: &turns[0], until_ms: 10_000.0 }], &window(), STALL_MS)
        };
        assert_eq!(of(&[(100.0, 400.0), (5_000.0, 50.0)]), None, "the ramp, and nothing that matters");
        assert!((of(&[(100.0, 970.0)]).unwrap().total_ms - 70.0).abs() < 1e-9, "the part in the window");
        let long = of(&[(9_800.0, 6_000.0)]).unwrap();
        assert!(long.exceeds(&window()));
        insta::assert_snapshot!(long.text(), @"stood still for 6.0 s at 2026-11-24T09:16:13Z");
        let few = of(&[(2_000.0, 60.0), (5_000.0, 25.0), (6_000.0, 29.0)]).unwrap();
        assert!(!few.exceeds(&window()), "60 ms of 9 s");
        let many = of(&[(2_000.0, 60.0), (5_000.0, 55.0)]).unwrap();
        assert!(many.exceeds(&window()), "115 ms of 9 s");
        insta::assert_snapshot!(many.text(), @"stood still for 115 ms in 2 stalls, the longest of 60 ms at 2026-11-24T09:16:05Z");
    }

    #[test]
    fn suspended_time_counts() {
        let mut turns = [stalled(&[(2_000.0, 0.0)])];
        turns[0].disturbances.stalls[0].suspended_ms = 3_600_000.0;
        let mut samples = [sent(1_900.0, 200.0), sent(2_000.1, 200.0), sent(1_700.0, 200.0)];
        assert_eq!(excluded(&turns, &mut samples), [true, false, false]);
        let standstill =
            Standstill::from_parts(&[Part { report: &turns[0], until_ms: 0.0 }], &window(), STALL_MS).unwrap();
        assert!(standstill.exceeds(&window()));
        insta::assert_snapshot!(standstill.text(), @"stood still for 3600.0 s at 2026-11-24T09:16:05Z (suspended for 3600.0 s)");
    }

    #[test]
    fn unlisted_stalls_make_a_cell_invalid() {
        let mut turns = [stalled(&[(2_000.0, 60.0)])];
        turns[0].disturbances.unlisted_stalls = 7;
        turns[0].disturbances.unlisted_ms = 7.0 * 55.0;
        let of = |limit_ms| {
            Standstill::from_parts(&[Part { report: &turns[0], until_ms: 0.0 }], &window(), limit_ms)
                .map(|standstill| (standstill.count, standstill.total_ms, standstill.exceeds(&window())))
        };
        assert_eq!((of(50.0), of(60.0)), (Some((8, 445.0, true)), None));
    }

    #[test]
    fn moved_percentile_is_reported() {
        let turns = [stalled(&[(9_800.0, 6_000.0)])];
        let mut samples: Vec<Sample> = (0..90).map(|n| sent(1_000.0 + f64::from(n) * 100.0, 202.0)).collect();
        samples.extend((0..10).map(|n| sent(9_700.0 + f64::from(n), 6_047.0)));
        excluded(&turns, &mut samples);
        let moved = PercentileShift::most(&window(), &samples, Population::Settled, false).unwrap();
        insta::assert_snapshot!(moved.text(), @"excluding the requests that were in flight then moves p95 from 6047 ms to 202 ms");
        // One of a hundred moves neither p50 nor p95.
        let mut samples: Vec<Sample> = (0..99).map(|n| sent(1_000.0 + f64::from(n) * 10.0, 202.0)).collect();
        samples.push(sent(9_700.0, 6_047.0));
        excluded(&turns, &mut samples);
        assert_eq!(PercentileShift::most(&window(), &samples, Population::Settled, false), None);
    }

    fn stall_list() -> impl Strategy<Value = Vec<(f64, f64)>> {
        prop::collection::vec((0.0..5_000.0_f64, 0.0..1_000.0_f64), 0..20)
    }

    proptest! {
        /// The index gives the same result as a comparison with every stall, for stalls in any order that may overlap.
        #[test]
        fn the_index_agrees_with_a_comparison_with_every_stall(
            stalls in stall_list(),
            requests in prop::collection::vec((0.0..6_000.0_f64, 0.0..2_000.0_f64), 1..40),
        ) {
            let turns = [stalled(&stalls)];
            let index = Stalls::longer_than(50.0, &turns);
            for (start_ms, response_ms) in requests {
                let touches = |(from_ms, length_ms): &(f64, f64)| {
                    *length_ms > 50.0
                        && start_ms < from_ms + length_ms
                        && start_ms + response_ms > from_ms - TICK_MS
                };
                prop_assert_eq!(index.touches((1, None), start_ms, start_ms + response_ms), stalls.iter().any(touches));
            }
        }

        /// The stalled time of a request is the sum of its overlaps with the stalls.
        #[test]
        fn stalled_time_is_the_sum_of_the_common_parts(
            gaps in prop::collection::vec((1.0..500.0_f64, 1.0..500.0_f64), 0..20),
            start_ms in 0.0..6_000.0_f64,
            response_ms in 0.0..4_000.0_f64,
        ) {
            let mut at_ms = 0.0;
            let mut stalls = Vec::new();
            for (gap_ms, length_ms) in gaps {
                stalls.push((at_ms + gap_ms, length_ms));
                at_ms += gap_ms + length_ms;
            }
            let turns = [stalled(&stalls)];
            let end_ms = start_ms + response_ms;
            let common = |(from_ms, length_ms): &(f64, f64)| {
                ((from_ms + length_ms).min(end_ms) - from_ms.max(start_ms)).max(0.0)
            };
            let expected: f64 = stalls.iter().map(common).sum();
            let index = Stalls::longer_than(0.0, &turns);
            prop_assert!((index.within(&sent(start_ms, response_ms)) - expected).abs() < 1e-6);
            prop_assert!((index.common_ms(1, start_ms, end_ms) - expected).abs() < 1e-6);
        }
    }
}
