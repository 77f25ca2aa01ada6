//! Price of a threshold: the cheapest model and tier that meets each limit on p95 at each load. An offer meets a limit
//! if the whole 95 % interval of its p95 does. If an inconclusive offer could be cheaper than the cheapest one that
//! meets the limit, the result is only an upper bound.

use crate::matrix::{AXES, AxisValue, Cell};
use crate::plan::{Bound, Plan, TimeMetric};
use crate::stats::confidence::TAIL;
use crate::stats::{ConfidenceInterval, Summary};
use crate::units::Keyed;

/// The axes that a buyer chooses.
const OFFER_AXES: [&str; 2] = ["model_id", "service_tier"];

/// Limits used if the plan sets none, milliseconds.
const DEFAULT_LIMITS_MS: [f64; 5] = [500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0];

/// All offers at the same load and context.
#[derive(Debug)]
pub(crate) struct OfferGroup {
    /// In matrix order.
    pub(crate) offers: Vec<Offer>,
    /// One result per limit.
    pub(crate) answers: Vec<CheapestOffer>,
}

/// A cell as an offer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Offer {
    /// Index into the cells.
    pub(crate) cell: usize,
    /// US dollars per 1,000 replies, if known.
    pub(crate) cost: Option<f64>,
    /// p95, milliseconds; `None` if the cell has no usable one.
    pub(crate) p95: Option<ConfidenceInterval>,
    /// One test per limit.
    pub(crate) meets: Vec<MeetsLimit>,
}

/// Whether an offer meets a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MeetsLimit {
    /// The whole interval does.
    Yes,
    /// The whole interval does not.
    No,
    /// Inconclusive.
    Unknown,
}

/// Cheapest offer that meets a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheapestOffer {
    /// The cheapest offer, by index.
    Cheapest(usize),
    /// This offer meets the limit, and an inconclusive or unpriced one could be cheaper.
    UpperBound(usize),
    /// Inconclusive: offers could meet the limit, or those that do have no price.
    Unknown,
    /// No offer meets the limit.
    NoOffer,
}

/// Returns the limits on p95 that the plan sets, or default limits, in ascending milliseconds.
pub(crate) fn limits(plan: &Plan) -> Vec<f64> {
    let bounds = plan.slo.iter().flat_map(|slo| &slo.bounds).filter(|bound| is_p95(bound));
    let mut limits: Vec<f64> = bounds.map(Bound::limit).collect();
    limits.sort_by(f64::total_cmp);
    limits.dedup();
    if limits.is_empty() { DEFAULT_LIMITS_MS.to_vec() } else { limits }
}

/// Returns whether a bound limits the p95 of the response time.
pub(crate) fn is_p95(bound: &Bound) -> bool {
    matches!(bound, Bound::Percentile { metric: TimeMetric::Response, p, .. } if (p - 95.0).abs() < 1e-9)
}

/// Groups the cells by load and context, in matrix order, and finds the cheapest offer of each group.
pub(crate) fn offer_groups(summary: &Summary, limits: &[f64]) -> Vec<OfferGroup> {
    let key = |cell: &Cell| -> Vec<AxisValue> {
        AXES.iter().filter(|axis| !OFFER_AXES.contains(&axis.field)).map(|axis| (axis.get)(cell)).collect()
    };
    let mut groups: Keyed<Vec<AxisValue>, Vec<Offer>> = Keyed::default();
    for (index, cell) in summary.cells.iter().enumerate() {
        let p95 = cell.incomparable_reason().is_none().then(|| cell.latency.percentile_interval(0.95, TAIL)).flatten();
        let meets = limits.iter().map(|limit| meets(p95, *limit)).collect();
        let offer = Offer { cell: index, cost: cell.spend.per_1k_requests(), p95, meets };
        groups.entry(key(&cell.cell), Vec::new).push(offer);
    }
    let answers = |offers: &[Offer]| (0..limits.len()).map(|limit| cheapest(offers, limit)).collect();
    groups.items.into_iter().map(|offers| OfferGroup { answers: answers(&offers), offers }).collect()
}

fn meets(p95: Option<ConfidenceInterval>, limit: f64) -> MeetsLimit {
    match p95 {
        Some(p95) if p95.high.is_some_and(|high| high <= limit) => MeetsLimit::Yes,
        Some(p95) if p95.low.is_some_and(|low| low > limit) => MeetsLimit::No,
        _ => MeetsLimit::Unknown,
    }
}

fn cheapest(offers: &[Offer], limit: usize) -> CheapestOffer {
    let with_result =
        |wanted: MeetsLimit| offers.iter().enumerate().filter(move |(_, offer)| offer.meets[limit] == wanted);
    let priced = with_result(MeetsLimit::Yes).filter_map(|(index, offer)| Some((index, offer.cost?, offer.p95?.value)));
    let cheapest = priced.min_by(|a, b| a.1.total_cmp(&b.1).then(a.2.total_cmp(&b.2)));
    let Some((index, cost, _)) = cheapest else {
        let is_possible = with_result(MeetsLimit::Yes).chain(with_result(MeetsLimit::Unknown)).next().is_some();
        return if is_possible { CheapestOffer::Unknown } else { CheapestOffer::NoOffer };
    };
    let cheaper = |(_, offer): (usize, &Offer)| offer.cost.is_none_or(|other| other < cost);
    // An offer without a price that meets the limit could be cheaper, too.
    let unpriced = with_result(MeetsLimit::Yes).any(|(_, offer)| offer.cost.is_none());
    if unpriced || with_result(MeetsLimit::Unknown).any(cheaper) {
        CheapestOffer::UpperBound(index)
    } else {
        CheapestOffer::Cheapest(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(cost: Option<f64>, low: f64, high: f64) -> Offer {
        let p95 = Some(ConfidenceInterval { value: f64::midpoint(low, high), low: Some(low), high: Some(high) });
        Offer { cell: 0, cost, p95, meets: vec![meets(p95, 1_000.0)] }
    }

    #[test]
    fn cheapest_conclusive_offer_is_chosen() {
        let fast = || offer(Some(2.0), 300.0, 400.0);
        let slow = || offer(Some(1.0), 1_200.0, 1_400.0);
        let near = |cost| offer(cost, 900.0, 1_100.0);
        let none = || Offer { p95: None, meets: vec![meets(None, 1_000.0)], ..near(Some(0.5)) };
        assert_eq!(cheapest(&[fast(), slow()], 0), CheapestOffer::Cheapest(0));
        assert_eq!(cheapest(&[slow(), fast(), offer(Some(1.5), 800.0, 1_000.0)], 0), CheapestOffer::Cheapest(2));
        assert_eq!(cheapest(&[fast(), near(Some(1.0))], 0), CheapestOffer::UpperBound(0), "a cheaper one may meet it");
        assert_eq!(
            cheapest(&[fast(), near(Some(3.0))], 0),
            CheapestOffer::Cheapest(0),
            "a more expensive one does not matter"
        );
        assert_eq!(cheapest(&[fast(), near(None)], 0), CheapestOffer::UpperBound(0));
        assert_eq!(
            cheapest(&[fast(), offer(None, 1.0, 2.0)], 0),
            CheapestOffer::UpperBound(0),
            "an unpriced one could be cheaper"
        );
        assert_eq!(cheapest(&[slow(), near(Some(1.0))], 0), CheapestOffer::Unknown);
        assert_eq!(cheapest(&[slow(), none()], 0), CheapestOffer::Unknown, "an unusable cell is inconclusive");
        assert_eq!(cheapest(&[slow()], 0), CheapestOffer::NoOffer);
        assert_eq!(cheapest(&[offer(None, 1.0, 2.0)], 0), CheapestOffer::Unknown, "met at an unknown price");
    }

    #[test]
    fn limits_of_the_plan_replace_the_defaults() {
        let mut plan = crate::plan::tests::plan();
        assert_eq!(limits(&plan), DEFAULT_LIMITS_MS);
        let slo = |toml: &str| toml::from_str::<crate::plan::Slo>(toml).unwrap();
        plan.slo =
            vec![slo("p95 = \"2s\"\nttft_p95 = \"1s\""), slo("p95 = \"800ms\"\np99 = \"3s\""), slo("p95 = \"2s\"")];
        assert_eq!(limits(&plan), [800.0, 2_000.0]);
    }
}
