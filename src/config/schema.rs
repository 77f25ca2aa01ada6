//! The JSON Schema of a plan file, for editors: derived from the types of a plan, and completed by defaults, optional keys
//! and the keys that the forms of a plan accept.

use super::defaults::built_in;
use super::files::EXTENDS;
use crate::matrix::AXES;
use crate::plan::{Plan, RUN_KEYS};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Returns the schema that the types of a plan describe, without defaults and without the keys of its forms.
pub(super) fn plan_schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut root = settings.into_generator().into_root_schema_for::<Plan>().to_value();
    simplify(&mut root);
    root
}

/// Returns the schema. Every key of a plan is optional; only items of lists have required keys.
pub(crate) fn schema() -> Value {
    let mut root = plan_schema();
    set_defaults(&mut root, &built_in());
    let properties = &mut root["properties"];
    properties["schema"] = json!({ "const": 1, "description": "The version of the format.", "default": 1 });
    properties["request"]["properties"]["max_tokens"]["description"] =
        "Maximum tokens of a reply; not together with `matrix.max_tokens`.".into();
    properties[EXTENDS] = json!({
        "type": "string",
        "description": "Path of a parent plan, relative to this file. This file overrides its values: tables are merged, lists replaced."
    });
    add_forms(properties);
    expand_rules(&mut root);
    root["title"] = "bedrock-plan plan".into();
    root["description"] = "A load test. Every key has a default.".into();
    root
}

/// Returns the keys of a table in a schema.
fn keys<'s>(properties: &'s Value, table: &str) -> impl Iterator<Item = (String, Value)> + use<'s> {
    properties[table]["properties"].as_object().cloned().unwrap_or_default().into_iter()
}

/// Completes the forms that accept keys of other tables.
fn add_forms(properties: &mut Value) {
    let matrix: Map<String, Value> = keys(properties, "matrix").collect();
    let axis_keys =
        |schema: fn(&Value) -> Value, name: fn(&crate::matrix::Axis) -> &'static str| -> Map<String, Value> {
            AXES.iter().map(|axis| (name(axis).to_owned(), schema(&matrix[axis.key]))).collect()
        };
    let without_default = |list: &Value| {
        let mut list = list.clone();
        list.as_object_mut().and_then(|list| list.remove("default"));
        list
    };
    let zip = axis_keys(without_default, |axis| axis.key);
    let add = axis_keys(
        |list| {
            let mut item = list["items"].clone();
            item["description"] = list["description"].clone();
            item
        },
        |axis| axis.field,
    );
    let mut changed: Map<String, Value> = keys(properties, "load")
        .chain(keys(properties, "request"))
        .filter(|(key, _)| !RUN_KEYS.contains(&key.as_str()))
        .map(|(key, schema)| (key, without_default(&schema)))
        .collect();
    changed.insert("when".into(), json!({ "type": "object", "x-rule": true, "description": "Cells to change." }));
    let table = |properties: Map<String, Value>| json!({ "type": "object", "properties": properties, "additionalProperties": false });
    properties["matrix"]["properties"]["zip"]["items"] = table(zip);
    properties["matrix"]["properties"]["zip"]["items"]["minProperties"] = 2.into();
    properties["matrix"]["properties"]["add"]["items"] = table(add);
    properties["override"]["items"] = table(changed);
    properties["override"]["items"]["required"] = json!(["when"]);
}

/// Completes rules with the attributes of cells, each a value or a list.
fn expand_rules(schema: &mut Value) {
    match schema {
        Value::Object(map) if map.contains_key("x-rule") => {
            map.remove("x-rule");
            let value = json!({ "type": ["string", "number"] });
            let either = json!({ "anyOf": [value, { "type": "array", "items": value, "minItems": 1 }] });
            let attributes: Map<String, Value> =
                AXES.iter().map(|axis| (axis.field.to_owned(), either.clone())).collect();
            map.insert("properties".into(), Value::Object(attributes));
            map.insert("additionalProperties".into(), false.into());
        }
        Value::Object(map) => map.values_mut().for_each(expand_rules),
        Value::Array(items) => items.iter_mut().for_each(expand_rules),
        _ => {}
    }
}

/// Makes all keys of tables optional, with the defaults of an empty plan.
fn set_defaults(table: &mut Value, defaults: &Value) {
    let Some(map) = table.as_object_mut() else { return };
    map.remove("required");
    let Some(Value::Object(properties)) = map.get_mut("properties") else { return };
    for (key, schema) in properties {
        let default = defaults.get(key).unwrap_or(&Value::Null);
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("default");
            if !default.is_null() && !default.is_object() {
                schema.insert("default".into(), default.clone());
            }
        }
        set_defaults(schema, default);
    }
}

/// Removes what does not apply to TOML, and notation of Rust.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("format").is_some_and(Value::is_string) {
                map.remove("format");
            }
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            for word in ["anyOf", "enum"] {
                if let Some(Value::Array(choices)) = map.get_mut(word) {
                    choices.retain(|choice| !choice.is_null() && choice["type"] != "null");
                }
            }
            if let Some([only]) = map.get("anyOf").and_then(Value::as_array).map(Vec::as_slice) {
                let only = only.clone();
                map.remove("anyOf");
                map.extend(
                    only.as_object().cloned().unwrap_or_default().into_iter().filter(|(key, _)| key != "description"),
                );
            }
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`").replace('\n', " ");
                *text = text.replace("Self::Warm", "warm").replace("`None`", "left out");
            }
            map.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}
