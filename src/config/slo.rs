//! Rules for thresholds: each matches cells, and bounds metrics of these cells. Pure.

use super::violations::Violations;
use crate::matrix::rule::matches;
use crate::matrix::{Cell, expand};
use crate::plan::{Api, Bound, Plan, Slo};

/// Checks all `[[slo]]`.
pub(super) fn check(plan: &Plan, violations: &mut Violations) {
    if plan.slo.is_empty() {
        return;
    }
    let cells = expand(plan);
    for (index, slo) in plan.slo.iter().enumerate() {
        let at = format!("slo[{index}]");
        violations.require_match(&format!("{at}.when"), &slo.when, &cells);
        let twice = !slo.name.is_empty() && plan.slo[..index].iter().any(|other| other.name == slo.name);
        violations.require(
            !twice,
            &[&format!("{at}.name")],
            || format!("two thresholds are called `{}`", slo.name),
            "",
        );
        violations.require(
            !slo.bounds.is_empty(),
            &[&at],
            "a threshold has no bound",
            "add a bound such as p95 = \"2.5s\" or failure_rate = \"1%\"",
        );
        violations.require(
            !slo.abort_on_fail || slo.bounds.is_empty() || slo.bounds.iter().any(Bound::is_upper),
            &[&format!("{at}.abort_on_fail")],
            "`abort_on_fail` requires a bound on a time or a rate",
            "throughput is known only at the end of a cell: remove abort_on_fail, or bound a percentile or a rate",
        );
        for bound in &slo.bounds {
            metric(&at, slo, bound, &cells, violations);
        }
    }
}

/// Requires that the matched cells have the metric.
fn metric(at: &str, slo: &Slo, bound: &Bound, cells: &[Cell], violations: &mut Violations) {
    let key = bound.key();
    let matched = || cells.iter().filter(|cell| matches(&slo.when, cell));
    let at = format!("{at}.{key}");
    if bound.needs_stream()
        && let Some(cell) = matched().find(|cell| cell.api != Api::ConverseStream)
    {
        let hint = if matched().any(|cell| cell.api == Api::ConverseStream) {
            "set when = { api = \"converse-stream\" }"
        } else {
            "set target.api = \"converse-stream\""
        };
        let subject = match bound {
            Bound::Goodput { .. } => "`ttft` and `tpot` of `goodput` require".into(),
            _ => format!("`{key}` requires"),
        };
        let message = format!("{subject} streams, but the cell `{}` uses converse", cell.id);
        violations.report(&[&at, "target.api", "matrix.apis"], message, hint);
    }
    if bound.needs_arrivals()
        && let Some(cell) = matched().find(|cell| !cell.is_open())
    {
        violations.report(
            &[&at],
            format!("`{key}` requires an open loop (arrival_rates), but the cell `{}` has users", cell.id),
            format!("use {}, which is the same in a closed loop", key.trim_start_matches("service_")),
        );
    }
}
