//! Cost of a cell, from the reported tokens and the tier that served each request.

use super::confidence::TAIL;
use super::student;
use crate::matrix::Cell;
use crate::prices::{Prices, Unpriced, Usage};
use crate::record::{Record, class};
use crate::units::Usd;

/// Cost of all requests of a cell, including ramp, drain, priming and abandoned attempts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Spend {
    /// Of all replies that have a price.
    pub(crate) total: Usd,
    /// Of those among them that are part of the load.
    pub(crate) load: Usd,
    /// Replies of the load that have a price.
    pub(crate) priced: u64,
    /// The sum of the squares of their costs, picodollars squared.
    squares: u128,
    /// Their output tokens.
    pub(crate) output_tokens: u64,
    /// Replies for which a price is not known.
    pub(crate) unpriced: u64,
    /// What has no price in the first of these.
    pub(crate) unpriced_what: Option<Unpriced>,
    /// The tier that served it.
    pub(crate) unpriced_tier: Option<String>,
    /// Requests without reported tokens that Bedrock may charge for: replies without usage, and requests that were cut
    /// off or broke.
    pub(crate) unreported: u64,
    /// Successes among them.
    pub(crate) without_usage: u64,
}

impl Spend {
    /// Takes a record; `counts` says that it is part of the load that the cell's numbers are of.
    pub(super) fn add(&mut self, prices: &Prices, cell: &Cell, record: &Record, counts: bool) {
        self.add_request(prices, (&cell.model_id, &cell.region_prefix, &cell.service_tier), record, counts);
    }

    /// The same amount by model, prefix and requested tier.
    pub(super) fn add_request(
        &mut self,
        prices: &Prices,
        (model_id, region_prefix, service_tier): (&str, &str, &str),
        record: &Record,
        counts: bool,
    ) {
        let (Some(input), Some(output)) = (record.input_tokens, record.output_tokens) else {
            self.unreported += u64::from(may_be_charged(record));
            self.without_usage += u64::from(record.success);
            return;
        };
        let usage = Usage {
            input,
            output,
            cache_read: record.cache_read_tokens.unwrap_or(0),
            cache_write: record.cache_write_tokens.unwrap_or(0),
        };
        let tier = record.resolved_service_tier.as_deref().unwrap_or(service_tier);
        let cost = match prices.cost((model_id, region_prefix, tier), usage) {
            Ok(cost) => cost,
            Err(unpriced) => {
                self.unpriced += 1;
                self.unpriced_what.get_or_insert(unpriced);
                self.unpriced_tier.get_or_insert_with(|| tier.to_owned());
                return;
            }
        };
        self.total += cost;
        if counts {
            self.load += cost;
            self.squares = self.squares.saturating_add(cost.square());
            self.priced += 1;
            self.output_tokens += output;
        }
    }

    /// The cost, if all of it is known.
    pub(crate) fn known(&self) -> Option<Usd> {
        (self.unpriced == 0 && (self.priced > 0 || self.total > Usd::default())).then_some(self.total)
    }

    /// US dollars per thousand replies of the load.
    pub(crate) fn per_1k_requests(&self) -> Option<f64> {
        self.known()?;
        self.load.per(self.priced).map(|usd| usd * 1e3)
    }

    /// Student's 95 % interval of [`Self::per_1k_requests`]: replies differ in length.
    pub(crate) fn per_1k_interval(&self) -> Option<(f64, f64)> {
        let mean = self.per_1k_requests()? / 1e3;
        let n = self.priced as f64;
        if self.priced < 2 {
            return None;
        }
        // A difference of two sums that are nearly the same may come out below zero.
        let squares = self.squares as f64 * 1e-24;
        let variance = ((squares - n * mean * mean) / (n - 1.0)).max(0.0);
        let half = student::quantile((self.priced as usize - 1).min(10_000), TAIL) * (variance / n).sqrt();
        Some(((mean - half).max(0.0) * 1e3, (mean + half) * 1e3))
    }

    /// US dollars per million output tokens, prompts included.
    pub(crate) fn per_1m_output_tokens(&self) -> Option<f64> {
        self.known()?;
        self.load.per(self.output_tokens).map(|usd| usd * 1e6)
    }
}

/// Returns whether a request without reported tokens may be charged: it was sent and not refused.
pub(crate) fn may_be_charged(record: &Record) -> bool {
    let refused = record.http_status.is_some_and(|status| status >= 400);
    !refused && record.error_class.as_deref().is_none_or(class::was_sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_of_the_mean_cost_matches_a_calculation_by_hand() {
        let of = |costs: &[f64]| Spend {
            total: costs.iter().map(|usd| Usd::from_f64(*usd)).sum(),
            load: costs.iter().map(|usd| Usd::from_f64(*usd)).sum(),
            squares: costs.iter().map(|usd| Usd::from_f64(*usd).square()).sum(),
            priced: costs.len() as u64,
            ..Spend::default()
        };
        // Mean 2, standard deviation 1, t of two degrees of freedom 4.302653.
        let (low, high) = of(&[1.0, 2.0, 3.0]).per_1k_interval().unwrap();
        let half = 4.302_653 / 3.0_f64.sqrt() * 1e3;
        assert!(low == 0.0 && (high - (2_000.0 + half)).abs() < 0.01, "{low} {high}");
        assert_eq!(of(&[0.25; 40]).per_1k_interval(), Some((250.0, 250.0)), "what is always the same is sure");
        assert_eq!(of(&[1.0]).per_1k_interval(), None);
    }
}
