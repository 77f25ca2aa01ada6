//! Number of distinct prompts of a run and how often each was sent. It applies to data sets and mixes, which have
//! several prompts.

use crate::stats::Summary;
use crate::units::Keyed;

/// Maximum number of prompt sizes that the note lists.
const LISTED: usize = 5;

/// Returns a sentence on each prompt size with several prompts or a data set, or `None` if there is no such size.
pub(super) fn note(summary: &Summary) -> Option<String> {
    let mut sizes: Keyed<&str, (&str, Vec<String>)> = Keyed::default();
    for cell in &summary.cells {
        let Some(prompts) = cell.prompts.filter(|prompts| prompts.distinct > 1 || prompts.has_dataset) else {
            continue;
        };
        let (size, uses) = (cell.cell.prompt_size.as_str(), prompts.to_string());
        let (_, known) = sizes.entry(size, || (size, Vec::new()));
        if known.len() < 2 && !known.contains(&uses) {
            known.push(uses);
        }
    }
    let sizes = sizes.items;
    if sizes.is_empty() {
        return None;
    }
    let more = sizes.len().saturating_sub(LISTED);
    let line = |(size, uses): &(&str, Vec<String>)| {
        let others = if uses.len() > 1 { ", in other cells another number" } else { "" };
        format!("{size}: {}{others}", uses[0])
    };
    let lines: Vec<String> = sizes.iter().take(LISTED).map(line).collect();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Some(format!("Prompts per cell: {}{more}", lines.join("; ")))
}
