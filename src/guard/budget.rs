//! Keeps a run within its budget. Requests in flight count with their worst case: the longest possible prompt, a reply of
//! `max_tokens`, the highest price that may apply. The limit is therefore never exceeded by requests that were in flight
//! when it was reached. The actual usage replaces the worst case when a request ends.

use super::lease::{LeaseState, Leases, Writer};
use crate::executor::port::{Gate, Refusal, RefusalReason};
use crate::matrix::{Cell, Shard};
use crate::plan;
use crate::prices::{Prices, Unpriced, Usage};
use crate::prompts::{Source, TEMPLATE_TOKENS};
use crate::record::Record;
use crate::record::dir::DirError;
use crate::record::hash::text_hash;
use crate::record::reservations::{Amount, Earlier, Reservations};
use crate::stats::may_be_charged;
use crate::units::Usd;
use crate::units::text::count;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

/// The gate that enforces `[budget]`.
#[derive(Debug)]
pub(crate) struct BudgetGate {
    limits: plan::Budget,
    /// With several shards, each one has its share of the limits.
    shard: Shard,
    prices: Prices,
    cells: Vec<CellBudget>,
    probes: Vec<usize>,
    state: Mutex<State>,
    /// `None` if no run directory is written.
    lease_session: Option<LeaseSession>,
}

#[derive(Debug)]
struct LeaseSession {
    leases: Arc<Leases>,
    /// `None` once the session has ended.
    writer: Mutex<Option<Writer>>,
}

#[derive(Debug)]
struct CellBudget {
    cell: Cell,
    /// Upper bound of the tokens of a prompt.
    max_prompt_tokens: u64,
    /// Whether all requests have the same prompt: then the first reply reports its number of tokens.
    has_single_prompt: bool,
}

#[derive(Debug, Default)]
struct State {
    cell: usize,
    /// Input tokens of the longest prompt of this cell run so far.
    longest_prompt: u64,
    spent: Amount,
    /// Refusal of the whole cell run, if the budget cannot cover it.
    cell_refusal: Option<Refusal>,
    reserved: Amount,
    in_flight: u64,
}

impl BudgetGate {
    /// Creates the gate for the cells of a run and their prompt sources, in matrix order. `probes` contains, for each
    /// pre-flight probe, the index of a cell with the same kind of request.
    pub(crate) fn new(
        plan: &plan::Plan,
        cells: &[Cell],
        sources: &[Arc<Source>],
        probes: Vec<usize>,
        shard: Shard,
    ) -> Self {
        let per_cell = |(cell, source): (&Cell, &Arc<Source>)| CellBudget {
            cell: cell.clone(),
            max_prompt_tokens: source.max_tokens(cell.request.system.as_deref()),
            has_single_prompt: source.choices().len() == 1,
        };
        Self {
            limits: plan.budget,
            shard,
            prices: Prices::from_plan(plan),
            cells: cells.iter().zip(sources).map(per_cell).collect(),
            probes,
            state: Mutex::default(),
            lease_session: None,
        }
    }

    /// Adds a recorded request of an earlier session to the amount spent.
    pub(crate) fn add_earlier_request(&self, cell: usize, record: &Record) {
        self.with(|state| {
            let worst = self.worst_case(cell, 0);
            state.spent = state.spent + self.actual_usage(cell, record, worst);
        });
    }

    /// Counts unreadable lines of the journal as spent: each may have been a request of any cell.
    pub(crate) fn count_damaged(&self, lines: u64) {
        let worst = self.worst_case_of_any_cell().times(lines);
        self.with(|state| state.spent = state.spent + worst);
    }

    /// Starts a session that reserves on the disk what it may spend. Counts as spent what earlier sessions may have spent
    /// beyond the requests passed to [`Self::add_earlier_request`], and returns that amount.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(crate) fn reserve(&mut self, file: Reservations, earlier: &Earlier) -> Result<Amount, DirError> {
        let recorded = self.with(|state| state.spent);
        let (worst, prices, spent) = (self.worst_case_of_any_cell(), self.prices_hash(), self.count_earlier(earlier));
        let (leases, writer) = Leases::start(file, self.limit(), worst, spent, prices)?;
        self.lease_session = Some(LeaseSession { leases, writer: Mutex::new(Some(writer)) });
        Ok(spent.minus(recorded))
    }

    /// Counts as spent the upper bound of what earlier sessions have spent, and returns the total.
    fn count_earlier(&self, earlier: &Earlier) -> Amount {
        self.with(|state| {
            state.spent = self.spent_upper_bound(state.spent, earlier);
            state.spent
        })
    }

    /// Ends the session and returns the unspent reservation. Nothing may be in flight, and the journal must be synced.
    ///
    /// # Errors
    /// Fails if the file could not be written, now or earlier.
    pub(crate) fn close(&self) -> Result<(), DirError> {
        let Some(LeaseSession { leases, writer }) = &self.lease_session else { return Ok(()) };
        let returned = leases.close(self.with(|state| state.spent));
        let Some(writer) = writer.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        match writer.join() {
            Ok(file) => file?.append(&returned),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Returns an upper bound of what all sessions so far have spent. `recorded` is the amount in the journal. See
    /// [`super::lease`] for the proof.
    fn spent_upper_bound(&self, recorded: Amount, earlier: &Earlier) -> Amount {
        let none = Amount::UNBOUNDED;
        let (ceiling, prices) = match earlier {
            Earlier::Nothing => return recorded,
            Earlier::AtMost { amount, prices } => (*amount, prices.as_str()),
            Earlier::Unknown => (self.limit(), ""),
        };
        let is_unknown = *earlier == Earlier::Unknown;
        // Without a limit on requests, an unreadable file gives no bound for requests missing from the journal.
        let requests =
            if is_unknown && ceiling.requests == none.requests { recorded.requests } else { ceiling.requests };
        let lacking = self.worst_case_of_any_cell().times(requests.saturating_sub(recorded.requests));
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

    /// Returns the worst case of one request of any cell.
    fn worst_case_of_any_cell(&self) -> Amount {
        (0..self.cells.len()).map(|cell| self.worst_case(cell, 0)).fold(Amount::default(), Amount::max)
    }

    /// Returns the hash of the prices that apply to the cells.
    fn prices_hash(&self) -> String {
        let cells: Vec<Cell> = self.cells.iter().map(|cell| cell.cell.clone()).collect();
        text_hash(&serde_json::to_string(&self.prices.rows_for(&cells)).unwrap_or_default())
    }

    /// Returns this shard's share of the limits.
    fn limit(&self) -> Amount {
        let plan::Budget { max_cost, max_requests, max_output_tokens } = self.limits;
        let share = |limit: Option<u64>| limit.map_or(u64::MAX, |most| self.shard.share(most));
        Amount {
            cost: max_cost.map_or(Usd::MAX, |most| Usd::from_f64(most).share(u64::from(self.shard.count))),
            requests: share(max_requests),
            output_tokens: share(max_output_tokens),
        }
    }

    /// Checks that a reservation on the disk covers a further request, whose worst case is `worst`.
    fn check_reserved(&self, state: &State, worst: Amount) -> Result<(), Refusal> {
        let cover = self
            .lease_session
            .as_ref()
            .map(|session| session.leases.cover(state.spent + state.reserved + worst, worst));
        let (reason, message) = match cover {
            None | Some(LeaseState::Covered) => return Ok(()),
            Some(LeaseState::Pending) => (RefusalReason::NotReserved, String::new()),
            Some(LeaseState::Lost) => {
                (RefusalReason::BudgetExhausted, "the budget cannot be reserved on the disk".to_owned())
            }
        };
        Err(Refusal { message, reason })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the worst case of one request. `longest` is the longest prompt seen so far, in tokens, or 0.
    fn worst_case(&self, cell: usize, longest: u64) -> Amount {
        let output_tokens = u64::from(self.cells[cell].cell.request.max_tokens);
        // A cell without a price runs only if there is no cost limit.
        Amount { cost: self.worst_case_cost(cell, longest).unwrap_or_default(), requests: 1, output_tokens }
    }

    fn worst_case_cost(&self, cell: usize, longest: u64) -> Result<Usd, Unpriced> {
        let CellBudget { cell, max_prompt_tokens, has_single_prompt } = &self.cells[cell];
        let input = if *has_single_prompt && longest > 0 {
            longest.saturating_add(TEMPLATE_TOKENS)
        } else {
            *max_prompt_tokens
        };
        let output = u64::from(cell.request.max_tokens);
        self.prices.worst_case(price_key(cell), input, output, cell.cache_mode.writes_cache())
    }

    /// Returns a refusal if a cell has no price and there is a cost limit.
    fn missing_price_refusal(&self, cell: usize) -> Option<Refusal> {
        self.limits.max_cost?;
        let missing_price = self.worst_case_cost(cell, 0).err()?;
        let message =
            format!("max_cost cannot be enforced: {}", missing_price.message(price_key(&self.cells[cell].cell)));
        Some(Refusal { message, reason: RefusalReason::BudgetExhausted })
    }

    /// Returns the actual usage of a request; the worst case if the reply reports no usage or only zeros.
    fn actual_usage(&self, cell: usize, record: &Record, worst: Amount) -> Amount {
        let cell = &self.cells[cell].cell;
        let cached = (record.cache_read_tokens.unwrap_or(0), record.cache_write_tokens.unwrap_or(0));
        let (input, output, (cache_read, cache_write)) = match (record.input_tokens, record.output_tokens, cached) {
            (None, _, _) | (_, None, _) | (Some(0), Some(0), (0, 0)) => {
                let charged = if may_be_charged(record) { worst } else { Amount::default() };
                return Amount { requests: 1, ..charged };
            }
            (Some(input), Some(output), cached) => (input, output, cached),
        };
        let (model_id, region_prefix, service_tier) = price_key(cell);
        let tier = record.resolved_service_tier.as_deref().unwrap_or(service_tier);
        let usage = Usage { input, output, cache_read, cache_write };
        let cost = self.prices.cost((model_id, region_prefix, tier), usage).unwrap_or(worst.cost);
        Amount { cost, requests: 1, output_tokens: output }
    }

    /// Returns a refusal if the budget cannot cover the cell's users together: with fewer users it would be another cell.
    fn cell_refusal(&self, cell: usize, spent: Amount) -> Option<Refusal> {
        if let Some(refusal) = self.missing_price_refusal(cell) {
            return Some(refusal);
        }
        let planned = &self.cells[cell].cell;
        let concurrency = if planned.is_open() { 1 } else { self.shard.share(planned.peak().ceil() as u64).max(1) };
        let concurrency = planned.load.requests.map_or(concurrency, |requests| {
            concurrency.min(planned.part(self.shard).map_or(0, |part| part.share(requests)))
        });
        let worst = self.worst_case(cell, 0);
        let all = worst.times(concurrency);
        let limit = self.exceeded_limit(spent + all)?;
        let message = format!(
            "the budget of {limit} is too small for the cell: {}, and the worst case of {concurrency} concurrent requests \
             of {} output tokens is {} USD; use fewer users, a smaller max_tokens or a larger budget",
            describe_spent(spent),
            worst.output_tokens,
            all.cost
        );
        Some(Refusal { message, reason: RefusalReason::BudgetExhausted })
    }

    /// Returns the limit that `amount` exceeds, if any.
    fn exceeded_limit(&self, amount: Amount) -> Option<String> {
        let plan::Budget { max_cost, max_requests, max_output_tokens } = self.limits;
        let with_share = |limit: String| {
            let share = format!(", of which this shard has 1/{}", self.shard.count);
            Some(if self.shard.is_part() { limit + &share } else { limit })
        };
        let limit = self.limit();
        if let Some(most) = max_requests.filter(|_| amount.requests > limit.requests) {
            return with_share(format!("max_requests = {most}"));
        }
        if let Some(most) = max_output_tokens.filter(|_| amount.output_tokens > limit.output_tokens) {
            return with_share(format!("max_output_tokens = {most}"));
        }
        let most = max_cost.filter(|_| amount.cost > limit.cost)?;
        with_share(format!("max_cost = {most}"))
    }
}

/// Returns what the price of a cell depends on: model, prefix and tier.
fn price_key(cell: &Cell) -> (&str, &str, &str) {
    (&cell.model_id, &cell.region_prefix, &cell.service_tier)
}

/// Returns, for example, `0.12870000 USD, 55 requests and 8,012 output tokens are spent`.
fn describe_spent(spent: Amount) -> String {
    let requests = count(spent.requests as usize, "request");
    format!("{} USD, {requests} and {} output tokens are spent", spent.cost, spent.output_tokens)
}

impl Gate for BudgetGate {
    fn start_cell(&self, cell: usize) {
        // Nothing is in flight between cell runs: reservations of admitted but unsent requests are released.
        self.with(|state| {
            *state = State {
                cell,
                spent: state.spent,
                cell_refusal: self.cell_refusal(cell, state.spent),
                ..State::default()
            };
        });
    }

    fn check_cell(&self, cell: usize) -> Result<(), Refusal> {
        self.with(|state| self.cell_refusal(cell, state.spent).map_or(Ok(()), Err))
    }

    fn admit(&self) -> Result<(), Refusal> {
        self.with(|state| {
            if let Some(refusal) = &state.cell_refusal {
                return Err(refusal.clone());
            }
            let worst = self.worst_case(state.cell, state.longest_prompt);
            if let Some(limit) = self.exceeded_limit(state.spent + state.reserved + worst) {
                let message = format!(
                    "the budget of {limit} admits no further request: {}, and the worst case of {} in flight uses \
                     the rest",
                    describe_spent(state.spent),
                    state.in_flight
                );
                return Err(Refusal { message, reason: RefusalReason::BudgetExhausted });
            }
            self.check_reserved(state, worst)?;
            state.reserved = state.reserved + worst;
            state.in_flight += 1;
            Ok(())
        })
    }

    fn admit_probe(&self, probe: usize) -> Result<(), Refusal> {
        self.with(|state| {
            if let Some(refusal) = self.missing_price_refusal(self.probes[probe]) {
                return Err(refusal);
            }
            let worst = self.worst_case(self.probes[probe], 0);
            if let Some(limit) = self.exceeded_limit(state.spent + state.reserved + worst) {
                return Err(Refusal {
                    message: format!("the budget of {limit} is used up"),
                    reason: RefusalReason::BudgetExhausted,
                });
            }
            self.check_reserved(state, worst)?;
            state.reserved = state.reserved + worst;
            Ok(())
        })
    }

    fn settle_probe(&self, probe: usize, record: &Record) {
        self.with(|state| {
            let worst = self.worst_case(self.probes[probe], 0);
            state.spent = state.spent + self.actual_usage(self.probes[probe], record, worst);
            state.reserved = state.reserved.minus(worst);
        });
    }

    fn settle(&self, record: &Record) {
        self.with(|state| {
            let worst = self.worst_case(state.cell, state.longest_prompt);
            state.spent = state.spent + self.actual_usage(state.cell, record, worst);
            state.in_flight = state.in_flight.saturating_sub(1);
            let prompt = |tokens: Option<u64>| tokens.unwrap_or(0);
            let seen =
                prompt(record.input_tokens) + prompt(record.cache_read_tokens) + prompt(record.cache_write_tokens);
            state.longest_prompt = state.longest_prompt.max(seen);
            // The worst case of requests in flight follows from the longest prompt seen so far.
            state.reserved = self.worst_case(state.cell, state.longest_prompt).times(state.in_flight);
        });
    }

    fn wait_for_reservation(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        match &self.lease_session {
            Some(session) => Box::pin(session.leases.wait_for_grant()),
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

    fn budget(limits: plan::Budget, max_tokens: u32) -> BudgetGate {
        let mut plan = crate::plan::tests::plan();
        plan.matrix.model_ids = vec!["amazon.nova-pro-v1:0".into()];
        plan.request.max_tokens = max_tokens;
        plan.budget = limits;
        plan.matrix.user_counts = vec![1];
        let cells = crate::matrix::expand(&plan);
        let sources: Vec<Arc<Source>> = cells.iter().map(|_| Arc::new(Source::from_text("hello there"))).collect();
        BudgetGate::new(&plan, &cells, &sources, vec![0], Shard::WHOLE)
    }

    proptest! {
        /// For any costs of replies and any order of their ends, the amount spent never exceeds the limit.
        #[test]
        fn spent_amount_never_exceeds_the_budget(
            replies in prop::collection::vec((1_u64..60, 0_u64..=400, any::<bool>()), 1..300),
            users in 1_usize..40,
            cents in 1_u32..40,
        ) {
            let max_cost = f64::from(cents) / 100.0;
            let budget = budget(plan::Budget { max_cost: Some(max_cost), ..plan::Budget::default() }, 400);
            budget.start_cell(0);
            let mut in_flight: Vec<(u64, u64, bool)> = Vec::new();
            let mut spent = Usd::default();
            let prices = Prices::from_plan(&crate::plan::tests::plan());
            let price_key = ("amazon.nova-pro-v1:0", "us", "default");
            let settle = |(input, output, is_reported): (u64, u64, bool)| {
                let usage = Usage { input, output, ..Usage::default() };
                budget.settle(&Record {
                    input_tokens: is_reported.then_some(input),
                    output_tokens: is_reported.then_some(output),
                    error_class: (!is_reported).then(|| "timeout".into()),
                    ..record()
                });
                prices.cost(price_key, usage).unwrap()
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
            prop_assert!(spent <= Usd::from_f64(max_cost), "{spent} of {max_cost}");
        }
    }

    #[test]
    fn success_without_tokens_counts_as_its_worst_case() {
        let limited = budget(plan::Budget { max_output_tokens: Some(250), ..plan::Budget::default() }, 100);
        limited.start_cell(0);
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
        let sources: Vec<Arc<Source>> = cells.iter().map(|_| Arc::new(Source::from_text("hello there"))).collect();
        let budget = BudgetGate::new(&plan, &cells, &sources, vec![0], Shard::WHOLE);
        budget.start_cell(0);
        for refusal in [budget.admit(), budget.admit_probe(0), budget.check_cell(0)] {
            let message = refusal.unwrap_err().message;
            assert!(message.contains("no price for prompts above 70 tokens of m (us, "), "{message}");
        }
    }

    #[test]
    fn requests_and_tokens_are_limited_exactly() {
        let limited = budget(plan::Budget { max_requests: Some(3), ..plan::Budget::default() }, 100);
        limited.start_cell(0);
        assert_eq!((0..5).filter(|_| limited.admit().is_ok()).count(), 3, "requests in flight count");
        let limited = budget(plan::Budget { max_output_tokens: Some(250), ..plan::Budget::default() }, 100);
        limited.start_cell(0);
        assert!(limited.admit().is_ok() && limited.admit().is_ok() && limited.admit().is_err());
        limited.settle(&Record { input_tokens: Some(5), output_tokens: Some(10), ..record() });
        assert!(limited.admit().is_ok(), "the unused part of a worst case is released");
        let refusal = limited.admit().unwrap_err();
        insta::assert_snapshot!(refusal.message, @"the budget of max_output_tokens = 250 admits no further request: 0.00003600 USD, 1 request and 10 output tokens are spent, and the worst case of 2 in flight uses the rest");
        limited.start_cell(1);
        assert!(limited.admit().is_ok(), "reservations of unsent requests are released");
    }
}
