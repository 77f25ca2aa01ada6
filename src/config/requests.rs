//! Rules for what requests contain: prompts, mixes, and text fields. Pure, like the other rules.

use super::problem::nearest;
use super::violations::Violations;
use crate::matrix::{NamedValue, expand};
use crate::plan::{CacheMode, Plan, Request};
use crate::prompts::{Prompts, minimum_prefix};

/// Checks mixes and prompt names. Without prompts (if they could not be read) their names are not checked.
pub(super) fn check(plan: &Plan, values: &[NamedValue], prompts: Option<&Prompts>, violations: &mut Violations) {
    let is_mix = |name: &str| plan.mix.iter().any(|mix| mix.name == name);
    for (index, mix) in plan.mix.iter().enumerate() {
        let (at, name) = (format!("mix[{index}]"), &mix.name);
        violations.require(!name.trim().is_empty(), &[&format!("{at}.name")], "a mix needs a name", "");
        let twice = plan.mix[..index].iter().any(|other| other.name == *name);
        violations.require(
            !twice,
            &[&format!("{at}.name")],
            || format!("two mixes have the name `{name}`"),
            "rename one of them",
        );
        violations.require(
            !mix.sizes.is_empty(),
            &[&format!("{at}.sizes")],
            || format!("the mix `{name}` has no sizes"),
            "write sizes = { small = 7, large = 3 }: names of prompts with their weights",
        );
        for (size, weight) in &mix.sizes {
            let at = format!("{at}.sizes.{size}");
            violations.require(
                *weight > 0.0 && weight.is_finite(),
                &[&at],
                || format!("the weight of `{size}` in the mix `{name}` is `{weight}`: it must be greater than zero"),
                "",
            );
        }
    }
    let Some(prompts) = prompts else { return };
    let known = || {
        let names = prompts.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        format!("the prompts are {names}")
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
            || format!("a prompt already has the name `{name}`"),
            "rename the mix",
        );
        for size in mix.sizes.keys() {
            let is_nested = is_mix(size) && !prompts.contains(size);
            violations.require(
                !is_nested,
                &[&format!("mix[{index}].sizes.{size}")],
                || format!("the mix `{name}` contains the mix `{size}`"),
                "list prompts only",
            );
            violations.require(
                is_nested || prompts.contains(size),
                &[&format!("mix[{index}].sizes.{size}")],
                || format!("unknown prompt `{size}`"),
                || hint(size, &known()),
            );
        }
    }
    for NamedValue { value, at, .. } in values.iter().filter(|named| named.axis.field == "prompt_size") {
        let size = value.to_string();
        violations.require(
            prompts.contains(&size) || is_mix(&size) || size.trim().is_empty(),
            &[at, "prompts_file"],
            || format!("unknown prompt `{size}`"),
            || hint(&size, &known()),
        );
    }
}

/// Checks the text fields of `[request]` for some cells; `path` returns the path that sets a key.
pub(super) fn check_texts(request: &Request, path: impl Fn(&str) -> String, violations: &mut Violations) {
    let is_blank = request.system.as_deref().is_some_and(|system| system.trim().is_empty());
    violations.require(!is_blank, &[&path("request.system")], "`system` is empty", "remove it to send no system text");
    for (index, sequence) in request.stop_sequences.iter().enumerate() {
        let at = format!("{}[{index}]", path("request.stop_sequences"));
        violations.require(!sequence.is_empty(), &[&at], "an empty stop sequence ends every reply", "");
        let twice = request.stop_sequences[..index].contains(sequence);
        violations.require(
            !twice,
            &[&at],
            || format!("`stop_sequences` contains `{sequence}` twice"),
            "remove one of them",
        );
    }
    let nameless = request.request_metadata.keys().any(|key| key.trim().is_empty());
    violations.require(!nameless, &[&path("request.request_metadata")], "`request_metadata` contains an empty key", "");
}

/// Returns warnings about explicit caching of prompts that are too short for it.
pub(super) fn warnings(plan: &Plan, prompts: &Prompts) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    for cell in expand(plan).iter().filter(|cell| cell.cache_mode == CacheMode::Explicit) {
        let system = cell.request.system.as_deref();
        let shortest = prompts.shortest(&cell.prompt_size, &plan.mix, system);
        let (Some(minimum), Some((name, tokens))) = (minimum_prefix(&cell.model_id), shortest) else { continue };
        if tokens < f64::from(minimum) {
            let warning = format!(
                "explicit caching: `{name}` has about {tokens:.0} tokens, but {} caches no prefix below {minimum}; its replies will be warm misses, which are excluded from latencies",
                cell.model_id
            );
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    warnings
}
