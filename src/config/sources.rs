//! Values of the environment and the flags with their origin. Rules are checked elsewhere.

use super::Sources;
use super::keys::free_table;
use super::paths::expand_home;
use super::problem::{Problem, nearest};
use super::settings::{ALLOW_HTTP, Kind, PREFIX, SETTINGS, SHARD_VARIABLES, Setting, find};
use crate::plan::{Layer, Origin};
use serde_json::{Number, Value};
use std::collections::BTreeMap;

/// A value with its key and origin.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The entries of one layer while it is read.
struct LayerBuilder<'a> {
    layer: Layer,
    entries: Vec<Entry>,
    problems: &'a mut Vec<Problem>,
}

impl LayerBuilder<'_> {
    /// Adds the value that `name` sets. The last of several `--set` wins; two names of one setting with different values
    /// are an error.
    fn set(&mut self, key: &str, value: Result<Value, String>, name: &str) {
        let value = match value {
            Ok(value) => value,
            Err(message) => {
                self.problems.push(Problem::named(name, message));
                return;
            }
        };
        let origin = Origin { layer: self.layer, name: Some(name.to_owned()) };
        match self.entries.iter_mut().find(|entry| entry.key == key) {
            None => self.entries.push(Entry { key: key.to_owned(), value, origin }),
            Some(entry) if entry.value == value => {}
            Some(entry) if is_set_flag(name) && entry.origin.name.as_deref().is_some_and(is_set_flag) => {
                (entry.value, entry.origin) = (value, origin);
            }
            Some(entry) => {
                let other = entry.origin.name.clone().unwrap_or_default();
                let message = format!("sets `{key}` to another value than {other}");
                self.problems.push(Problem::named(name, message).hint(Some("remove one of the two")));
            }
        }
    }
}

/// Whether `--set` set a value.
fn is_set_flag(name: &str) -> bool {
    name.starts_with("--set ")
}

/// Reads the layer of the environment. An empty variable counts as unset: CI passes empty inputs.
pub(super) fn environment(sources: &Sources<'_>, paths: &[String], problems: &mut Vec<Problem>) -> Vec<Entry> {
    let mut layer = LayerBuilder { layer: Layer::Env, entries: Vec::new(), problems };
    let get = |name: &str| sources.environment.get(name).filter(|value| !value.trim().is_empty());
    for setting in SETTINGS {
        let (aws, bare): (Vec<&str>, Vec<&str>) = setting.env.iter().partition(|name| name.starts_with("AWS_"));
        let prefixed: Vec<String> = setting.flags.iter().map(|flag| Setting::prefixed(flag)).collect();
        let mut is_set = false;
        for name in bare.into_iter().chain(prefixed.iter().map(String::as_str)) {
            if let Some(text) = get(name) {
                layer.set(setting.key, parse_value(setting.kind, text, sources), name);
                is_set = true;
            }
        }
        // Variables of AWS have the precedence of the SDK among each other, and a lower one than those of this tool.
        if let Some((name, text)) = aws.iter().find_map(|name| get(name).map(|text| (name, text))).filter(|_| !is_set) {
            layer.set(setting.key, parse_value(setting.kind, text, sources), name);
        }
    }
    let simulated = format!("{PREFIX}SIMULATED");
    if let Some(text) = get(&simulated) {
        match parse_boolean(&simulated, text) {
            Ok(true) => layer.set("target.endpoint", Ok("simulated".into()), &simulated),
            Ok(false) => {}
            Err(problem) => layer.problems.push(problem),
        }
    }
    for (name, text) in sources.environment.iter().filter(|(_, text)| !text.trim().is_empty()) {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let is_flag = SETTINGS.iter().flat_map(|setting| setting.flags).any(|flag| Setting::prefixed(flag) == *name);
        if is_flag || *name == simulated || *name == ALLOW_HTTP || SHARD_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let path = rest.to_lowercase().replace("__", ".");
        if paths.contains(&path) {
            layer.set(&path, parse_by_path(&path, text, sources), name);
        } else {
            let known = known_variables(paths);
            let hint = nearest(name, known.iter().map(String::as_str)).map(|near| format!("did you mean {near}?"));
            layer.problems.push(Problem::named(name, "no setting has this name").hint(hint));
        }
    }
    layer.entries
}

/// Reads the layer of the flags.
pub(super) fn flags(sources: &Sources<'_>, paths: &[String], problems: &mut Vec<Problem>) -> Vec<Entry> {
    let mut layer = LayerBuilder { layer: Layer::Flag, entries: Vec::new(), problems };
    for (flag, text) in sources.flags {
        let name = format!("--{flag}");
        if flag == "simulated" {
            layer.set("target.endpoint", Ok("simulated".into()), &name);
            continue;
        }
        let Some(setting) = SETTINGS.iter().find(|setting| setting.flags.contains(&flag.as_str())) else { continue };
        let value = match text.trim() {
            "" => Err(format!("is empty: expected {}", setting.kind.expected())),
            text => parse_value(setting.kind, text, sources),
        };
        layer.set(setting.key, value, &name);
    }
    for set in sources.sets {
        let name = format!("--set {set}");
        let Some((key, text)) = set.split_once('=') else {
            layer.problems.push(
                Problem::named(name, "expected KEY=VALUE").hint(Some("write for example --set simulator.capacity=40")),
            );
            continue;
        };
        let key = key.trim();
        if paths.iter().any(|path| path == key) || free_table(key).is_some() {
            layer.set(key, parse_by_path(key, text.trim(), sources), &name);
        } else {
            let hint = nearest(key, paths.iter().map(String::as_str)).map(|near| format!("did you mean {near}?"));
            layer.problems.push(Problem::named(name, format!("unknown setting `{key}`")).hint(hint));
        }
    }
    layer.entries
}

/// Whether the environment allows session tokens over plain http.
pub(super) fn allow_http(environment: &BTreeMap<String, String>) -> Result<bool, Problem> {
    let Some(text) = environment.get(ALLOW_HTTP).filter(|text| !text.trim().is_empty()) else { return Ok(false) };
    parse_boolean(ALLOW_HTTP, text)
}

/// Parses the value of a variable or of a key of the AWS profile; `name` is what sets it.
///
/// # Errors
/// If the text is neither true nor false.
pub(super) fn parse_boolean(name: &str, text: &str) -> Result<bool, Problem> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Problem::named(name, format!("invalid value `{text}`: expected true or false"))),
    }
}

fn known_variables(paths: &[String]) -> Vec<String> {
    let flags = SETTINGS.iter().flat_map(|setting| setting.flags).map(|flag| Setting::prefixed(flag));
    let full = paths.iter().map(|path| format!("{PREFIX}{}", path.to_uppercase().replace('.', "__")));
    flags.chain(full).chain([ALLOW_HTTP.to_owned()]).collect()
}

/// Parses text as a value of a kind. Invalid text stays text and is reported by the check.
fn parse_value(kind: Kind, text: &str, sources: &Sources<'_>) -> Result<Value, String> {
    let text = text.trim();
    let number = |text: &str| {
        text.parse::<i64>()
            .ok()
            .map(Value::from)
            .or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number))
    };
    Ok(match kind {
        Kind::Texts => split_items(text)?.into_iter().map(Value::from).collect(),
        Kind::Counts | Kind::Numbers => {
            split_items(text)?.into_iter().map(|item| number(item).unwrap_or_else(|| item.into())).collect()
        }
        Kind::Whole | Kind::Number | Kind::NumberOrNone | Kind::Samples => number(text).unwrap_or_else(|| text.into()),
        Kind::Bool => match text.to_lowercase().as_str() {
            "true" | "1" => true.into(),
            "false" | "0" => false.into(),
            _ => text.into(),
        },
        Kind::Duration | Kind::ThinkTime | Kind::Text => text.into(),
        Kind::Path => {
            let path = expand_home(text, sources.environment)?;
            sources.working_dir.join(&*path).to_string_lossy().into()
        }
    })
}

fn split_items(text: &str) -> Result<Vec<&str>, String> {
    let items: Vec<&str> = text.split(',').map(str::trim).collect();
    if items.iter().any(|item| item.is_empty()) { Err(format!("`{text}` contains an empty item")) } else { Ok(items) }
}

/// Parses the value of a full path: by its setting, else as TOML, else as text.
fn parse_by_path(path: &str, text: &str, sources: &Sources<'_>) -> Result<Value, String> {
    #[derive(serde::Deserialize)]
    struct Holder {
        value: Value,
    }
    let toml: Option<Value> = toml::from_str::<Holder>(&format!("value = {text}")).ok().map(|holder| holder.value);
    match (find(path), toml) {
        (_, Some(value @ (Value::Array(_) | Value::String(_)))) | (None, Some(value)) => Ok(value),
        (Some(setting), _) => parse_value(setting.kind, text, sources),
        // A table may also be JSON, which is easier to quote in a shell.
        (None, None) if text.starts_with('{') => Ok(serde_json::from_str(text).unwrap_or_else(|_| text.into())),
        (None, None) => Ok(text.into()),
    }
}
