//! Rules for the values of a plan. Pure functions from a plan to violations.

use super::names::PREFIXES;
use super::violations::{Violation, Violations};
use super::{bounds, costs, forms, ids, names, requests};
use crate::matrix::{AXES, AxisValue, Cell, Expanded, LOAD_FIELDS, NamedValue, expand_all, named_values};
use crate::plan::{Load, MIN_SPAWN_RATE, Plan, Profile, Request, SCHEMA};
use crate::prompts::Prompts;
use crate::units::number;

/// Returns all violations. Without prompts (if they could not be read) names of prompts are not checked. A plan with more
/// than `max_cells` cells or cell runs is not expanded, and no other rule is checked.
pub(super) fn check(plan: &Plan, prompts: Option<&Prompts>, max_cells: u64) -> Vec<Violation> {
    let mut violations = Violations::default();
    if !bounds::size_of_run(plan, max_cells, &mut violations) {
        return violations.0;
    }
    violations.require(
        plan.schema == SCHEMA,
        &["schema"],
        || format!("unknown schema `{}`: this version reads schema {SCHEMA}", plan.schema),
        "",
    );
    violations.require(!plan.name.trim().is_empty(), &["name"], "`name` is empty", "");
    let (named, cells) = (named_values(plan), expand_all(plan));
    axes(plan, &named, &mut violations);
    names::check(plan, &named, &mut violations);
    bounds::values(plan, &named, &mut violations);
    models(&named, &cells, &mut violations);
    requests::check(plan, &named, prompts, &mut violations);
    forms::check(plan, &mut violations);
    ids::check(&named, &cells, &mut violations);
    profiles(plan, &named, &mut violations);
    violations.require(
        plan.load.repetitions > 0,
        &["load.repetitions"],
        "`load.repetitions` is `0`: write 1 or more",
        "",
    );
    for group in group_by_overrides(plan, &cells) {
        load(&group, &mut violations);
        length(&group, &mut violations);
        request(&group, &mut violations);
        requests::check_texts(group.request(), |key| group.path(key), &mut violations);
    }
    report(plan, &mut violations);
    results_dir(plan, &mut violations);
    money(plan, &mut violations);
    limits(plan, prompts, &mut violations);
    super::slo::check(plan, &mut violations);
    for (key, message) in plan.simulator.validate() {
        violations.report(&[&format!("simulator.{key}")], format!("`simulator.{key}`: {message}"), "");
    }
    // Groups of cells may violate a rule for the same reason.
    let mut unique: Vec<Violation> = Vec::new();
    for violation in violations.0 {
        if !unique.contains(&violation) {
            unique.push(violation);
        }
    }
    unique
}

fn axes(plan: &Plan, named: &[NamedValue], violations: &mut Violations) {
    for axis in AXES {
        let zipped = plan.matrix.zip.iter().any(|zip| zip.get(axis.key).is_some());
        violations.require_axis(&format!("matrix.{}", axis.key), &(axis.values)(plan), zipped);
    }
    for NamedValue { axis, value, at } in named {
        match (axis.field, value) {
            ("users", AxisValue::Count(0)) => {
                violations.report(&[at], "a user count is `0`: write 1 or more", "");
            }
            ("arrival_rate", AxisValue::Rate(rate)) => violations.require_positive(at, rate.0),
            ("max_tokens", AxisValue::Count(0))
                if *at != "matrix.max_tokens[0]" || !plan.matrix.max_tokens.is_empty() =>
            {
                violations.report(&[at], "`max_tokens` is `0`: it must be greater than zero", "");
            }
            (_, value) if !at.starts_with(&format!("matrix.{}[", axis.key)) => {
                violations.require(
                    !value.to_string().trim().is_empty(),
                    &[at],
                    || format!("`{}` contains an empty value", axis.key),
                    "",
                );
            }
            _ => {}
        }
    }
    violations.require(
        named.iter().any(|named| LOAD_FIELDS.contains(&named.axis.field)),
        &["matrix.user_counts", "matrix.arrival_rates", "matrix.profiles"],
        "no load is set",
        "set one of user_counts, arrival_rates and profiles to at least one value",
    );
    violations.require(
        named.iter().any(|named| named.axis.field == "api"),
        &["matrix.apis", "target.api"],
        "`matrix.apis` is empty",
        "an axis needs at least one value",
    );
}

/// Cells with the same overrides, which therefore have the same load and request.
struct CellGroup<'a> {
    plan: &'a Plan,
    overrides: &'a [usize],
    cells: Vec<&'a Cell>,
}

/// Groups the cells by their overrides. The first group has none and may be empty.
fn group_by_overrides<'a>(plan: &'a Plan, cells: &'a [Expanded]) -> Vec<CellGroup<'a>> {
    let mut groups = vec![CellGroup { plan, overrides: &[], cells: Vec::new() }];
    for Expanded { cell, overrides } in cells {
        match groups.iter_mut().find(|group| group.overrides == overrides) {
            Some(group) => group.cells.push(cell),
            None => groups.push(CellGroup { plan, overrides, cells: vec![cell] }),
        }
    }
    groups
}

impl CellGroup<'_> {
    fn load(&self) -> &Load {
        self.cells.first().map_or(&self.plan.load, |cell| &cell.load)
    }

    fn request(&self) -> &Request {
        self.cells.first().map_or(&self.plan.request, |cell| &cell.request)
    }

    /// Returns the path that sets a key of `[load]` or `[request]` for these cells.
    fn path(&self, key: &str) -> String {
        let name = key.rsplit('.').next().unwrap_or(key);
        let index = self.overrides.iter().rev().find(|index| self.plan.overrides[**index].keys.get(name).is_some());
        index.map_or_else(|| key.to_owned(), |index| format!("override[{index}].{name}"))
    }
}

fn profiles(plan: &Plan, named: &[NamedValue], violations: &mut Violations) {
    for NamedValue { value, at, .. } in named.iter().filter(|named| named.axis.field == "profile") {
        let wanted = value.to_string();
        let known = plan.profile.iter().map(|profile| format!("`{}`", profile.name)).collect::<Vec<_>>().join(", ");
        let hint = if known.is_empty() {
            "add a [[profile]] with this name".into()
        } else {
            format!("the profiles are {known}")
        };
        violations.require(
            plan.profile.iter().any(|profile| profile.name == wanted) || wanted.trim().is_empty(),
            &[at, "profile"],
            || format!("unknown profile `{wanted}`"),
            hint,
        );
    }
    for (index, profile) in plan.profile.iter().enumerate() {
        let at = format!("profile[{index}]");
        let name = &profile.name;
        let twice = plan.profile[..index].iter().any(|other| other.name == *name);
        violations.require(
            !twice,
            &[&format!("{at}.name")],
            || format!("two profiles have the name `{name}`"),
            "rename one of them",
        );
        violations.require(!name.trim().is_empty(), &[&format!("{at}.name")], "a profile needs a name", "");
        violations.require(
            profile.peak() > 0.0 || profile.stages.iter().any(|stage| stage.users.is_none() && stage.rate.is_none()),
            &[&at],
            || format!("the profile `{name}` never starts any load"),
            "add stages such as { users = 10, for = \"30s\" }",
        );
        stages(profile, &at, violations);
    }
}

fn stages(profile: &Profile, at: &str, violations: &mut Violations) {
    for (index, stage) in profile.stages.iter().enumerate() {
        let at = format!("{at}.stages[{index}]");
        let hint = "write { users = 10, for = \"30s\" } or { rate = 5, over = \"10s\", for = \"1m\" }";
        violations.require(
            stage.users.is_some() != stage.rate.is_some(),
            &[&at],
            "a stage needs either users or a rate",
            hint,
        );
        violations.require(
            !(profile.is_open() && stage.users.is_some() && stage.rate.is_none()),
            &[&at],
            || format!("the profile `{}` mixes users and rates", profile.name),
            "use only users or only rates in a profile",
        );
        violations.require(!stage.length().is_zero(), &[&at], "a stage has no duration", hint);
        if let Some(rate) = stage.rate {
            violations.require(
                rate >= 0.0 && rate.is_finite(),
                &[&format!("{at}.rate")],
                || format!("the rate of a stage is `{rate}`: it must be zero or more"),
                "",
            );
        }
    }
}

/// Refuses a region prefix for an ARN and for a model id that already has one.
fn models(named: &[NamedValue], cells: &[Expanded], violations: &mut Violations) {
    for NamedValue { value, at, .. } in named.iter().filter(|named| named.axis.field == "model_id") {
        let model = value.to_string();
        let mut prefixes = cells.iter().map(|expanded| &expanded.cell).filter(|cell| cell.model_id == model);
        let Some(prefix) = prefixes.find(|cell| cell.region_prefix != "none").map(|cell| &cell.region_prefix) else {
            continue;
        };
        let keys = [at, "matrix.region_prefixes"];
        if model.starts_with("arn:") {
            violations.report(
                &keys,
                format!("an ARN takes no region prefix, but the prefix is `{prefix}`"),
                "set region_prefixes = [\"none\"] (REGION_PREFIX=none, --region-prefixes none)",
            );
        } else if let Some((known, bare)) = PREFIXES.iter().find_map(|known| {
            model.strip_prefix(known).and_then(|rest| rest.strip_prefix('.')).map(|bare| (known, bare))
        }) {
            violations.report(
                &keys,
                format!(
                    "`{model}` already starts with the region prefix `{known}` and would be sent as `{prefix}.{model}`"
                ),
                format!("set the model id `{bare}` and the prefix `{known}`, or set the prefix `none`"),
            );
        }
    }
}

fn load(group: &CellGroup<'_>, violations: &mut Violations) {
    let load = group.load();
    violations.require_nonzero_duration(&group.path("load.test_duration"), "load.test_duration", load.test_duration);
    violations.require_positive_at(&group.path("load.spawn_rate"), "load.spawn_rate", load.spawn_rate);
    bounds::spawn_rate(&group.path("load.spawn_rate"), load.spawn_rate, violations);
    let max_users = group.cells.iter().filter_map(|cell| cell.users).max().unwrap_or(0);
    let ramp_s = f64::from(max_users) / load.spawn_rate;
    // `bounds::spawn_rate` reports a rate that is too low.
    let holds =
        load.spawn_rate < MIN_SPAWN_RATE || load.test_duration.is_zero() || ramp_s <= load.test_duration.as_secs_f64();
    let message = || {
        let (rate, end) = (number(load.spawn_rate), crate::units::duration::format(load.test_duration));
        format!(
            "the ramp of {max_users} users at `{rate}` per second takes {ramp_s:.1} s, but the test ends after `{end}`"
        )
    };
    let keys = [&*group.path("load.test_duration"), &group.path("load.spawn_rate"), "matrix.user_counts"];
    violations.require(holds, &keys, message, "raise test_duration or spawn_rate, or use fewer users");
}

/// Bounds of the length of a cell.
fn length(group: &CellGroup<'_>, violations: &mut Violations) {
    use crate::units::Samples;
    let (load, at) = (group.load(), |key: &str| group.path(key));
    violations.require(
        load.max_in_flight > 0,
        &[&at("load.max_in_flight")],
        "`max_in_flight` is `0`: write 1 or more",
        "",
    );
    violations.require(load.requests != Some(0), &[&at("load.requests")], "`requests` is `0`: write 1 or more", "");
    violations.require(
        load.min_samples != Some(Samples::Count(0)),
        &[&at("load.min_samples")],
        "`min_samples` is `0`: write 1 or more, or remove it",
        "",
    );
    violations.require(
        load.min_samples.is_none() || group.cells.iter().all(|cell| cell.profile.is_none()),
        &[&at("load.min_samples"), "matrix.profiles"],
        "`min_samples` extends a cell, but a profile has a fixed length",
        "remove one of the two",
    );
    violations.require(
        load.min_samples.is_none() || load.requests.is_none(),
        &[&at("load.min_samples"), &at("load.requests")],
        "`min_samples` extends a cell, but `requests` shortens it",
        "remove one of the two",
    );
    if let Some(longest) = load.max_duration {
        violations.require(
            longest >= load.test_duration,
            &[&at("load.max_duration"), &at("load.test_duration")],
            || {
                format!(
                    "`max_duration` is `{}`, less than the test duration `{}`",
                    crate::units::duration::format(longest),
                    crate::units::duration::format(load.test_duration)
                )
            },
            "",
        );
        violations.require(
            load.min_samples.is_some(),
            &[&at("load.max_duration"), &at("load.min_samples")],
            "`max_duration` caps `min_samples`, which is not set",
            "set min_samples, or raise test_duration",
        );
    }
}

fn report(plan: &Plan, violations: &mut Violations) {
    for (index, p) in plan.report.percentiles.iter().enumerate() {
        let at = format!("report.percentiles[{index}]");
        violations.require(
            *p > 0.0 && *p < 100.0,
            &[&at],
            || format!("the percentile `{p}` is not between 0 and 100"),
            "write 90 or 99.5",
        );
        violations.require(
            !plan.report.percentiles[..index].contains(p),
            &[&at],
            || format!("`report.percentiles` contains `{p}` twice"),
            "remove one of them",
        );
    }
    let goodput = &plan.goodput;
    for (key, limit) in [("ttft", goodput.ttft), ("tpot", goodput.tpot), ("e2e", goodput.e2e)] {
        if let Some(limit) = limit {
            let key = format!("goodput.{key}");
            violations.require_nonzero_duration(&key, &key, limit);
        }
    }
}

fn request(group: &CellGroup<'_>, violations: &mut Violations) {
    let request = group.request();
    let zero = "`max_tokens` is `0`: it must be greater than zero";
    let is_axis = !group.plan.matrix.max_tokens.is_empty()
        || group.plan.matrix.zip.iter().any(|zip| zip.get("max_tokens").is_some());
    violations.require(request.max_tokens > 0 || is_axis, &[&group.path("request.max_tokens")], zero, "");
    violations.require_nonzero_duration(&group.path("request.timeout"), "request.timeout", request.timeout);
    for (key, value) in [("request.temperature", request.temperature), ("request.top_p", request.top_p)] {
        if let Some(number) = value.0 {
            violations.require(
                (0.0..=1.0).contains(&number),
                &[&group.path(key)],
                || format!("`{key}` is `{number}`: it must be between 0 and 1"),
                "",
            );
        }
    }
}

/// Limits of the budget and of `[abort]`.
fn limits(plan: &Plan, prompts: Option<&Prompts>, violations: &mut Violations) {
    let budget = &plan.budget;
    if let Some(max_cost) = budget.max_cost {
        violations.require_positive("budget.max_cost", max_cost);
        costs::check(plan, prompts, violations);
    }
    for (key, value) in [("max_requests", budget.max_requests), ("max_output_tokens", budget.max_output_tokens)] {
        let key = format!("budget.{key}");
        violations.require(value != Some(0), &[&key], || format!("`{key}` is `0`: no request could start"), "");
    }
    let abort = &plan.abort;
    violations.require(
        abort.failure_rate > 0.0,
        &["abort.failure_rate"],
        || format!("`failure_rate` is `{}`: every cell would be aborted", abort.failure_rate),
        "write a fraction such as 0.95; a value above 1 disables the rule",
    );
    violations.require(abort.requests > 0, &["abort.requests"], "`abort.requests` is `0`: write 1 or more", "");
}

fn money(plan: &Plan, violations: &mut Violations) {
    for (index, row) in plan.prices.rows.iter().enumerate() {
        let at = format!("prices.rows[{index}]");
        let prices = [
            ("input", Some(row.input)),
            ("output", Some(row.output)),
            ("cache_read", row.cache_read),
            ("cache_write", row.cache_write),
        ];
        for (key, price) in prices {
            violations.require(
                price.is_none_or(|price| (0.0..1e6).contains(&price)),
                &[&format!("{at}.{key}")],
                || {
                    format!(
                        "the price `{key}` is `{}`: it must be zero or more and less than a million",
                        price.unwrap_or_default()
                    )
                },
                "write US dollars per million tokens, such as 0.8",
            );
        }
        violations.require(
            !row.model_id.trim().is_empty(),
            &[&format!("{at}.model_id")],
            "a price needs a model id",
            "",
        );
    }
    let quota = &plan.quota;
    for (key, value) in
        [("tokens_per_minute", quota.tokens_per_minute), ("requests_per_minute", quota.requests_per_minute)]
    {
        violations.require(
            value != Some(0),
            &[&format!("quota.{key}")],
            || format!("`{key}` is `0`: it must be greater than zero"),
            "",
        );
    }
    violations.require(
        quota.burndown.is_none_or(|factor| (1.0..=1_000.0).contains(&factor)),
        &["quota.burndown"],
        || format!("`burndown` is `{}`: it must be between 1 and 1000", quota.burndown.unwrap_or_default()),
        "write the quota tokens per output token, such as 5",
    );
}

fn results_dir(plan: &Plan, violations: &mut Violations) {
    let dir = &plan.results_dir;
    violations.require(!dir.trim().is_empty(), &["results_dir"], "`results_dir` is empty", "");
    let rest = dir.replace("{name}", "").replace("{started}", "");
    violations.require(
        !rest.contains(['{', '}']),
        &["results_dir"],
        || format!("`{dir}` contains an unknown placeholder"),
        "the placeholders are {name} and {started}",
    );
}
