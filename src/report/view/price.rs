//! The cost of a threshold as a table: at each load and for each p95 limit, the cheapest model and tier that meets it,
//! with the evidence.

use super::names::Coordinates;
use super::overview::{context, load_name};
use super::{cost, names, text};
use crate::matrix::LOAD_FIELDS;
use crate::plan::Plan;
use crate::result::Validity;
use crate::stats::{ConfidenceInterval, Summary};
use crate::units::Keyed;
use crate::verdict::price::{CheapestOffer, MeetsLimit, OfferGroup, is_p95, limits, offer_groups};
use serde::Serialize;

/// Table of the cheapest offers.
#[derive(Debug, Serialize)]
pub(crate) struct PriceView {
    /// Summary in one sentence.
    pub(crate) headline: String,
    /// Origin of the limits.
    pub(crate) caption: String,
    /// Limits as text, for example `1.0 s`.
    pub(crate) limits: Vec<String>,
    /// One row per load and context.
    pub(crate) rows: Vec<PriceRow>,
}

/// One load in one context.
#[derive(Debug, Serialize)]
pub(crate) struct PriceRow {
    /// For example `prompt small`; empty if nothing else varies.
    pub(crate) context: String,
    /// For example `20 users`.
    pub(crate) load: String,
    /// Answers by limit.
    pub(crate) answers: Vec<PriceAnswer>,
    /// All offers at this load.
    pub(crate) offers: Vec<OfferView>,
}

/// Cheapest offer that meets a limit.
#[derive(Debug, Serialize)]
pub(crate) struct PriceAnswer {
    /// `pass`, `fail` or `unknown`.
    pub(crate) state: &'static str,
    /// For example `flex`, `none` or `inconclusive`.
    pub(crate) who: String,
    /// For example `0.1463 USD`; may be empty.
    pub(crate) cost: String,
}

/// One model and tier.
#[derive(Debug, Serialize)]
pub(crate) struct OfferView {
    /// Cell id.
    pub(crate) id: String,
    /// For example `nova-2-lite flex`.
    pub(crate) who: String,
    /// US dollars per 1,000 replies.
    pub(crate) cost: String,
    /// Milliseconds.
    pub(crate) p95: String,
    /// 95 % interval of p95, or the reason why there is none.
    pub(crate) interval: String,
    /// Whether the offer meets each limit: `pass`, `fail` or `unknown`.
    pub(crate) meets: Vec<&'static str>,
}

pub(super) fn view(plan: &Plan, summary: &Summary, names: &Coordinates) -> PriceView {
    let limits_ms = limits(plan);
    let groups = offer_groups(summary, &limits_ms);
    let limits: Vec<String> = limits_ms.iter().map(|ms| limit(*ms)).collect();
    let of_plan = plan.slo.iter().flat_map(|slo| &slo.bounds).any(is_p95);
    let rows: Vec<PriceRow> = groups.iter().map(|group| row(summary, names, group)).collect();
    PriceView {
        headline: headline(&rows, &limits),
        caption: if of_plan {
            "The limits on p95 are those of the plan's thresholds.".into()
        } else {
            "The plan sets no limit on p95: these are the usual ones.".into()
        },
        limits,
        rows,
    }
}

/// Formats a limit: `90 ms`, `2.5 s`.
fn limit(ms: f64) -> String {
    if ms < 1_000.0 { format!("{ms} ms") } else { format!("{} s", ms / 1e3) }
}

/// Returns the most frequent answers at the first limit that some offer meets.
fn headline(rows: &[PriceRow], limits: &[String]) -> String {
    let certain = |limit: usize| rows.iter().filter(move |row| row.answers[limit].state == "pass");
    let Some(limit) = (0..limits.len()).find(|limit| certain(*limit).next().is_some()) else {
        return "no priced model and tier meets a limit with 95 % confidence".into();
    };
    let mut winners: Keyed<&str, (&str, usize)> = Keyed::default();
    for row in certain(limit) {
        let who = row.answers[limit].who.as_str();
        winners.entry(who, || (who, 0)).1 += 1;
    }
    let mut winners = winners.items;
    winners.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let of = |(who, count): &(&str, usize)| format!("{who} at {count} of {} loads", rows.len());
    format!(
        "cheapest with p95 within {}: {}",
        limits[limit],
        winners.iter().take(3).map(of).collect::<Vec<_>>().join(", ")
    )
}

fn row(summary: &Summary, names: &Coordinates, group: &OfferGroup) -> PriceRow {
    let cell = |index: usize| &summary.cells[group.offers[index].cell];
    let but: Vec<&str> = LOAD_FIELDS.into_iter().chain([names::TIER, "model_id"]).collect();
    let fields = names.varying(&but);
    let first = cell(0);
    let models = names.values("model_id").len() > 1;
    let who = |index: usize| {
        let cell = cell(index);
        let tier = &cell.cell.service_tier;
        if !models {
            return tier.clone();
        }
        let model = names.title(&["model_id"], &context(cell, &["model_id"]));
        format!("{model} {tier}")
    };
    let answer = |answer: &CheapestOffer| {
        let cost = |index: usize| format!("{} USD", cost::shown(group.offers[index].cost));
        let (state, who, cost) = match answer {
            CheapestOffer::Cheapest(index) => ("pass", who(*index), cost(*index)),
            CheapestOffer::UpperBound(index) => {
                ("unknown", format!("{}, or cheaper", who(*index)), format!("at most {}", cost(*index)))
            }
            CheapestOffer::Unknown => ("unknown", "inconclusive".into(), String::new()),
            CheapestOffer::NoOffer => ("fail", "none".into(), String::new()),
        };
        PriceAnswer { state, who, cost }
    };
    let offer = |index: usize| {
        let (offer, cell) = (&group.offers[index], cell(index));
        let missing = || match (&cell.validity, cell.incomparable_reason()) {
            (Validity::Ok, Some(why)) => why,
            (Validity::Ok, None) => "no samples".into(),
            (validity, _) => validity.to_string(),
        };
        OfferView {
            id: cell.cell.id.clone(),
            who: who(index),
            cost: cost::shown(offer.cost),
            p95: offer.p95.map_or_else(
                || text::NOTHING.into(),
                |_| text::percentile(cell.latency.percentile(0.95), cell.latency.observations()),
            ),
            interval: offer.p95.map_or_else(missing, |ConfidenceInterval { low, high, .. }| text::range(low, high)),
            meets: offer
                .meets
                .iter()
                .map(|meets| match meets {
                    MeetsLimit::Yes => "pass",
                    MeetsLimit::No => "fail",
                    MeetsLimit::Unknown => "unknown",
                })
                .collect(),
        }
    };
    PriceRow {
        context: names.title(&fields, &context(first, &fields)),
        load: load_name(first),
        answers: group.answers.iter().map(answer).collect(),
        offers: (0..group.offers.len()).map(offer).collect(),
    }
}
