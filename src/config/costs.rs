//! Rule for `max_cost`: every model and tier needs a price. Pure, like the other rules.

use super::violations::Violations;
use crate::matrix::expand;
use crate::plan::Plan;
use crate::prices::{Prices, Unpriced};
use crate::prompts::Prompts;
use std::collections::{BTreeMap, BTreeSet};

/// Requires prices for everything that a request of a cell is charged for.
pub(super) fn check(plan: &Plan, prompts: Option<&Prompts>, violations: &mut Violations) {
    let prices = Prices::from_plan(plan);
    let mut longest: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
    let mut tokens = |size: String, system: Option<String>| {
        let Some(prompts) = prompts else { return 1 };
        let source = || prompts.source(&size, &plan.mix, 0);
        *longest.entry((size.clone(), system.clone())).or_insert_with(|| source().max_tokens(system.as_deref()))
    };
    // Cells instead of axes: cells can be added, zipped, and excluded.
    let mut messages = BTreeSet::new();
    for cell in expand(plan) {
        let tokens = tokens(cell.prompt_size, cell.request.system);
        let priced = (cell.model_id.as_str(), cell.region_prefix.as_str(), cell.service_tier.as_str());
        let message = match prices.worst_case(priced, tokens, 1, cell.cache_mode.writes_cache()) {
            Ok(_) => continue,
            Err(Unpriced::Model) => format!("no price for `{}` with the prefix `{}`", priced.0, priced.1),
            Err(unpriced @ Unpriced::LongPrompts { .. }) => {
                format!("{}, and a prompt may have up to {tokens} tokens (one per byte)", unpriced.message(priced))
            }
            Err(unpriced) => unpriced.message(priced),
        };
        messages.insert(message);
    }
    for message in messages {
        violations.report(
            &["budget.max_cost", "matrix.model_ids", "matrix.region_prefixes"],
            format!("`max_cost` cannot be enforced: {message}"),
            "add the price under [[prices.rows]], or set max_requests or max_output_tokens instead",
        );
    }
}
