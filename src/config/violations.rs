//! Violations of the rules for plans, and the checks that several rules share.

use super::keys::is_exclusive;
use super::problem::nearest;
use crate::matrix::{AXES, AxisValue, Cell, rule};
use crate::plan::Rule;
use crate::units::number;
use std::time::Duration;

/// A rule that a plan violates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    /// The dotted keys that take part.
    pub(super) keys: Vec<String>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// A message or a hint, or a closure that builds it.
pub(super) trait Text {
    fn build(self) -> String;
}

impl Text for &str {
    fn build(self) -> String {
        self.to_owned()
    }
}

impl Text for String {
    fn build(self) -> String {
        self
    }
}

impl<F: FnOnce() -> String> Text for F {
    fn build(self) -> String {
        self()
    }
}

/// The violations found so far.
#[derive(Debug, Default)]
pub(super) struct Violations(pub(super) Vec<Violation>);

impl Violations {
    /// Reports a violation unless the condition holds. The texts are built only for a violation.
    pub(super) fn require(&mut self, holds: bool, keys: &[&str], message: impl Text, hint: impl Text) {
        if !holds {
            self.report(keys, message, hint);
        }
    }

    /// Reports a violation. An empty hint is omitted.
    pub(super) fn report(&mut self, keys: &[&str], message: impl Text, hint: impl Text) {
        self.0.push(Violation {
            keys: keys.iter().map(ToString::to_string).collect(),
            message: message.build(),
            hint: Some(hint.build()).filter(|hint| !hint.is_empty()),
        });
    }

    /// Requires that a rule names attributes of cells and matches at least one cell.
    pub(super) fn require_match(&mut self, at: &str, rule: &Rule, cells: &[Cell]) {
        let fields = || AXES.iter().map(|axis| axis.field);
        let unknown = rule::unknown(rule);
        for name in &unknown {
            let known = fields().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ");
            let hint =
                nearest(name, fields()).map_or(format!("a cell has {known}"), |near| format!("did you mean `{near}`?"));
            self.report(&[&format!("{at}.{name}")], format!("no cell has an attribute `{name}`"), hint);
        }
        if !unknown.is_empty() || cells.is_empty() || cells.iter().any(|cell| rule::matches(rule, cell)) {
            return;
        }
        let unmatched = rule.attributes().find_map(|(name, values)| {
            let axis = AXES.iter().find(|axis| axis.field == name)?;
            let mut known: Vec<String> = Vec::new();
            for value in cells.iter().map(|cell| (axis.get)(cell).to_string()).filter(|value| !value.is_empty()) {
                if !known.contains(&value) {
                    known.push(value);
                }
            }
            (!values.iter().any(|value| known.contains(value))).then_some((name, known))
        });
        let (at, hint) = match unmatched {
            Some((name, known)) if known.is_empty() => {
                (format!("{at}.{name}"), format!("no cell has a value for `{name}`"))
            }
            Some((name, known)) => {
                let known = known.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
                (format!("{at}.{name}"), format!("`{name}` is one of {known}"))
            }
            None => (at.to_owned(), "each of these values exists, but no cell combines them".into()),
        };
        self.report(&[&at], format!("no cell matches `{rule}`"), hint);
    }

    /// Requires that an axis is not empty and that its values differ. A zipped axis may repeat values.
    pub(super) fn require_axis(&mut self, key: &str, values: &[AxisValue], zipped: bool) {
        if zipped {
            return;
        }
        let empty = values.is_empty() && !is_exclusive(key);
        self.require(!empty, &[key], || format!("`{key}` is empty"), "an axis needs at least one value");
        for (index, value) in values.iter().enumerate() {
            let at = format!("{key}[{index}]");
            self.require(
                !values[..index].contains(value),
                &[&at],
                || format!("`{key}` contains `{value}` twice"),
                "remove one of them",
            );
            self.require(
                !value.to_string().trim().is_empty(),
                &[&at],
                || format!("`{key}` contains an empty value"),
                "",
            );
        }
    }

    pub(super) fn require_positive(&mut self, key: &str, value: f64) {
        self.require_positive_at(key, key, value);
    }

    pub(super) fn require_positive_at(&mut self, at: &str, key: &str, value: f64) {
        self.require(
            value > 0.0 && value.is_finite(),
            &[at],
            || format!("`{key}` is `{}`: it must be greater than zero", number(value)),
            "",
        );
    }

    pub(super) fn require_nonzero_duration(&mut self, at: &str, key: &str, value: Duration) {
        self.require(!value.is_zero(), &[at], || format!("`{key}` is zero: it must be greater than zero"), "");
    }
}
