//! Thresholds against what was measured. A verdict is read off the 95 % interval, never off the point:
//! a bound inside it is INCONCLUSIVE, and so is whatever cannot be trusted.

use crate::matrix::rule::matches;
use crate::plan::{Bound, OnInconclusive, Slo};
use crate::record::manifest::{FailedBound, Manifest, TurnReport};
use crate::stats::percentile::enough_for;
use crate::stats::{CellSummary, Interval, Summary, Validity};

/// What is said of a bound in a cell. In the order of what should be read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// The whole interval breaks the bound.
    Fail,
    /// It cannot be said.
    Inconclusive,
    /// The whole interval keeps the bound.
    Pass,
}

impl Verdict {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 3] = [Self::Fail, Self::Inconclusive, Self::Pass];

    /// As in the files.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Fail => "FAIL",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Pass => "PASS",
        }
    }
}

/// One bound of one threshold in one cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judgement {
    /// Index of the threshold in the plan.
    pub(crate) slo: usize,
    /// Index of its bound.
    pub(crate) bound: usize,
    /// Index of the cell in the summary.
    pub(crate) cell: usize,
    /// What was measured, in the bound's unit; nothing where there was nothing to measure.
    pub(crate) measured: Option<Interval>,
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// Why, where the numbers do not say it.
    pub(crate) reason: String,
}

/// Every bound of every threshold in every cell that it is meant for, in the plan's order.
pub(crate) fn judge(manifest: &Manifest, summary: &Summary) -> Vec<Judgement> {
    let mut judgements = Vec::new();
    let reports = manifest.last_reports();
    for (slo, threshold) in manifest.plan.slo.iter().enumerate() {
        for (index, cell) in summary.cells.iter().enumerate().filter(|(_, cell)| matches(&threshold.when, &cell.cell)) {
            for (bound, asked) in threshold.bounds.iter().enumerate() {
                let measured = measure(cell, asked);
                let ended = ended_for(reports.of_cell(&cell.cell.id), slo, &asked.key());
                let (verdict, reason) = verdict(cell, asked, measured, ended);
                judgements.push(Judgement { slo, bound, cell: index, measured, verdict, reason });
            }
        }
    }
    judgements
}

/// Whether the run fails by its thresholds.
pub(crate) fn fails(thresholds: &[Slo], judgements: &[Judgement]) -> bool {
    judgements.iter().any(|judgement| match judgement.verdict {
        Verdict::Fail => true,
        Verdict::Inconclusive => thresholds[judgement.slo].on_inconclusive == OnInconclusive::Fail,
        Verdict::Pass => false,
    })
}

/// What a bound is on.
fn measure(cell: &CellSummary, bound: &Bound) -> Option<Interval> {
    match bound {
        Bound::Percentile { of, p, .. } => cell.times(*of)?.bounded(p / 100.0),
        Bound::Share { of, .. } => cell.share(*of),
        Bound::PerSecond { of, .. } => cell.flow(*of),
        Bound::Goodput { limits, .. } => cell.goodput_of(limits),
    }
}

/// A turn of the cell was ended for the sake of a bound.
#[derive(Debug, Clone, Copy)]
struct Ended<'a> {
    reason: &'a str,
    /// On one of several machines, which saw a part of the requests.
    in_part: Option<u32>,
}

fn ended_for<'a>(reports: &[&'a TurnReport], slo: usize, metric: &str) -> Option<Ended<'a>> {
    let is_it = |failed: &FailedBound| failed.slo == slo && failed.metric == metric;
    let did = |turn: &&TurnReport| turn.failed.as_ref().is_some_and(is_it);
    let ended = |turn: &&'a TurnReport| {
        let part = turn.machines().iter().find(did)?;
        let others = turn.machines().iter().filter(|part| part.requests > 0 && !did(part));
        let in_part = part.shard.filter(|_| others.count() > 0);
        Some(Ended { reason: part.reason.as_deref().unwrap_or_default(), in_part })
    };
    let turns: Vec<Ended> = reports.iter().filter_map(ended).collect();
    turns.iter().find(|ended| ended.in_part.is_none()).or(turns.first()).copied()
}

fn verdict(cell: &CellSummary, bound: &Bound, measured: Option<Interval>, ended: Option<Ended>) -> (Verdict, String) {
    let cannot = |reason: String| (Verdict::Inconclusive, reason);
    match &cell.validity {
        Validity::NotRun => return cannot("the cell was not run".into()),
        Validity::Unsupported(why) | Validity::Refused(why) => return cannot(format!("the cell was left out: {why}")),
        Validity::Aborted => return cannot("the cell was aborted: its first requests were all refused".into()),
        Validity::Invalid(reason) => return cannot(format!("INVALID: {reason}")),
        Validity::Ok => {}
    }
    if let Some(why) = cell.doubt() {
        return cannot(why.into());
    }
    if let Some(Ended { reason, in_part: None }) = ended {
        return (Verdict::Fail, format!("ended early: {reason}"));
    }
    let Some(interval) = measured else { return cannot(nothing(cell, bound)) };
    let limit = bound.limit();
    let (kept, broken) = if bound.is_upper() {
        (interval.high.is_some_and(|high| high <= limit), interval.low.is_some_and(|low| low > limit))
    } else {
        (interval.low.is_some_and(|low| low >= limit), interval.high.is_some_and(|high| high < limit))
    };
    match (kept, broken, ended) {
        (_, true, _) => (Verdict::Fail, String::new()),
        // It is sure of its own requests, and they are a part of the cell's.
        (_, _, Some(Ended { reason, in_part: Some(shard) })) => {
            cannot(format!("shard {shard} ended early, and others did not: {reason}"))
        }
        (true, ..) => (Verdict::Pass, String::new()),
        _ => cannot(undecided(cell, bound, interval)),
    }
}

/// Why nothing was measured.
fn nothing(cell: &CellSummary, bound: &Bound) -> String {
    match bound {
        Bound::PerSecond { .. } | Bound::Goodput { .. } => {
            "fewer than 20 requests ended in the window, and it is cut into 20 parts: test longer".into()
        }
        _ if cell.counts.total == 0 => "no request was sent".into(),
        _ => "no request in the window tells it".into(),
    }
}

/// Why an interval says neither.
fn undecided(cell: &CellSummary, bound: &Bound, interval: Interval) -> String {
    if let Bound::Percentile { of, p, .. } = bound
        && (interval.low.is_none() || interval.high.is_none())
    {
        let n = cell.times(*of).map_or(0, crate::stats::Latency::observations);
        let enough = enough_for(p / 100.0);
        return if n < enough {
            format!("too few requests: {n}, and a p{p} takes {enough}")
        } else {
            "the interval is open: requests were cut off, or too much like their neighbours; test longer".into()
        };
    }
    "the bound lies inside the interval: test longer to narrow it".into()
}
