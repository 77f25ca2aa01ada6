//! The cells of a run: which of them `--only` selects, and their prompts.

use crate::config::Resolved;
use crate::error::Error;
use crate::matrix::Cell;
use crate::prompts::Source;
use globset::{Glob, GlobSetBuilder};
use std::sync::Arc;

/// Returns the prompt source of each cell, in the order of the cells.
pub(super) fn sources(resolved: &Resolved, cells: &[Cell], seed: u64) -> Vec<Arc<Source>> {
    resolved.prompts.sources(cells.iter().map(|cell| cell.prompt_size.as_str()), &resolved.plan.mix, seed)
}

/// Returns the cells that the `--only` patterns match; all cells if there is no pattern.
///
/// # Errors
/// If a pattern is invalid or matches no cell.
pub(super) fn select(cells: &[Cell], patterns: &[String]) -> Result<Vec<Cell>, Error> {
    if patterns.is_empty() {
        return Ok(cells.to_vec());
    }
    let wrong = |pattern: &str, error: globset::Error| Error::Pattern {
        pattern: pattern.into(),
        message: error.kind().to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).map_err(|error| wrong(pattern, error))?);
    }
    let set = set.build().map_err(|error| wrong(&patterns.join(" "), error))?;
    let mut is_used = vec![false; patterns.len()];
    let mut matches = |cell: &&Cell| {
        let matching = set.matches(&cell.id);
        for pattern in &matching {
            is_used[*pattern] = true;
        }
        !matching.is_empty()
    };
    let selected: Vec<Cell> = cells.iter().filter(&mut matches).cloned().collect();
    // A pattern that matches no cell is a typo, even if another pattern matches some.
    let unused: Vec<&str> =
        patterns.iter().zip(is_used).filter(|(_, is_used)| !is_used).map(|(pattern, _)| pattern.as_str()).collect();
    if !unused.is_empty() {
        let mut known: Vec<&str> = cells.iter().take(3).map(|cell| cell.id.as_str()).collect();
        if cells.len() > known.len() {
            known.push("...");
        }
        return Err(Error::NoCell { patterns: unused.join("`, `"), known: known.join(", ") });
    }
    Ok(selected)
}
