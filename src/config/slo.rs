//! What must hold of thresholds: they mean some cells, and bound what those cells have. Pure.

use super::violations::Violations;
use crate::matrix::rule::matches;
use crate::matrix::{Cell, expand};
use crate::plan::{Api, Bound, Plan, Slo};

/// All rules on `[[slo]]`.
pub(super) fn check(plan: &Plan, violations: &mut Violations) {
    if plan.slo.is_empty() {
        return;
    }
    let cells = expand(plan);
    for (index, slo) in plan.slo.iter().enumerate() {
        let at = format!("slo[{index}]");
        violations.rule(&format!("{at}.when"), &slo.when, &cells);
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
            "a threshold that bounds nothing",
            "give it bounds such as p95 = \"2.5s\" or failure_rate = \"1%\"",
        );
        violations.require(
            !slo.abort_on_fail || slo.bounds.is_empty() || slo.bounds.iter().any(Bound::is_upper),
            &[&format!("{at}.abort_on_fail")],
            "`abort_on_fail` looks at times and rates, and this threshold bounds neither",
            "what a cell does per second is known at its end: leave abort_on_fail out, or bound a percentile or a rate",
        );
        for bound in &slo.bounds {
            kind(&at, slo, bound, &cells, violations);
        }
    }
}

/// The cells have what is bounded.
fn kind(at: &str, slo: &Slo, bound: &Bound, cells: &[Cell], violations: &mut Violations) {
    let key = bound.key();
    let meant = || cells.iter().filter(|cell| matches(&slo.when, cell));
    let at = format!("{at}.{key}");
    if bound.needs_stream()
        && let Some(cell) = meant().find(|cell| cell.api != Api::ConverseStream)
    {
        let hint = if meant().any(|cell| cell.api == Api::ConverseStream) {
            "say when = { api = \"converse-stream\" }"
        } else {
            "set target.api = \"converse-stream\""
        };
        let what = match bound {
            Bound::Goodput { .. } => "`ttft` and `tpot` of `goodput` are".into(),
            _ => format!("`{key}` is"),
        };
        let message = format!("{what} known of streams alone, and the cell {} takes whole replies", cell.id);
        violations.report(&[&at, "target.api", "matrix.apis"], message, hint);
    }
    if bound.needs_arrivals()
        && let Some(cell) = meant().find(|cell| !cell.is_open())
    {
        violations.report(
            &[&at],
            format!("`{key}` is of open loops (arrival_rates), and the cell {} has users", cell.id),
            format!("in a closed loop it is the same as {}", key.trim_start_matches("service_")),
        );
    }
}
