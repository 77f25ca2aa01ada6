//! What requests cost: the plan's own rows, then a dated price file that is part of the binary. A
//! price that nobody wrote down is not known, and nothing is derived from another one. Knows plan,
//! matrix and units; not what was sent or measured.

use crate::matrix::Cell;
use crate::plan::{Plan, Price};
use crate::units::Usd;

/// The day on which the shipped prices were read.
pub(crate) const DATE: &str = "2026-11-25";

const SHIPPED: &str = include_str!("../prices/2026-11-25.csv");

/// What one token of a reply takes of the quota of tokens per minute when a request is settled: a part of a model id,
/// and the factor. The first that fits counts. Amazon's documentation as third parties quoted it in September 2026;
/// not verified against AWS.
const BURNDOWN: [(&str, f64); 12] = [
    ("claude-opus-4-8", 15.0),
    ("claude-sonnet-4-8", 15.0),
    ("claude-sonnet-5", 10.0),
    ("claude-opus-5", 10.0),
    ("gpt-5.6", 10.0),
    ("claude-opus-4", 5.0),
    ("claude-sonnet-4", 5.0),
    ("claude-haiku-4", 5.0),
    ("claude-3", 5.0),
    ("claude-v2", 5.0),
    ("claude-instant", 5.0),
    ("claude-2", 5.0),
];

/// How much of the quota a token of a reply takes, 1 for most models.
pub(crate) fn burndown(model_id: &str) -> f64 {
    BURNDOWN.iter().find(|(part, _)| model_id.contains(part)).map_or(1.0, |(_, factor)| *factor)
}

/// Rows in the order in which they are asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prices(Vec<Price>);

/// The tokens of one request, or of many, as Bedrock reports them: `input` counts neither what was
/// read from the cache nor what was written to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_write: u64,
}

impl Prices {
    /// The plan's rows before the shipped ones.
    pub(crate) fn of(plan: &Plan) -> Self {
        Self(plan.prices.rows.iter().cloned().chain(shipped()).collect())
    }

    /// Rows that a manifest kept.
    pub(crate) fn kept(rows: &[Price]) -> Self {
        Self(rows.to_vec())
    }

    /// What holds for a model on the tier that served it; `none` is asked as `default`, which it is.
    pub(crate) fn find(&self, model_id: &str, region_prefix: &str, service_tier: &str) -> Option<&Price> {
        let tier = if service_tier == "none" { "default" } else { service_tier };
        let fits = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        self.0.iter().find(|price| {
            price.model_id == model_id && fits(&price.region_prefix, region_prefix) && fits(&price.service_tier, tier)
        })
    }

    /// The most that one request can cost, by the tier that it asks for or by `default`, which serves where that one
    /// does not, and whatever its cache does; nothing where no price is known.
    pub(crate) fn dearest(
        &self,
        (model_id, region_prefix, service_tier): (&str, &str, &str),
        input: u64,
        output: u64,
    ) -> Option<Usd> {
        let may_serve = [service_tier, "default"].map(|tier| self.find(model_id, region_prefix, tier));
        let worst = |price: &Price| {
            let prompt =
                [Some(price.input), price.cache_read, price.cache_write].into_iter().flatten().fold(0.0, f64::max);
            Usd::per_token(prompt).times(input) + Usd::per_token(price.output).times(output)
        };
        may_serve.into_iter().flatten().map(worst).max()
    }

    /// The rows that some cell may need, whatever tier serves it.
    pub(crate) fn used(&self, cells: &[Cell]) -> Vec<Price> {
        let may_serve = |price: &&Price| {
            cells.iter().any(|cell| {
                price.model_id == cell.model_id
                    && price.region_prefix.as_ref().is_none_or(|prefix| *prefix == cell.region_prefix)
            })
        };
        self.0.iter().filter(may_serve).cloned().collect()
    }
}

impl Price {
    /// What many requests cost together; nothing where one of `each` prompt tokens is longer than the row allows.
    pub(crate) fn cost_of_many(&self, usage: Usage, each: f64) -> Option<Usd> {
        if self.up_to_input_tokens.is_some_and(|most| each > most as f64) {
            return None;
        }
        Self { up_to_input_tokens: None, ..self.clone() }.cost(usage)
    }

    /// What tokens cost; nothing where a price that is needed is not known.
    pub(crate) fn cost(&self, usage: Usage) -> Option<Usd> {
        let prompt = usage.input + usage.cache_read + usage.cache_write;
        if self.up_to_input_tokens.is_some_and(|most| prompt > most) {
            return None;
        }
        let cached = |price: Option<f64>, tokens: u64| match (price, tokens) {
            (_, 0) => Some(Usd::default()),
            (price, tokens) => Some(Usd::per_token(price?).times(tokens)),
        };
        Some(
            Usd::per_token(self.input).times(usage.input)
                + Usd::per_token(self.output).times(usage.output)
                + cached(self.cache_read, usage.cache_read)?
                + cached(self.cache_write, usage.cache_write)?,
        )
    }
}

fn shipped() -> impl Iterator<Item = Price> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(SHIPPED.as_bytes());
    let rows: Result<Vec<Price>, csv::Error> = reader.deserialize().collect();
    let rows = rows.unwrap_or_else(|error| unreachable!("the price file is part of this program: {error}"));
    rows.into_iter().map(|row| Price { source: format!("{}, read on {DATE}", row.source), ..row })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices() -> Prices {
        Prices::of(&crate::plan::tests::plan())
    }

    #[test]
    fn the_shipped_rows_are_whole_and_none_is_said_twice() {
        let rows = prices().0;
        assert!(rows.len() > 300, "{}", rows.len());
        for (index, row) in rows.iter().enumerate() {
            assert!(row.input >= 0.0 && row.output >= 0.0 && !row.source.is_empty(), "{row:?}");
            let key = |row: &Price| (row.model_id.clone(), row.region_prefix.clone(), row.service_tier.clone());
            assert!(row.region_prefix.is_some() && row.service_tier.is_some(), "{row:?}");
            assert!(rows[..index].iter().all(|other| key(other) != key(row)), "{row:?} is there twice");
        }
    }

    #[test]
    fn a_price_is_found_by_model_prefix_and_tier_and_never_derived() {
        let prices = prices();
        let find = |prefix, tier| prices.find("amazon.nova-pro-v1:0", prefix, tier).map(|price| price.input);
        assert_eq!((find("us", "default"), find("us", "none")), (Some(0.8), Some(0.8)));
        assert_eq!((find("us", "priority"), find("us", "flex")), (Some(1.4), Some(0.4)));
        assert_eq!((find("us", "reserved"), find("moon", "default")), (None, None));
    }

    #[test]
    fn replies_of_some_models_take_more_of_the_quota() {
        let of = [
            "amazon.nova-pro-v1:0",
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
            "anthropic.claude-sonnet-5-v1:0",
            "anthropic.claude-opus-4-8",
            "openai.gpt-5.6",
        ];
        assert_eq!(of.map(burndown).map(|factor| factor as u64), [1, 5, 10, 15, 10]);
    }

    #[test]
    fn the_plans_rows_come_first() {
        let mut plan = crate::plan::tests::plan();
        plan.prices.rows = vec![Price {
            model_id: "amazon.nova-pro-v1:0".into(),
            region_prefix: None,
            service_tier: Some("flex".into()),
            input: 0.1,
            output: 0.2,
            cache_read: None,
            cache_write: None,
            up_to_input_tokens: None,
            source: "our contract".into(),
        }];
        let prices = Prices::of(&plan);
        let find = |tier| prices.find("amazon.nova-pro-v1:0", "eu", tier).unwrap().input;
        assert!((find("flex") - 0.1).abs() < 1e-12 && (find("default") - 1.05).abs() < 1e-12);
    }

    #[test]
    fn what_has_no_price_has_no_cost() {
        let prices = prices();
        let price = prices.find("anthropic.claude-sonnet-4-5-20250929-v1:0", "us", "default").unwrap();
        let usage = Usage { input: 1_000, output: 100, cache_read: 2_000, cache_write: 500 };
        // 1,000 x 3.30 + 100 x 16.50 + 2,000 x 0.33 + 500 x 4.125, in millionths of a dollar.
        assert_eq!(price.cost(usage).unwrap().to_string(), "0.00767250");
        assert_eq!(price.cost(Usage { input: 198_000, ..usage }), None, "beyond 200,000 tokens another price holds");
        let nova = prices.find("amazon.nova-pro-v1:0", "us", "default").unwrap();
        assert_eq!(nova.cost(usage), None, "no price of cache writes");
        assert_eq!(nova.cost(Usage { cache_write: 0, ..usage }).unwrap().to_string(), "0.00152000");
    }
}
