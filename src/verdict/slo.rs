//! Threshold verdicts. A verdict uses the 95 % confidence interval, not the point estimate: a bound inside the
//! interval is INCONCLUSIVE, and so is every bound of a cell with unusable numbers.

use crate::matrix::rule::matches;
use crate::plan::{Bound, OnInconclusive, Slo};
use crate::record::manifest::{CellRunReport, FailedBound, Manifest};
use crate::result::{Validity, Verdict};
use crate::stats::interval::MIN_REQUESTS_PER_RATE;
use crate::stats::percentile::min_samples_for;
use crate::stats::{CellSummary, ConfidenceInterval, Latency, Summary};

/// Result of one bound of one threshold in one cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BoundResult {
    /// Index of the threshold in the plan.
    pub(crate) slo: usize,
    /// Index of its bound.
    pub(crate) bound: usize,
    /// Index of the cell in the summary.
    pub(crate) cell: usize,
    /// Measured value in the unit of the bound; `None` without data.
    pub(crate) measured: Option<ConfidenceInterval>,
    pub(crate) verdict: Verdict,
    /// Explanation; empty if the numbers are sufficient.
    pub(crate) reason: String,
}

/// Evaluates every bound of every threshold in every matching cell, in plan order.
pub(crate) fn evaluate(manifest: &Manifest, summary: &Summary) -> Vec<BoundResult> {
    let mut results = Vec::new();
    let reports = manifest.last_reports();
    for (slo, threshold) in manifest.plan.slo.iter().enumerate() {
        for (cell_index, cell) in
            summary.cells.iter().enumerate().filter(|(_, cell)| matches(&threshold.when, &cell.cell))
        {
            for (index, bound) in threshold.bounds.iter().enumerate() {
                let measured = cell.bounds.get(&(slo, index)).copied();
                let ended = find_early_end(reports.of_cell(&cell.cell.id), slo, &bound.key());
                let (verdict, reason) = verdict(cell, bound, measured, ended);
                results.push(BoundResult { slo, bound: index, cell: cell_index, measured, verdict, reason });
            }
        }
    }
    results
}

/// Returns whether the run fails its thresholds.
pub(crate) fn is_failed(thresholds: &[Slo], results: &[BoundResult]) -> bool {
    results.iter().any(|result| match result.verdict {
        Verdict::Fail => true,
        Verdict::Inconclusive => thresholds[result.slo].on_inconclusive == OnInconclusive::Fail,
        Verdict::Pass => false,
    })
}

/// An early end of a cell run because of a bound.
#[derive(Debug, Clone, Copy)]
struct EarlyEnd<'a> {
    reason: &'a str,
    /// The only shard that ended early: it saw a part of the requests.
    only_shard: Option<u32>,
}

/// Returns the early end that this bound caused, if any.
fn find_early_end<'a>(reports: &[&'a CellRunReport], slo: usize, metric: &str) -> Option<EarlyEnd<'a>> {
    let is_same_bound = |failed: &FailedBound| failed.slo == slo && failed.metric == metric;
    let failed_bound = |report: &&CellRunReport| report.failed.as_ref().is_some_and(is_same_bound);
    let ended = |report: &&'a CellRunReport| {
        let part = report.machines().iter().find(failed_bound)?;
        let others = report.machines().iter().filter(|part| part.requests > 0 && !failed_bound(part));
        let only_shard = part.shard.filter(|_| others.count() > 0);
        Some(EarlyEnd { reason: part.reason.as_deref().unwrap_or_default(), only_shard })
    };
    let early_ends: Vec<EarlyEnd> = reports.iter().filter_map(ended).collect();
    early_ends.iter().find(|ended| ended.only_shard.is_none()).or(early_ends.first()).copied()
}

fn verdict(
    cell: &CellSummary,
    bound: &Bound,
    measured: Option<ConfidenceInterval>,
    ended: Option<EarlyEnd>,
) -> (Verdict, String) {
    let inconclusive = |reason: String| (Verdict::Inconclusive, reason);
    match &cell.validity {
        Validity::NotRun => return inconclusive("the cell was not run".into()),
        Validity::Unsupported(why) | Validity::Refused(why) => {
            return inconclusive(format!("the cell was skipped: {why}"));
        }
        Validity::Aborted => {
            return inconclusive("the cell was aborted: all of its first requests were refused".into());
        }
        Validity::Invalid(reason) => return inconclusive(format!("INVALID: {reason}")),
        Validity::Ok => {}
    }
    if let Some(why) = cell.record_damage() {
        return inconclusive(why.into());
    }
    if let Some(EarlyEnd { reason, only_shard: None }) = ended {
        return (Verdict::Fail, format!("ended early: {reason}"));
    }
    let Some(interval) = measured else { return inconclusive(explain_missing(cell, bound)) };
    let limit = bound.limit();
    let (kept, broken) = if bound.is_upper() {
        (interval.high.is_some_and(|high| high <= limit), interval.low.is_some_and(|low| low > limit))
    } else {
        (interval.low.is_some_and(|low| low >= limit), interval.high.is_some_and(|high| high < limit))
    };
    match (kept, broken, ended) {
        (_, true, _) => (Verdict::Fail, String::new()),
        // The shard decided on its own requests, which are a part of the cell.
        (_, _, Some(EarlyEnd { reason, only_shard: Some(shard) })) => {
            inconclusive(format!("only shard {shard} ended early: {reason}"))
        }
        (true, ..) => (Verdict::Pass, String::new()),
        _ => inconclusive(explain_inconclusive(cell, bound, interval)),
    }
}

/// Explains why nothing was measured.
fn explain_missing(cell: &CellSummary, bound: &Bound) -> String {
    match bound {
        Bound::PerSecond { .. } | Bound::Goodput { .. } => {
            format!(
                "fewer than {MIN_REQUESTS_PER_RATE} requests ended in the latency window, too few for the means of ten time blocks: increase test_duration"
            )
        }
        _ if cell.counts.total == 0 => "no request was sent".into(),
        _ => "no usable request in the latency window".into(),
    }
}

/// Explains why an interval is inconclusive.
fn explain_inconclusive(cell: &CellSummary, bound: &Bound, interval: ConfidenceInterval) -> String {
    if let Bound::Percentile { metric, p, .. } = bound
        && (interval.low.is_none() || interval.high.is_none())
    {
        let latency = cell.latency_of_metric(*metric);
        let n = latency.map_or(0, Latency::observations);
        let n_eff = latency.map_or(0.0, |latency| latency.effective_size(p / 100.0)) as usize;
        let enough = min_samples_for(p / 100.0);
        return if n < enough {
            format!("too few requests: {n}; p{p} needs {enough}")
        } else if n_eff < enough {
            format!(
                "uneven: {n} requests are worth {n_eff} independent ones, and p{p} needs {enough}: increase test_duration"
            )
        } else {
            "the interval is open because of censored requests: increase test_duration".into()
        };
    }
    "the bound lies inside the interval: increase test_duration to narrow it".into()
}
