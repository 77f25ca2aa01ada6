//! Matching of rules against cells.

use super::{AXES, Cell, find_axis};
use crate::plan::Rule;

/// Returns whether each attribute of the rule has one of its values in this cell. An unknown attribute matches no cell; the
/// check of a plan reports it.
pub(crate) fn matches(rule: &Rule, cell: &Cell) -> bool {
    rule.attributes()
        .all(|(name, values)| find_axis(name).is_some_and(|axis| values.contains(&(axis.get)(cell).to_string())))
}

/// Returns the attributes of the rule that no cell has.
pub(crate) fn unknown(rule: &Rule) -> Vec<&str> {
    rule.attributes().map(|(name, _)| name).filter(|name| AXES.iter().all(|axis| axis.field != *name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::expand;

    fn rule(toml: &str) -> Rule {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn rule_matches_cells_with_all_its_attributes() {
        let cells = expand(&crate::plan::tests::plan());
        let count = |text: &str| cells.iter().filter(|cell| matches(&rule(text), cell)).count();
        assert_eq!(count(""), 27);
        assert_eq!(count("service_tier = \"flex\""), 9);
        assert_eq!(count("service_tier = [\"flex\", \"priority\"]\nusers = [90]"), 6);
        assert_eq!(count("users = 7"), 0);
        assert_eq!(count("tier = \"flex\""), 0);
        assert_eq!(unknown(&rule("tier = \"flex\"\nusers = 90")), ["tier"]);
    }

    #[test]
    fn rule_round_trips() {
        let text = "arrival_rate = 2.5\nservice_tier = [\"flex\", \"default\"]\nusers = 90\n";
        assert_eq!(toml::to_string(&rule(text)).unwrap(), text);
        assert!(toml::from_str::<Rule>("users = []").is_err() && toml::from_str::<Rule>("users = {}").is_err());
    }
}
