//! Keeps a run within its budget. What is in flight is counted in at its worst: a prompt as long as it
//! can be, a reply as long as `max_tokens`, at the dearest price that may hold; so the limit is never
//! overshot by what was under way when it was met. What a reply really took replaces that when it ends.

use crate::executor::port::{Gate, Refusal, Why};
use crate::matrix::{Cell, Shard};
use crate::plan;
use crate::prices::{Prices, Usage};
use crate::prompts::Source;
use crate::record::Record;
use crate::stats::may_be_charged;
use crate::units::Usd;
use crate::units::text::count;
use std::sync::{Arc, Mutex, PoisonError};

/// Tokens that a model's own template may add to a prompt.
const TEMPLATE: u64 = 64;

/// The gate.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: plan::Budget,
    /// Of several machines each keeps within its share.
    shard: Shard,
    prices: Prices,
    cells: Vec<PerCell>,
    probes: Vec<usize>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct PerCell {
    cell: Cell,
    /// No prompt has more tokens than bytes.
    prompt_at_most: u64,
    /// All requests have the same prompt: the first reply tells how many tokens it has.
    one_prompt: bool,
}

#[derive(Debug, Default)]
struct State {
    cell: usize,
    /// Input tokens of the longest prompt of this turn so far.
    longest: u64,
    spent: Taken,
    /// Why this turn cannot begin.
    short: Option<Refusal>,
    reserved: Taken,
    in_flight: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Taken {
    cost: Usd,
    requests: u64,
    output: u64,
}

impl Budget {
    /// For the cells of a run and what their requests are drawn from, in matrix order; `probes` has for each pre-flight
    /// request a cell that asks so.
    pub(crate) fn new(
        plan: &plan::Plan,
        cells: &[Cell],
        sources: &[Arc<Source>],
        probes: Vec<usize>,
        shard: Shard,
    ) -> Self {
        let per_cell = |(cell, source): (&Cell, &Arc<Source>)| PerCell {
            cell: cell.clone(),
            prompt_at_most: source.most_bytes(cell.request.system.as_deref()) + TEMPLATE,
            one_prompt: source.choices().len() == 1,
        };
        Self {
            limits: plan.budget,
            shard,
            prices: Prices::of(plan),
            cells: cells.iter().zip(sources).map(per_cell).collect(),
            probes,
            state: Mutex::default(),
        }
    }

    /// A request of an earlier session.
    pub(crate) fn remember(&self, cell: usize, record: &Record) {
        self.with(|state| {
            let worst = self.worst(cell, 0);
            state.spent = sum(state.spent, self.taken(cell, record, worst));
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What one request can take at most. `longest` is what prompts were seen to have, if any.
    fn worst(&self, cell: usize, longest: u64) -> Taken {
        let PerCell { cell, prompt_at_most, one_prompt } = &self.cells[cell];
        let input = if *one_prompt && longest > 0 { longest + TEMPLATE } else { *prompt_at_most };
        let output = u64::from(cell.request.max_tokens);
        let asked = (cell.model_id.as_str(), cell.region_prefix.as_str(), cell.service_tier.as_str());
        let cost = self.prices.dearest(asked, input, output).unwrap_or_default();
        Taken { cost, requests: 1, output }
    }

    /// What a request took; its worst where nobody told.
    fn taken(&self, cell: usize, record: &Record, worst: Taken) -> Taken {
        let cell = &self.cells[cell].cell;
        let (Some(input), Some(output)) = (record.input_tokens, record.output_tokens) else {
            let charged = if may_be_charged(record) { worst } else { Taken::default() };
            return Taken { requests: 1, ..charged };
        };
        let usage = Usage {
            input,
            output,
            cache_read: record.cache_read_tokens.unwrap_or(0),
            cache_write: record.cache_write_tokens.unwrap_or(0),
        };
        let tier = record.resolved_service_tier.as_deref().unwrap_or(&cell.service_tier);
        let price = self.prices.find(&cell.model_id, &cell.region_prefix, tier);
        let cost = price.and_then(|price| price.cost(usage)).unwrap_or(worst.cost);
        Taken { cost, requests: 1, output }
    }

    /// Why a cell cannot even begin: with fewer users at a time than it is of it would be another cell.
    fn short(&self, cell: usize, spent: Taken) -> Option<Refusal> {
        let planned = &self.cells[cell].cell;
        let fleet = if planned.is_open() { 1 } else { self.shard.share(planned.peak().ceil() as u64).max(1) };
        let fleet = planned
            .load
            .requests
            .map_or(fleet, |requests| fleet.min(planned.part(self.shard).map_or(0, |part| part.share(requests))));
        let worst = self.worst(cell, 0);
        let all =
            Taken { cost: worst.cost.times(fleet), requests: worst.requests * fleet, output: worst.output * fleet };
        let limit = self.exceeded(sum(spent, all))?;
        let reason = format!(
            "the budget of {limit} cannot hold it: {}, and {fleet} at a time, each of {} tokens, may take {} USD; fewer \
             users, a smaller max_tokens, or a larger budget",
            spent.shown(),
            worst.output,
            all.cost
        );
        Some(Refusal { reason, why: Why::Budget })
    }

    /// The limit that one more request might break.
    fn exceeded(&self, taken: Taken) -> Option<String> {
        let plan::Budget { max_cost, max_requests, max_output_tokens } = self.limits;
        let own = |limit: String| {
            let share = format!(", 1/{} of which is this shard's", self.shard.count);
            Some(if self.shard.is_part() { limit + &share } else { limit })
        };
        if let Some(most) = max_requests.filter(|most| taken.requests > self.shard.share(*most)) {
            return own(format!("max_requests = {most}"));
        }
        if let Some(most) = max_output_tokens.filter(|most| taken.output > self.shard.share(*most)) {
            return own(format!("max_output_tokens = {most}"));
        }
        let most = max_cost.filter(|most| taken.cost > Usd::of(*most).share(u64::from(self.shard.count)))?;
        own(format!("max_cost = {most}"))
    }
}

impl Taken {
    /// `0.12870000 USD, 55 requests and 8,012 output tokens are spent`.
    fn shown(&self) -> String {
        let requests = count(self.requests as usize, "request");
        format!("{} USD, {requests} and {} output tokens are spent", self.cost, self.output)
    }
}

fn sum(one: Taken, other: Taken) -> Taken {
    Taken { cost: one.cost + other.cost, requests: one.requests + other.requests, output: one.output + other.output }
}

impl Gate for Budget {
    fn begin(&self, cell: usize) {
        // Nothing is in flight between turns: what was admitted and not sent is free again.
        self.with(|state| {
            *state = State { cell, spent: state.spent, short: self.short(cell, state.spent), ..State::default() };
        });
    }

    fn could_admit(&self, cell: usize) -> Result<(), Refusal> {
        self.with(|state| self.short(cell, state.spent).map_or(Ok(()), Err))
    }

    fn admit(&self) -> Result<(), Refusal> {
        self.with(|state| {
            if let Some(refusal) = &state.short {
                return Err(refusal.clone());
            }
            let worst = self.worst(state.cell, state.longest);
            if let Some(limit) = self.exceeded(sum(sum(state.spent, state.reserved), worst)) {
                let reason = format!(
                    "the budget of {limit} allows no more: {}, and {} in flight may take as much as is left",
                    state.spent.shown(),
                    state.in_flight
                );
                return Err(Refusal { reason, why: Why::Budget });
            }
            state.reserved = sum(state.reserved, worst);
            state.in_flight += 1;
            Ok(())
        })
    }

    fn admit_probe(&self, probe: usize) -> Result<(), Refusal> {
        self.with(|state| {
            let worst = self.worst(self.probes[probe], 0);
            if let Some(limit) = self.exceeded(sum(sum(state.spent, state.reserved), worst)) {
                return Err(Refusal { reason: format!("the budget of {limit} is used up"), why: Why::Budget });
            }
            state.reserved = sum(state.reserved, worst);
            Ok(())
        })
    }

    fn settle_probe(&self, probe: usize, record: &Record) {
        self.with(|state| {
            let worst = self.worst(self.probes[probe], 0);
            state.spent = sum(state.spent, self.taken(self.probes[probe], record, worst));
            state.reserved = Taken {
                cost: state.reserved.cost - worst.cost,
                requests: state.reserved.requests - 1,
                output: state.reserved.output - worst.output,
            };
        });
    }

    fn settle(&self, record: &Record) {
        self.with(|state| {
            let worst = self.worst(state.cell, state.longest);
            state.spent = sum(state.spent, self.taken(state.cell, record, worst));
            state.in_flight = state.in_flight.saturating_sub(1);
            let prompt = |tokens: Option<u64>| tokens.unwrap_or(0);
            let seen =
                prompt(record.input_tokens) + prompt(record.cache_read_tokens) + prompt(record.cache_write_tokens);
            state.longest = state.longest.max(seen);
            // What is in flight is reckoned by what is known now.
            let worst = self.worst(state.cell, state.longest);
            state.reserved = Taken {
                cost: worst.cost.times(state.in_flight),
                requests: state.in_flight,
                output: worst.output * state.in_flight,
            };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::request::tests::record;
    use proptest::prelude::*;

    fn budget(limits: plan::Budget, max_tokens: u32) -> Budget {
        let mut plan = crate::plan::tests::plan();
        plan.matrix.model_ids = vec!["amazon.nova-pro-v1:0".into()];
        plan.request.max_tokens = max_tokens;
        plan.budget = limits;
        plan.matrix.user_counts = vec![1];
        let cells = crate::matrix::expand(&plan);
        let sources: Vec<Arc<Source>> = cells.iter().map(|_| Arc::new(Source::of_text("hello there"))).collect();
        Budget::new(&plan, &cells, &sources, vec![0], Shard::WHOLE)
    }

    proptest! {
        /// Whatever replies cost, in whatever order they end: what is spent never lies above the limit, and the run
        /// goes on as long as one more request at its worst fits.
        #[test]
        fn a_budget_is_never_overshot(
            replies in prop::collection::vec((1_u64..60, 0_u64..=400, any::<bool>()), 1..300),
            users in 1_usize..40,
            cents in 1_u32..40,
        ) {
            let max_cost = f64::from(cents) / 100.0;
            let budget = budget(plan::Budget { max_cost: Some(max_cost), ..plan::Budget::default() }, 400);
            budget.begin(0);
            let mut in_flight: Vec<(u64, u64, bool)> = Vec::new();
            let mut spent = Usd::default();
            let prices = Prices::of(&crate::plan::tests::plan());
            let price = prices.find("amazon.nova-pro-v1:0", "us", "default").unwrap();
            let settle = |(input, output, told): (u64, u64, bool)| {
                let usage = Usage { input, output, ..Usage::default() };
                budget.settle(&Record {
                    input_tokens: told.then_some(input),
                    output_tokens: told.then_some(output),
                    error_class: (!told).then(|| "timeout".into()),
                    ..record()
                });
                price.cost(usage).unwrap()
            };
            for reply in replies {
                if budget.admit().is_ok() {
                    in_flight.push(reply);
                }
                if in_flight.len() >= users {
                    spent += settle(in_flight.remove(0));
                }
            }
            for reply in in_flight {
                spent += settle(reply);
            }
            prop_assert!(spent <= Usd::of(max_cost), "{spent} of {max_cost}");
        }
    }

    #[test]
    fn requests_and_tokens_are_limited_exactly() {
        let limited = budget(plan::Budget { max_requests: Some(3), ..plan::Budget::default() }, 100);
        limited.begin(0);
        assert_eq!((0..5).filter(|_| limited.admit().is_ok()).count(), 3, "what is in flight counts");
        let limited = budget(plan::Budget { max_output_tokens: Some(250), ..plan::Budget::default() }, 100);
        limited.begin(0);
        assert!(limited.admit().is_ok() && limited.admit().is_ok() && limited.admit().is_err());
        limited.settle(&Record { input_tokens: Some(5), output_tokens: Some(10), ..record() });
        assert!(limited.admit().is_ok(), "what a reply did not take is free again");
        let refusal = limited.admit().unwrap_err();
        insta::assert_snapshot!(refusal.reason, @"the budget of max_output_tokens = 250 allows no more: 0.00003600 USD, 1 request and 10 output tokens are spent, and 2 in flight may take as much as is left");
        limited.begin(1);
        assert!(limited.admit().is_ok(), "and what was admitted and never sent");
    }
}
