//! Seconds, requests, tokens and money that a plan will take, before it runs, and the assumptions
//! behind each. Knows plan, matrix, prompts and prices.

use crate::matrix::Cell;
use crate::plan::Plan;
use crate::prices::{self, Prices, Usage};
use crate::prompts::Prompts;
use serde::Serialize;

/// What a request is assumed to take before anything is known, seconds.
pub(crate) const ASSUMED_LATENCY_S: f64 = 1.0;

/// What a reply is assumed to have before anything is known, tokens; `max_tokens` where that is less.
pub(crate) const ASSUMED_OUTPUT_TOKENS: u32 = 256;

/// Before anything is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Estimate {
    /// Cells times repetitions.
    #[serde(skip)]
    pub(crate) turns: usize,
    /// Test durations and cool-downs, with every request answered at once.
    pub(crate) seconds: f64,
    /// The same with every drain and every `min_samples` at its bound.
    pub(crate) seconds_at_most: f64,
    /// If a request takes a second: users x time / (latency + think time), or arrivals x time.
    pub(crate) requests: u64,
    /// Of these, without a cache: four characters a token.
    pub(crate) input_tokens: u64,
    /// Of these, with replies of [`ASSUMED_OUTPUT_TOKENS`].
    pub(crate) output_tokens: u64,
    /// Of these, with every reply as long as `max_tokens`.
    pub(crate) output_tokens_at_most: u64,
    /// US dollars, of the cells that have a price.
    pub(crate) cost_usd: Option<f64>,
    /// The same with every reply as long as `max_tokens`.
    pub(crate) cost_usd_at_most: Option<f64>,
    /// What has no price: model, prefix and tier.
    pub(crate) unpriced: Vec<String>,
    /// The most that is taken of the account's quota.
    pub(crate) reserved: Option<Reserved>,
}

/// What a cell takes of a quota while it is at its peak. Bedrock reserves the prompt and `max_tokens`
/// at each start, and settles at its end by the prompt and the reply, whose tokens count `burndown` times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Reserved {
    /// The cell that reserves most.
    pub(crate) test_id: String,
    /// Prompt and `max_tokens` of all starts of a minute.
    pub(crate) tokens_per_minute: u64,
    /// Prompt and reply of all ends of a minute, with replies of [`ASSUMED_OUTPUT_TOKENS`].
    pub(crate) settled_tokens_per_minute: u64,
    /// How often a token of a reply counts.
    pub(crate) burndown: f64,
    /// Starts of a minute.
    pub(crate) requests_per_minute: u64,
}

impl Reserved {
    /// What decides whether the quota is enough.
    fn most(&self) -> u64 {
        self.tokens_per_minute.max(self.settled_tokens_per_minute)
    }
}

/// One cell, one repetition.
struct Share {
    requests: f64,
    /// Of one request.
    each_input: f64,
    input: f64,
    output: f64,
    output_at_most: f64,
}

/// Estimates the cells of a plan.
pub(crate) fn estimate(cells: &[Cell], plan: &Plan, prompts: &Prompts) -> Estimate {
    let repetitions = f64::from(plan.load.repetitions);
    let turns = cells.len() * plan.load.repetitions as usize;
    let load: f64 = cells.iter().map(|cell| cell.length().as_secs_f64()).sum::<f64>() * repetitions;
    let drains: f64 =
        cells.iter().map(|cell| cell.load.drain.min(cell.request.timeout).as_secs_f64()).sum::<f64>() * repetitions;
    let extensions: f64 =
        cells.iter().map(|cell| cell.longest().saturating_sub(cell.length()).as_secs_f64()).sum::<f64>() * repetitions;
    let pauses = turns.saturating_sub(1) as f64 * plan.load.cool_down.as_secs_f64();
    let input = |cell: &Cell| prompts.about_tokens(&cell.prompt_size, &plan.mix, cell.request.system.as_deref());
    let shares: Vec<Share> = cells.iter().map(|cell| share(cell, input(cell))).collect();
    let sum = |of: fn(&Share) -> f64| (shares.iter().map(of).sum::<f64>() * repetitions).round() as u64;
    let (costs, unpriced) = costs(cells, &shares, plan);
    Estimate {
        turns,
        seconds: load + pauses,
        seconds_at_most: load + pauses + drains + extensions,
        requests: sum(|share| share.requests),
        input_tokens: sum(|share| share.input),
        output_tokens: sum(|share| share.output),
        output_tokens_at_most: sum(|share| share.output_at_most),
        cost_usd: costs.map(|(expected, _)| expected * repetitions),
        cost_usd_at_most: costs.map(|(_, most)| most * repetitions),
        unpriced,
        // Of equals the first.
        reserved: cells.iter().rev().map(|cell| reserved(cell, input(cell), plan)).max_by_key(Reserved::most),
    }
}

/// Expected and at most, US dollars, and what has no price. Each cell's replies are assumed to come
/// from the tier that it asks for.
fn costs(cells: &[Cell], shares: &[Share], plan: &Plan) -> (Option<(f64, f64)>, Vec<String>) {
    let prices = Prices::of(plan);
    let mut costs: Option<(f64, f64)> = None;
    let mut unpriced: Vec<String> = Vec::new();
    for (cell, share) in cells.iter().zip(shares) {
        let usage = |output: f64| Usage {
            input: share.input.round() as u64,
            output: output.round() as u64,
            ..Usage::default()
        };
        let price = prices.find((&cell.model_id, &cell.region_prefix, &cell.service_tier), share.each_input).ok();
        let cost = |output| price.and_then(|price| price.cost(usage(output)).ok()).map(crate::units::Usd::as_f64);
        if let (Some(expected), Some(most)) = (cost(share.output), cost(share.output_at_most)) {
            let sum = costs.unwrap_or_default();
            costs = Some((sum.0 + expected, sum.1 + most));
        } else {
            let what = format!("{} with the prefix {} on {}", cell.model_id, cell.region_prefix, cell.service_tier);
            if !unpriced.contains(&what) {
                unpriced.push(what);
            }
        }
    }
    (costs, unpriced)
}

/// `input_tokens` of one request, on average.
fn share(cell: &Cell, input_tokens: f64) -> Share {
    let requests = requests(cell);
    let output = assumed_output(cell);
    Share {
        requests,
        each_input: input_tokens,
        input: requests * input_tokens,
        output: requests * output,
        output_at_most: requests * f64::from(cell.request.max_tokens),
    }
}

/// Of one reply, tokens.
fn assumed_output(cell: &Cell) -> f64 {
    f64::from(cell.request.max_tokens.min(ASSUMED_OUTPUT_TOKENS))
}

fn requests(cell: &Cell) -> f64 {
    let level_s: f64 =
        cell.course().pieces().iter().map(|piece| piece.from.midpoint(piece.to) * piece.length.as_secs_f64()).sum();
    let requests = if cell.is_open() { level_s } else { level_s / cycle_s(cell) };
    cell.load.requests.map_or(requests, |most| requests.min(most as f64))
}

/// From one start of a user to its next, seconds.
fn cycle_s(cell: &Cell) -> f64 {
    ASSUMED_LATENCY_S + cell.load.think_time.mean().as_secs_f64()
}

fn reserved(cell: &Cell, input_tokens: f64, plan: &Plan) -> Reserved {
    let per_second = if cell.is_open() { cell.peak() } else { cell.peak() / cycle_s(cell) };
    let per_minute = per_second * 60.0;
    let at_start = input_tokens + f64::from(cell.request.max_tokens);
    let burndown = plan.quota.burndown.unwrap_or_else(|| prices::burndown(&cell.model_id));
    let at_end = input_tokens + burndown * assumed_output(cell);
    Reserved {
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

    #[test]
    fn the_default_matrix_takes_some_27_minutes() {
        let plan = plan();
        let estimate = estimate(&expand(&plan), &plan, &Prompts::shipped());
        assert_eq!(estimate.turns, 27);
        assert!((estimate.seconds - (27.0 * 60.0 + 26.0 * 2.0)).abs() < 1e-9, "{estimate:?}");
        assert!((estimate.seconds_at_most - estimate.seconds - 27.0 * 60.0).abs() < 1e-9, "{estimate:?}");
        assert!(estimate.requests > 30_000 && estimate.requests < 40_000, "{estimate:?}");
    }

    #[test]
    fn money_and_quota_follow_from_requests_and_tokens() {
        let mut plan = plan();
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
        // 50 users for 60 s, each asking every 1 + 1.5 s: 1,200 requests a cell.
        assert_eq!((estimate.requests, estimate.input_tokens), (3_600, 360_000));
        assert_eq!((estimate.output_tokens, estimate.output_tokens_at_most), (3_600 * 256, 3_600_000));
        // 120,000 tokens in at 0.80 and 0.40, 307,200 or 1,200,000 out at 3.20 and 1.60, per million.
        let near = |value: Option<f64>, wanted: f64| (value.unwrap() - wanted).abs() < 1e-4;
        assert!(near(estimate.cost_usd, 0.144 + 0.3072 * 4.8), "{estimate:?}");
        assert!(near(estimate.cost_usd_at_most, 0.144 + 1.2 * 4.8), "{estimate:?}");
        assert_eq!(estimate.unpriced, ["amazon.nova-pro-v1:0 with the prefix us on reserved"]);
        let reserved = estimate.reserved.unwrap();
        assert_eq!((reserved.requests_per_minute, reserved.tokens_per_minute), (1_200, 1_200 * 1_100));
        assert_eq!(reserved.settled_tokens_per_minute, 1_200 * 356);
        // A reply that counts ten times takes more at its end than was reserved at its start.
        plan.quota.burndown = Some(10.0);
        let estimate = super::estimate(&expand(&plan), &plan, &prompts);
        assert_eq!(estimate.reserved.unwrap().settled_tokens_per_minute, 1_200 * 2_660);
    }
}
