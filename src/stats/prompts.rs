//! Number of distinct prompts of a cell and how often each was sent. Repeated prompts may be answered from a cache.

use crate::record::Record;
use crate::result::PromptUses;
use std::collections::HashMap;
use std::fmt;

/// Maximum number of distinct prompts that are counted. A data set has fewer lines; a journal may have been changed.
const MAX_PROMPTS: usize = 1 << 20;

impl PromptUses {
    /// Returns whether a prompt of a data set was sent more than once.
    pub(super) fn repeats_dataset(&self) -> bool {
        self.has_dataset && self.max > 1
    }
}

impl fmt::Display for PromptUses {
    /// `3 distinct prompts, each sent 100 times`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { distinct, min, median, max, .. } = self;
        let times = |n: u64| if n == 1 { "once".to_owned() } else { format!("{n} times") };
        match distinct {
            1 => write!(out, "1 distinct prompt, sent {}", times(*max)),
            _ if min == max => write!(out, "{distinct} distinct prompts, each sent {}", times(*max)),
            _ => write!(out, "{distinct} distinct prompts, each sent {min} to {max} times (median {median})"),
        }
    }
}

/// Counts the prompts of a cell while records are read.
#[derive(Debug, Clone, Default)]
pub(super) struct PromptCounts {
    /// Uses by the name in a mix and by the line of a data set (0 for other prompts).
    by_name: HashMap<Option<String>, HashMap<u32, u64>>,
    known: usize,
}

impl PromptCounts {
    pub(super) fn add(&mut self, record: &Record) {
        let line = record.prompt_same_as.or(record.prompt_line).unwrap_or(0);
        if let Some(count) = self.by_name.get_mut(&record.prompt).and_then(|lines| lines.get_mut(&line)) {
            *count += 1;
        } else if self.known < MAX_PROMPTS {
            self.known += 1;
            self.by_name.entry(record.prompt.clone()).or_default().insert(line, 1);
        }
    }

    /// Returns the counts; `None` without requests.
    pub(super) fn finish(self) -> Option<PromptUses> {
        let has_dataset = self.by_name.values().any(|lines| lines.keys().any(|line| *line > 0));
        let mut uses: Vec<u64> = self.by_name.into_values().flat_map(HashMap::into_values).collect();
        uses.sort_unstable();
        let (min, max) = (*uses.first()?, *uses.last()?);
        Some(PromptUses { distinct: uses.len() as u64, min, median: uses[(uses.len() - 1) / 2], max, has_dataset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::request::tests::record;

    fn uses(prompts: &[(Option<&str>, Option<u32>, Option<u32>)]) -> Option<PromptUses> {
        let mut counts = PromptCounts::default();
        for (prompt, prompt_line, prompt_same_as) in prompts.iter().copied() {
            let prompt = prompt.map(str::to_owned);
            counts.add(&Record { prompt, prompt_line, prompt_same_as, ..record() });
        }
        counts.finish()
    }

    #[test]
    fn prompts_are_counted_by_name_and_line() {
        assert_eq!(uses(&[]), None);
        let shown = |prompts: &[_]| uses(prompts).unwrap().to_string();
        assert_eq!(shown(&[(None, None, None)]), "1 distinct prompt, sent once");
        assert_eq!(shown(&[(None, None, None); 7]), "1 distinct prompt, sent 7 times");
        let line = |number| (None, Some(number), None);
        assert_eq!(shown(&[line(1), line(2), line(3)]), "3 distinct prompts, each sent once");
        assert_eq!(
            shown(&[line(1), line(2), line(2), line(3), line(3), line(3)]),
            "3 distinct prompts, each sent 1 to 3 times (median 2)"
        );
        // Line 2 repeats line 1; the lines of another data set of a mix are other prompts.
        let mixed = [(Some("a"), Some(1), None), (Some("a"), Some(2), Some(1)), (Some("b"), Some(1), None)];
        let mixed = uses(&mixed).unwrap();
        assert_eq!((mixed.distinct, mixed.max, mixed.repeats_dataset()), (2, 2, true));
        let one = uses(&[(None, None, None); 7]).unwrap();
        assert!(!one.repeats_dataset(), "one prompt for all requests is what the plan states");
    }
}
