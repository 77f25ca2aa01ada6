//! What must hold between and within the values of a plan. Pure: a plan in, broken rules out.

use super::names::PREFIXES;
use super::problem::nearest;
use super::{asked, bounds, costs, forms, ids, names};
use crate::matrix::{AXES, AxisValue, Cell, Expanded, LOAD_FIELDS, NamedValue, expand_all, named_values, rule};
use crate::plan::{Load, MIN_SPAWN_RATE, Plan, Profile, Request, Rule, SCHEMA};
use crate::prompts::Prompts;
use crate::units::number;
use std::time::Duration;

/// Axes that stand aside where a rival is used.
const MAY_BE_EMPTY: [&str; 5] =
    ["matrix.apis", "matrix.regions", "matrix.user_counts", "matrix.arrival_rates", "matrix.profiles"];

/// A rule that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// The dotted keys that take part.
    pub(super) keys: Vec<String>,
    /// What is wrong.
    pub(super) message: String,
    /// What to write instead.
    pub(super) hint: Option<String>,
}

/// Those that were found broken.
pub(super) struct Rules(Vec<Broken>);

impl Rules {
    pub(super) fn hold(&mut self, holds: bool, keys: &[&str], message: impl Into<String>, hint: &str) {
        if !holds {
            self.0.push(Broken {
                keys: keys.iter().map(ToString::to_string).collect(),
                message: message.into(),
                hint: (!hint.is_empty()).then(|| hint.to_owned()),
            });
        }
    }

    /// A rule speaks of attributes that cells have, and of one cell at least.
    pub(super) fn rule(&mut self, at: &str, rule: &Rule, cells: &[Cell]) {
        let fields = || AXES.iter().map(|axis| axis.field);
        let unknown = rule::unknown(rule);
        for name in &unknown {
            let known = fields().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
            let hint =
                nearest(name, fields()).map_or(format!("a cell has {known}"), |near| format!("did you mean `{near}`?"));
            self.hold(false, &[&format!("{at}.{name}")], format!("no cell has an attribute `{name}`"), &hint);
        }
        if !unknown.is_empty() || cells.is_empty() || cells.iter().any(|cell| rule::matches(rule, cell)) {
            return;
        }
        let stranger = rule.attributes().find_map(|(name, values)| {
            let axis = AXES.iter().find(|axis| axis.field == name)?;
            let mut known: Vec<String> = Vec::new();
            for value in cells.iter().map(|cell| (axis.get)(cell).to_string()).filter(|value| !value.is_empty()) {
                if !known.contains(&value) {
                    known.push(value);
                }
            }
            (!values.iter().any(|value| known.contains(value))).then_some((name, known))
        });
        let (at, hint) = match stranger {
            Some((name, known)) if known.is_empty() => (format!("{at}.{name}"), format!("no cell has `{name}`")),
            Some((name, known)) => {
                let known = known.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
                (format!("{at}.{name}"), format!("`{name}` is one of {known}"))
            }
            None => (at.to_owned(), "each of these values occurs, but no cell has all of them".into()),
        };
        self.hold(false, &[&at], format!("no cell is meant: {rule}"), &hint);
    }

    /// An axis is neither empty nor does it repeat itself; one that goes together with others may repeat itself.
    fn axis(&mut self, key: &str, values: &[AxisValue], zipped: bool) {
        if zipped {
            return;
        }
        let empty = values.is_empty() && !MAY_BE_EMPTY.contains(&key);
        self.hold(!empty, &[key], format!("`{key}` is empty"), "an axis has one value at least");
        for (index, value) in values.iter().enumerate() {
            let at = format!("{key}[{index}]");
            self.hold(!values[..index].contains(value), &[&at], format!("`{key}` has `{value}` twice"), "say it once");
            self.hold(!value.to_string().trim().is_empty(), &[&at], format!("`{key}` has an empty value"), "");
        }
    }

    fn positive(&mut self, key: &str, value: f64) {
        self.positive_as(key, key, value);
    }

    fn positive_as(&mut self, at: &str, key: &str, value: f64) {
        self.hold(
            value > 0.0 && value.is_finite(),
            &[at],
            format!("`{key}` is {}: it must be greater than zero", number(value)),
            "",
        );
    }

    fn longer_than_zero(&mut self, at: &str, key: &str, value: Duration) {
        self.hold(!value.is_zero(), &[at], format!("`{key}` is zero: it must be longer"), "");
    }
}

/// All rules that do not hold. Without prompts (they could not be read) nothing is said about sizes. A plan with more
/// than `max_cells` cells or cell runs is not expanded, and nothing else is checked.
pub(super) fn check(plan: &Plan, prompts: Option<&Prompts>, max_cells: u64) -> Vec<Broken> {
    let mut rules = Rules(Vec::new());
    if !bounds::size_of_run(plan, max_cells, &mut rules) {
        return rules.0;
    }
    rules.hold(
        plan.schema == SCHEMA,
        &["schema"],
        format!("schema {} is not known: this version reads schema {SCHEMA}", plan.schema),
        "",
    );
    rules.hold(!plan.name.trim().is_empty(), &["name"], "`name` is empty", "");
    let (named, cells) = (named_values(plan), expand_all(plan));
    axes(plan, &named, &mut rules);
    names::check(plan, &named, &mut rules);
    bounds::values(plan, &named, &mut rules);
    models(&named, &cells, &mut rules);
    asked::check(plan, &named, prompts, &mut rules);
    forms::check(plan, &mut rules);
    ids::check(&named, &cells, &mut rules);
    profiles(plan, &named, &mut rules);
    rules.hold(plan.load.repetitions > 0, &["load.repetitions"], "0 repetitions run nothing: write 1 or more", "");
    for some in alike(plan, &cells) {
        load(&some, &mut rules);
        extent(&some, &mut rules);
        request(&some, &mut rules);
        asked::texts(some.request(), |key| some.at(key), &mut rules);
    }
    report(plan, &mut rules);
    results_dir(plan, &mut rules);
    money(plan, &mut rules);
    limits(plan, prompts, &mut rules);
    super::slo::check(plan, &mut rules);
    for (key, message) in plan.simulator.validate() {
        rules.hold(false, &[&format!("simulator.{key}")], format!("`simulator.{key}`: {message}"), "");
    }
    // What does not hold for some cells may not hold for others for the same reason.
    let mut once: Vec<Broken> = Vec::new();
    for broken in rules.0 {
        if !once.contains(&broken) {
            once.push(broken);
        }
    }
    once
}

fn axes(plan: &Plan, named: &[NamedValue], rules: &mut Rules) {
    for axis in AXES {
        let zipped = plan.matrix.zip.iter().any(|zip| zip.get(axis.key).is_some());
        rules.axis(&format!("matrix.{}", axis.key), &(axis.values)(plan), zipped);
    }
    for NamedValue { axis, value, at } in named {
        match (axis.field, value) {
            ("users", AxisValue::Count(0)) => {
                rules.hold(false, &[at], "0 users send nothing: a user count is one or more", "");
            }
            ("arrival_rate", AxisValue::Rate(rate)) => rules.positive(at, rate.0),
            ("max_tokens", AxisValue::Count(0))
                if *at != "matrix.max_tokens[0]" || !plan.matrix.max_tokens.is_empty() =>
            {
                rules.hold(false, &[at], "`max_tokens` is 0: it must be greater than zero", "");
            }
            (_, value) if !at.starts_with(&format!("matrix.{}[", axis.key)) => {
                rules.hold(
                    !value.to_string().trim().is_empty(),
                    &[at],
                    format!("`{}` has an empty value", axis.key),
                    "",
                );
            }
            _ => {}
        }
    }
    rules.hold(
        named.iter().any(|named| LOAD_FIELDS.contains(&named.axis.field)),
        &["matrix.user_counts", "matrix.arrival_rates", "matrix.profiles"],
        "nothing says how much load there is",
        "set one of user_counts, arrival_rates and profiles to one value at least",
    );
    rules.hold(
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

fn profiles(plan: &Plan, named: &[NamedValue], rules: &mut Rules) {
    for NamedValue { value, at, .. } in named.iter().filter(|named| named.axis.field == "profile") {
        let wanted = value.to_string();
        let known = plan.profile.iter().map(|profile| format!("`{}`", profile.name)).collect::<Vec<_>>().join(", ");
        let hint = if known.is_empty() { "the plan has no [[profile]]".into() } else { format!("there are {known}") };
        rules.hold(
            plan.profile.iter().any(|profile| profile.name == wanted) || wanted.trim().is_empty(),
            &[at, "profile"],
            format!("no profile is called `{wanted}`"),
            &hint,
        );
    }
    for (index, profile) in plan.profile.iter().enumerate() {
        let at = format!("profile[{index}]");
        let name = &profile.name;
        let twice = plan.profile[..index].iter().any(|other| other.name == *name);
        rules.hold(!twice, &[&format!("{at}.name")], format!("two profiles are called `{name}`"), "");
        rules.hold(!name.trim().is_empty(), &[&format!("{at}.name")], "a profile needs a name", "");
        rules.hold(
            profile.peak() > 0.0 || profile.stages.iter().any(|stage| stage.users.is_none() && stage.rate.is_none()),
            &[&at],
            format!("the profile `{name}` never has any load"),
            "give it stages such as { users = 10, for = \"30s\" }",
        );
        stages(profile, &at, rules);
    }
}

fn stages(profile: &Profile, at: &str, rules: &mut Rules) {
    for (index, stage) in profile.stages.iter().enumerate() {
        let at = format!("{at}.stages[{index}]");
        let hint = "a stage is { users = 10, for = \"30s\" }, or { rate = 5, over = \"10s\", for = \"1m\" }";
        rules.hold(stage.users.is_some() != stage.rate.is_some(), &[&at], "a stage has either users or a rate", hint);
        rules.hold(
            !(profile.is_open() && stage.users.is_some() && stage.rate.is_none()),
            &[&at],
            format!("the profile `{}` mixes users and rates", profile.name),
            "all stages of a profile are of one kind",
        );
        rules.hold(!stage.length().is_zero(), &[&at], "a stage of no length", hint);
        if let Some(rate) = stage.rate {
            rules.hold(
                rate >= 0.0 && rate.is_finite(),
                &[&format!("{at}.rate")],
                format!("the rate of a stage is {rate}: it is zero or more"),
                "",
            );
        }
    }
}

/// An ARN, or an id that has a prefix already, cannot get another one.
fn models(named: &[NamedValue], cells: &[Expanded], rules: &mut Rules) {
    for NamedValue { value, at, .. } in named.iter().filter(|named| named.axis.field == "model_id") {
        let model = value.to_string();
        let mut prefixes = cells.iter().map(|expanded| &expanded.cell).filter(|cell| cell.model_id == model);
        let Some(prefix) = prefixes.find(|cell| cell.region_prefix != "none").map(|cell| &cell.region_prefix) else {
            continue;
        };
        let keys = [at, "matrix.region_prefixes"];
        if model.starts_with("arn:") {
            rules.hold(
                false,
                &keys,
                format!("an ARN takes no region prefix, and the prefix is `{prefix}`"),
                "set region_prefixes = [\"none\"] (REGION_PREFIX=none, --region-prefixes none)",
            );
        } else if let Some((known, bare)) = PREFIXES.iter().find_map(|known| {
            model.strip_prefix(known).and_then(|rest| rest.strip_prefix('.')).map(|bare| (known, bare))
        }) {
            rules.hold(
                false,
                &keys,
                format!(
                    "`{model}` begins with the region prefix `{known}` already, and would be sent as `{prefix}.{model}`"
                ),
                &format!(
                    "write the model id as `{bare}` with the prefix `{known}`, or keep it and set the prefix to `none`"
                ),
            );
        }
    }
}

fn load(some: &Alike<'_>, rules: &mut Rules) {
    let load = some.load();
    rules.longer_than_zero(&some.at("load.test_duration"), "load.test_duration", load.test_duration);
    rules.positive_as(&some.at("load.spawn_rate"), "load.spawn_rate", load.spawn_rate);
    bounds::spawn_rate(&some.at("load.spawn_rate"), load.spawn_rate, rules);
    let most = some.cells.iter().filter_map(|cell| cell.users).max().unwrap_or(0);
    let ramp_s = f64::from(most) / load.spawn_rate;
    // A rate that is too low is reported as such.
    let holds =
        load.spawn_rate < MIN_SPAWN_RATE || load.test_duration.is_zero() || ramp_s <= load.test_duration.as_secs_f64();
    rules.hold(
        holds,
        &[&some.at("load.test_duration"), &some.at("load.spawn_rate"), "matrix.user_counts"],
        format!(
            "the ramp is longer than the test: {most} users at {} per second take {ramp_s:.1} s, and the test ends after {}",
            number(load.spawn_rate),
            crate::units::duration::format(load.test_duration)
        ),
        "test longer, spawn faster, or use fewer users",
    );
}

/// How long a cell goes on.
fn extent(some: &Alike<'_>, rules: &mut Rules) {
    use crate::units::Samples;
    let (load, at) = (some.load(), |key: &str| some.at(key));
    rules.hold(load.max_in_flight > 0, &[&at("load.max_in_flight")], "0 requests in flight let nothing start", "");
    rules.hold(load.requests != Some(0), &[&at("load.requests")], "0 requests are no test: write 1 or more", "");
    rules.hold(
        load.min_samples != Some(Samples::Count(0)),
        &[&at("load.min_samples")],
        "0 samples are always there: write 1 or more, or leave it out",
        "",
    );
    rules.hold(
        load.min_samples.is_none() || some.cells.iter().all(|cell| cell.profile.is_none()),
        &[&at("load.min_samples"), "matrix.profiles"],
        "`min_samples` makes a cell longer, and a profile has its own length",
        "leave one of the two out",
    );
    rules.hold(
        load.min_samples.is_none() || load.requests.is_none(),
        &[&at("load.min_samples"), &at("load.requests")],
        "`min_samples` makes a cell longer and `requests` makes it shorter",
        "leave one of the two out",
    );
    if let Some(longest) = load.max_duration {
        rules.hold(
            longest >= load.test_duration,
            &[&at("load.max_duration"), &at("load.test_duration")],
            format!(
                "`max_duration` is {}, less than the test duration of {}",
                crate::units::duration::format(longest),
                crate::units::duration::format(load.test_duration)
            ),
            "",
        );
        rules.hold(
            load.min_samples.is_some(),
            &[&at("load.max_duration"), &at("load.min_samples")],
            "`max_duration` caps `min_samples`, which is not set",
            "set min_samples, or make test_duration longer",
        );
    }
}

fn report(plan: &Plan, rules: &mut Rules) {
    for (index, p) in plan.report.percentiles.iter().enumerate() {
        let at = format!("report.percentiles[{index}]");
        rules.hold(
            *p > 0.0 && *p < 100.0,
            &[&at],
            format!("the percentile {p} lies outside 0..100"),
            "write 90 or 99.5",
        );
        rules.hold(
            !plan.report.percentiles[..index].contains(p),
            &[&at],
            format!("`report.percentiles` has `{p}` twice"),
            "say it once",
        );
    }
    let goodput = &plan.goodput;
    for (key, limit) in [("ttft", goodput.ttft), ("tpot", goodput.tpot), ("e2e", goodput.e2e)] {
        if let Some(limit) = limit {
            let key = format!("goodput.{key}");
            rules.longer_than_zero(&key, &key, limit);
        }
    }
}

fn request(some: &Alike<'_>, rules: &mut Rules) {
    let request = some.request();
    let zero = "`max_tokens` is 0: it must be greater than zero";
    let said_by_axis = !some.plan.matrix.max_tokens.is_empty()
        || some.plan.matrix.zip.iter().any(|zip| zip.get("max_tokens").is_some());
    rules.hold(request.max_tokens > 0 || said_by_axis, &[&some.at("request.max_tokens")], zero, "");
    rules.longer_than_zero(&some.at("request.timeout"), "request.timeout", request.timeout);
    for (key, value) in [("request.temperature", request.temperature), ("request.top_p", request.top_p)] {
        if let Some(number) = value.0 {
            rules.hold(
                (0.0..=1.0).contains(&number),
                &[&some.at(key)],
                format!("`{key}` is {number}: it lies between 0 and 1"),
                "",
            );
        }
    }
}

/// Limits that can be kept: where a model has no price, nobody can say what it costs.
fn limits(plan: &Plan, prompts: Option<&Prompts>, rules: &mut Rules) {
    let budget = &plan.budget;
    if let Some(most) = budget.max_cost {
        rules.positive("budget.max_cost", most);
        costs::check(plan, prompts, rules);
    }
    for (key, value) in [("max_requests", budget.max_requests), ("max_output_tokens", budget.max_output_tokens)] {
        let key = format!("budget.{key}");
        rules.hold(value != Some(0), &[&key], format!("`{key}` is 0: then nothing can start"), "");
    }
    let abort = &plan.abort;
    rules.hold(
        abort.failure_rate > 0.0,
        &["abort.failure_rate"],
        format!("`failure_rate` is {}: every cell would be given up", abort.failure_rate),
        "it is a share, such as 0.95; above 1 no cell is given up for it",
    );
    rules.hold(abort.requests > 0, &["abort.requests"], "0 requests say nothing: write 1 or more", "");
}

fn money(plan: &Plan, rules: &mut Rules) {
    for (index, row) in plan.prices.rows.iter().enumerate() {
        let at = format!("prices.rows[{index}]");
        let prices = [
            ("input", Some(row.input)),
            ("output", Some(row.output)),
            ("cache_read", row.cache_read),
            ("cache_write", row.cache_write),
        ];
        for (key, price) in prices {
            rules.hold(
                price.is_none_or(|price| (0.0..1e6).contains(&price)),
                &[&format!("{at}.{key}")],
                format!("the price `{key}` is {}: it is zero or more", price.unwrap_or_default()),
                "prices are US dollars per million tokens, such as 0.8",
            );
        }
        rules.hold(!row.model_id.trim().is_empty(), &[&format!("{at}.model_id")], "a price needs a model id", "");
    }
    let quota = &plan.quota;
    for (key, value) in
        [("tokens_per_minute", quota.tokens_per_minute), ("requests_per_minute", quota.requests_per_minute)]
    {
        rules.hold(
            value != Some(0),
            &[&format!("quota.{key}")],
            format!("`{key}` is 0: it must be greater than zero"),
            "",
        );
    }
    rules.hold(
        quota.burndown.is_none_or(|factor| (1.0..=1_000.0).contains(&factor)),
        &["quota.burndown"],
        format!("`burndown` is {}: it is 1 or more", quota.burndown.unwrap_or_default()),
        "it is what one token of a reply takes of the quota, such as 5",
    );
}

fn results_dir(plan: &Plan, rules: &mut Rules) {
    let dir = &plan.results_dir;
    rules.hold(!dir.trim().is_empty(), &["results_dir"], "`results_dir` is empty", "");
    let rest = dir.replace("{name}", "").replace("{started}", "");
    rules.hold(
        !rest.contains(['{', '}']),
        &["results_dir"],
        format!("`{dir}` has a placeholder that nobody fills in"),
        "the placeholders are {name} and {started}",
    );
}
