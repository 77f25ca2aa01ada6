//! The warnings of a plan.

use crate::config::Resolved;
use crate::terminal::table::MAX_LINES;

/// Returns the settings that are probably mistakes, one line each.
pub(super) fn warnings(resolved: &Resolved) -> String {
    let shown = resolved.warnings.iter().take(MAX_LINES);
    let mut text = shown.fold(String::new(), |text, warning| text + "warning: " + warning + "\n");
    let left_out = resolved.warnings.len().saturating_sub(MAX_LINES);
    if left_out > 0 {
        text += &format!("... and {left_out} more in the output of `bedrock-plan show --format json`\n");
    }
    text
}
