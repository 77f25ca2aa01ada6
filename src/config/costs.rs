//! Whether a budget of money can be kept: without a price nobody can tell what a request costs. Pure, like the other
//! rules.

use super::violations::Violations;
use crate::matrix::expand;
use crate::plan::Plan;
use crate::prices::{Prices, Unpriced};
use crate::prompts::Prompts;
use std::collections::{BTreeMap, BTreeSet};

/// `max_cost` requires a price of everything that a request of a cell may cost.
pub(super) fn check(plan: &Plan, prompts: Option<&Prompts>, violations: &mut Violations) {
    let prices = Prices::of(plan);
    let mut longest: BTreeMap<(String, Option<String>), u64> = BTreeMap::new();
    let mut tokens = |size: String, system: Option<String>| {
        let Some(prompts) = prompts else { return 1 };
        let source = || prompts.source(&size, &plan.mix, 0);
        *longest.entry((size.clone(), system.clone())).or_insert_with(|| source().max_tokens(system.as_deref()))
    };
    // Of the cells, not of the axes: some are added, go together with others, or are left out.
    let mut messages = BTreeSet::new();
    for cell in expand(plan) {
        let tokens = tokens(cell.prompt_size, cell.request.system);
        let asked = (cell.model_id.as_str(), cell.region_prefix.as_str(), cell.service_tier.as_str());
        let message = match prices.worst_case(asked, tokens, 1, cell.cache_mode.writes_cache()) {
            Ok(_) => continue,
            Err(Unpriced::Model) => format!("no price of {} with the prefix {} is known", asked.0, asked.1),
            Err(unpriced @ Unpriced::LongPrompts { .. }) => {
                format!(
                    "{}, and a prompt may have {tokens}: no text has more tokens than bytes",
                    unpriced.message(asked)
                )
            }
            Err(unpriced) => unpriced.message(asked),
        };
        messages.insert(message);
    }
    for message in messages {
        violations.report(
            &["budget.max_cost", "matrix.model_ids", "matrix.region_prefixes"],
            format!("`max_cost` cannot be kept: {message}"),
            "give it one in [[prices.rows]], or set max_requests or max_output_tokens",
        );
    }
}
