//! Kinds of plan keys, derived from the JSON Schema of a plan and the built-in defaults.

use super::defaults::built_in;
use super::files::EXTENDS;
use super::schema::plan_schema;
use serde_json::Value;
use std::sync::LazyLock;

/// Mutually exclusive keys: a key of a group that a layer sets removes the others from the layers below.
pub(super) const EXCLUSIVE_KEYS: [&[&str]; 4] = [
    &["matrix.user_counts", "matrix.arrival_rates", "matrix.profiles"],
    &["target.api", "matrix.apis"],
    &["target.region", "matrix.regions"],
    &["request.max_tokens", "matrix.max_tokens"],
];

/// Dotted keys by kind, in the order of the schema.
#[derive(Debug, Default)]
struct PlanKeys {
    optional: Vec<String>,
    free_tables: Vec<String>,
    table_lists: Vec<String>,
}

static KEYS: LazyLock<PlanKeys> = LazyLock::new(|| {
    let mut keys = PlanKeys { optional: vec![EXTENDS.to_owned()], ..PlanKeys::default() };
    keys.collect(&plan_schema(), "", Some(&built_in()));
    keys
});

impl PlanKeys {
    fn collect(&mut self, table: &Value, path: &str, defaults: Option<&Value>) {
        for (name, schema) in table["properties"].as_object().into_iter().flatten() {
            let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let default = defaults.and_then(|table| table.get(name));
            if schema.get("properties").is_some() {
                self.collect(schema, &key, default);
                continue;
            }
            let items = &schema["items"];
            if schema["type"] == "object" {
                self.free_tables.push(key.clone());
            } else if items["type"] == "object" && items.get("x-rule").is_none() {
                self.table_lists.push(key.clone());
            }
            if default.is_none() {
                self.optional.push(key);
            }
        }
    }
}

/// Returns the keys that have no default.
pub(super) fn optional() -> &'static [String] {
    &KEYS.optional
}

/// Returns the table with keys of the model or the user that contains a key, or is that key.
pub(super) fn free_table(key: &str) -> Option<&'static str> {
    let contains = |table: &&str| key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    KEYS.free_tables.iter().map(String::as_str).find(contains)
}

/// Whether a key is a list of tables: `[[key]]`.
pub(super) fn is_table_list(key: &str) -> bool {
    KEYS.table_lists.iter().any(|list| list == key)
}

/// Whether another key may be set in place of this one.
pub(super) fn is_exclusive(key: &str) -> bool {
    EXCLUSIVE_KEYS.iter().any(|group| group.contains(&key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn assert_same_keys(derived: &[String], expected: &str) {
        let derived: BTreeSet<&str> = derived.iter().map(String::as_str).collect();
        assert_eq!(derived, expected.split_whitespace().collect());
    }

    #[test]
    fn schema_and_defaults_yield_the_optional_keys() {
        assert_same_keys(
            optional(),
            "extends description prompts_file target.region target.profile \
             matrix.apis matrix.arrival_rates matrix.profiles matrix.max_tokens matrix.regions matrix.exclude \
             matrix.zip matrix.add load.seed load.requests load.min_samples load.max_duration request.system \
             request.stop_sequences request.performance request.additional_fields request.request_metadata \
             run.assume_latency run.allow_unknown report.percentiles goodput.ttft goodput.tpot goodput.e2e \
             profile override mix dataset prices.rows quota.tokens_per_minute quota.requests_per_minute \
             quota.burndown budget.max_cost budget.max_requests budget.max_output_tokens slo",
        );
    }

    #[test]
    fn schema_yields_free_tables_and_lists_of_tables() {
        assert_same_keys(&KEYS.free_tables, "request.additional_fields request.request_metadata");
        assert_same_keys(&KEYS.table_lists, "profile override matrix.zip matrix.add prices.rows mix dataset slo");
    }

    #[test]
    fn exclusive_axes_may_be_empty() {
        let axes = crate::matrix::AXES.iter().map(|axis| format!("matrix.{}", axis.key));
        let exclusive: Vec<String> = axes.filter(|key| is_exclusive(key)).collect();
        // An empty `matrix.max_tokens` takes the value of `request.max_tokens`.
        assert_same_keys(
            &exclusive,
            "matrix.apis matrix.regions matrix.user_counts matrix.arrival_rates matrix.profiles matrix.max_tokens",
        );
    }
}
