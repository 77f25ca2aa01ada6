//! Upper bounds of a plan, checked before anything is allocated for it.

use super::violations::Violations;
use crate::matrix::{AXES, AxisValue, NamedValue, count_cells};
use crate::plan::{MAX_PERCENTILES, MAX_RATE, MAX_USERS, MIN_SPAWN_RATE, Plan};
use crate::units::number;

/// Counts cells and cell runs before the plan is expanded: a few lines of TOML can result in billions. Returns whether
/// the plan may be expanded.
pub(super) fn size_of_run(plan: &Plan, max_cells: u64, violations: &mut Violations) -> bool {
    let cells = count_cells(plan);
    let hint = |number: u64| format!("use fewer values, or raise the limit: --max-cells {number}");
    if cells > max_cells {
        let several = AXES.iter().filter(|axis| (axis.values)(plan).len() > 1);
        let keys: Vec<String> = several.map(|axis| format!("matrix.{}", axis.key)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).chain(["matrix.zip", "matrix.add"]).collect();
        let message = || format!("the plan has `{cells}` cells (before `exclude`); the limit is {max_cells}");
        violations.report(&keys, message, hint(cells));
        return false;
    }
    let runs = cells.saturating_mul(u64::from(plan.load.repetitions));
    let message = || {
        format!(
            "{cells} cells with `{}` repetitions result in {runs} cell runs; the limit is {max_cells}",
            plan.load.repetitions
        )
    };
    violations.require(runs <= max_cells, &["load.repetitions"], message, || hint(runs));
    runs <= max_cells
}

/// Refuses a positive rate that starts no user within any test.
pub(super) fn spawn_rate(at: &str, rate: f64, violations: &mut Violations) {
    let message = || format!("`load.spawn_rate` is `{rate:?}`: it must be {MIN_SPAWN_RATE:?} or more");
    violations.require(!(0.0 < rate && rate < MIN_SPAWN_RATE), &[at], message, "");
}

/// Bounds values that memory or time is proportional to.
pub(super) fn values(plan: &Plan, values: &[NamedValue], violations: &mut Violations) {
    for NamedValue { axis, value, at } in values {
        match (axis.field, value) {
            ("users", AxisValue::Count(users)) => {
                let message = || format!("a cell has `{users}` users; the limit is {MAX_USERS}");
                violations.require(*users <= u64::from(MAX_USERS), &[at], message, "use fewer users");
            }
            ("arrival_rate", AxisValue::Rate(rate)) => {
                let message =
                    || format!("a cell has `{}` arrivals per second; the limit is {MAX_RATE}", number(rate.0));
                violations.require(!rate.0.is_finite() || rate.0 <= MAX_RATE, &[at], message, "use a lower rate");
            }
            _ => {}
        }
    }
    for (index, profile) in plan.profile.iter().enumerate() {
        let changes = profile.user_changes();
        let message =
            || format!("in the profile `{}`, `{changes}` users join or leave; the limit is {MAX_USERS}", profile.name);
        let at = format!("profile[{index}]");
        violations.require(changes <= u64::from(MAX_USERS), &[&at], message, "use fewer users");
        let message = || {
            format!(
                "the profile `{}` has `{}` arrivals per second; the limit is {MAX_RATE}",
                profile.name,
                number(profile.peak())
            )
        };
        let holds = !profile.is_open() || !profile.peak().is_finite() || profile.peak() <= MAX_RATE;
        violations.require(holds, &[&at], message, "use a lower rate");
    }
    let percentiles = plan.report.percentiles.len();
    let message = || format!("`report.percentiles` has `{percentiles}` values; the limit is {MAX_PERCENTILES}");
    violations.require(percentiles <= MAX_PERCENTILES, &["report.percentiles"], message, "use fewer percentiles");
}
