//! Tiers compared with `default`, as numbers and as sentences.

use super::text;
use crate::matrix::{AXES, AxisValue};
use crate::plan::Order;
use crate::record::manifest::Manifest;
use crate::result::{Difference, Quantity, TierResult, Validity, WarningNote};
use crate::stats::repeated::MissingValue;
use crate::stats::{CellSummary, Stopped, Summary};
use crate::verdict::tiers::{Basis, Comparison, Contrast, NotCompared, Row, Side, Verdict, compare};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// All tier comparisons of a run.
#[derive(Debug, Serialize)]
pub(crate) struct TiersView {
    /// Explanation of the comparison; empty if nothing could be compared.
    pub(crate) caption: String,
    /// Tiers in matrix order; empty if the plan does not contain `default` and another tier.
    pub(crate) tiers: Vec<TierView>,
}

/// Comparison of one tier with `default` in one context.
#[derive(Debug, Serialize)]
pub(crate) struct TierView {
    /// The numbers.
    pub(crate) result: TierResult,
    /// Context: column and coordinate of every axis except the tier.
    pub(crate) context: Vec<(&'static str, AxisValue)>,
    /// Whether at least one metric could be compared.
    pub(crate) is_compared: bool,
    /// The differences of `result` in the same order, formatted.
    pub(crate) rows: Vec<TierRow>,
    /// Warnings about the comparison.
    pub(crate) warnings: Vec<WarningNote>,
}

/// One metric of a tier and of `default`, formatted.
#[derive(Debug, Serialize)]
pub(crate) struct TierRow {
    /// Display name of the metric.
    pub(crate) label: &'static str,
    pub(crate) default: String,
    pub(crate) tier: String,
    /// Tier minus `default`.
    pub(crate) difference: String,
    /// Tier divided by `default`.
    pub(crate) ratio: String,
    /// Interval of the ratio; empty if nothing is compared.
    pub(crate) interval: String,
    /// For example `1.21x slower` or `no significant difference`, or the reason why there is no verdict.
    pub(crate) verdict: String,
}

/// Compares the tiers of a run.
pub(super) fn view(manifest: &Manifest, summary: &Summary) -> TiersView {
    let comparisons = compare(summary);
    let contrasts =
        || comparisons.iter().flat_map(|comparison| &comparison.rows).filter_map(|row| row.outcome.as_ref().ok());
    let contexts: BTreeSet<usize> = comparisons.iter().filter_map(|comparison| comparison.default).collect();
    let mut caption = String::new();
    if contrasts().next().is_some() {
        caption += "Ratio of each tier to default at the same model, prompt and load. The intervals of p50 and p95 have a joint confidence of 95 % for all tiers of a context; an interval that contains 1 shows no significant difference";
    }
    if contrasts().any(|contrast| contrast.basis != Basis::Session) {
        caption += ". With three or more repetitions, each value is the geometric mean over the repetitions";
    }
    if contrasts().any(|contrast| contrast.basis == Basis::Session) {
        caption += ". \"Within this session\" rests on the requests alone, and another session may differ by more: repetitions = 5 compares repetitions";
    }
    if contexts.len() > 1 && !caption.is_empty() && manifest.plan.load.order != Order::Blocked {
        caption += ". The tiers of a context did not run next to each other, so that a drift of the service is in these ratios: order = \"blocked\" keeps it out";
    }
    TiersView { caption, tiers: comparisons.iter().map(|comparison| tier(summary, comparison)).collect() }
}

fn tier(summary: &Summary, comparison: &Comparison) -> TierView {
    let cell = &summary.cells[comparison.cell].cell;
    let others = AXES.iter().filter(|axis| axis.field != "service_tier");
    let numbers = comparison.rows.iter().map(|row| (numbers(row, &cell.service_tier), shown(row, &cell.service_tier)));
    let (differences, rows) = numbers.chain(comparison.price.map(|price| (cost(price), shown_cost(price)))).unzip();
    TierView {
        result: TierResult {
            test_id: cell.id.clone(),
            service_tier: cell.service_tier.clone(),
            sentence: sentence(&cell.service_tier, &comparison.rows) + &costs(comparison.price),
            differences,
        },
        context: others.map(|axis| (axis.field, (axis.get)(cell))).collect(),
        is_compared: comparison.rows.iter().any(|row| row.outcome.is_ok()),
        rows,
        warnings: comparison
            .length_ratio
            .map(|ratio| WarningNote {
                key: "length",
                text: format!(
                    "replies of {} are {ratio:.2}x as long as default's, in output tokens: a part of the difference in latency is length",
                    cell.service_tier
                ),
            })
            .into_iter()
            .collect(),
    }
}

/// Returns the sentence on p50 and p95.
fn sentence(tier: &str, rows: &[Row]) -> String {
    let deciding: Vec<&Row> = rows.iter().filter(|row| row.compared.decides).collect();
    let reasons: Vec<&NotCompared> = deciding.iter().filter_map(|row| row.outcome.as_ref().err()).collect();
    if let [first, rest @ ..] = reasons.as_slice()
        && reasons.len() == deciding.len()
        && rest.iter().all(|reason| reason == first)
    {
        return format!("{tier} is not compared: {}", reason(first, tier));
    }
    let part = |row: &&Row| match &row.outcome {
        Ok(contrast) => {
            let at = row.compared.key;
            match contrast.verdict() {
                Verdict::NotDifferent => format!("not significantly different at {at} ({})", interval(contrast)),
                Verdict::Higher | Verdict::Lower => {
                    format!("{} at {at} ({})", times(row, contrast), interval(contrast))
                }
            }
        }
        Err(missing) => format!("not compared at {} ({})", row.compared.key, reason(missing, tier)),
    };
    let mut bases: Vec<String> =
        deciding.iter().filter_map(|row| row.outcome.as_ref().ok()).map(|contrast| basis(contrast.basis)).collect();
    bases.dedup();
    let parts: Vec<String> = deciding.iter().map(part).collect();
    let parts = [parts.join(", "), bases.join(", ")];
    format!("{tier} is {}", parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("; "))
}

fn numbers(row: &Row, tier: &str) -> Difference {
    let contrast = row.outcome.as_ref().ok();
    let missing = row.outcome.as_ref().err();
    let quantity = |value: f64| match row.compared.key {
        "output_tokens_per_sec" => Quantity::PerSec(value),
        _ => Quantity::Ms(value),
    };
    Difference {
        metric: row.compared.key,
        default: contrast.map(|contrast| quantity(contrast.default)),
        tier: contrast.map(|contrast| quantity(contrast.tier)),
        ratio: contrast.map(|contrast| contrast.ratio.value),
        ratio_low: contrast.map(|contrast| contrast.ratio.low),
        ratio_high: contrast.map(|contrast| contrast.ratio.high),
        verdict: contrast.map_or("not_compared", |contrast| key(row, contrast)),
        basis: contrast.map_or_else(String::new, |contrast| basis(contrast.basis)),
        reason: missing.map_or_else(String::new, |missing| reason(missing, tier)),
    }
}

fn shown(row: &Row, tier: &str) -> TierRow {
    let nothing = || text::NOTHING.to_owned();
    let label = row.compared.label;
    match &row.outcome {
        Err(missing) => TierRow {
            label,
            default: nothing(),
            tier: nothing(),
            difference: nothing(),
            ratio: nothing(),
            interval: String::new(),
            verdict: format!("not compared: {}", reason(missing, tier)),
        },
        Ok(contrast) => {
            let difference = contrast.tier - contrast.default;
            TierRow {
                label,
                default: text::ms(contrast.default),
                tier: text::ms(contrast.tier),
                difference: format!("{}{}", if difference < 0.0 { "-" } else { "+" }, text::ms(difference.abs())),
                ratio: format!("{:.2}", contrast.ratio.value),
                interval: format!("{:.2}..{:.2}", contrast.ratio.low, contrast.ratio.high),
                verdict: match contrast.verdict() {
                    Verdict::NotDifferent => "no significant difference".into(),
                    Verdict::Higher | Verdict::Lower => times(row, contrast),
                },
            }
        }
    }
}

/// Returns the difference in cost per 1,000 replies. The cost is counted, not estimated, so it has no interval.
fn cost((default, tier): (f64, f64)) -> Difference {
    Difference {
        metric: "cost_per_1k_requests",
        default: Some(Quantity::UsdPer1kRequests(default)),
        tier: Some(Quantity::UsdPer1kRequests(tier)),
        ratio: (default > 0.0).then(|| tier / default),
        ratio_low: None,
        ratio_high: None,
        verdict: match tier.total_cmp(&default) {
            Ordering::Less => "cheaper",
            Ordering::Equal => "same_price",
            Ordering::Greater => "dearer",
        },
        basis: "every reply of the cells".into(),
        reason: String::new(),
    }
}

fn shown_cost((default, tier): (f64, f64)) -> TierRow {
    let usd = |usd: f64| format!("{usd:.4}");
    TierRow {
        label: "per 1,000 replies, USD",
        default: usd(default),
        tier: usd(tier),
        difference: format!("{:+.4}", tier - default),
        ratio: if default > 0.0 { format!("{:.2}", tier / default) } else { text::NOTHING.into() },
        interval: String::new(),
        verdict: match tier.total_cmp(&default) {
            Ordering::Less => "cheaper",
            Ordering::Equal => "same price",
            Ordering::Greater => "more expensive",
        }
        .into(),
    }
}

fn costs(price: Option<(f64, f64)>) -> String {
    match price {
        Some((default, tier)) if default > 0.0 => format!("; it costs {:.2}x per reply", tier / default),
        _ => String::new(),
    }
}

/// Returns the key of the verdict in the files.
fn key(row: &Row, contrast: &Contrast) -> &'static str {
    match (contrast.verdict(), row.compared.is_time) {
        (Verdict::NotDifferent, _) => "no_significant_difference",
        (Verdict::Higher, true) => "slower",
        (Verdict::Lower, true) => "faster",
        (Verdict::Higher, false) => "higher",
        (Verdict::Lower, false) => "lower",
    }
}

/// Formats a ratio with its direction: `1.21x slower`. A ratio below 1 is inverted, so "faster" states by what factor
/// the tier takes less time.
fn times(row: &Row, contrast: &Contrast) -> String {
    let ratio = contrast.ratio.value;
    let ratio = if contrast.verdict() == Verdict::Lower { 1.0 / ratio } else { ratio };
    format!("{ratio:.2}x {}", key(row, contrast))
}

/// Returns the interval of the ratio that [`times`] returns.
fn interval(contrast: &Contrast) -> String {
    let (low, high) = (contrast.ratio.low, contrast.ratio.high);
    let (low, high) = if contrast.verdict() == Verdict::Lower { (1.0 / high, 1.0 / low) } else { (low, high) };
    format!("{low:.2}..{high:.2}")
}

fn basis(basis: Basis) -> String {
    match basis {
        Basis::Repetitions(n) => format!("paired t over {n} repetitions"),
        Basis::Session => "within this session".into(),
    }
}

fn reason(missing: &NotCompared, tier: &str) -> String {
    let name = |side: Side| if side == Side::Default { "default" } else { tier };
    match missing {
        NotCompared::NoDefault => "its context has no cell of default".into(),
        NotCompared::Unusable(side, validity) => {
            let name = name(*side);
            match validity {
                Validity::NotRun => format!("{name} was not run"),
                Validity::Unsupported(why) | Validity::Refused(why) => format!("{name} was left out: {why}"),
                Validity::Aborted => format!("{name} {}", Stopped::AbortRule.predicate()),
                Validity::Invalid(_) => format!("{name} is INVALID"),
                Validity::Ok => format!("{name} has no such number"),
            }
        }
        NotCompared::Stopped(side, stopped) => format!("{} {}", name(*side), stopped.predicate()),
        NotCompared::DamagedRecords(side, why) => format!("{}: {why}", name(*side)),
        NotCompared::NoValue(side, MissingValue::TooFew(n)) => {
            format!("{n} samples of {} are too few for an interval", name(*side))
        }
        NotCompared::NoValue(side, MissingValue::CutOff) => {
            format!("too many requests of {} were censored for this percentile", name(*side))
        }
    }
}

/// Returns a note if replies do not name the tier that served them.
pub(super) fn unreported(summary: &Summary) -> Option<String> {
    let sum = |number: fn(&CellSummary) -> u64| summary.cells.iter().map(number).sum::<u64>();
    let unreported = sum(|cell| cell.unreported_tiers);
    (unreported > 0).then(|| {
        format!(
            "{} of {} successful replies name no service tier: they are assigned to the requested tier",
            text::thousands(unreported as f64, 0),
            text::thousands(sum(|cell| cell.counts.succeeded) as f64, 0)
        )
    })
}
