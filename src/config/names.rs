//! Names of service tiers and region prefixes. Bedrock adds new ones, so an unknown name is sent with a warning. A name
//! that is similar to a known one is refused as a typo.

use super::violations::Violations;
use crate::matrix::{NamedValue, named_values};
use crate::plan::Plan;

/// Prefixes of Bedrock's inference profiles today; `none` sends the bare model id.
pub(super) const PREFIXES: [&str; 8] = ["us", "eu", "apac", "jp", "au", "us-gov", "global", "none"];

/// Service tiers of Bedrock today; `none` omits the field.
const TIERS: [&str; 5] = ["default", "priority", "flex", "reserved", "none"];

/// Returns the noun and the known names of an axis whose names Bedrock defines.
fn vocabulary(field: &str) -> Option<(&'static str, &'static [&'static str])> {
    match field {
        "service_tier" => Some(("service tier", &TIERS)),
        "region_prefix" => Some(("region prefix", &PREFIXES)),
        _ => None,
    }
}

/// Returns the known name that a name is probably a typo of: at most one edit away for names of up to four letters, at
/// most two for longer names. Case is ignored.
fn similar_name(name: &str, known: &'static [&'static str]) -> Option<&'static str> {
    let max_distance = if name.chars().count() <= 4 { 1 } else { 2 };
    let lower = name.to_lowercase();
    let near = known.iter().map(|known| (strsim::levenshtein(&lower, known), *known));
    near.filter(|(distance, _)| *distance <= max_distance).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// Returns the values that no vocabulary contains, with the noun and the known names.
fn unknown<'a>(
    plan: &'a Plan,
    values: &'a [NamedValue],
) -> impl Iterator<Item = (String, &'a NamedValue, &'static str, &'static [&'static str])> {
    values.iter().filter_map(|value| {
        let (noun, known) = vocabulary(value.axis.field)?;
        let name = value.value.to_string();
        let is_known = name.trim().is_empty() || known.contains(&name.as_str());
        (!is_known && !plan.run.allow_unknown.contains(&name)).then_some((name, value, noun, known))
    })
}

/// Refuses names that are probably typos.
pub(super) fn check(plan: &Plan, values: &[NamedValue], violations: &mut Violations) {
    for (name, NamedValue { at, .. }, noun, known) in unknown(plan, values) {
        if let Some(similar) = similar_name(&name, known) {
            violations.report(
                &[at],
                format!("`{name}` is not a known {noun}"),
                format!("did you mean `{similar}`? If `{name}` is correct, set allow_unknown = [\"{name}\"] in [run]"),
            );
        }
    }
}

/// Returns a warning for each unknown name that is sent.
pub(super) fn warnings(plan: &Plan) -> Vec<String> {
    let values = named_values(plan);
    let mut warnings: Vec<String> = Vec::new();
    for (name, _, noun, known) in unknown(plan, &values) {
        let warning = format!("`{name}` is not a known {noun} ({}); it is sent as written", known.join(", "));
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_similar_to_known_ones_are_typos() {
        for (name, similar) in [
            ("flx", "flex"),
            ("defualt", "default"),
            ("Priority", "priority"),
            ("FLEX", "flex"),
            ("reservd", "reserved"),
        ] {
            assert_eq!(similar_name(name, &TIERS), Some(similar), "{name}");
        }
        for (name, similar) in
            [("uk", Some("us")), ("apc", Some("apac")), ("us-gv", Some("us-gov")), ("ca", None), ("mena", None)]
        {
            assert_eq!(similar_name(name, &PREFIXES), similar, "{name}");
        }
        assert_eq!(similar_name("turbo", &TIERS), None);
    }
}
