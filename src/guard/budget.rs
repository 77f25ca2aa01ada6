//! Keeps a run within its budget. What is in flight is counted in at its worst: a prompt as long as it
//! can be, a reply as long as `max_tokens`, at the dearest price that may hold; so the limit is never
//! overshot by what was under way when it was met. What a reply really took replaces that when it ends.

use super::lease::{Cover, Leases, Writer};
use crate::executor::port::{Gate, Refusal, Why};
use crate::matrix::{Cell, Shard};
use crate::plan;
use crate::prices::{Prices, Unpriced, Usage};
use crate::prompts::{Source, TEMPLATE};
use crate::record::Record;
use crate::record::dir::DirError;
use crate::record::hash::text_hash;
use crate::record::reservations::{Amount, Earlier, Reservations};
use crate::stats::may_be_charged;
use crate::units::Usd;
use crate::units::text::count;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// Nothing where no run directory is written.
    leased: Option<Leased>,
}

#[derive(Debug)]
struct Leased {
    leases: Arc<Leases>,
    /// Gone once the session has ended.
    writer: Mutex<Option<Writer>>,
}

#[derive(Debug)]
struct PerCell {
    cell: Cell,
    /// No prompt has more tokens.
    prompt_at_most: u64,
    /// All requests have the same prompt: the first reply tells how many tokens it has.
    one_prompt: bool,
}

#[derive(Debug, Default)]
struct State {
    cell: usize,
    /// Input tokens of the longest prompt of this turn so far.
    longest: u64,
    spent: Amount,
    /// Why this turn cannot begin.
    short: Option<Refusal>,
    reserved: Amount,
    in_flight: u64,
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
            prompt_at_most: source.most_tokens(cell.request.system.as_deref()),
            one_prompt: source.choices().len() == 1,
        };
        Self {
            limits: plan.budget,
            shard,
            prices: Prices::of(plan),
            cells: cells.iter().zip(sources).map(per_cell).collect(),
            probes,
            state: Mutex::default(),
            leased: None,
        }
    }

    /// A request of an earlier session.
    pub(crate) fn remember(&self, cell: usize, record: &Record) {
        self.with(|state| {
            let worst = self.worst(cell, 0);
            state.spent = state.spent + self.taken(cell, record, worst);
        });
    }

    /// Lines of the journal that cannot be read: each may have been a request of any cell.
    pub(crate) fn count_damaged(&self, lines: u64) {
        let worst = self.worst_of_all().times(lines);
        self.with(|state| state.spent = state.spent + worst);
    }

    /// Starts a session that reserves on the disk what it may spend. Counts as spent what earlier sessions may have
    /// spent beyond the requests that [`Self::remember`] was given, and returns how much that is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn reserve(&mut self, file: Reservations, earlier: &Earlier) -> Result<Amount, DirError> {
        let recorded = self.with(|state| state.spent);
        let (worst, prices, spent) = (self.worst_of_all(), self.prices_hash(), self.count_earlier(earlier));
        let (leases, writer) = Leases::start(file, self.limit(), worst, spent, prices)?;
        self.leased = Some(Leased { leases, writer: Mutex::new(Some(writer)) });
        Ok(spent.minus(recorded))
    }

    /// Counts as spent what earlier sessions may have spent, and returns it.
    fn count_earlier(&self, earlier: &Earlier) -> Amount {
        self.with(|state| {
            state.spent = self.at_most(state.spent, earlier);
            state.spent
        })
    }

    /// Ends the session, of which nothing is in flight and the journal is synced: gives back what was reserved and not
    /// spent.
    ///
    /// # Errors
    /// When the file could not be written, now or earlier.
    pub(crate) fn close(&self) -> Result<(), DirError> {
        let Some(Leased { leases, writer }) = &self.leased else { return Ok(()) };
        let returned = leases.close(self.with(|state| state.spent));
        let Some(writer) = writer.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        match writer.join() {
            Ok(file) => file?.append(&returned),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Returns the most that all sessions until now have spent, `recorded` being what the journal contains. For the
    /// proof see [`super::lease`].
    fn at_most(&self, recorded: Amount, earlier: &Earlier) -> Amount {
        let none = Amount::UNBOUNDED;
        let (ceiling, prices) = match earlier {
            Earlier::Nothing => return recorded,
            Earlier::AtMost { amount, prices } => (*amount, prices.as_str()),
            Earlier::Unknown => (self.limit(), ""),
        };
        let is_unknown = *earlier == Earlier::Unknown;
        // Without a limit of requests a file that cannot be read bounds none that the journal lacks.
        let requests =
            if is_unknown && ceiling.requests == none.requests { recorded.requests } else { ceiling.requests };
        let lacking = self.worst_of_all().times(requests.saturating_sub(recorded.requests));
        let has_cost = ceiling.cost != none.cost && (is_unknown || prices == self.prices_hash());
        let has_tokens = ceiling.output_tokens != none.output_tokens;
        Amount {
            cost: if has_cost { recorded.cost.max(ceiling.cost) } else { recorded.cost + lacking.cost },
            requests: recorded.requests.max(requests),
            output_tokens: if has_tokens {
                recorded.output_tokens.max(ceiling.output_tokens)
            } else {
                recorded.output_tokens.saturating_add(lacking.output_tokens)
            },
        }
    }

    /// Returns what one request of any cell takes at most.
    fn worst_of_all(&self) -> Amount {
        (0..self.cells.len()).map(|cell| self.worst(cell, 0)).fold(Amount::default(), Amount::max)
    }

    /// Returns the hash of the prices that apply to the cells.
    fn prices_hash(&self) -> String {
        let cells: Vec<Cell> = self.cells.iter().map(|cell| cell.cell.clone()).collect();
        text_hash(&serde_json::to_string(&self.prices.used(&cells)).unwrap_or_default())
    }

    /// Returns this machine's share of the limits.
    fn limit(&self) -> Amount {
        let plan::Budget { max_cost, max_requests, max_output_tokens } = self.limits;
        let share = |limit: Option<u64>| limit.map_or(u64::MAX, |most| self.shard.share(most));
        Amount {
            cost: max_cost.map_or(Usd::MAX, |most| Usd::of(most).share(u64::from(self.shard.count))),
            requests: share(max_requests),
            output_tokens: share(max_output_tokens),
        }
    }

    /// Returns whether what has to be on the disk before a request, whose worst case is `worst`, is there.
    fn covered(&self, state: &State, worst: Amount) -> Result<(), Refusal> {
        let cover = self.leased.as_ref().map(|leased| leased.leases.cover(state.spent + state.reserved + worst, worst));
        let (why, reason) = match cover {
            None | Some(Cover::Covered) => return Ok(()),
            Some(Cover::Pending) => (Why::Unreserved, String::new()),
            Some(Cover::Lost) => (Why::Budget, "the budget cannot be reserved on the disk".to_owned()),
        };
        Err(Refusal { reason, why })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What one request can take at most. `longest` is what prompts were seen to have, if any.
    fn worst(&self, cell: usize, longest: u64) -> Amount {
        let output_tokens = u64::from(self.cells[cell].cell.request.max_tokens);
        // A cell that lacks a price starts only if money is not limited.
        Amount { cost: self.worst_cost(cell, longest).unwrap_or_default(), requests: 1, output_tokens }
    }

    fn worst_cost(&self, cell: usize, longest: u64) -> Result<Usd, Unpriced> {
        let PerCell { cell, prompt_at_most, one_prompt } = &self.cells[cell];
        let input = if *one_prompt && longest > 0 { longest.saturating_add(TEMPLATE) } else { *prompt_at_most };
        let output = u64::from(cell.request.max_tokens);
        self.prices.worst_case(asked(cell), input, output, cell.cache_mode.writes_cache())
    }

    /// Returns why a cell cannot be kept within a budget of money.
    fn unpriced(&self, cell: usize) -> Option<Refusal> {
        self.limits.max_cost?;
        let unpriced = self.worst_cost(cell, 0).err()?;
        let reason = format!("max_cost cannot be kept: {}", unpriced.message(asked(&self.cells[cell].cell)));
        Some(Refusal { reason, why: Why::Budget })
    }

    /// What a request took; its worst where nobody told, which is also what a usage of zeros means.
    fn taken(&self, cell: usize, record: &Record, worst: Amount) -> Amount {
        let cell = &self.cells[cell].cell;
        let cached = (record.cache_read_tokens.unwrap_or(0), record.cache_write_tokens.unwrap_or(0));
        let (input, output, (cache_read, cache_write)) = match (record.input_tokens, record.output_tokens, cached) {
            (None, _, _) | (_, None, _) | (Some(0), Some(0), (0, 0)) => {
                let charged = if may_be_charged(record) { worst } else { Amount::default() };
                return Amount { requests: 1, ..charged };
            }
            (Some(input), Some(output), cached) => (input, output, cached),
        };
        let (model_id, region_prefix, service_tier) = asked(cell);
        let tier = record.resolved_service_tier.as_deref().unwrap_or(service_tier);
        let usage = Usage { input, output, cache_read, cache_write };
        let cost = self.prices.cost((model_id, region_prefix, tier), usage).unwrap_or(worst.cost);
        Amount { cost, requests: 1, output_tokens: output }
    }

    /// Why a cell cannot even begin: with fewer users at a time than it is of it would be another cell.
    fn short(&self, cell: usize, spent: Amount) -> Option<Refusal> {
        if let Some(refusal) = self.unpriced(cell) {
            return Some(refusal);
        }
        let planned = &self.cells[cell].cell;
        let fleet = if planned.is_open() { 1 } else { self.shard.share(planned.peak().ceil() as u64).max(1) };
        let fleet = planned
            .load
            .requests
            .map_or(fleet, |requests| fleet.min(planned.part(self.shard).map_or(0, |part| part.share(requests))));
        let worst = self.worst(cell, 0);
        let all = worst.times(fleet);
        let limit = self.exceeded(spent + all)?;
        let reason = format!(
            "the budget of {limit} cannot hold it: {}, and {fleet} at a time, each of {} tokens, may take {} USD; fewer \
             users, a smaller max_tokens, or a larger budget",
            shown(spent),
            worst.output_tokens,
            all.cost
        );
        Some(Refusal { reason, why: Why::Budget })
    }

    /// The limit that one more request might break.
    fn exceeded(&self, taken: Amount) -> Option<String> {
        let plan::Budget { max_cost, max_requests, max_output_tokens } = self.limits;
        let own = |limit: String| {
            let share = format!(", 1/{} of which is this shard's", self.shard.count);
            Some(if self.shard.is_part() { limit + &share } else { limit })
        };
        let limit = self.limit();
        if let Some(most) = max_requests.filter(|_| taken.requests > limit.requests) {
            return own(format!("max_requests = {most}"));
        }
        if let Some(most) = max_output_tokens.filter(|_| taken.output_tokens > limit.output_tokens) {
            return own(format!("max_output_tokens = {most}"));
        }
        let most = max_cost.filter(|_| taken.cost > limit.cost)?;
        own(format!("max_cost = {most}"))
    }
}

/// What prices of a cell depend on.
fn asked(cell: &Cell) -> (&str, &str, &str) {
    (&cell.model_id, &cell.region_prefix, &cell.service_tier)
}

/// `0.12870000 USD, 55 requests and 8,012 output tokens are spent`.
fn shown(spent: Amount) -> String {
    let requests = count(spent.requests as usize, "request");
    format!("{} USD, {requests} and {} output tokens are spent", spent.cost, spent.output_tokens)
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
            if let Some(limit) = self.exceeded(state.spent + state.reserved + worst) {
                let reason = format!(
                    "the budget of {limit} allows no more: {}, and {} in flight may take as much as is left",
                    shown(state.spent),
                    state.in_flight
                );
                return Err(Refusal { reason, why: Why::Budget });
            }
            self.covered(state, worst)?;
            state.reserved = state.reserved + worst;
            state.in_flight += 1;
            Ok(())
        })
    }

    fn admit_probe(&self, probe: usize) -> Result<(), Refusal> {
        self.with(|state| {
            if let Some(refusal) = self.unpriced(self.probes[probe]) {
                return Err(refusal);
            }
            let worst = self.worst(self.probes[probe], 0);
            if let Some(limit) = self.exceeded(state.spent + state.reserved + worst) {
                return Err(Refusal { reason: format!("the budget of {limit} is used up"), why: Why::Budget });
            }
            self.covered(state, worst)?;
            state.reserved = state.reserved + worst;
            Ok(())
        })
    }

    fn settle_probe(&self, probe: usize, record: &Record) {
        self.with(|state| {
            let worst = self.worst(self.probes[probe], 0);
            state.spent = state.spent + self.taken(self.probes[probe], record, worst);
            state.reserved = state.reserved.minus(worst);
        });
    }

    fn settle(&self, record: &Record) {
        self.with(|state| {
            let worst = self.worst(state.cell, state.longest);
            state.spent = state.spent + self.taken(state.cell, record, worst);
            state.in_flight = state.in_flight.saturating_sub(1);
            let prompt = |tokens: Option<u64>| tokens.unwrap_or(0);
            let seen =
                prompt(record.input_tokens) + prompt(record.cache_read_tokens) + prompt(record.cache_write_tokens);
            state.longest = state.longest.max(seen);
            // What is in flight is reckoned by what is known now.
            state.reserved = self.worst(state.cell, state.longest).times(state.in_flight);
        });
    }

    fn reserved(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        match &self.leased {
            Some(leased) => Box::pin(leased.leases.wait()),
            None => Box::pin(std::future::ready(())),
        }
    }
}

#[cfg(test)]
mod kill_tests;

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
            let asked = ("amazon.nova-pro-v1:0", "us", "default");
            let settle = |(input, output, told): (u64, u64, bool)| {
                let usage = Usage { input, output, ..Usage::default() };
                budget.settle(&Record {
                    input_tokens: told.then_some(input),
                    output_tokens: told.then_some(output),
                    error_class: (!told).then(|| "timeout".into()),
                    ..record()
                });
                prices.cost(asked, usage).unwrap()
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
    fn success_without_tokens_counts_as_its_worst_case() {
        let limited = budget(plan::Budget { max_output_tokens: Some(250), ..plan::Budget::default() }, 100);
        limited.begin(0);
        assert!(limited.admit().is_ok());
        limited.settle(&Record { input_tokens: Some(0), output_tokens: Some(0), ..record() });
        assert!(limited.admit().is_ok());
        assert!(limited.admit().is_err(), "100 of the reply that reports zeros, 100 in flight, and 100 more");
    }

    #[test]
    fn cell_without_a_price_for_its_prompts_does_not_start() {
        let mut plan = crate::plan::tests::plan();
        plan.matrix.model_ids = vec!["m".into()];
        plan.budget.max_cost = Some(1.0);
        plan.prices.rows = vec![plan::Price {
            model_id: "m".into(),
            region_prefix: None,
            service_tier: None,
            input: 1.0,
            output: 1.0,
            cache_read: None,
            cache_write: None,
            up_to_input_tokens: Some(70),
            source: String::new(),
        }];
        let cells = crate::matrix::expand(&plan);
        let sources: Vec<Arc<Source>> = cells.iter().map(|_| Arc::new(Source::of_text("hello there"))).collect();
        let budget = Budget::new(&plan, &cells, &sources, vec![0], Shard::WHOLE);
        budget.begin(0);
        for refusal in [budget.admit(), budget.admit_probe(0), budget.could_admit(0)] {
            let reason = refusal.unwrap_err().reason;
            assert!(reason.contains("no price for prompts above 70 tokens of m (us, "), "{reason}");
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
