//! What is said of every cell, and of pools of cells. Pools take samples together; percentiles are
//! never averaged.

use super::collect::{ErrorCount, Gathered, Sample};
use super::latency::{Latency, Population};
use super::series::{self, Row};
use super::window::Window;
use crate::matrix::{AxisValue, Cell, axis};
use crate::record::Outcome;
use crate::record::manifest::{Manifest, TurnEnd, TurnReport};
use std::collections::HashMap;

/// A share of cache reads among successes from which a cell carries a warning.
const CACHE_READS: f64 = 0.01;

/// Everything that is known after a run.
#[derive(Debug)]
pub(crate) struct Summary {
    /// In matrix order, one for every cell of the manifest.
    pub(crate) cells: Vec<CellSummary>,
    /// An HTTP status came back for some request.
    pub(crate) answered: bool,
    include_failures: bool,
}

/// How many requests ended how: four populations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// All that were sent.
    pub(crate) total: u64,
    /// See `Outcome`.
    pub(crate) succeeded: u64,
    /// See `Outcome`.
    pub(crate) throttled: u64,
    /// See `Outcome`.
    pub(crate) failed: u64,
    /// See `Outcome`.
    pub(crate) censored: u64,
}

impl Counts {
    /// The old tool's failures: throttled and failed.
    pub(crate) fn failures(&self) -> u64 {
        self.throttled + self.failed
    }

    /// Failures over all that were sent; nothing without requests.
    pub(crate) fn failure_rate(&self) -> Option<f64> {
        (self.total > 0).then(|| self.failures() as f64 / self.total as f64)
    }

    fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
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

/// Tokens of the successes, ramp and drain included: they are paid for, too.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Tokens {
    /// Per success that reported them.
    pub(crate) avg_input: Option<f64>,
    /// Per success that reported them.
    pub(crate) avg_output: Option<f64>,
    /// Sum.
    pub(crate) total_input: u64,
    /// Sum.
    pub(crate) total_output: u64,
}

impl Tokens {
    fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let (mut input, mut output) = ((0_u64, 0_u64), (0_u64, 0_u64));
        for sample in samples.into_iter().filter(|sample| sample.outcome == Outcome::Succeeded) {
            for (sum, tokens) in [(&mut input, sample.input_tokens), (&mut output, sample.output_tokens)] {
                if let Some(tokens) = tokens {
                    *sum = (sum.0 + 1, sum.1 + u64::from(tokens));
                }
            }
        }
        let mean = |(n, sum): (u64, u64)| (n > 0).then(|| sum as f64 / n as f64);
        Self { avg_input: mean(input), avg_output: mean(output), total_input: input.1, total_output: output.1 }
    }
}

/// Whether a cell's numbers may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validity {
    /// They may.
    Ok,
    /// It never started.
    NotRun,
    /// Its first requests were all refused for good.
    Aborted,
}

impl Validity {
    /// As in the files.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotRun => "not_run",
            Self::Aborted => "aborted",
        }
    }
}

/// What a reader of a cell's numbers should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warning {
    /// The window begins before the cell had settled.
    NotSettled,
    /// Some prompts were answered from the prompt cache.
    CacheReads,
    /// Some replies name another tier than was asked for.
    OtherTier,
    /// The run was stopped inside this cell.
    Interrupted,
}

impl Warning {
    /// As in the files.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::NotSettled => "not_settled",
            Self::CacheReads => "cache_reads",
            Self::OtherTier => "other_tier",
            Self::Interrupted => "interrupted",
        }
    }

    /// For people, with what to do.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NotSettled => {
                "not settled: the ramp and one p95 take more than half of the test duration; test longer, or spawn faster"
            }
            Self::CacheReads => {
                "prompt cache: 1 % or more of the successes were answered from the prompt cache; prompts that are always the same measure a warm cache"
            }
            Self::OtherTier => "some replies say that another service tier served them than was asked for",
            Self::Interrupted => "the run was interrupted inside this cell",
        }
    }
}

/// One cell.
#[derive(Debug)]
pub(crate) struct CellSummary {
    /// Which.
    pub(crate) cell: Cell,
    /// All requests, ramp and drain included.
    pub(crate) counts: Counts,
    /// Which of them say something about latency.
    pub(crate) window: Window,
    /// What `avg/min/max` and `p..` are of.
    pub(crate) latency: Latency,
    /// What `success_*` are of.
    pub(crate) success: Latency,
    /// Requests of any outcome that ended inside the window, per second.
    pub(crate) requests_per_sec: Option<f64>,
    /// Failures among them.
    pub(crate) failures_per_sec: Option<f64>,
    /// Bytes of a reply's body.
    pub(crate) avg_content_bytes: Option<f64>,
    /// Of the successes.
    pub(crate) tokens: Tokens,
    /// Successes that report cache reads.
    pub(crate) cache_reads: u64,
    /// Successes that name another tier.
    pub(crate) other_tier: u64,
    /// The most frequent first.
    pub(crate) errors: Vec<ErrorCount>,
    /// Whether the numbers may be used.
    pub(crate) validity: Validity,
    /// What to know about them.
    pub(crate) warnings: Vec<Warning>,
    /// One row a second.
    pub(crate) history: Vec<Row>,
    samples: Vec<Sample>,
}

/// Cells taken together.
#[derive(Debug)]
pub(crate) struct Pool {
    /// The coordinates that they share, in the order asked for.
    pub(crate) key: Vec<AxisValue>,
    /// All requests.
    pub(crate) counts: Counts,
    /// As `CellSummary::latency`, over the samples of all windows.
    pub(crate) latency: Latency,
    /// Of the successes.
    pub(crate) tokens: Tokens,
    /// Ends inside the windows over the windows' lengths.
    pub(crate) requests_per_sec: Option<f64>,
}

impl Summary {
    /// Pools the samples of all cells by the axes with these fields, in matrix order.
    pub(crate) fn pool(&self, fields: &[&str]) -> Vec<Pool> {
        self.groups(fields).into_iter().map(|(key, cells)| self.pool_of(key, &cells)).collect()
    }

    /// The values that an axis takes over all cells, in matrix order.
    pub(crate) fn values(&self, field: &str) -> Vec<AxisValue> {
        self.groups(&[field]).into_iter().flat_map(|(key, _)| key).collect()
    }

    fn groups(&self, fields: &[&str]) -> Vec<(Vec<AxisValue>, Vec<&CellSummary>)> {
        let axes: Vec<_> = fields.iter().filter_map(|field| axis(field)).collect();
        let mut groups: Vec<(Vec<AxisValue>, Vec<&CellSummary>)> = Vec::new();
        for cell in &self.cells {
            let key: Vec<AxisValue> = axes.iter().map(|axis| (axis.get)(&cell.cell)).collect();
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, cells)) => cells.push(cell),
                None => groups.push((key, vec![cell])),
            }
        }
        groups
    }

    fn pool_of(&self, key: Vec<AxisValue>, cells: &[&CellSummary]) -> Pool {
        let windowed = cells.iter().flat_map(|cell| cell.samples.iter().filter(|sample| cell.window.takes(sample)));
        let length: f64 = cells.iter().map(|cell| cell.window.length_s).sum();
        let ended: f64 =
            cells.iter().filter_map(|cell| cell.requests_per_sec.map(|rate| rate * cell.window.length_s)).sum();
        Pool {
            key,
            counts: Counts::of(cells.iter().flat_map(|cell| &cell.samples)),
            latency: Latency::of(windowed, population(self.include_failures)),
            tokens: Tokens::of(cells.iter().flat_map(|cell| &cell.samples)),
            requests_per_sec: (length > 0.0).then(|| ended / length),
        }
    }
}

fn population(include_failures: bool) -> Population {
    if include_failures { Population::Pooled } else { Population::Settled }
}

pub(super) fn summarise(manifest: &Manifest, gathered: Vec<Gathered>) -> Summary {
    let answered = gathered.iter().any(|cell| cell.answered);
    let cells = manifest
        .cells
        .iter()
        .zip(gathered)
        .map(|(planned, gathered)| {
            let turns: Vec<TurnReport> = turns(manifest, &planned.cell, &gathered.samples);
            cell(manifest, &planned.cell, &turns, gathered)
        })
        .collect();
    Summary { cells, answered, include_failures: manifest.plan.report.include_failures }
}

/// The turns of a cell. One that was killed left records but no report: it is told by its records.
fn turns(manifest: &Manifest, cell: &Cell, samples: &[Sample]) -> Vec<TurnReport> {
    let mut turns: Vec<TurnReport> = manifest.turns.iter().filter(|turn| turn.test_id == cell.id).cloned().collect();
    let mut untold: Vec<u32> = samples.iter().map(|sample| sample.repetition).collect();
    untold.sort_unstable();
    untold.dedup();
    untold.retain(|repetition| turns.iter().all(|turn| turn.repetition != *repetition));
    for repetition in untold {
        let of_it = || samples.iter().filter(|sample| sample.repetition == repetition);
        let start_s = of_it()
            .map(|sample| sample.ended_s - (sample.sent_ms + sample.response_ms) / 1e3)
            .fold(f64::INFINITY, f64::min);
        let end_s = of_it().map(|sample| sample.ended_s).fold(f64::NEG_INFINITY, f64::max);
        let planned_ms = crate::units::ms(cell.load.test_duration);
        turns.push(TurnReport {
            test_id: cell.id.clone(),
            repetition,
            started_ms: (start_s * 1e3) as u64,
            ended_ms: (end_s * 1e3) as u64,
            load_ms: ((end_s - start_s) * 1e3).min(planned_ms),
            end: TurnEnd::Interrupted,
            reason: Some("the run was killed".into()),
            requests: of_it().count() as u64,
            connections_opened: 0,
            connections_reused: 0,
            series: Vec::new(),
        });
    }
    turns
}

fn cell(manifest: &Manifest, cell: &Cell, turns: &[TurnReport], gathered: Gathered) -> CellSummary {
    let Gathered { samples, errors, .. } = gathered;
    let report = &manifest.plan.report;
    let window = Window::of(cell, turns, &samples, report.include_ramp);
    let load_ms: HashMap<u32, f64> = turns.iter().map(|turn| (turn.repetition, turn.load_ms)).collect();
    let ended = || {
        samples.iter().filter(|sample| window.ends_in(sample, load_ms.get(&sample.repetition).copied().unwrap_or(0.0)))
    };
    let per_second = |count: usize| (window.length_s > 0.0).then(|| count as f64 / window.length_s);
    let windowed = || samples.iter().filter(|sample| window.takes(sample));
    let counts = Counts::of(&samples);
    let successes = || samples.iter().filter(|sample| sample.outcome == Outcome::Succeeded);
    let cache_reads = successes().filter(|sample| sample.cache_read).count() as u64;
    let other_tier = successes().filter(|sample| sample.other_tier).count() as u64;
    let bodies: Vec<u32> = samples.iter().map(|sample| sample.response_bytes).filter(|bytes| *bytes > 0).collect();
    let validity = match turns {
        [] => Validity::NotRun,
        turns if turns.iter().any(|turn| turn.end == TurnEnd::Aborted) => Validity::Aborted,
        _ => Validity::Ok,
    };
    let mut warnings = Vec::new();
    let mut warn = |holds: bool, warning: Warning| {
        if holds {
            warnings.push(warning);
        }
    };
    warn(counts.succeeded > 0 && !window.settled, Warning::NotSettled);
    warn(cache_reads > 0 && cache_reads as f64 >= CACHE_READS * counts.succeeded as f64, Warning::CacheReads);
    warn(other_tier > 0, Warning::OtherTier);
    warn(turns.iter().any(|turn| turn.end == TurnEnd::Interrupted), Warning::Interrupted);
    CellSummary {
        cell: cell.clone(),
        counts,
        latency: Latency::of(windowed(), population(report.include_failures)),
        success: Latency::of(windowed(), Population::Successes),
        requests_per_sec: per_second(ended().count()),
        failures_per_sec: per_second(ended().filter(|sample| sample.outcome.is_failure()).count()),
        avg_content_bytes: (!bodies.is_empty())
            .then(|| bodies.iter().map(|bytes| f64::from(*bytes)).sum::<f64>() / bodies.len() as f64),
        tokens: Tokens::of(&samples),
        cache_reads,
        other_tier,
        errors: by_frequency(errors),
        validity,
        warnings,
        history: series::history(turns, &samples, report.include_failures),
        window,
        samples,
    }
}

fn by_frequency(errors: std::collections::BTreeMap<(String, String), (u64, f64, f64)>) -> Vec<ErrorCount> {
    let mut counts: Vec<ErrorCount> = errors
        .into_iter()
        .map(|((class, message), (count, first_s, last_s))| ErrorCount { class, message, count, first_s, last_s })
        .collect();
    counts.sort_by_key(|error| std::cmp::Reverse(error.count));
    counts
}
