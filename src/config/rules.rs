//! What must hold between and within the values of a plan. Pure: a plan in, broken rules out.

use super::names::PREFIXES;
use super::violations::{Violation, Violations};
use super::{bounds, costs, forms, ids, names, requests};
use crate::matrix::{AXES, AxisValue, Cell, Expanded, LOAD_FIELDS, NamedValue, expand_all, named_values};
use crate::plan::{Load, MIN_SPAWN_RATE, Plan, Profile, Request, SCHEMA};
use crate::prompts::Prompts;
use crate::units::number;

/// All rules that do not hold. Without prompts (they could not be read) nothing is said about sizes. A plan with more
/// than `max_cells` cells or cell runs is not expanded, and nothing else is checked.
pub(super) fn check(plan: &Plan, prompts: Option<&Prompts>, max_cells: u64) -> Vec<Violation> {
    let mut violations = Violations::default();
    if !bounds::size_of_run(plan, max_cells, &mut violations) {
        return violations.0;
    }
    violations.require(
        plan.schema == SCHEMA,
        &["schema"],
        || format!("schema {} is not known: this version reads schema {SCHEMA}", plan.schema),
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
        "0 repetitions run nothing: write 1 or more",
        "",
    );
    for some in alike(plan, &cells) {
        load(&some, &mut violations);
        extent(&some, &mut violations);
        request(&some, &mut violations);
        requests::texts(some.request(), |key| some.at(key), &mut violations);
    }
    report(plan, &mut violations);
    results_dir(plan, &mut violations);
    money(plan, &mut violations);
    limits(plan, prompts, &mut violations);
    super::slo::check(plan, &mut violations);
    for (key, message) in plan.simulator.validate() {
        violations.report(&[&format!("simulator.{key}")], format!("`simulator.{key}`: {message}"), "");
    }
    // What does not hold for some cells may not hold for others for the same reason.
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
        violations.axis(&format!("matrix.{}", axis.key), &(axis.values)(plan), zipped);
    }
    for NamedValue { axis, value, at } in named {
        match (axis.field, value) {
            ("users", AxisValue::Count(0)) => {
                violations.report(&[at], "0 users send nothing: a user count is one or more", "");
            }
            ("arrival_rate", AxisValue::Rate(rate)) => violations.positive(at, rate.0),
            ("max_tokens", AxisValue::Count(0))
                if *at != "matrix.max_tokens[0]" || !plan.matrix.max_tokens.is_empty() =>
            {
                violations.report(&[at], "`max_tokens` is 0: it must be greater than zero", "");
            }
            (_, value) if !at.starts_with(&format!("matrix.{}[", axis.key)) => {
                violations.require(
                    !value.to_string().trim().is_empty(),
                    &[at],
                    || format!("`{}` has an empty value", axis.key),
                    "",
                );
            }
            _ => {}
        }
    }
    violations.require(
        named.iter().any(|named| LOAD_FIELDS.contains(&named.axis.field)),
        &["matrix.user_counts", "matrix.arrival_rates", "matrix.profiles"],
        "nothing says how much load there is",
        "set one of user_counts, arrival_rates and profiles to one value at least",
    );
    violations.require(
        named.iter().any(|named| named.axis.field == "api"),
        &["matrix.apis", "target.api"],
        "`matrix.apis` is empty",
        "an axis has one value at least",
    );
}

/// Cells that the same overrides changed, and so have the same load and request.
struct Alike<'a> {
    plan: &'a Plan,
    overrides: &'a [usize],
    cells: Vec<&'a Cell>,
}

/// The cells by the overrides that changed them; those that none changed come first, even if there are none.
fn alike<'a>(plan: &'a Plan, cells: &'a [Expanded]) -> Vec<Alike<'a>> {
    let mut all = vec![Alike { plan, overrides: &[], cells: Vec::new() }];
    for Expanded { cell, overrides } in cells {
        match all.iter_mut().find(|some| some.overrides == overrides) {
            Some(some) => some.cells.push(cell),
            None => all.push(Alike { plan, overrides, cells: vec![cell] }),
        }
    }
    all
}

impl Alike<'_> {
    fn load(&self) -> &Load {
        self.cells.first().map_or(&self.plan.load, |cell| &cell.load)
    }

    fn request(&self) -> &Request {
        self.cells.first().map_or(&self.plan.request, |cell| &cell.request)
    }

    /// Where the value that holds for a key of `[load]` or `[request]` was said.
    fn at(&self, key: &str) -> String {
        let name = key.rsplit('.').next().unwrap_or(key);
        let said = self.overrides.iter().rev().find(|index| self.plan.overrides[**index].keys.get(name).is_some());
        said.map_or_else(|| key.to_owned(), |index| format!("override[{index}].{name}"))
    }
}

fn profiles(plan: &Plan, named: &[NamedValue], violations: &mut Violations) {
    for NamedValue { value, at, .. } in named.iter().filter(|named| named.axis.field == "profile") {
        let wanted = value.to_string();
        let known = plan.profile.iter().map(|profile| format!("`{}`", profile.name)).collect::<Vec<_>>().join(", ");
        let hint = if known.is_empty() { "the plan has no [[profile]]".into() } else { format!("there are {known}") };
        violations.require(
            plan.profile.iter().any(|profile| profile.name == wanted) || wanted.trim().is_empty(),
            &[at, "profile"],
            || format!("no profile is called `{wanted}`"),
            hint,
        );
    }
    for (index, profile) in plan.profile.iter().enumerate() {
        let at = format!("profile[{index}]");
        let name = &profile.name;
        let twice = plan.profile[..index].iter().any(|other| other.name == *name);
        violations.require(!twice, &[&format!("{at}.name")], || format!("two profiles are called `{name}`"), "");
        violations.require(!name.trim().is_empty(), &[&format!("{at}.name")], "a profile needs a name", "");
        violations.require(
            profile.peak() > 0.0 || profile.stages.iter().any(|stage| stage.users.is_none() && stage.rate.is_none()),
            &[&at],
            || format!("the profile `{name}` never has any load"),
            "give it stages such as { users = 10, for = \"30s\" }",
        );
        stages(profile, &at, violations);
    }
}

fn stages(profile: &Profile, at: &str, violations: &mut Violations) {
    for (index, stage) in profile.stages.iter().enumerate() {
        let at = format!("{at}.stages[{index}]");
        let hint = "a stage is { users = 10, for = \"30s\" }, or { rate = 5, over = \"10s\", for = \"1m\" }";
        violations.require(
            stage.users.is_some() != stage.rate.is_some(),
            &[&at],
            "a stage has either users or a rate",
            hint,
        );
        violations.require(
            !(profile.is_open() && stage.users.is_some() && stage.rate.is_none()),
            &[&at],
            || format!("the profile `{}` mixes users and rates", profile.name),
            "all stages of a profile are of one kind",
        );
        violations.require(!stage.length().is_zero(), &[&at], "a stage of no length", hint);
        if let Some(rate) = stage.rate {
            violations.require(
                rate >= 0.0 && rate.is_finite(),
                &[&format!("{at}.rate")],
                || format!("the rate of a stage is {rate}: it is zero or more"),
                "",
            );
        }
    }
}

/// An ARN, or an id that has a prefix already, cannot get another one.
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
                format!("an ARN takes no region prefix, and the prefix is `{prefix}`"),
                "set region_prefixes = [\"none\"] (REGION_PREFIX=none, --region-prefixes none)",
            );
        } else if let Some((known, bare)) = PREFIXES.iter().find_map(|known| {
            model.strip_prefix(known).and_then(|rest| rest.strip_prefix('.')).map(|bare| (known, bare))
        }) {
            violations.report(
                &keys,
                format!(
                    "`{model}` begins with the region prefix `{known}` already, and would be sent as `{prefix}.{model}`"
                ),
                format!(
                    "write the model id as `{bare}` with the prefix `{known}`, or keep it and set the prefix to `none`"
                ),
            );
        }
    }
}

fn load(some: &Alike<'_>, violations: &mut Violations) {
    let load = some.load();
    violations.longer_than_zero(&some.at("load.test_duration"), "load.test_duration", load.test_duration);
    violations.positive_as(&some.at("load.spawn_rate"), "load.spawn_rate", load.spawn_rate);
    bounds::spawn_rate(&some.at("load.spawn_rate"), load.spawn_rate, violations);
    let most = some.cells.iter().filter_map(|cell| cell.users).max().unwrap_or(0);
    let ramp_s = f64::from(most) / load.spawn_rate;
    // A rate that is too low is reported as such.
    let holds =
        load.spawn_rate < MIN_SPAWN_RATE || load.test_duration.is_zero() || ramp_s <= load.test_duration.as_secs_f64();
    violations.require(holds, &[&some.at("load.test_duration"), &some.at("load.spawn_rate"), "matrix.user_counts"], || format!(
            "the ramp is longer than the test: {most} users at {} per second take {ramp_s:.1} s, and the test ends after {}",
            number(load.spawn_rate),
            crate::units::duration::format(load.test_duration)
        ), "test longer, spawn faster, or use fewer users");
}

/// How long a cell goes on.
fn extent(some: &Alike<'_>, violations: &mut Violations) {
    use crate::units::Samples;
    let (load, at) = (some.load(), |key: &str| some.at(key));
    violations.require(
        load.max_in_flight > 0,
        &[&at("load.max_in_flight")],
        "0 requests in flight let nothing start",
        "",
    );
    violations.require(
        load.requests != Some(0),
        &[&at("load.requests")],
        "0 requests are no test: write 1 or more",
        "",
    );
    violations.require(
        load.min_samples != Some(Samples::Count(0)),
        &[&at("load.min_samples")],
        "0 samples are always there: write 1 or more, or leave it out",
        "",
    );
    violations.require(
        load.min_samples.is_none() || some.cells.iter().all(|cell| cell.profile.is_none()),
        &[&at("load.min_samples"), "matrix.profiles"],
        "`min_samples` makes a cell longer, and a profile has its own length",
        "leave one of the two out",
    );
    violations.require(
        load.min_samples.is_none() || load.requests.is_none(),
        &[&at("load.min_samples"), &at("load.requests")],
        "`min_samples` makes a cell longer and `requests` makes it shorter",
        "leave one of the two out",
    );
    if let Some(longest) = load.max_duration {
        violations.require(
            longest >= load.test_duration,
            &[&at("load.max_duration"), &at("load.test_duration")],
            || {
                format!(
                    "`max_duration` is {}, less than the test duration of {}",
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
            "set min_samples, or make test_duration longer",
        );
    }
}

fn report(plan: &Plan, violations: &mut Violations) {
    for (index, p) in plan.report.percentiles.iter().enumerate() {
        let at = format!("report.percentiles[{index}]");
        violations.require(
            *p > 0.0 && *p < 100.0,
            &[&at],
            || format!("the percentile {p} lies outside 0..100"),
            "write 90 or 99.5",
        );
        violations.require(
            !plan.report.percentiles[..index].contains(p),
            &[&at],
            || format!("`report.percentiles` has `{p}` twice"),
            "say it once",
        );
    }
    let goodput = &plan.goodput;
    for (key, limit) in [("ttft", goodput.ttft), ("tpot", goodput.tpot), ("e2e", goodput.e2e)] {
        if let Some(limit) = limit {
            let key = format!("goodput.{key}");
            violations.longer_than_zero(&key, &key, limit);
        }
    }
}

fn request(some: &Alike<'_>, violations: &mut Violations) {
    let request = some.request();
    let zero = "`max_tokens` is 0: it must be greater than zero";
    let said_by_axis = !some.plan.matrix.max_tokens.is_empty()
        || some.plan.matrix.zip.iter().any(|zip| zip.get("max_tokens").is_some());
    violations.require(request.max_tokens > 0 || said_by_axis, &[&some.at("request.max_tokens")], zero, "");
    violations.longer_than_zero(&some.at("request.timeout"), "request.timeout", request.timeout);
    for (key, value) in [("request.temperature", request.temperature), ("request.top_p", request.top_p)] {
        if let Some(number) = value.0 {
            violations.require(
                (0.0..=1.0).contains(&number),
                &[&some.at(key)],
                || format!("`{key}` is {number}: it lies between 0 and 1"),
                "",
            );
        }
    }
}

/// Limits that can be kept: where a model has no price, nobody can say what it costs.
fn limits(plan: &Plan, prompts: Option<&Prompts>, violations: &mut Violations) {
    let budget = &plan.budget;
    if let Some(most) = budget.max_cost {
        violations.positive("budget.max_cost", most);
        costs::check(plan, prompts, violations);
    }
    for (key, value) in [("max_requests", budget.max_requests), ("max_output_tokens", budget.max_output_tokens)] {
        let key = format!("budget.{key}");
        violations.require(value != Some(0), &[&key], || format!("`{key}` is 0: then nothing can start"), "");
    }
    let abort = &plan.abort;
    violations.require(
        abort.failure_rate > 0.0,
        &["abort.failure_rate"],
        || format!("`failure_rate` is {}: every cell would be given up", abort.failure_rate),
        "it is a share, such as 0.95; above 1 no cell is given up for it",
    );
    violations.require(abort.requests > 0, &["abort.requests"], "0 requests say nothing: write 1 or more", "");
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
                || format!("the price `{key}` is {}: it is zero or more", price.unwrap_or_default()),
                "prices are US dollars per million tokens, such as 0.8",
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
            || format!("`{key}` is 0: it must be greater than zero"),
            "",
        );
    }
    violations.require(
        quota.burndown.is_none_or(|factor| (1.0..=1_000.0).contains(&factor)),
        &["quota.burndown"],
        || format!("`burndown` is {}: it is 1 or more", quota.burndown.unwrap_or_default()),
        "it is what one token of a reply takes of the quota, such as 5",
    );
}

fn results_dir(plan: &Plan, violations: &mut Violations) {
    let dir = &plan.results_dir;
    violations.require(!dir.trim().is_empty(), &["results_dir"], "`results_dir` is empty", "");
    let rest = dir.replace("{name}", "").replace("{started}", "");
    violations.require(
        !rest.contains(['{', '}']),
        &["results_dir"],
        || format!("`{dir}` has a placeholder that nobody fills in"),
        "the placeholders are {name} and {started}",
    );
}
