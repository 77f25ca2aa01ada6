//! Comparison of each tier with the reference tier `default` in the same context (all axis values except the tier).
//!
//! Logarithms are compared, so intervals are ratios. With three or more repetitions the interval is a paired t over the
//! differences per repetition (Abedi & Brecht, ICPE'17: interleaved, repeated runs), which cancels effects common to a
//! repetition. With fewer, only the requests of one session are available: the order-statistics intervals of both
//! sides are combined by MOVER (Donner & Zou, 2012), which preserves their asymmetry.
//!
//! Several metrics are tested per context, and each can differ by chance. Only p50 and p95 decide whether a tier differs,
//! and all intervals of a context use the Bonferroni level for two metrics per compared tier: if all tiers are equal, at
//! most 5 % of contexts have a tier that is reported as different (measured in `tests.rs`). The reported interval is the
//! one that decided.

#[cfg(test)]
mod tests;

use crate::matrix::{AXES, AxisValue, Cell};
use crate::result::Validity;
use crate::stats::latency::Metric;
use crate::stats::repeated::{BoundedInterval, MissingValue};
use crate::stats::{CellMetric, CellSummary, Stopped, Summary, student};
use std::collections::HashMap;

/// Nominal false-alarm rate per context. With .05 the measured rate is .044 to .056, because sample percentiles are not
/// quite normal; the documented rate is at most 5 %.
const FALSE_ALARM_RATE: f64 = 0.04;

/// Minimum number of repetitions for a paired comparison.
const MIN_REPETITIONS: usize = 3;

/// Relative difference of mean output tokens above which reply length affects latency.
const LENGTH_TOLERANCE: f64 = 0.10;

/// The reference tier.
const REFERENCE_TIER: &str = "default";

/// Metric by which tiers are compared.
#[derive(Debug)]
pub(crate) struct ComparedMetric {
    /// Name in result files, as in `consolidated_results`.
    pub(crate) key: &'static str,
    /// Label in reports.
    pub(crate) label: &'static str,
    pub(crate) metric: CellMetric,
    /// The metric is a time: a larger value is slower.
    pub(crate) is_time: bool,
    /// The metric decides whether a tier differs.
    pub(crate) decides: bool,
}

/// Compared metrics in row order.
pub(crate) const COMPARED_METRICS: [ComparedMetric; 4] = [
    ComparedMetric {
        key: "p50",
        label: "p50, ms",
        metric: CellMetric::Percentile(Metric::Response, 0.50),
        is_time: true,
        decides: true,
    },
    ComparedMetric {
        key: "p95",
        label: "p95, ms",
        metric: CellMetric::Percentile(Metric::Response, 0.95),
        is_time: true,
        decides: true,
    },
    ComparedMetric {
        key: "ttft_p50",
        label: "first token p50, ms",
        metric: CellMetric::Percentile(Metric::Ttft, 0.50),
        is_time: true,
        decides: false,
    },
    ComparedMetric {
        key: "output_tokens_per_sec",
        label: "output tokens/s",
        metric: CellMetric::OutputTokensPerSec,
        is_time: false,
        decides: false,
    },
];

/// Basis of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basis {
    /// Student's t over this number of paired repetitions.
    Repetitions(usize),
    /// Requests of one session: other sessions can differ by more.
    Session,
}

/// Position of a ratio's interval relative to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Entirely above 1.
    Higher,
    /// Entirely below 1.
    Lower,
    /// Contains 1: no significant difference.
    NotDifferent,
}

/// Metric of a tier compared with `default`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Contrast {
    /// Value of `default`; the geometric mean with [`Basis::Repetitions`].
    pub(crate) default: f64,
    /// Value of the tier.
    pub(crate) tier: f64,
    /// Tier over default.
    pub(crate) ratio: BoundedInterval,
    pub(crate) basis: Basis,
}

impl Contrast {
    /// Returns the verdict by the interval.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.ratio.low > 1.0 {
            Verdict::Higher
        } else if self.ratio.high < 1.0 {
            Verdict::Lower
        } else {
            Verdict::NotDifferent
        }
    }
}

/// Side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Default,
    Tier,
}

/// Reason why a metric is not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotCompared {
    /// The context has no cell of `default`.
    NoDefault,
    /// The numbers of a cell cannot be used.
    Unusable(Side, Validity),
    /// A cell is incomplete: the cause can depend on the compared metric.
    Stopped(Side, Stopped),
    /// Records of a cell may be damaged or duplicated.
    DamagedRecords(Side, &'static str),
    /// A cell has no value.
    NoValue(Side, MissingValue),
}

/// Comparison of one metric of a tier.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) compared: &'static ComparedMetric,
    pub(crate) outcome: Result<Contrast, NotCompared>,
}

/// Comparison of one tier with `default` in one context.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Index of the tier's cell in the summary.
    pub(crate) cell: usize,
    /// Index of the cell of `default`.
    pub(crate) default: Option<usize>,
    /// One row per metric of the API.
    pub(crate) rows: Vec<Row>,
    /// US dollars per 1,000 replies of `default` and of the tier, if completely known. Tokens and prices are counted,
    /// not sampled, so there is no interval.
    pub(crate) price: Option<(f64, f64)>,
    /// Mean output tokens of the tier over those of `default`, if they differ enough to affect latency.
    pub(crate) length_ratio: Option<f64>,
}

impl Comparison {
    /// Returns whether the tier differs from `default`.
    #[cfg(test)]
    fn is_different(&self) -> bool {
        let verdict = |row: &Row| row.outcome.as_ref().map_or(Verdict::NotDifferent, Contrast::verdict);
        self.rows.iter().any(|row| row.compared.decides && verdict(row) != Verdict::NotDifferent)
    }
}

/// Compares all tiers with `default`, in matrix order; empty without cells of `default` or of other tiers.
pub(crate) fn compare(summary: &Summary) -> Vec<Comparison> {
    let cells = &summary.cells;
    let is_default = |cell: &CellSummary| cell.cell.service_tier == REFERENCE_TIER;
    if !cells.iter().any(is_default) {
        return Vec::new();
    }
    // Per context: the cell of `default` and the number of compared tiers.
    let mut contexts: HashMap<Vec<AxisValue>, (Option<usize>, usize)> = HashMap::new();
    for (index, cell) in cells.iter().enumerate() {
        let (default, compared_tiers) = contexts.entry(context(&cell.cell)).or_default();
        if is_default(cell) {
            default.get_or_insert(index);
        } else {
            *compared_tiers += 1;
        }
    }
    let others = cells.iter().enumerate().filter(|(_, cell)| !is_default(cell));
    let compared = others.map(|(index, tier)| {
        let (default, compared_tiers) = contexts.get(&context(&tier.cell)).copied().unwrap_or_default();
        let complete = default.map(|at| &cells[at]).filter(|default| default.stopped.or(tier.stopped).is_none());
        let row = |compared| Row {
            compared,
            outcome: contrast(compared, default.map(|at| &cells[at]), tier, compared_tiers),
        };
        Comparison {
            cell: index,
            default,
            rows: COMPARED_METRICS
                .iter()
                .filter(|compared| tier.ttft.is_some() || compared.metric != CellMetric::Percentile(Metric::Ttft, 0.50))
                .map(row)
                .collect(),
            price: complete.and_then(|default| default.spend.per_1k_requests().zip(tier.spend.per_1k_requests())),
            length_ratio: complete.and_then(|default| length_ratio(default, tier)),
        }
    });
    compared.collect()
}

/// Returns the context of a cell.
fn context(cell: &Cell) -> Vec<AxisValue> {
    AXES.iter().filter(|axis| axis.field != "service_tier").map(|axis| (axis.get)(cell)).collect()
}

fn length_ratio(default: &CellSummary, tier: &CellSummary) -> Option<f64> {
    let ratio = tier.output_tokens_of_latency()? / default.output_tokens_of_latency().filter(|mean| *mean > 0.0)?;
    ((ratio - 1.0).abs() > LENGTH_TOLERANCE).then_some(ratio)
}

fn contrast(
    compared: &ComparedMetric,
    default: Option<&CellSummary>,
    tier: &CellSummary,
    compared_tiers: usize,
) -> Result<Contrast, NotCompared> {
    let default = default.ok_or(NotCompared::NoDefault)?;
    for (side, cell) in [(Side::Default, default), (Side::Tier, tier)] {
        if cell.validity != Validity::Ok {
            return Err(NotCompared::Unusable(side, cell.validity.clone()));
        }
        if let Some(stopped) = cell.stopped {
            return Err(NotCompared::Stopped(side, stopped));
        }
        if let Some(why) = cell.record_damage() {
            return Err(NotCompared::DamagedRecords(side, why));
        }
    }
    let deciding = COMPARED_METRICS.iter().filter(|compared| compared.decides).count();
    let tail = FALSE_ALARM_RATE / 2.0 / (deciding * compared_tiers.max(1)) as f64;
    let tier_values = tier.values_by_repetition(compared.metric);
    let tier_value =
        |wanted: u32| tier_values.iter().find(|(repetition, _)| *repetition == wanted).map(|(_, value)| *value);
    let pairs: Vec<(f64, f64)> = default
        .values_by_repetition(compared.metric)
        .iter()
        .filter_map(|(repetition, value)| Some((*value, tier_value(*repetition)?)))
        .collect();
    if pairs.len() >= MIN_REPETITIONS {
        return Ok(paired(&pairs, tail));
    }
    let within = |side: Side, cell: &CellSummary| {
        cell.session_interval(compared.metric, tail).map_err(|reason| NotCompared::NoValue(side, reason))
    };
    Ok(unpaired(within(Side::Default, default)?, within(Side::Tier, tier)?))
}

/// Computes a paired t over the differences of the logarithms.
fn paired(pairs: &[(f64, f64)], tail: f64) -> Contrast {
    let n = pairs.len() as f64;
    let mean = |values: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(values).sum::<f64>() / n;
    let difference = |(default, tier): &(f64, f64)| (tier / default).ln();
    let (middle, half) = student::mean(&pairs.iter().map(difference).collect::<Vec<_>>(), tail);
    Contrast {
        default: mean(&|(default, _)| default.ln()).exp(),
        tier: mean(&|(_, tier)| tier.ln()).exp(),
        ratio: BoundedInterval { value: middle.exp(), low: (middle - half).exp(), high: (middle + half).exp() },
        basis: Basis::Repetitions(pairs.len()),
    }
}

/// Combines the intervals of both sides to the interval of their ratio.
fn unpaired(default: BoundedInterval, tier: BoundedInterval) -> Contrast {
    let below = |side: BoundedInterval| (side.value / side.low).ln();
    let above = |side: BoundedInterval| (side.high / side.value).ln();
    let middle = (tier.value / default.value).ln();
    Contrast {
        default: default.value,
        tier: tier.value,
        ratio: BoundedInterval {
            value: middle.exp(),
            low: (middle - below(tier).hypot(above(default))).exp(),
            high: (middle + above(tier).hypot(below(default))).exp(),
        },
        basis: Basis::Session,
    }
}
