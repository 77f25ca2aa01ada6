//! Estimate of a plan's time, requests, tokens and cost before it runs: the expected values with the assumption behind
//! them, and the upper bounds with the setting that limits them. Depends on plan, matrix, prompts and prices.

use crate::matrix::Cell;
use crate::plan::{Arrivals, CacheMode, Endpoint, Plan};
use crate::prices::{self, Prices, Usage};
use crate::prompts::Prompts;
use crate::units::Keyed;
use serde::Serialize;

/// Latency that is assumed for a request if nothing is known, seconds.
const ASSUMED_LATENCY_S: f64 = 1.0;

/// Length that is assumed for a reply if nothing is known, tokens; `max_tokens` if that is less.
pub(crate) const ASSUMED_OUTPUT_TOKENS: u32 = 256;

/// Expected values and upper bounds of a run, before any request is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Estimate {
    /// Number of cell runs: cells times repetitions.
    #[serde(skip)]
    pub(crate) planned_runs: usize,
    /// Test durations and cool-downs if every request is answered at once, seconds.
    pub(crate) seconds: f64,
    /// The same with every drain and every `min_samples` at its upper bound, seconds.
    pub(crate) seconds_at_most: f64,
    /// Assumed latency behind all expected values, seconds: the mean over the cells.
    pub(crate) assumed_latency_s: f64,
    /// Expected requests: users x time / (latency + think time), or arrivals x time.
    pub(crate) requests: u64,
    /// Upper bound of the requests, however fast replies arrive; `None` if there is no bound.
    pub(crate) requests_at_most: Option<u64>,
    /// The setting that bounds the requests of the run.
    pub(crate) bounded_by: Bound,
    /// Prompt tokens of the expected requests without a cache, at four characters per token.
    pub(crate) input_tokens: u64,
    /// Reply tokens of the expected requests, with replies of [`ASSUMED_OUTPUT_TOKENS`] or of the simulator's mean
    /// length.
    pub(crate) output_tokens: u64,
    /// Upper bound of the reply tokens: all requests at the upper bound get replies of `max_tokens`.
    pub(crate) output_tokens_at_most: Option<u64>,
    /// Expected cost of the cells that have a price, US dollars.
    pub(crate) cost_usd: Option<f64>,
    /// Upper bound of the cost, US dollars: the budget, or all requests at the upper bound with replies of
    /// `max_tokens`.
    pub(crate) cost_usd_at_most: Option<f64>,
    /// Whether the budget is what limits the cost.
    pub(crate) is_cost_bounded_by_budget: bool,
    /// Combinations of model, prefix and tier that have no price.
    pub(crate) unpriced: Vec<String>,
    /// Quota use of the cell that needs the most.
    pub(crate) reserved: Option<QuotaUse>,
    /// Prompt sizes that have several prompts or a data set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) prompts: Vec<ExpectedPrompts>,
}

/// Expected number of times that the prompts of a prompt size are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ExpectedPrompts {
    pub(crate) prompt_size: String,
    /// Number of distinct prompts.
    pub(crate) distinct: usize,
    /// Expected requests per cell run, in the cell with the most.
    pub(crate) requests: u64,
    /// Whether a data set is expected to repeat in a cell whose cache mode does not make its prompts distinct.
    pub(crate) is_repeated: bool,
}

/// Setting that bounds the requests of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    /// `budget.max_requests`.
    Budget,
    /// `load.requests` in every cell.
    Requests,
    /// The duration, with the shortest think time or with the arrival rate.
    Duration,
    /// No setting: some cell has no think time.
    #[serde(rename = "nothing")]
    Unbounded,
}

/// Quota use of a cell at its peak load. At the start of a request, Bedrock reserves the prompt and `max_tokens`. At
/// its end, Bedrock settles by the prompt and the reply, whose tokens count `burndown` times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct QuotaUse {
    /// Cell that reserves the most.
    pub(crate) test_id: String,
    /// Prompt tokens and `max_tokens` of all expected starts per minute.
    pub(crate) tokens_per_minute: u64,
    /// Prompt tokens and reply tokens, times `burndown`, of all expected ends per minute.
    pub(crate) settled_tokens_per_minute: u64,
    /// Number of quota tokens per reply token.
    pub(crate) burndown: f64,
    /// Expected starts per minute.
    pub(crate) requests_per_minute: u64,
}

impl QuotaUse {
    /// Returns the tokens per minute that the quota must allow: the larger of reserved and settled.
    fn required(&self) -> u64 {
        self.tokens_per_minute.max(self.settled_tokens_per_minute)
    }
}

/// Estimate of one repetition of one cell.
struct CellEstimate {
    latency_s: f64,
    requests: f64,
    requests_at_most: Option<f64>,
    /// Prompt tokens of one request.
    each_input: f64,
    input: f64,
    output: f64,
    max_tokens: f64,
}

impl CellEstimate {
    fn output_at_most(&self) -> Option<f64> {
        self.requests_at_most.map(|requests| requests * self.max_tokens)
    }
}

/// Estimates the cells of a plan with all repetitions.
pub(crate) fn estimate(cells: &[Cell], plan: &Plan, prompts: &Prompts) -> Estimate {
    let repetitions = f64::from(plan.load.repetitions);
    let planned_runs = cells.len() * plan.load.repetitions as usize;
    let load: f64 = cells.iter().map(|cell| cell.length().as_secs_f64()).sum::<f64>() * repetitions;
    let drains: f64 =
        cells.iter().map(|cell| cell.load.drain.min(cell.request.timeout).as_secs_f64()).sum::<f64>() * repetitions;
    let extensions: f64 =
        cells.iter().map(|cell| cell.max_length().saturating_sub(cell.length()).as_secs_f64()).sum::<f64>()
            * repetitions;
    let pauses = planned_runs.saturating_sub(1) as f64 * plan.load.cool_down.as_secs_f64();
    let input = |cell: &Cell| prompts.estimated_tokens(&cell.prompt_size, &plan.mix, cell.request.system.as_deref());
    let estimates: Vec<CellEstimate> = cells.iter().map(|cell| estimate_cell(cell, plan, input(cell))).collect();
    let sum = |field: fn(&CellEstimate) -> f64| (estimates.iter().map(field).sum::<f64>() * repetitions).round() as u64;
    let sum_of_bounds = |field: fn(&CellEstimate) -> Option<f64>| {
        estimates.iter().map(field).sum::<Option<f64>>().map(|sum| (sum * repetitions).ceil() as u64)
    };
    let (costs, unpriced) = costs(cells, &estimates, plan);
    let by_load = sum_of_bounds(|share| share.requests_at_most);
    let requests_at_most = smaller(by_load, plan.budget.max_requests);
    let cost_by_load = costs.and_then(|(_, most)| most).map(|most| most * repetitions);
    let max_cost = plan.budget.max_cost;
    let is_cost_bounded_by_budget = max_cost.is_some_and(|max| cost_by_load.is_none_or(|most| max < most));
    Estimate {
        planned_runs,
        seconds: load + pauses,
        seconds_at_most: load + pauses + drains + extensions,
        assumed_latency_s: estimates.iter().map(|share| share.latency_s).sum::<f64>() / estimates.len().max(1) as f64,
        requests: sum(|share| share.requests).min(requests_at_most.unwrap_or(u64::MAX)),
        requests_at_most,
        bounded_by: match requests_at_most {
            None => Bound::Unbounded,
            Some(most) if by_load != Some(most) => Bound::Budget,
            Some(_) if cells.iter().all(|cell| cell.load.requests.is_some()) => Bound::Requests,
            Some(_) => Bound::Duration,
        },
        input_tokens: sum(|share| share.input),
        output_tokens: sum(|share| share.output),
        output_tokens_at_most: smaller(sum_of_bounds(CellEstimate::output_at_most), plan.budget.max_output_tokens),
        cost_usd: costs.map(|(expected, _)| expected * repetitions),
        cost_usd_at_most: if is_cost_bounded_by_budget { max_cost } else { cost_by_load },
        is_cost_bounded_by_budget,
        unpriced,
        prompts: expected_prompts(cells, &estimates, plan, prompts),
        // Of equal values, report the first.
        reserved: cells.iter().rev().map(|cell| quota_use(cell, input(cell), plan)).max_by_key(QuotaUse::required),
    }
}

/// Returns the expected use of each prompt size that has several prompts or a data set, in the order of the cells.
fn expected_prompts(
    cells: &[Cell],
    estimates: &[CellEstimate],
    plan: &Plan,
    prompts: &Prompts,
) -> Vec<ExpectedPrompts> {
    let mut sizes: Keyed<&str, (ExpectedPrompts, bool)> = Keyed::default();
    for (cell, share) in cells.iter().zip(estimates) {
        let (size, has_dataset) = sizes.entry(&cell.prompt_size, || {
            let (distinct, has_dataset) = prompts.distinct(&cell.prompt_size, &plan.mix);
            let prompt_size = cell.prompt_size.clone();
            (ExpectedPrompts { prompt_size, distinct, requests: 0, is_repeated: false }, has_dataset)
        });
        let requests = share.requests.round() as u64;
        size.requests = size.requests.max(requests);
        size.is_repeated |= *has_dataset && requests > size.distinct as u64 && cell.cache_mode == CacheMode::AsIs;
    }
    let listed = |(size, has_dataset): (ExpectedPrompts, bool)| (has_dataset || size.distinct > 1).then_some(size);
    sizes.items.into_iter().filter_map(listed).collect()
}

/// Returns the smaller of two bounds, each of which may be missing.
fn smaller(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// Returns the expected cost and its upper bound in US dollars, and the combinations that have no price. The cost
/// assumes that each cell's requested tier serves it.
fn costs(cells: &[Cell], estimates: &[CellEstimate], plan: &Plan) -> (Option<(f64, Option<f64>)>, Vec<String>) {
    let prices = Prices::from_plan(plan);
    let mut costs: Option<(f64, Option<f64>)> = None;
    let mut unpriced: Vec<String> = Vec::new();
    for (cell, share) in cells.iter().zip(estimates) {
        let usage = |requests: f64, output: f64| Usage {
            input: (requests * share.each_input).round() as u64,
            output: output.round() as u64,
            ..Usage::default()
        };
        let price = prices.find((&cell.model_id, &cell.region_prefix, &cell.service_tier), share.each_input).ok();
        let cost = |requests, output| {
            price.and_then(|price| price.cost(usage(requests, output)).ok()).map(crate::units::Usd::as_f64)
        };
        if let Some(expected) = cost(share.requests, share.output) {
            let at_most = share.requests_at_most.and_then(|requests| cost(requests, requests * share.max_tokens));
            let (sum, sum_at_most) = costs.unwrap_or((0.0, Some(0.0)));
            costs = Some((sum + expected, sum_at_most.zip(at_most).map(|(sum, most)| sum + most)));
        } else {
            let combination =
                format!("{} with the prefix {} on {}", cell.model_id, cell.region_prefix, cell.service_tier);
            if !unpriced.contains(&combination) {
                unpriced.push(combination);
            }
        }
    }
    (costs, unpriced)
}

/// Estimates one repetition of a cell. `input_tokens` is the mean per request.
fn estimate_cell(cell: &Cell, plan: &Plan, input_tokens: f64) -> CellEstimate {
    let latency_s = latency_s(cell, plan, input_tokens);
    let requests = requests(cell, latency_s);
    CellEstimate {
        latency_s,
        requests,
        requests_at_most: requests_at_most(cell),
        each_input: input_tokens,
        input: requests * input_tokens,
        output: requests * expected_output(cell, plan),
        max_tokens: f64::from(cell.request.max_tokens),
    }
}

/// Returns whether the plan's own simulator answers the requests.
fn is_simulated(plan: &Plan) -> bool {
    plan.target.endpoint == Endpoint::Simulated
}

/// Returns the expected mean length of a reply, tokens.
fn expected_output(cell: &Cell, plan: &Plan) -> f64 {
    let length = if is_simulated(plan) {
        plan.simulator.output_tokens * mean_of_log_normal(plan.simulator.output_tokens_sigma)
    } else {
        f64::from(ASSUMED_OUTPUT_TOKENS)
    };
    length.min(f64::from(cell.request.max_tokens))
}

/// Returns the mean of a log-normal distribution with median 1.
fn mean_of_log_normal(sigma: f64) -> f64 {
    (sigma * sigma / 2.0).exp()
}

/// Returns the assumed latency in seconds: the plan's, the simulator's, or [`ASSUMED_LATENCY_S`].
fn latency_s(cell: &Cell, plan: &Plan, input_tokens: f64) -> f64 {
    if let Some(latency) = plan.run.assume_latency {
        return latency.as_secs_f64();
    }
    if !is_simulated(plan) {
        return ASSUMED_LATENCY_S;
    }
    let model = &plan.simulator;
    let factor = match cell.service_tier.as_str() {
        "priority" => model.priority_factor,
        "flex" => model.flex_factor,
        _ => 1.0,
    };
    let first = model.ttft.as_secs_f64() * mean_of_log_normal(model.ttft_sigma)
        + model.prefill_per_token.as_secs_f64() * input_tokens;
    let per_token = model.tpot.as_secs_f64() * mean_of_log_normal(model.tpot_sigma);
    let idle = factor * (first + (expected_output(cell, plan) - 1.0).max(0.0) * per_token);
    // Above its capacity C, the simulator's times grow with the requests in flight, which are U L / (L + Z) for U users
    // with think time Z. Hence L = idle U / C - Z.
    let queued = idle * cell.peak() / f64::from(model.capacity) - cell.load.think_time.mean().as_secs_f64();
    if cell.is_open() || model.capacity == 0 { idle } else { idle.max(queued) }
}

/// Returns the integral of the load over time: user seconds, or arrivals.
fn level_s(cell: &Cell) -> f64 {
    cell.load_shape()
        .segments()
        .iter()
        .map(|segment| segment.from.midpoint(segment.to) * segment.length.as_secs_f64())
        .sum()
}

fn requests(cell: &Cell, latency_s: f64) -> f64 {
    let level_s = level_s(cell);
    let requests = if cell.is_open() { level_s } else { level_s / cycle_s(cell, latency_s) };
    cell.load.requests.map_or(requests, |most| requests.min(most as f64))
}

/// Returns the upper bound of a cell's requests, however fast replies arrive: each user waits at least its shortest
/// think time between two requests. `None` if there is no bound.
fn requests_at_most(cell: &Cell) -> Option<f64> {
    let extension_s = cell.max_length().saturating_sub(cell.length()).as_secs_f64();
    let level_s = level_s(cell) + cell.peak() * extension_s;
    let think_s = cell.load.think_time.min.as_secs_f64();
    let by_duration = if cell.is_open() {
        // The number of Poisson arrivals varies; six standard deviations are practically never exceeded.
        let spread = if cell.load.arrivals == Arrivals::Poisson { 6.0 * level_s.sqrt() } else { 0.0 };
        Some((level_s + spread).ceil())
    } else {
        (think_s > 0.0).then(|| (level_s / think_s + cell.peak()).ceil())
    };
    let by_requests = cell.load.requests.map(|requests| requests as f64);
    by_duration.into_iter().chain(by_requests).min_by(f64::total_cmp)
}

/// Returns the time from one request of a user to its next, seconds.
fn cycle_s(cell: &Cell, latency_s: f64) -> f64 {
    latency_s + cell.load.think_time.mean().as_secs_f64()
}

fn quota_use(cell: &Cell, input_tokens: f64, plan: &Plan) -> QuotaUse {
    let per_second =
        if cell.is_open() { cell.peak() } else { cell.peak() / cycle_s(cell, latency_s(cell, plan, input_tokens)) };
    let per_minute = per_second * 60.0;
    let at_start = input_tokens + f64::from(cell.request.max_tokens);
    let burndown = plan.quota.burndown.unwrap_or_else(|| prices::burndown(&cell.model_id));
    let at_end = input_tokens + burndown * expected_output(cell, plan);
    QuotaUse {
        test_id: cell.id.clone(),
        tokens_per_minute: (per_minute * at_start).round() as u64,
        settled_tokens_per_minute: (per_minute * at_end).round() as u64,
        burndown,
        requests_per_minute: per_minute.round() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::expand;
    use crate::plan::tests::plan;
    use crate::prompts::Files;

    fn plan_for_aws() -> Plan {
        let mut plan = plan();
        plan.target.endpoint = Endpoint::Aws;
        plan
    }

    #[test]
    fn default_matrix_takes_about_27_minutes() {
        let plan = plan_for_aws();
        let estimate = estimate(&expand(&plan), &plan, &Prompts::shipped());
        assert_eq!(estimate.planned_runs, 27);
        assert!((estimate.seconds - (27.0 * 60.0 + 26.0 * 2.0)).abs() < 1e-9, "{estimate:?}");
        assert!((estimate.seconds_at_most - estimate.seconds - 27.0 * 60.0).abs() < 1e-9, "{estimate:?}");
        assert!(estimate.requests > 30_000 && estimate.requests < 40_000, "{estimate:?}");
    }

    #[test]
    fn cost_and_quota_follow_from_requests_and_tokens() {
        let mut plan = plan_for_aws();
        plan.matrix.model_ids = vec!["amazon.nova-pro-v1:0".into()];
        plan.matrix.service_tiers = vec!["default".into(), "flex".into(), "reserved".into()];
        plan.matrix.prompt_sizes = vec!["small".into()];
        plan.matrix.user_counts = vec![50];
        plan.load.spawn_rate = 1e9;
        plan.request.max_tokens = 1_000;
        let prompts =
            Prompts::parse(&format!("{{\"small\": {{\"text\": \"{}\"}}}}", "abcd".repeat(100)), &Files::none())
                .unwrap();
        let estimate = estimate(&expand(&plan), &plan, &prompts);
        // 50 users for 60 s, each sending a request every 1 + 1.5 s: 1,200 requests per cell.
        assert_eq!((estimate.requests, estimate.input_tokens), (3_600, 360_000));
        assert_eq!(estimate.output_tokens, 3_600 * 256);
        // If replies arrive at once, the think time of 1 s remains: 60 requests per user, and one before the first
        // pause.
        assert_eq!((estimate.requests_at_most, estimate.bounded_by), (Some(3 * 3_050), Bound::Duration));
        assert_eq!(estimate.output_tokens_at_most, Some(3 * 3_050_000));
        // 120,000 prompt tokens at 0.80 and 0.40, and 307,200 reply tokens at 3.20 and 1.60, US dollars per million.
        let near = |value: Option<f64>, wanted: f64| (value.unwrap() - wanted).abs() < 1e-4;
        assert!(near(estimate.cost_usd, 0.144 + 0.3072 * 4.8), "{estimate:?}");
        // 305,000 prompt tokens and 3,050,000 reply tokens.
        assert!(near(estimate.cost_usd_at_most, 0.305 * 1.2 + 3.05 * 4.8), "{estimate:?}");
        assert_eq!(estimate.unpriced, ["amazon.nova-pro-v1:0 with the prefix us on reserved"]);
        let reserved = estimate.reserved.unwrap();
        assert_eq!((reserved.requests_per_minute, reserved.tokens_per_minute), (1_200, 1_200 * 1_100));
        assert_eq!(reserved.settled_tokens_per_minute, 1_200 * 356);
        // A reply whose tokens count ten times takes more quota at its end than was reserved at its start.
        plan.quota.burndown = Some(10.0);
        let estimate = super::estimate(&expand(&plan), &plan, &prompts);
        assert_eq!(estimate.reserved.unwrap().settled_tokens_per_minute, 1_200 * 2_660);
    }

    #[test]
    fn upper_bound_is_absent_without_a_limit() {
        let mut plan = plan_for_aws();
        plan.matrix.user_counts = vec![90];
        plan.matrix.prompt_sizes = vec!["small".into()];
        plan.matrix.service_tiers = vec!["default".into()];
        let estimate_of = |plan: &Plan| estimate(&expand(plan), plan, &Prompts::shipped());
        plan.load.think_time = crate::units::ThinkTime::parse("0s").unwrap();
        let unbounded = estimate_of(&plan);
        assert_eq!((unbounded.requests_at_most, unbounded.bounded_by), (None, Bound::Unbounded));
        assert_eq!((unbounded.output_tokens_at_most, unbounded.cost_usd_at_most), (None, None));
        plan.load.requests = Some(500);
        let by_requests = estimate_of(&plan);
        assert_eq!((by_requests.requests_at_most, by_requests.bounded_by), (Some(500), Bound::Requests));
        plan.budget.max_requests = Some(100);
        plan.budget.max_cost = Some(0.01);
        let by_budget = estimate_of(&plan);
        assert_eq!((by_budget.requests, by_budget.requests_at_most), (100, Some(100)));
        assert_eq!((by_budget.bounded_by, by_budget.cost_usd_at_most), (Bound::Budget, Some(0.01)));
        assert!(by_budget.is_cost_bounded_by_budget);
    }

    #[test]
    fn latency_is_that_of_the_plan_or_the_simulator() {
        let mut plan = plan_for_aws();
        plan.matrix.user_counts = vec![30];
        let estimate_of = |plan: &Plan| estimate(&expand(plan), plan, &Prompts::shipped());
        assert!((estimate_of(&plan).assumed_latency_s - 1.0).abs() < 1e-9);
        plan.target.endpoint = Endpoint::Simulated;
        plan.matrix.service_tiers = vec!["default".into()];
        let default = estimate_of(&plan).assumed_latency_s;
        // 350 ms, and about 188 tokens of 8 ms, each as the mean of its distribution.
        assert!((1.7..2.2).contains(&default), "{default}");
        plan.matrix.service_tiers = vec!["flex".into()];
        assert!((estimate_of(&plan).assumed_latency_s / default - 1.6).abs() < 0.05);
        plan.run.assume_latency = Some(std::time::Duration::from_secs(4));
        assert!((estimate_of(&plan).assumed_latency_s - 4.0).abs() < 1e-9);
    }
}
