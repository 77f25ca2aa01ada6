//! What must hold of what is asked: prompt sizes, mixes, and the fields of a request that are texts.
//! Pure, like the other rules; what will probably disappoint is a warning.

use super::problem::nearest;
use super::violations::Violations;
use crate::matrix::{NamedValue, expand};
use crate::plan::{CacheMode, Plan, Request};
use crate::prompts::{Prompts, minimum_prefix};

/// Without prompts (they could not be read) nothing is said about their names.
pub(super) fn check(plan: &Plan, values: &[NamedValue], prompts: Option<&Prompts>, violations: &mut Violations) {
    let named = |name: &str| plan.mix.iter().any(|mix| mix.name == name);
    for (index, mix) in plan.mix.iter().enumerate() {
        let (at, name) = (format!("mix[{index}]"), &mix.name);
        violations.require(!name.trim().is_empty(), &[&format!("{at}.name")], "a mix needs a name", "");
        let twice = plan.mix[..index].iter().any(|other| other.name == *name);
        violations.require(!twice, &[&format!("{at}.name")], || format!("two mixes are called `{name}`"), "");
        violations.require(
            !mix.sizes.is_empty(),
            &[&format!("{at}.sizes")],
            || format!("the mix `{name}` has no sizes"),
            "sizes = { small = 7, large = 3 }: names of prompts with their weights",
        );
        for (size, weight) in &mix.sizes {
            let at = format!("{at}.sizes.{size}");
            violations.require(
                *weight > 0.0 && weight.is_finite(),
                &[&at],
                || format!("the weight of `{size}` in the mix `{name}` is {weight}: it must be greater than zero"),
                "",
            );
        }
    }
    let Some(prompts) = prompts else { return };
    let known = || {
        let names = prompts.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        format!("there are {names}")
    };
    let hint = |wrong: &str, known: &str| {
        let names = prompts.names().chain(plan.mix.iter().map(|mix| mix.name.as_str()));
        nearest(wrong, names).map_or_else(|| known.to_owned(), |near| format!("did you mean `{near}`? {known}"))
    };
    for (index, mix) in plan.mix.iter().enumerate() {
        let name = &mix.name;
        violations.require(
            !prompts.contains(name),
            &[&format!("mix[{index}].name")],
            || format!("a prompt is called `{name}` already"),
            "give the mix a name of its own",
        );
        for size in mix.sizes.keys() {
            let is_mix = named(size) && !prompts.contains(size);
            violations.require(
                !is_mix,
                &[&format!("mix[{index}].sizes.{size}")],
                || format!("the mix `{name}` has the mix `{size}` in it"),
                "a mix is of prompts",
            );
            violations.require(
                is_mix || prompts.contains(size),
                &[&format!("mix[{index}].sizes.{size}")],
                || format!("no prompt is called `{size}`"),
                || hint(size, &known()),
            );
        }
    }
    for NamedValue { value, at, .. } in values.iter().filter(|named| named.axis.field == "prompt_size") {
        let size = value.to_string();
        violations.require(
            prompts.contains(&size) || named(&size) || size.trim().is_empty(),
            &[at, "prompts_file"],
            || format!("no prompt is called `{size}`"),
            || hint(&size, &known()),
        );
    }
}

/// The texts of `[request]`, as they hold for some cells; `at` says where a key was said.
pub(super) fn texts(request: &Request, at: impl Fn(&str) -> String, violations: &mut Violations) {
    let is_blank = request.system.as_deref().is_some_and(|system| system.trim().is_empty());
    violations.require(!is_blank, &[&at("request.system")], "`system` is empty", "leave it out to send none");
    for (index, sequence) in request.stop_sequences.iter().enumerate() {
        let at = format!("{}[{index}]", at("request.stop_sequences"));
        violations.require(!sequence.is_empty(), &[&at], "an empty stop sequence ends every reply", "");
        let twice = request.stop_sequences[..index].contains(sequence);
        violations.require(!twice, &[&at], || format!("`stop_sequences` has `{sequence}` twice"), "say it once");
    }
    let nameless = request.request_metadata.keys().any(|key| key.trim().is_empty());
    violations.require(
        !nameless,
        &[&at("request.request_metadata")],
        "`request_metadata` has a text without a name",
        "",
    );
}

/// What will probably not do what was meant.
pub(super) fn warnings(plan: &Plan, prompts: &Prompts) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for cell in expand(plan).iter().filter(|cell| cell.cache_mode == CacheMode::Explicit) {
        let system = cell.request.system.as_deref();
        let shortest = prompts.shortest(&cell.prompt_size, &plan.mix, system);
        let (Some(minimum), Some((name, tokens))) = (minimum_prefix(&cell.model_id), shortest) else { continue };
        if tokens < f64::from(minimum) {
            let warning = format!(
                "explicit caching: `{name}` has about {tokens:.0} tokens, and {} caches no prefix below {minimum}; replies to it will be warm misses, which no latency takes",
                cell.model_id
            );
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    warnings
}
