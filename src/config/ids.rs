//! Rule for ids of cells: they name files, and some file systems ignore the case of letters. Ids must differ in more than
//! case.

use super::violations::Violations;
use crate::matrix::{AXES, Cell, Expanded, NamedValue};
use std::collections::HashMap;

pub(super) fn check(named: &[NamedValue], cells: &[Expanded], violations: &mut Violations) {
    for axis in AXES {
        let mut known: HashMap<String, &NamedValue> = HashMap::new();
        for named in named.iter().filter(|named| named.axis.key == axis.key) {
            let (value, at) = (&named.value, &named.at);
            let other = &known.entry(value.to_string().to_lowercase()).or_insert(named).value;
            let message = || format!("`{other}` and `{value}` differ only in the case of their letters");
            let hint = "rename one of them: they name files, and some file systems ignore case";
            violations.require(other == value, &[at], message, hint);
        }
    }
    let mut known: HashMap<String, &Cell> = HashMap::new();
    for Expanded { cell, .. } in cells {
        let Some(other) = known.insert(cell.id.to_ascii_lowercase(), cell) else { continue };
        let differing: Vec<String> = AXES
            .iter()
            .filter(|axis| (axis.get)(cell) != (axis.get)(other))
            .map(|axis| format!("matrix.{}", axis.key))
            .collect();
        // Another rule reports equal cells.
        if !differing.is_empty() {
            let keys: Vec<&str> = differing.iter().map(String::as_str).collect();
            let message = format!("two cells have the id `{}`, which names their files", cell.id);
            violations.report(&keys, message, "rename one of the values that form the id");
        }
    }
}
