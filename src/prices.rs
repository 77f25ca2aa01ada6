//! Prices of requests: the plan's rows, then a dated price file that is part of the binary. A price without a row is
//! unknown; it is never derived from another price. Depends on plan, matrix and units, and not on what was sent or
//! measured.

use crate::matrix::Cell;
use crate::plan::{Plan, Price};
use crate::units::Usd;

/// Day on which the shipped prices were read.
pub(crate) const SHIPPED_DATE: &str = "2026-11-25";

const SHIPPED_CSV: &str = include_str!("../prices/2026-11-25.csv");

/// Factor by which each token of a reply counts against the quota of tokens per minute when a request is settled: a
/// part of a model id, and the factor. The first matching row applies. Source: Amazon's documentation as third parties
/// quoted it in September 2026; not verified against AWS.
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

/// Returns the factor by which a token of a reply counts against the quota; 1 for most models.
pub(crate) fn burndown(model_id: &str) -> f64 {
    BURNDOWN.iter().find(|(part, _)| model_id.contains(part)).map_or(1.0, |(_, factor)| *factor)
}

/// Price rows in order of precedence.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prices(Vec<Price>);

/// Token counts of one or more requests, as Bedrock reports them: `input` includes neither tokens read from the cache
/// nor tokens written to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_write: u64,
}

/// Model id, region prefix and service tier.
pub(crate) type PriceKey<'a> = (&'a str, &'a str, &'a str);

/// Reason why a price is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unpriced {
    /// The model has no price with this prefix and tier.
    Model,
    /// No row covers prompts of this length.
    LongPrompts {
        /// Largest prompt that a row covers, tokens.
        above: u64,
    },
    /// Tokens that are read from the cache have no price.
    CacheReads,
    /// Tokens that are written to the cache have no price.
    CacheWrites,
}

impl Unpriced {
    /// Returns a message about the missing price: `no price for cache writes of M (us, default)`.
    pub(crate) fn message(self, (model_id, region_prefix, service_tier): PriceKey<'_>) -> String {
        let subject = match self {
            Self::Model => String::new(),
            Self::LongPrompts { above } => format!("prompts above {above} tokens of "),
            Self::CacheReads => "cache reads of ".into(),
            Self::CacheWrites => "cache writes of ".into(),
        };
        format!("no price for {subject}{model_id} ({region_prefix}, {service_tier})")
    }
}

impl Prices {
    /// Returns the plan's rows, followed by the shipped ones.
    pub(crate) fn from_plan(plan: &Plan) -> Self {
        Self(plan.prices.rows.iter().cloned().chain(shipped_rows()).collect())
    }

    /// Creates the prices from rows, such as those of a manifest.
    pub(crate) fn from_rows(rows: &[Price]) -> Self {
        Self(rows.to_vec())
    }

    /// Returns the rows of a model on the tier that served it, in order. The tier `none` is looked up as `default`,
    /// because that tier serves such requests.
    fn rows(&self, (model_id, region_prefix, service_tier): PriceKey<'_>) -> impl Iterator<Item = &Price> {
        let tier = if service_tier == "none" { "default" } else { service_tier };
        let fits = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        self.0.iter().filter(move |price| {
            price.model_id == model_id && fits(&price.region_prefix, region_prefix) && fits(&price.service_tier, tier)
        })
    }

    /// Returns the first row that covers a prompt of `prompt` tokens, cached ones included.
    ///
    /// # Errors
    /// [`Unpriced::Model`] if there is no row, [`Unpriced::LongPrompts`] if no row covers the prompt.
    pub(crate) fn find(&self, key: PriceKey<'_>, prompt: f64) -> Result<&Price, Unpriced> {
        let covers = |price: &&Price| price.up_to_input_tokens.is_none_or(|max| prompt <= max as f64);
        self.rows(key).find(covers).ok_or_else(|| match self.rows(key).filter_map(|row| row.up_to_input_tokens).max() {
            Some(above) => Unpriced::LongPrompts { above },
            None => Unpriced::Model,
        })
    }

    /// Returns the cost of one request on the tier that served it.
    ///
    /// # Errors
    /// If a required price is unknown.
    pub(crate) fn cost(&self, key: PriceKey<'_>, usage: Usage) -> Result<Usd, Unpriced> {
        let prompt = usage.input.saturating_add(usage.cache_read).saturating_add(usage.cache_write);
        self.find(key, prompt as f64)?.cost(usage)
    }

    /// Returns the worst-case cost of a request with at most `input` prompt tokens and `output` reply tokens, on the
    /// requested tier or on `default`, which serves the request if that tier does not. `writes_cache` requires a price
    /// for cache writes.
    ///
    /// # Errors
    /// If neither tier has a price, or a price is missing that the request may need.
    pub(crate) fn worst_case(
        &self,
        (model_id, region_prefix, service_tier): PriceKey<'_>,
        input: u64,
        output: u64,
        writes_cache: bool,
    ) -> Result<Usd, Unpriced> {
        let by_tier = |tier| self.worst_case_on((model_id, region_prefix, tier), input, output, writes_cache);
        match [service_tier, "default"].map(by_tier) {
            [Ok(one), Ok(other)] => Ok(one.max(other)),
            [Ok(cost), Err(Unpriced::Model)] | [Err(Unpriced::Model), Ok(cost)] => Ok(cost),
            // A missing price of a known model is more informative than an unknown model.
            [one, other] => {
                let own = one.err().filter(|unpriced| !matches!(unpriced, Unpriced::Model));
                Err(own.or(other.err()).unwrap_or(Unpriced::Model))
            }
        }
    }

    /// Returns the same as [`Self::worst_case`] for one tier. A shorter prompt can cost more, so every row counts that
    /// applies to some prompt of at most `input` tokens.
    fn worst_case_on(&self, key: PriceKey<'_>, input: u64, output: u64, writes_cache: bool) -> Result<Usd, Unpriced> {
        let mut covered = None;
        let mut worst = Usd::default();
        for row in self.rows(key) {
            let up_to = row.up_to_input_tokens.unwrap_or(u64::MAX);
            if covered.is_some_and(|covered| up_to <= covered) {
                continue;
            }
            if writes_cache && row.cache_write.is_none() {
                return Err(Unpriced::CacheWrites);
            }
            let highest = [Some(row.input), row.cache_read, row.cache_write].into_iter().flatten().fold(0.0, f64::max);
            worst =
                worst.max(Usd::per_token(highest).times(input.min(up_to)) + Usd::per_token(row.output).times(output));
            covered = Some(up_to);
            if up_to >= input {
                return Ok(worst);
            }
        }
        Err(covered.map_or(Unpriced::Model, |above| Unpriced::LongPrompts { above }))
    }

    /// Returns the rows that a cell may need, whichever tier serves it.
    pub(crate) fn rows_for(&self, cells: &[Cell]) -> Vec<Price> {
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
    /// Returns the cost of tokens by this row, without regard to the prompt length.
    ///
    /// # Errors
    /// If a required price is unknown.
    pub(crate) fn cost(&self, usage: Usage) -> Result<Usd, Unpriced> {
        let cached = |price: Option<f64>, tokens: u64, unpriced| match (price, tokens) {
            (_, 0) => Ok(Usd::default()),
            (price, tokens) => Ok(Usd::per_token(price.ok_or(unpriced)?).times(tokens)),
        };
        Ok(Usd::per_token(self.input).times(usage.input)
            + Usd::per_token(self.output).times(usage.output)
            + cached(self.cache_read, usage.cache_read, Unpriced::CacheReads)?
            + cached(self.cache_write, usage.cache_write, Unpriced::CacheWrites)?)
    }
}

fn shipped_rows() -> impl Iterator<Item = Price> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(SHIPPED_CSV.as_bytes());
    let rows: Result<Vec<Price>, csv::Error> = reader.deserialize().collect();
    let rows = rows.unwrap_or_else(|error| unreachable!("the price file is part of this program: {error}"));
    rows.into_iter().map(|row| Price { source: format!("{}, read on {SHIPPED_DATE}", row.source), ..row })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices() -> Prices {
        Prices::from_plan(&crate::plan::tests::plan())
    }

    #[test]
    fn shipped_rows_are_complete_and_unique() {
        let rows = prices().0;
        assert!(rows.len() > 300, "{}", rows.len());
        for (index, row) in rows.iter().enumerate() {
            assert!(row.input >= 0.0 && row.output >= 0.0 && !row.source.is_empty(), "{row:?}");
            let key = |row: &Price| (row.model_id.clone(), row.region_prefix.clone(), row.service_tier.clone());
            assert!(row.region_prefix.is_some() && row.service_tier.is_some(), "{row:?}");
            assert!(rows[..index].iter().all(|other| key(other) != key(row)), "{row:?} is duplicated");
        }
    }

    #[test]
    fn price_is_found_by_model_prefix_and_tier_and_never_derived() {
        let prices = prices();
        let find =
            |prefix, tier| prices.find(("amazon.nova-pro-v1:0", prefix, tier), 1.0).map(|price| price.input).ok();
        assert_eq!((find("us", "default"), find("us", "none")), (Some(0.8), Some(0.8)));
        assert_eq!((find("us", "priority"), find("us", "flex")), (Some(1.4), Some(0.4)));
        assert_eq!((find("us", "reserved"), find("moon", "default")), (None, None));
    }

    #[test]
    fn reply_tokens_of_some_models_count_more_against_the_quota() {
        let models = [
            "amazon.nova-pro-v1:0",
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
            "anthropic.claude-sonnet-5-v1:0",
            "anthropic.claude-opus-4-8",
            "openai.gpt-5.6",
        ];
        assert_eq!(models.map(burndown).map(|factor| factor as u64), [1, 5, 10, 15, 10]);
    }

    #[test]
    fn rows_of_the_plan_take_precedence() {
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
        let prices = Prices::from_plan(&plan);
        let find = |tier| prices.find(("amazon.nova-pro-v1:0", "eu", tier), 1.0).unwrap().input;
        assert!((find("flex") - 0.1).abs() < 1e-12 && (find("default") - 1.05).abs() < 1e-12);
    }

    #[test]
    fn missing_price_yields_no_cost() {
        let prices = prices();
        let sonnet = ("anthropic.claude-sonnet-4-5-20250929-v1:0", "us", "default");
        let usage = Usage { input: 1_000, output: 100, cache_read: 2_000, cache_write: 500 };
        // 1,000 x 3.30 + 100 x 16.50 + 2,000 x 0.33 + 500 x 4.125, in millionths of a US dollar.
        assert_eq!(prices.cost(sonnet, usage).unwrap().to_string(), "0.00767250");
        let long = prices.cost(sonnet, Usage { input: 198_000, ..usage });
        assert_eq!(long, Err(Unpriced::LongPrompts { above: 200_000 }), "beyond 200,000 tokens another price holds");
        let nova = ("amazon.nova-pro-v1:0", "us", "default");
        assert_eq!(prices.cost(nova, usage), Err(Unpriced::CacheWrites));
        assert_eq!(prices.cost(nova, Usage { cache_write: 0, ..usage }).unwrap().to_string(), "0.00152000");
        assert_eq!(prices.cost(("moon", "us", "default"), usage), Err(Unpriced::Model));
    }

    #[test]
    fn worst_case_is_that_of_the_rows_that_apply_to_the_prompt() {
        let row = |input, up_to_input_tokens| Price {
            model_id: "m".into(),
            region_prefix: None,
            service_tier: None,
            input,
            output: 0.0,
            cache_read: None,
            cache_write: None,
            up_to_input_tokens,
            source: String::new(),
        };
        let key = ("m", "us", "default");
        let prices = Prices::from_rows(&[row(1.0, Some(10)), row(3.0, Some(100)), row(9.0, Some(50))]);
        let worst = |input| prices.worst_case(key, input, 0, false).map(|cost| cost.picodollars() / 1_000_000);
        assert_eq!((worst(10), worst(11), worst(100)), (Ok(10), Ok(33), Ok(300)), "the last row never applies");
        assert_eq!(worst(101), Err(Unpriced::LongPrompts { above: 100 }));
        assert_eq!(prices.find(key, 50.0).unwrap().input.to_string(), "3");
        let cheaper = Prices::from_rows(&[row(5.0, Some(100)), row(1.0, None)]);
        assert_eq!(cheaper.worst_case(key, 200, 0, false), Ok(Usd::per_token(5.0).times(100)), "a shorter prompt");
        assert_eq!(cheaper.worst_case(key, 200, 0, true), Err(Unpriced::CacheWrites));
    }
}
