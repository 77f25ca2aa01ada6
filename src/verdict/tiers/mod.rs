//! Every tier against `default` in the same context, which is everything but the tier.
//!
//! What is compared is the logarithm, so that an interval speaks of a ratio. With three repetitions or
//! more it is a paired t over the repetitions' differences (Abedi & Brecht, ICPE'17: runs next to each
//! other, repeated): whatever moves a whole repetition falls out. With fewer there is nothing but the
//! requests of one session: each side's order statistics, put together as Donner & Zou (2012) put
//! together intervals of two independent estimates (MOVER), which keeps them as lopsided as they are.
//!
//! Several numbers are looked at in each context, and each might differ by chance. A tier is called
//! different by p50 and p95 alone, and all the intervals of a context are as wide as Bonferroni asks of
//! two for every tier beside `default`: with tiers that are the same at most 5 % of contexts have one that is
//! called different (a bench in `tests.rs` counts). An interval that is shown is the one that decided.

#[cfg(test)]
mod tests;

use crate::matrix::{AXES, AxisValue, Cell};
use crate::stats::latency::Metric;
use crate::stats::repeated::{Closed, Figure, Lacking};
use crate::stats::{CellSummary, Stopped, Summary, Validity, student};
use std::collections::HashMap;

/// How often a context may have a tier called different that is not, as the intervals are asked. The bench found
/// .044 to .056 with .05: sample percentiles are not quite normal, and what is promised is at most 5 %.
const FALSE_ALARMS: f64 = 0.04;

/// Repetitions from which on they are what is compared.
const REPETITIONS: usize = 3;

/// Mean output tokens that differ by more than this make latency a matter of length.
const LENGTH: f64 = 0.10;

/// The tier that the others are compared with.
const DEFAULT: &str = "default";

/// A number that tiers are compared by.
#[derive(Debug)]
pub(crate) struct Compared {
    /// In files, as in `consolidated_results`.
    pub(crate) key: &'static str,
    /// For people.
    pub(crate) label: &'static str,
    /// Which number.
    pub(crate) figure: Figure,
    /// A time: more of it is slower.
    pub(crate) is_time: bool,
    /// A tier is called different by it.
    pub(crate) decides: bool,
}

/// All of them, in the order of rows.
pub(crate) const FIGURES: [Compared; 4] = [
    Compared {
        key: "p50",
        label: "p50, ms",
        figure: Figure::Percentile(Metric::Response, 0.50),
        is_time: true,
        decides: true,
    },
    Compared {
        key: "p95",
        label: "p95, ms",
        figure: Figure::Percentile(Metric::Response, 0.95),
        is_time: true,
        decides: true,
    },
    Compared {
        key: "ttft_p50",
        label: "first token p50, ms",
        figure: Figure::Percentile(Metric::Ttft, 0.50),
        is_time: true,
        decides: false,
    },
    Compared {
        key: "output_tokens_per_sec",
        label: "output tokens/s",
        figure: Figure::OutputTokensPerSec,
        is_time: false,
        decides: false,
    },
];

/// What an interval rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basis {
    /// Student's t over so many paired repetitions.
    Repetitions(usize),
    /// Requests alone: another session may differ by more.
    Session,
}

/// What an interval says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It lies above a ratio of 1.
    More,
    /// It lies below.
    Less,
    /// It holds 1: no significant difference.
    Same,
}

/// A tier's number beside `default`'s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Contrast {
    /// Of `default`; with [`Basis::Repetitions`] the geometric mean of theirs.
    pub(crate) default: f64,
    /// Of the tier.
    pub(crate) tier: f64,
    /// Tier over default, with its interval.
    pub(crate) ratio: Closed,
    /// Of the interval.
    pub(crate) basis: Basis,
}

impl Contrast {
    /// What the interval says.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.ratio.low > 1.0 {
            Verdict::More
        } else if self.ratio.high < 1.0 {
            Verdict::Less
        } else {
            Verdict::Same
        }
    }
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The cell of `default`.
    Default,
    /// The cell of the other tier.
    Tier,
}

/// Why there is nothing to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The context has no cell of `default`.
    NoDefault,
    /// A cell's numbers may not be used.
    Unfit(Side, Validity),
    /// A cell is incomplete: what stopped it may be what would be compared.
    Stopped(Side, Stopped),
    /// A cell's records may be damaged, or are there twice.
    Doubtful(Side, &'static str),
    /// A cell has no such number.
    Lacking(Side, Lacking),
}

/// One number of a tier.
#[derive(Debug)]
pub(crate) struct Row {
    /// Which.
    pub(crate) compared: &'static Compared,
    /// How it compares.
    pub(crate) outcome: Result<Contrast, Missing>,
}

/// One tier against `default` in one context.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// The tier's cell, by its place in the summary.
    pub(crate) cell: usize,
    /// The cell of `default`.
    pub(crate) default: Option<usize>,
    /// By each number that its api has.
    pub(crate) rows: Vec<Row>,
    /// What a thousand replies cost in US dollars, of `default` and of the tier, where all of it is known. Tokens
    /// and prices are counted, not sampled: it has no interval.
    pub(crate) price: Option<(f64, f64)>,
    /// The tier's mean output tokens over `default`'s, where they differ so much that latency is length.
    pub(crate) length: Option<f64>,
}

impl Comparison {
    /// Whether the tier is called different.
    #[cfg(test)]
    fn is_different(&self) -> bool {
        let verdict = |row: &Row| row.outcome.as_ref().map_or(Verdict::Same, Contrast::verdict);
        self.rows.iter().any(|row| row.compared.decides && verdict(row) != Verdict::Same)
    }
}

/// Compares all tiers, in matrix order; nothing where the cells have no `default` or nothing else.
pub(crate) fn compare(summary: &Summary) -> Vec<Comparison> {
    let cells = &summary.cells;
    let is_default = |cell: &CellSummary| cell.cell.service_tier == DEFAULT;
    if !cells.iter().any(is_default) {
        return Vec::new();
    }
    // The cell of `default` of each context, and how many others it has.
    let mut contexts: HashMap<Vec<AxisValue>, (Option<usize>, usize)> = HashMap::new();
    for (index, cell) in cells.iter().enumerate() {
        let (default, rivals) = contexts.entry(context(&cell.cell)).or_default();
        if is_default(cell) {
            default.get_or_insert(index);
        } else {
            *rivals += 1;
        }
    }
    let others = cells.iter().enumerate().filter(|(_, cell)| !is_default(cell));
    let compared = others.map(|(index, tier)| {
        let (default, rivals) = contexts.get(&context(&tier.cell)).copied().unwrap_or_default();
        let complete = default.map(|at| &cells[at]).filter(|default| default.stopped.or(tier.stopped).is_none());
        let row = |compared| Row { compared, outcome: contrast(compared, default.map(|at| &cells[at]), tier, rivals) };
        Comparison {
            cell: index,
            default,
            rows: FIGURES
                .iter()
                .filter(|compared| tier.ttft.is_some() || compared.figure != Figure::Percentile(Metric::Ttft, 0.50))
                .map(row)
                .collect(),
            price: complete.and_then(|default| default.spend.per_1k_requests().zip(tier.spend.per_1k_requests())),
            length: complete.and_then(|default| length(default, tier)),
        }
    });
    compared.collect()
}

/// Where a cell is on all axes but the tier.
fn context(cell: &Cell) -> Vec<AxisValue> {
    AXES.iter().filter(|axis| axis.field != "service_tier").map(|axis| (axis.get)(cell)).collect()
}

fn length(default: &CellSummary, tier: &CellSummary) -> Option<f64> {
    let ratio = tier.output_tokens_of_latency()? / default.output_tokens_of_latency().filter(|mean| *mean > 0.0)?;
    ((ratio - 1.0).abs() > LENGTH).then_some(ratio)
}

fn contrast(
    compared: &Compared,
    default: Option<&CellSummary>,
    tier: &CellSummary,
    rivals: usize,
) -> Result<Contrast, Missing> {
    let default = default.ok_or(Missing::NoDefault)?;
    for (side, cell) in [(Side::Default, default), (Side::Tier, tier)] {
        if cell.validity != Validity::Ok {
            return Err(Missing::Unfit(side, cell.validity.clone()));
        }
        if let Some(stopped) = cell.stopped {
            return Err(Missing::Stopped(side, stopped));
        }
        if let Some(why) = cell.doubt() {
            return Err(Missing::Doubtful(side, why));
        }
    }
    let deciding = FIGURES.iter().filter(|compared| compared.decides).count();
    let tail = FALSE_ALARMS / 2.0 / (deciding * rivals.max(1)) as f64;
    let theirs = tier.by_repetition(compared.figure);
    let of = |wanted: u32| theirs.iter().find(|(repetition, _)| *repetition == wanted).map(|(_, value)| *value);
    let pairs: Vec<(f64, f64)> = default
        .by_repetition(compared.figure)
        .into_iter()
        .filter_map(|(repetition, value)| Some((value, of(repetition)?)))
        .collect();
    if pairs.len() >= REPETITIONS {
        return Ok(paired(&pairs, tail));
    }
    let within = |side: Side, cell: &CellSummary| {
        cell.within_session(compared.figure, tail).map_err(|lacking| Missing::Lacking(side, lacking))
    };
    Ok(unpaired(within(Side::Default, default)?, within(Side::Tier, tier)?))
}

/// Student's t over the differences of the logarithms.
fn paired(pairs: &[(f64, f64)], tail: f64) -> Contrast {
    let n = pairs.len() as f64;
    let mean = |values: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(values).sum::<f64>() / n;
    let difference = |(default, tier): &(f64, f64)| (tier / default).ln();
    let (middle, half) = student::mean(&pairs.iter().map(difference).collect::<Vec<_>>(), tail);
    Contrast {
        default: mean(&|(default, _)| default.ln()).exp(),
        tier: mean(&|(_, tier)| tier.ln()).exp(),
        ratio: Closed { value: middle.exp(), low: (middle - half).exp(), high: (middle + half).exp() },
        basis: Basis::Repetitions(pairs.len()),
    }
}

/// The interval of a ratio out of the intervals of both sides.
fn unpaired(default: Closed, tier: Closed) -> Contrast {
    let below = |side: Closed| (side.value / side.low).ln();
    let above = |side: Closed| (side.high / side.value).ln();
    let middle = (tier.value / default.value).ln();
    Contrast {
        default: default.value,
        tier: tier.value,
        ratio: Closed {
            value: middle.exp(),
            low: (middle - below(tier).hypot(above(default))).exp(),
            high: (middle + above(tier).hypot(below(default))).exp(),
        },
        basis: Basis::Session,
    }
}
