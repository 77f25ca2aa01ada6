//! Names of service tiers and region prefixes. Bedrock adds new ones, so an unknown name is sent, with a
//! warning. A name that is nearly a known one is taken for a typing error.

use super::violations::Violations;
use crate::matrix::{NamedValue, named_values};
use crate::plan::Plan;

/// Prefixes of Bedrock's inference profiles today; `none` sends the bare model id.
pub(super) const PREFIXES: [&str; 8] = ["us", "eu", "apac", "jp", "au", "us-gov", "global", "none"];

/// Service tiers of Bedrock today; `none` omits the field.
const TIERS: [&str; 5] = ["default", "priority", "flex", "reserved", "none"];

/// The noun and the known names of an axis whose names Bedrock defines.
fn vocabulary(field: &str) -> Option<(&'static str, &'static [&'static str])> {
    match field {
        "service_tier" => Some(("service tier", &TIERS)),
        "region_prefix" => Some(("region prefix", &PREFIXES)),
        _ => None,
    }
}

/// The known name that was probably meant: at most one edit away for names of up to four letters, two for
/// longer ones, letter case aside.
fn probably_meant(name: &str, known: &'static [&'static str]) -> Option<&'static str> {
    let most = if name.chars().count() <= 4 { 1 } else { 2 };
    let lower = name.to_lowercase();
    let near = known.iter().map(|known| (strsim::levenshtein(&lower, known), *known));
    near.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// The values of a plan that no vocabulary contains, with the noun and the names that are known.
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

/// Refuses names that are probably typing errors.
pub(super) fn check(plan: &Plan, values: &[NamedValue], violations: &mut Violations) {
    for (name, NamedValue { at, .. }, noun, known) in unknown(plan, values) {
        if let Some(meant) = probably_meant(&name, known) {
            violations.report(
                &[at],
                format!("`{name}` is not a known {noun}"),
                format!("did you mean `{meant}`? If `{name}` is right, set allow_unknown = [\"{name}\"] in [run]"),
            );
        }
    }
}

/// A warning for each name that is sent although no version of Bedrock that this tool knows has it.
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
    fn a_name_near_a_known_one_is_a_typing_error() {
        for (name, meant) in [
            ("flx", "flex"),
            ("defualt", "default"),
            ("Priority", "priority"),
            ("FLEX", "flex"),
            ("reservd", "reserved"),
        ] {
            assert_eq!(probably_meant(name, &TIERS), Some(meant), "{name}");
        }
        for (name, meant) in
            [("uk", Some("us")), ("apc", Some("apac")), ("us-gv", Some("us-gov")), ("ca", None), ("mena", None)]
        {
            assert_eq!(probably_meant(name, &PREFIXES), meant, "{name}");
        }
        assert_eq!(probably_meant("turbo", &TIERS), None);
    }
}
