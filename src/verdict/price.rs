//! The price of a threshold: at each load and for each limit on p95, which model and tier meets it for
//! the least money. An offer meets a limit when the whole 95 % interval of its p95 does; where an offer
//! that cannot be told might be cheaper than the cheapest that does, the answer cannot be told either.

use crate::matrix::{AXES, AxisValue, Cell};
use crate::plan::{Bound, Plan, Timed};
use crate::stats::{Interval, Summary};
use crate::units::Keyed;

/// What can be bought: the axes that a buyer chooses.
const OFFERED: [&str; 2] = ["model_id", "service_tier"];

/// The limits where the plan sets none, milliseconds.
const USUAL_MS: [f64; 5] = [500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0];

/// A load in a context, and all that was offered for it.
#[derive(Debug)]
pub(crate) struct Question {
    /// In matrix order.
    pub(crate) offers: Vec<Offer>,
    /// By limit.
    pub(crate) answers: Vec<Answer>,
}

/// A cell as an offer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Offer {
    /// Index into the cells.
    pub(crate) cell: usize,
    /// US dollars per thousand replies, if known.
    pub(crate) cost: Option<f64>,
    /// Its p95, milliseconds; nothing where the cell has none that may be used.
    pub(crate) p95: Option<Interval>,
    /// By limit.
    pub(crate) meets: Vec<Meets>,
}

/// Whether an offer meets a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meets {
    /// Its whole interval does.
    Yes,
    /// Its whole interval does not.
    No,
    /// Neither can be said.
    Unknown,
}

/// Who meets a limit for the least money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This offer.
    Cheapest(usize),
    /// This offer meets it, and another that cannot be told might be cheaper.
    AtMost(usize),
    /// Some offer might meet it, or those that do have no price.
    Unknown,
    /// Nobody.
    Nobody,
}

/// The limits on p95 that the plan sets, else the usual ones, milliseconds; ascending.
pub(crate) fn limits(plan: &Plan) -> Vec<f64> {
    let bounds = plan.slo.iter().flat_map(|slo| &slo.bounds).filter(|bound| is_p95(bound));
    let mut limits: Vec<f64> = bounds.map(Bound::limit).collect();
    limits.sort_by(f64::total_cmp);
    limits.dedup();
    if limits.is_empty() { USUAL_MS.to_vec() } else { limits }
}

/// Whether a bound is one on the p95 of the response time.
pub(crate) fn is_p95(bound: &Bound) -> bool {
    matches!(bound, Bound::Percentile { of: Timed::Response, p, .. } if (p - 95.0).abs() < 1e-9)
}

/// Every load in every context, in matrix order.
pub(crate) fn questions(summary: &Summary, limits: &[f64]) -> Vec<Question> {
    let key = |cell: &Cell| -> Vec<AxisValue> {
        AXES.iter().filter(|axis| !OFFERED.contains(&axis.field)).map(|axis| (axis.get)(cell)).collect()
    };
    let mut groups: Keyed<Vec<AxisValue>, Vec<Offer>> = Keyed::default();
    for (index, cell) in summary.cells.iter().enumerate() {
        let p95 = cell.incomparable().is_none().then(|| cell.latency.bounded(0.95)).flatten();
        let meets = limits.iter().map(|limit| meets(p95, *limit)).collect();
        let offer = Offer { cell: index, cost: cell.spend.per_1k_requests(), p95, meets };
        groups.entry(key(&cell.cell), Vec::new).push(offer);
    }
    let answers = |offers: &[Offer]| (0..limits.len()).map(|limit| answer(offers, limit)).collect();
    groups.items.into_iter().map(|offers| Question { answers: answers(&offers), offers }).collect()
}

fn meets(p95: Option<Interval>, limit: f64) -> Meets {
    match p95 {
        Some(p95) if p95.high.is_some_and(|high| high <= limit) => Meets::Yes,
        Some(p95) if p95.low.is_some_and(|low| low > limit) => Meets::No,
        _ => Meets::Unknown,
    }
}

fn answer(offers: &[Offer], limit: usize) -> Answer {
    let of = |wanted: Meets| offers.iter().enumerate().filter(move |(_, offer)| offer.meets[limit] == wanted);
    let priced = of(Meets::Yes).filter_map(|(index, offer)| Some((index, offer.cost?, offer.p95?.value)));
    let cheapest = priced.min_by(|a, b| a.1.total_cmp(&b.1).then(a.2.total_cmp(&b.2)));
    let Some((index, cost, _)) = cheapest else {
        let perhaps = of(Meets::Yes).chain(of(Meets::Unknown)).next().is_some();
        return if perhaps { Answer::Unknown } else { Answer::Nobody };
    };
    let cheaper = |(_, offer): (usize, &Offer)| offer.cost.is_none_or(|other| other < cost);
    // What meets the limit and has no price might be cheaper, too.
    let unpriced = of(Meets::Yes).any(|(_, offer)| offer.cost.is_none());
    if unpriced || of(Meets::Unknown).any(cheaper) { Answer::AtMost(index) } else { Answer::Cheapest(index) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(cost: Option<f64>, low: f64, high: f64) -> Offer {
        let p95 = Some(Interval { value: f64::midpoint(low, high), low: Some(low), high: Some(high) });
        Offer { cell: 0, cost, p95, meets: vec![meets(p95, 1_000.0)] }
    }

    #[test]
    fn the_cheapest_that_surely_meets_it() {
        let fast = || offer(Some(2.0), 300.0, 400.0);
        let slow = || offer(Some(1.0), 1_200.0, 1_400.0);
        let near = |cost| offer(cost, 900.0, 1_100.0);
        let none = || Offer { p95: None, meets: vec![meets(None, 1_000.0)], ..near(Some(0.5)) };
        assert_eq!(answer(&[fast(), slow()], 0), Answer::Cheapest(0));
        assert_eq!(answer(&[slow(), fast(), offer(Some(1.5), 800.0, 1_000.0)], 0), Answer::Cheapest(2));
        assert_eq!(answer(&[fast(), near(Some(1.0))], 0), Answer::AtMost(0), "a cheaper one may meet it");
        assert_eq!(answer(&[fast(), near(Some(3.0))], 0), Answer::Cheapest(0), "a dearer one does not matter");
        assert_eq!(answer(&[fast(), near(None)], 0), Answer::AtMost(0));
        assert_eq!(answer(&[fast(), offer(None, 1.0, 2.0)], 0), Answer::AtMost(0), "what has no price may be cheaper");
        assert_eq!(answer(&[slow(), near(Some(1.0))], 0), Answer::Unknown);
        assert_eq!(answer(&[slow(), none()], 0), Answer::Unknown, "a cell that is not to be trusted tells nothing");
        assert_eq!(answer(&[slow()], 0), Answer::Nobody);
        assert_eq!(answer(&[offer(None, 1.0, 2.0)], 0), Answer::Unknown, "met, at a price that nobody knows");
    }

    #[test]
    fn the_limits_of_the_plan_come_first() {
        let mut plan = crate::plan::tests::plan();
        assert_eq!(limits(&plan), USUAL_MS);
        let slo = |toml: &str| toml::from_str::<crate::plan::Slo>(toml).unwrap();
        plan.slo =
            vec![slo("p95 = \"2s\"\nttft_p95 = \"1s\""), slo("p95 = \"800ms\"\np99 = \"3s\""), slo("p95 = \"2s\"")];
        assert_eq!(limits(&plan), [800.0, 2_000.0]);
    }
}
