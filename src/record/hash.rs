//! Hashes of everything that makes two cells comparable, over canonical JSON: a version, sorted keys, and no values that
//! equal the built-in default, so that a key added later changes no old hash.

use crate::matrix::Cell;
use crate::plan::{Endpoint, Target};
use crate::units::duration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The defaults of version 1, which do not follow later changes of the defaults of the tool.
const DEFAULTS: [(&str, &str); 12] = [
    ("api", "\"converse\""),
    ("arrivals", "\"constant\""),
    ("cache_mode", "\"as_is\""),
    ("endpoint", "\"aws\""),
    ("max_in_flight", "10000"),
    ("max_tokens", "4096"),
    ("spawn_rate", "10.0"),
    ("temperature", "\"none\""),
    ("test_duration", "\"1m\""),
    ("think_time", "\"1s..2s\""),
    ("timeout", "\"14m\""),
    ("top_p", "\"none\""),
];

/// Returns the SHA-256, in hex, over model, prefix, tier, region, kind of endpoint, load, request and prompt.
/// Name, description, directories, reports, cool-down, drain, order, seed and the metadata of requests, which
/// only logs contain, are not hashed. `prompt` is the canonical form of the prompt.
pub(crate) fn cell_hash(cell: &Cell, target: &Target, prompt: &Value) -> String {
    let mut fields = hashed_fields(cell, target);
    fields.insert("prompt", prompt.clone());
    fields.insert("v", json!(1));
    text_hash(&json!(fields).to_string())
}

/// Returns the hashed fields except for the prompt: all that differ from the built-in default, in order.
pub(crate) fn hashed_fields(cell: &Cell, target: &Target) -> BTreeMap<&'static str, Value> {
    let endpoint = match &target.endpoint {
        Endpoint::Url(_) => "url".to_owned(),
        other => other.to_string(),
    };
    let mut fields: BTreeMap<&str, Value> = BTreeMap::from([
        ("arrivals", json!(cell.load.arrivals)),
        ("endpoint", json!(endpoint)),
        ("max_duration", json!(cell.load.max_duration.map(duration::format))),
        ("max_in_flight", json!(cell.load.max_in_flight)),
        ("max_tokens", json!(cell.request.max_tokens)),
        ("min_samples", json!(cell.load.min_samples)),
        ("performance", json!(cell.request.performance)),
        ("requests", json!(cell.load.requests)),
        ("spawn_rate", json!(cell.load.spawn_rate)),
        ("system", json!(cell.request.system)),
        ("temperature", json!(cell.request.temperature)),
        ("test_duration", json!(duration::format(cell.load.test_duration))),
        ("think_time", json!(cell.load.think_time)),
        ("timeout", json!(duration::format(cell.request.timeout))),
        ("top_p", json!(cell.request.top_p)),
    ]);
    if !cell.request.additional_fields.is_empty() {
        fields.insert("additional_fields", sorted(&Value::Object(cell.request.additional_fields.clone())));
    }
    if !cell.request.stop_sequences.is_empty() {
        fields.insert("stop_sequences", json!(cell.request.stop_sequences));
    }
    for axis in crate::matrix::AXES.iter().filter(|axis| axis.field != "prompt_size") {
        fields.insert(axis.field, json!((axis.get)(cell)));
    }
    // The name of a profile does not affect the load.
    fields.insert("profile", json!(cell.profile.as_ref().map(|profile| &profile.stages)));
    fields.retain(|key, value| {
        let text = value.to_string();
        let default = DEFAULTS.iter().any(|(name, default)| name == key && *default == text);
        !default && !value.is_null()
    });
    fields
}

/// Returns the same JSON with sorted keys.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<&String, Value> = fields.iter().map(|(key, value)| (key, sorted(value))).collect();
            json!(fields)
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// Returns the hash over the sorted hashes of all cells of a plan.
pub(crate) fn plan_hash(cell_hashes: &[String]) -> String {
    let mut sorted = cell_hashes.to_vec();
    sorted.sort_unstable();
    text_hash(&sorted.join("\n"))
}

/// Returns the SHA-256 of a text, in hex.
pub(crate) fn text_hash(text: &str) -> String {
    crate::units::text::hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    #[test]
    fn hash_is_stable() {
        let plan = plan();
        let cell = &crate::matrix::expand(&plan)[0];
        assert_eq!(
            cell_hash(cell, &plan.target, &"hello".into()),
            "3ea72843564dc6c37a831ce148d715301f6db7e86eff9a0793b8890426d072e2"
        );
    }

    #[test]
    fn only_settings_that_affect_latency_are_hashed() {
        let mut plan = plan();
        let before = cell_hash(&crate::matrix::expand(&plan)[0], &plan.target, &"hello".into());
        plan.name = "other".into();
        plan.load.seed = Some(99);
        plan.load.cool_down *= 2;
        assert_eq!(before, cell_hash(&crate::matrix::expand(&plan)[0], &plan.target, &"hello".into()));
        plan.request.max_tokens = 32;
        assert_ne!(before, cell_hash(&crate::matrix::expand(&plan)[0], &plan.target, &"hello".into()));
        assert_ne!(before, cell_hash(&crate::matrix::expand(&plan)[0], &plan.target, &"hello!".into()));
    }

    #[test]
    fn request_fields_are_hashed_in_any_order_of_keys() {
        let mut plan = plan();
        let hash = |plan: &crate::plan::Plan| cell_hash(&crate::matrix::expand(plan)[0], &plan.target, &"hello".into());
        let before = hash(&plan);
        plan.request.request_metadata = [("team".to_owned(), "blue".to_owned())].into_iter().collect();
        assert_eq!(before, hash(&plan), "only logs contain the metadata");
        let mut hashes = vec![before];
        plan.request.system = Some("be brief".into());
        hashes.push(hash(&plan));
        plan.request.stop_sequences = vec!["END".into()];
        hashes.push(hash(&plan));
        plan.request.performance = Some(crate::plan::Performance::Optimized);
        hashes.push(hash(&plan));
        let fields = |text: &str| serde_json::from_str(text).unwrap();
        plan.request.additional_fields = fields(r#"{"a": {"x": 1, "y": [2]}, "b": 1}"#);
        hashes.push(hash(&plan));
        plan.request.additional_fields = fields(r#"{"b": 1, "a": {"y": [2], "x": 1}}"#);
        assert_eq!(hashes.last(), Some(&hash(&plan)));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 5);
    }
}
