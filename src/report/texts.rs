//! Masks the texts of a plan with `--public`, in addition to names and accounts: texts and metadata that are sent with
//! a request, and local directories.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Placeholder for a masked text.
const MASKED: &str = "[masked]";

/// Maximum length in characters of an unmasked text in model-specific fields. Settings such as an effort are shorter.
const LONGEST_SETTING: usize = 32;

/// Prefix of metadata keys in the plan, as origins use it.
const METADATA: &str = "request.request_metadata.";

/// Masks every text of a request and the directories of absolute paths in a manifest.
pub(super) fn mask_texts(manifest: &mut Value) {
    mask(manifest, &mut Names::default());
}

/// Placeholders for metadata names. A name has the same placeholder everywhere.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn placeholder(&mut self, name: &str) -> String {
        let next = format!("key-{}", self.0.len() + 1);
        self.0.entry(name.to_owned()).or_insert(next).clone()
    }
}

fn mask(value: &mut Value, names: &mut Names) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, names)),
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match (key.as_str(), value) {
                    ("system", Value::String(text)) => *text = MASKED.into(),
                    ("stop_sequences", Value::Array(texts)) => texts.fill(MASKED.into()),
                    ("request_metadata", Value::Object(metadata)) => {
                        let masked = metadata.keys().map(|name| (names.placeholder(name), MASKED.into())).collect();
                        *metadata = masked;
                    }
                    ("additional_fields", value) => mask_long_texts(value),
                    ("prompts_file" | "results_dir" | "file", Value::String(path)) => without_directory(path),
                    ("origins", Value::Object(origins)) => mask_origins(origins, names),
                    (_, value) => mask(value, names),
                }
            }
        }
        _ => {}
    }
}

fn mask_long_texts(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().count() > LONGEST_SETTING || text.contains(char::is_whitespace) => {
            *text = MASKED.into();
        }
        Value::Array(items) => items.iter_mut().for_each(mask_long_texts),
        Value::Object(map) => map.values_mut().for_each(mask_long_texts),
        _ => {}
    }
}

/// Masks origins. Their keys contain metadata names, and their values contain file paths.
fn mask_origins(origins: &mut Map<String, Value>, names: &mut Names) {
    let masked = std::mem::take(origins).into_iter().map(|(key, mut origin)| {
        if let Some(Value::String(file)) = origin.get_mut("name") {
            without_directory(file);
        }
        let key = match key.strip_prefix(METADATA) {
            Some(name) => format!("{METADATA}{}", names.placeholder(name)),
            None => key,
        };
        (key, origin)
    });
    *origins = masked.collect();
}

fn without_directory(path: &mut String) {
    let name = Path::new(path.as_str()).file_name().filter(|_| Path::new(path.as_str()).is_absolute());
    if let Some(name) = name.map(|name| name.to_string_lossy().into_owned()) {
        *path = name;
    }
}
