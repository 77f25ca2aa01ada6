//! The only user of hdrhistogram: many percentiles of a growing population at little cost, for what
//! is shown while a run goes on and for time lines. Final percentiles are read off the raw records.

use super::sample::Sample;
use super::window::Window;
use crate::record::Outcome;
use crate::record::manifest::CellRunReport;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use std::time::{Duration, UNIX_EPOCH};

/// 1 us to 1 h with three significant digits.
const HIGHEST_US: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

/// Times in microseconds inside, milliseconds outside; what is longer than an hour counts as one.
#[derive(Debug, Clone)]
pub(crate) struct LatencyHistogram(Histogram<u64>);

impl LatencyHistogram {
    /// None.
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, HIGHEST_US, DIGITS).unwrap_or_else(|_| unreachable!("the bounds are valid")))
    }

    /// One more, milliseconds.
    pub(crate) fn add(&mut self, ms: f64) {
        self.0.saturating_record((ms * 1e3).round().max(1.0) as u64);
    }

    /// None any more.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// The value at `p` (0 to 1); nothing while empty.
    pub(crate) fn percentile_ms(&self, p: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(p) as f64 / 1e3)
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

/// The successes of a cell's window as one interval of an `HdrHistogram` log, microseconds inside; the
/// header's divisor makes its `Interval_Max` milliseconds. Empty if nothing ran.
pub(super) fn log<'a>(
    cell: &str,
    turns: &[CellRunReport],
    window: &Window,
    samples: impl Iterator<Item = &'a Sample>,
) -> Vec<u8> {
    let Some(first) = turns.first() else { return Vec::new() };
    let mut times = LatencyHistogram::new();
    samples.filter(|sample| sample.outcome == Outcome::Succeeded).for_each(|sample| times.add(sample.response_ms));
    let start = UNIX_EPOCH + Duration::from_millis(first.started_ms);
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let written = (|| {
        let mut log = IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .with_start_time(start)
            .with_base_time(start)
            .with_max_value_divisor(1e3)
            .begin_log_with(&mut bytes, &mut serializer)
            .map_err(|error| error.to_string())?;
        let from = Duration::from_secs_f64(window.start_ms.max(0.0) / 1e3);
        log.write_histogram(&times.0, from, Duration::from_secs_f64(window.length_s), Tag::new(cell))
            .map_err(|error| format!("{error:?}"))
    })();
    match written {
        Ok(()) => bytes,
        Err(error) => unreachable!("a histogram is written to memory: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    /// Content of the only interval of a log.
    fn read(log: &[u8]) -> (String, Histogram<u64>) {
        let entry = IntervalLogIterator::new(log).map(Result::unwrap).find_map(|entry| match entry {
            LogEntry::Interval(interval) => Some(interval),
            _ => None,
        });
        let entry = entry.unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(entry.encoded_histogram()).unwrap();
        (entry.tag().unwrap().as_str().to_owned(), Deserializer::new().deserialize(&mut &bytes[..]).unwrap())
    }

    #[test]
    fn a_log_reads_back_equal() {
        let turn = crate::record::manifest::CellRunReport {
            started_ms: 1_795_511_763_456,
            ended_ms: 1_795_511_768_456,
            load_ms: 5_000.0,
            ..super::super::collect::tests::turn()
        };
        let sample = |response_ms| Sample { response_ms, ..super::super::collect::tests::sample() };
        let samples: Vec<Sample> = (1..=1_000).map(|n| sample(f64::from(n))).collect();
        let window = Window { start_ms: 500.0, length_s: 4.5, settled: true };
        let text = log("cell", &[turn], &window, samples.iter());
        assert!(text.starts_with(b"#[Histogram log format version 1.3]\n"));
        let (tag, histogram) = read(&text);
        let mut expected = LatencyHistogram::new();
        (1..=1_000).for_each(|n| expected.add(f64::from(n)));
        assert_eq!((tag.as_str(), histogram), ("cell", expected.0));
    }

    #[test]
    fn three_digits_are_kept_and_an_hour_is_the_end() {
        let mut times = LatencyHistogram::new();
        assert_eq!(times.percentile_ms(0.5), None);
        times.add(206.4);
        assert!((times.percentile_ms(0.5).unwrap() - 206.4).abs() < 0.21);
        times.add(1e9);
        assert!((times.percentile_ms(1.0).unwrap() / 3_600_000.0 - 1.0).abs() < 1e-3);
    }
}
