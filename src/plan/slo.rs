//! Thresholds, `[[slo]]` in a plan: data, parsing and serialisation. Their evaluation is the task of `verdict`.

use super::{Goodput, Rule};
use crate::units::{duration, nearest};
use schemars::JsonSchema;
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;

/// One threshold: bounds, and the cells to which they apply.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slo {
    /// Name; may be empty.
    pub(crate) name: String,
    /// Cells to which the threshold applies.
    pub(crate) when: Rule,
    /// Bounds in display order, at most one per metric.
    pub(crate) bounds: Vec<Bound>,
    /// How an inconclusive verdict counts.
    pub(crate) on_inconclusive: OnInconclusive,
    /// Whether to stop a cell that can no longer pass.
    pub(crate) abort_on_fail: bool,
}

/// How an inconclusive verdict counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnInconclusive {
    /// An inconclusive verdict does not fail the run.
    #[default]
    Pass,
    /// An inconclusive verdict fails the run.
    Fail,
}

/// A time of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimeMetric {
    /// Response time; in an open loop from the intended start.
    Response,
    /// Service time of an open loop, from the send.
    Service,
    /// Time to first token.
    Ttft,
    /// Time to the first token of the answer.
    Ttfat,
    /// Time per output token.
    Tpot,
    /// Longest time between two chunks.
    ChunkGap,
}

/// Requests whose share of all requests is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ShareMetric {
    /// Failed and throttled requests.
    Failures,
    /// Throttled requests.
    Throttles,
    /// Successes whose stop reason reports a blocked answer.
    Blocked,
}

/// A number per second of the latency window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RateMetric {
    /// Ended requests of any outcome.
    Requests,
    /// Output tokens of ended successes.
    OutputTokens,
}

/// One bound.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Bound {
    /// Upper bound of a percentile of a time.
    Percentile {
        metric: TimeMetric,
        /// Greater than 0, less than 100.
        p: f64,
        max: Duration,
    },
    /// Upper bound of a share of all requests.
    Share {
        metric: ShareMetric,
        /// Greater than 0, less than 1.
        max: f64,
    },
    /// Lower bound of a number per second.
    PerSecond {
        metric: RateMetric,
        /// Greater than 0.
        min: f64,
    },
    /// Lower bound of requests per second that meet limits.
    Goodput {
        /// Greater than 0.
        min: f64,
        /// Limits of this threshold, independent of `[goodput]`.
        limits: Goodput,
    },
}

impl TimeMetric {
    /// Prefixes of the names of percentiles.
    const PREFIXES: [(&'static str, Self); 6] = [
        ("", Self::Response),
        ("service_", Self::Service),
        ("ttft_", Self::Ttft),
        ("ttfat_", Self::Ttfat),
        ("tpot_", Self::Tpot),
        ("chunk_gap_", Self::ChunkGap),
    ];

    fn prefix(self) -> &'static str {
        Self::PREFIXES.iter().find(|(_, metric)| *metric == self).map_or("", |(prefix, _)| prefix)
    }
}

/// Names of bounds for suggestions; a few percentiles stand for all.
const KNOWN_METRICS: [&str; 15] = [
    "p50",
    "p90",
    "p95",
    "p99",
    "service_p95",
    "ttft_p95",
    "ttfat_p95",
    "tpot_p50",
    "chunk_gap_p95",
    "failure_rate",
    "throttle_rate",
    "blocked_rate",
    "requests_per_sec",
    "output_tokens_per_sec",
    "goodput",
];

/// The metric of a bound.
#[derive(Debug, Clone, Copy)]
enum Metric {
    Percentile(TimeMetric, f64),
    Share(ShareMetric),
    PerSecond(RateMetric),
    Goodput,
}

impl Metric {
    fn parse(key: &str) -> Result<Self, String> {
        match key {
            "failure_rate" => return Ok(Self::Share(ShareMetric::Failures)),
            "throttle_rate" => return Ok(Self::Share(ShareMetric::Throttles)),
            "blocked_rate" => return Ok(Self::Share(ShareMetric::Blocked)),
            "requests_per_sec" => return Ok(Self::PerSecond(RateMetric::Requests)),
            "output_tokens_per_sec" => return Ok(Self::PerSecond(RateMetric::OutputTokens)),
            "goodput" => return Ok(Self::Goodput),
            _ => {}
        }
        let level = |(prefix, metric): &(&str, TimeMetric)| {
            let p: f64 = key.strip_prefix(prefix)?.strip_prefix('p')?.parse().ok()?;
            Some((*metric, p))
        };
        match TimeMetric::PREFIXES.iter().find_map(level) {
            Some((metric, p)) if p > 0.0 && p < 100.0 => Ok(Self::Percentile(metric, p)),
            Some((_, p)) => Err(format!("the percentile `{p}` is outside 0..100: write p90 or \"p99.5\"")),
            None => {
                let names = KNOWN_METRICS.into_iter().chain(["name", "when", "on_inconclusive", "abort_on_fail"]);
                let suggestion = nearest(key, names).map_or(".".into(), |near| format!("; did you mean `{near}`?"));
                Err(format!(
                    "`{key}` is not a metric that a threshold can bound{suggestion} Metrics: any percentile such as p95, ttft_p95, \
                     ttfat_p95, tpot_p95, chunk_gap_p95 and service_p95; failure_rate, throttle_rate, blocked_rate, \
                     requests_per_sec, output_tokens_per_sec, goodput"
                ))
            }
        }
    }

    /// Parses the value of a bound.
    fn bound(self, key: &str, value: &Value) -> Result<Bound, String> {
        let invalid = |hint: &str| Err(format!("`{key}` is `{}`: write {hint}", toml_text(value)));
        match self {
            Self::Percentile(metric, p) => {
                let hint = "a duration such as \"800ms\" or \"2.5s\"";
                match value_or_entry(value, "max") {
                    limit @ (Value::String(_) | Value::Number(_)) => {
                        parse_time_limit(key, limit).map(|max| Bound::Percentile { metric, p, max })
                    }
                    Value::Object(map) if map.keys().all(|key| key.parse::<u32>().is_ok()) => {
                        let decimal = map.keys().next().map_or("9", String::as_str);
                        Err(format!(
                            "TOML reads `{key}.{decimal}` as a table: put it in quotes, \"{key}.{decimal}\" = \"2.5s\""
                        ))
                    }
                    _ => invalid(hint),
                }
            }
            Self::Share(metric) => {
                let max = match value_or_entry(value, "max") {
                    Value::Number(number) => number.as_f64(),
                    Value::String(text) => text
                        .trim()
                        .strip_suffix('%')
                        .and_then(|percent| percent.trim().parse::<f64>().ok())
                        .map(|percent| percent / 100.0),
                    _ => None,
                };
                match max {
                    Some(max) if max > 0.0 && max < 1.0 => Ok(Bound::Share { metric, max }),
                    Some(max) if max >= 1.0 => {
                        invalid("a share below 100 %, such as \"1%\" or 0.01: no share exceeds 100 %")
                    }
                    Some(0.0) => invalid("a small share, such as \"0.1%\": a share of 0 cannot be proved"),
                    _ => invalid("a share of all requests, such as \"1%\" or 0.01"),
                }
            }
            Self::PerSecond(metric) => match value.get("min").and_then(Value::as_f64) {
                Some(min) if has_only(value, &["min"]) && min > 0.0 => Ok(Bound::PerSecond { metric, min }),
                _ => invalid("{ min = 20 }, a lower bound per second"),
            },
            Self::Goodput => parse_goodput(key, value),
        }
    }
}

/// Maximum limit without a unit, in seconds. A larger number probably means milliseconds; in seconds, every measurement
/// would pass.
const MAX_BARE_LIMIT_S: f64 = 120.0;

/// Parses a limit on a time: text with a unit, or seconds.
fn parse_time_limit(key: &str, limit: &Value) -> Result<Duration, String> {
    let text = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
    match duration::parse(&text) {
        Ok(limit) if limit.is_zero() => Err(format!("`{key}` is zero: no reply can meet it")),
        Ok(limit) if text.trim().parse::<f64>().is_ok() && limit.as_secs_f64() > MAX_BARE_LIMIT_S => Err(format!(
            "`{key}` = {text} without a unit is {}: write \"{text}ms\" for milliseconds, or \"{text}s\" for seconds",
            duration::format(limit)
        )),
        Ok(limit) => Ok(limit),
        Err(message) => Err(format!("`{key}`: {message}")),
    }
}

/// Parses `{ min = 12.0, ttft = "800ms" }`.
fn parse_goodput(key: &str, value: &Value) -> Result<Bound, String> {
    let hint = "{ min = 12.0, ttft = \"800ms\", tpot = \"40ms\", e2e = \"5s\" }, with at least one limit";
    let min = value.get("min").and_then(Value::as_f64).filter(|min| *min > 0.0);
    let (Some(min), true) = (min, has_only(value, &["min", "ttft", "tpot", "e2e"])) else {
        return Err(format!("`{key}` is `{}`: write {hint}", toml_text(value)));
    };
    let limit = |name: &str| match value.get(name) {
        None => Ok(None),
        Some(limit @ (Value::String(_) | Value::Number(_))) => {
            parse_time_limit(&format!("{key}.{name}"), limit).map(Some)
        }
        Some(other) => Err(format!("`{key}.{name}` is `{}`: write a duration such as \"800ms\"", toml_text(other))),
    };
    let limits = Goodput { ttft: limit("ttft")?, tpot: limit("tpot")?, e2e: limit("e2e")? };
    if limits.is_unset() {
        return Err(format!("`{key}` has no limit: write {hint}"));
    }
    Ok(Bound::Goodput { min, limits })
}

/// Returns the entry of a table with only that entry, such as `{ max = ... }`; otherwise the value itself.
fn value_or_entry<'v>(value: &'v Value, name: &str) -> &'v Value {
    if has_only(value, &[name]) { value.get(name).unwrap_or(value) } else { value }
}

fn has_only(value: &Value, names: &[&str]) -> bool {
    value.as_object().is_some_and(|map| map.keys().all(|key| names.contains(&key.as_str())))
}

/// Formats a value as in a plan.
fn toml_text(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key} = {}", toml_text(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

impl Bound {
    /// Returns the key in a plan.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Percentile { metric, p, .. } => format!("{}p{p}", metric.prefix()),
            Self::Share { metric: ShareMetric::Failures, .. } => "failure_rate".into(),
            Self::Share { metric: ShareMetric::Throttles, .. } => "throttle_rate".into(),
            Self::Share { metric: ShareMetric::Blocked, .. } => "blocked_rate".into(),
            Self::PerSecond { metric: RateMetric::Requests, .. } => "requests_per_sec".into(),
            Self::PerSecond { metric: RateMetric::OutputTokens, .. } => "output_tokens_per_sec".into(),
            Self::Goodput { .. } => "goodput".into(),
        }
    }

    /// Returns whether the bound is an upper bound.
    pub(crate) fn is_upper(&self) -> bool {
        matches!(self, Self::Percentile { .. } | Self::Share { .. })
    }

    /// Returns the limit in milliseconds, as a share (0 to 1), or per second.
    pub(crate) fn limit(&self) -> f64 {
        match self {
            Self::Percentile { max, .. } => crate::units::ms(*max),
            Self::Share { max, .. } => *max,
            Self::PerSecond { min, .. } | Self::Goodput { min, .. } => *min,
        }
    }

    /// Returns whether the metric exists only for streams.
    pub(crate) fn needs_stream(&self) -> bool {
        match self {
            Self::Percentile { metric, .. } => !matches!(metric, TimeMetric::Response | TimeMetric::Service),
            Self::Goodput { limits, .. } => limits.ttft.is_some() || limits.tpot.is_some(),
            Self::Share { .. } | Self::PerSecond { .. } => false,
        }
    }

    /// Returns whether the metric exists only in an open loop.
    pub(crate) fn needs_arrivals(&self) -> bool {
        matches!(self, Self::Percentile { metric: TimeMetric::Service, .. })
    }

    /// Returns the sort key: times, then shares, then numbers per second.
    fn rank(&self) -> (u8, u8, f64) {
        match self {
            Self::Percentile { metric, p, .. } => (0, *metric as u8, *p),
            Self::Share { metric, .. } => (1, *metric as u8, 0.0),
            Self::PerSecond { metric, .. } => (2, *metric as u8, 0.0),
            Self::Goodput { .. } => (3, 0, 0.0),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Percentile { max, .. } => json!(duration::format(*max)),
            Self::Share { max, .. } => json!(max),
            Self::PerSecond { min, .. } => json!({ "min": min }),
            Self::Goodput { min, limits } => {
                let mut map = Map::from_iter([("min".to_owned(), json!(min))]);
                for (name, limit) in [("ttft", limits.ttft), ("tpot", limits.tpot), ("e2e", limits.e2e)] {
                    map.extend(limit.map(|limit| (name.to_owned(), json!(duration::format(limit)))));
                }
                Value::Object(map)
            }
        }
    }
}

impl Slo {
    /// Returns the name, or `slo N` with the number from 1.
    pub(crate) fn title(&self, index: usize) -> String {
        if self.name.is_empty() { format!("slo {}", index + 1) } else { self.name.clone() }
    }
}

impl JsonSchema for Slo {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Slo".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let time = duration::Text::json_schema(generator);
        let most = |limit: &schemars::Schema| {
            json!({ "anyOf": [limit, {
                "type": "object", "properties": { "max": limit }, "required": ["max"], "additionalProperties": false
            }] })
        };
        let least = json!({
            "type": "object", "properties": { "min": { "type": "number" } }, "required": ["min"],
            "additionalProperties": false
        });
        let share = most(&schemars::json_schema!({
            "anyOf": [{ "type": "number" }, { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? *%$" }]
        }));
        schemars::json_schema!({
            "type": "object",
            "properties": {
                "name": { "type": "string", "description": "Name of the threshold." },
                "when": Rule::json_schema(generator),
                "on_inconclusive": OnInconclusive::json_schema(generator),
                "abort_on_fail": { "type": "boolean", "description": "Whether to stop a cell that can no longer pass." },
                "failure_rate": share,
                "throttle_rate": share,
                "blocked_rate": share,
                "requests_per_sec": least,
                "output_tokens_per_sec": least,
                "goodput": {
                    "type": "object",
                    "properties": { "min": { "type": "number" }, "ttft": time, "tpot": time, "e2e": time },
                    "required": ["min"],
                    "additionalProperties": false
                }
            },
            "patternProperties": { "^(ttft_|ttfat_|tpot_|chunk_gap_|service_)?p[0-9]+(\\.[0-9]+)?$": most(&time) },
            "additionalProperties": false
        })
    }
}

impl Serialize for Slo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.name.is_empty() {
            map.serialize_entry("name", &self.name)?;
        }
        if self.on_inconclusive != OnInconclusive::default() {
            map.serialize_entry("on_inconclusive", &self.on_inconclusive)?;
        }
        if self.abort_on_fail {
            map.serialize_entry("abort_on_fail", &true)?;
        }
        for bound in &self.bounds {
            map.serialize_entry(&bound.key(), &bound.value())?;
        }
        if !self.when.is_empty() {
            map.serialize_entry("when", &self.when)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Slo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Slo;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a threshold such as { p95 = \"2.5s\", failure_rate = \"1%\" }")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Slo, A::Error> {
                let mut slo = Slo {
                    name: String::new(),
                    when: Rule::default(),
                    bounds: Vec::new(),
                    on_inconclusive: OnInconclusive::default(),
                    abort_on_fail: false,
                };
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "name" => slo.name = map.next_value()?,
                        "when" => slo.when = map.next_value()?,
                        "on_inconclusive" => slo.on_inconclusive = map.next_value()?,
                        "abort_on_fail" => slo.abort_on_fail = map.next_value()?,
                        key => {
                            let bound = map.next_value_seed(BoundSeed { key, known: &slo.bounds })?;
                            slo.bounds.push(bound);
                        }
                    }
                }
                slo.bounds.sort_by(|a, b| a.rank().partial_cmp(&b.rank()).unwrap_or(std::cmp::Ordering::Equal));
                Ok(slo)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Deserialises a bound of a given key. An invalid key is reported with the value, so that the error has a position.
struct BoundSeed<'a> {
    key: &'a str,
    known: &'a [Bound],
}

impl<'de> DeserializeSeed<'de> for BoundSeed<'_> {
    type Value = Bound;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Bound, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let bound = Metric::parse(self.key).and_then(|metric| metric.bound(self.key, &value));
        let bound = bound.map_err(D::Error::custom)?;
        if self.known.iter().any(|known| known.key() == bound.key()) {
            return Err(D::Error::custom(format!("`{}` is bounded twice: remove one", bound.key())));
        }
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<Slo, String> {
        toml::from_str(toml).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn threshold_round_trips() {
        let text = "name = \"chat\"\non_inconclusive = \"fail\"\nabort_on_fail = true\np95 = \"2.5s\"\n\"p99.9\" = \"9s\"\n\
            ttft_p95 = { max = \"800ms\" }\nfailure_rate = \"1%\"\nthrottle_rate = 0.05\nblocked_rate = \"2%\"\nrequests_per_sec = { min = 20 }\n\
            goodput = { min = 12.0, ttft = \"800ms\", tpot = \"40ms\" }\nwhen = { service_tier = \"priority\", users = [30, 60] }\n";
        let slo = read(text).unwrap();
        let keys: Vec<String> = slo.bounds.iter().map(Bound::key).collect();
        assert_eq!(
            keys,
            [
                "p95",
                "p99.9",
                "ttft_p95",
                "failure_rate",
                "throttle_rate",
                "blocked_rate",
                "requests_per_sec",
                "goodput"
            ]
        );
        let limits: Vec<f64> = slo.bounds.iter().map(Bound::limit).collect();
        assert_eq!(limits, [2_500.0, 9_000.0, 800.0, 0.01, 0.05, 0.02, 20.0, 12.0]);
        let written = toml::to_string(&slo).unwrap();
        assert_eq!(read(&written).unwrap(), slo, "{written}");
        let json = serde_json::to_string(&slo).unwrap();
        assert_eq!(serde_json::from_str::<Slo>(&json).unwrap(), slo, "{json}");
    }

    #[test]
    fn invalid_thresholds_are_errors_with_a_hint() {
        let cases = [
            ("p95 = 800", "write \"800ms\""),
            ("p95 = \"800\"", "without a unit is 13m20s"),
            ("p95 = -1", "negative"),
            ("p95 = \"fast\"", "not a duration"),
            ("p95 = \"0s\"", "zero"),
            ("p99.9 = \"3s\"", "put it in quotes, \"p99.9\""),
            ("p95 = { min = \"1s\" }", "a duration such as"),
            ("p100 = \"1s\"", "outside 0..100"),
            ("tftt_p95 = \"1s\"", "did you mean `ttft_p95`?"),
            ("failure_rates = \"1%\"", "did you mean `failure_rate`?"),
            ("failure_rate = \"101%\"", "below 100 %"),
            ("failure_rate = 1", "below 100 %"),
            ("failure_rate = 0", "cannot be proved"),
            ("failure_rate = -0.1", "a share of all requests"),
            ("failure_rate = \"1s\"", "a share of all requests"),
            ("requests_per_sec = 20", "write { min = 20 }"),
            ("requests_per_sec = { max = 20 }", "write { min = 20 }"),
            ("requests_per_sec = { min = -1 }", "write { min = 20 }"),
            ("goodput = { min = 3 }", "no limit"),
            ("goodput = { ttft = \"1s\" }", "min = 12.0"),
            ("goodput = { min = 3, ttft = 800 }", "without a unit is 13m20s"),
            ("goodput = { min = 3, tfft = \"1s\" }", "min = 12.0"),
            ("p95 = \"1s\"\n\"p95.0\" = \"2s\"", "twice"),
        ];
        for (toml, part) in cases {
            let message = read(toml).unwrap_err();
            assert!(message.contains(part), "{toml}: {message}");
        }
    }
}
