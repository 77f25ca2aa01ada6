//! The text of a resolved plan.

use crate::config::relative_to;
use crate::plan::Plan;
use std::path::Path;

/// Returns a plan file that expands to the same matrix.
pub(super) fn toml(plan: &Plan) -> String {
    toml::to_string(plan).unwrap_or_else(|error| unreachable!("a plan is plain data: {error}"))
}

/// Returns the plan like [`toml()`], for a file in a directory: the paths in it are relative to that directory.
pub(super) fn toml_in(dir: &Path, plan: &Plan) -> String {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let mut plan = plan.clone();
    let files = plan.prompts_file.iter_mut().chain(plan.dataset.iter_mut().map(|dataset| &mut dataset.file));
    files.for_each(|file| *file = relative_to(file, &dir));
    toml(&plan)
}

#[cfg(test)]
mod tests {
    use super::toml;
    use crate::config::{Resolved, Sources, read};
    use crate::matrix::expand;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    fn resolved(path: &Path) -> Resolved {
        let sources = Sources {
            plan: Some(path),
            flags: &[],
            sets: &[],
            environment: &BTreeMap::new(),
            working_dir: path.parent().unwrap(),
            max_cells: crate::config::MAX_CELLS,
        };
        read(&sources).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn list(items: &[impl std::fmt::Debug]) -> String {
        format!("{items:?}")
    }

    /// Generates a parent plan and a child plan that use every form in consistent ways.
    fn plans() -> impl Strategy<Value = (String, String)> {
        let tiers = prop::sample::subsequence(vec!["default", "priority", "flex", "reserved"], 2..=4).prop_shuffle();
        let users = prop::sample::subsequence(vec![1, 5, 30, 31, 90], 2..=4).prop_shuffle();
        let tokens = prop::sample::subsequence(vec![16, 64, 512, 4096], 2..=3).prop_shuffle();
        let models = prop::sample::subsequence(vec!["a.x-v1:0", "b.x-v1:0", "b.x", "c.Y"], 1..=4).prop_shuffle();
        (tiers, users, tokens, models, any::<[bool; 5]>(), 1_u32..100).prop_map(
            |(tiers, users, tokens, models, [exclude, zip, add, changed, regions], seconds)| {
                let mut parent = format!("[matrix]\nmodel_ids = {}\nuser_counts = {}\n", list(&models), list(&users));
                let mut child = format!("extends = \"parent.toml\"\n[matrix]\nservice_tiers = {}\n", list(&tiers));
                if regions {
                    child += "regions = [\"eu-west-1\", \"us-east-1\"]\n";
                }
                if exclude {
                    child += &format!("exclude = [{{ service_tier = {:?}, users = [{}, 7] }}]\n", tiers[0], users[1]);
                }
                if !zip {
                    child += "prompt_sizes = [\"small\"]\n";
                }
                if zip {
                    let sizes = &["large", "small", "medium"][..tokens.len()];
                    parent += "[[matrix.zip]]\nprompt_sizes = [\"small\", \"large\"]\nmax_tokens = [3, 4]\n";
                    child += &format!("[[matrix.zip]]\nprompt_sizes = {}\nmax_tokens = {}\n", list(sizes), list(&tokens));
                }
                if add {
                    child += "[[matrix.add]]\nmodel_id = \"d.z\"\nservice_tier = \"other\"\narrival_rate = 2.5\nregion = \"x\"\nprompt_size = \"small\"\nmax_tokens = 9\n";
                }
                if changed {
                    child += &format!("[[override]]\nwhen = {{ service_tier = {:?} }}\ntimeout = \"{seconds}s\"\n", tiers[1]);
                    child += "[[override]]\nwhen = { prompt_size = \"small\" }\nmin_samples = \"p99\"\ntemperature = 0.5\n";
                }
                (parent, child)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn resolved_plan_expands_to_the_same_cells_with_unique_ids((parent, child) in plans()) {
            let dir = tempfile::tempdir().unwrap();
            let path = |name: &str| dir.path().join(name);
            std::fs::write(path("parent.toml"), parent).unwrap();
            std::fs::write(path("child.toml"), child).unwrap();
            let first = resolved(&path("child.toml"));
            let cells = expand(&first.plan);
            prop_assert_eq!(&cells, &expand(&first.plan));
            let ids: BTreeSet<String> = cells.iter().map(|cell| cell.id.to_lowercase()).collect();
            prop_assert_eq!(ids.len(), cells.len());
            std::fs::write(path("again.toml"), toml(&first.plan)).unwrap();
            let again = resolved(&path("again.toml"));
            prop_assert_eq!(&first.plan, &again.plan);
            prop_assert_eq!(&cells, &expand(&again.plan));
        }
    }
}
