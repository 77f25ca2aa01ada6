//! From layers to a plan: keys are checked per layer before the merge, values after it, and all that
//! is wrong is said at once.

use super::file::PlanFile;
use super::layers::{Merged, Said, merge};
use super::problem::{Place, Problem, Problems, Source, nearest};
use super::sources::{self, Entry};
use super::{Resolved, Sources, asked, rules, settings};
use crate::plan::{Layer, Origin, Origins, Plan};
use crate::prompts::{Files, Prompts};
use crate::simulator;
use serde_json::Value;
use std::path::Path;

/// Keys that have no default.
const OPTIONAL: [&str; 30] = [
    "description",
    "prompts_file",
    "target.region",
    "target.profile",
    "matrix.apis",
    "matrix.arrival_rates",
    "matrix.profiles",
    "load.seed",
    "load.requests",
    "load.min_samples",
    "load.max_duration",
    "request.system",
    "request.stop_sequences",
    "request.performance",
    "request.additional_fields",
    "request.request_metadata",
    "report.percentiles",
    "goodput.ttft",
    "goodput.tpot",
    "goodput.e2e",
    "profile",
    "mix",
    "dataset",
    "prices.rows",
    "quota.tokens_per_minute",
    "quota.requests_per_minute",
    "budget.max_cost",
    "budget.max_requests",
    "budget.max_output_tokens",
    "slo",
];

/// Tables whose keys are not ours: the model's, or the user's.
const FREE: [&str; 2] = ["request.additional_fields", "request.request_metadata"];

/// The table with free keys in which a key stands, or which it is.
pub(super) fn free_table(key: &str) -> Option<&'static str> {
    FREE.into_iter().find(|table| key.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Settings of which a layer says one: it drops the others from the layers below.
const RIVALS: [&[&str]; 2] =
    [&["matrix.user_counts", "matrix.arrival_rates", "matrix.profiles"], &["target.api", "matrix.apis"]];

pub(super) fn read(sources: &Sources<'_>) -> Result<Resolved, Problems> {
    let mut problems = Vec::new();
    let defaults = defaults(sources);
    let mut shape = defaults.clone();
    for key in OPTIONAL {
        set(&mut shape, key, Value::Null);
    }
    let paths = leaves(&shape);

    let file = sources.plan.and_then(|path| plan_file(path, &mut problems));
    let mut tree = Value::Null;
    // What stands in a file with syntax errors is guesswork: it is said that it cannot be read, and no more.
    if let Some(file) = file.as_ref().filter(|_| problems.is_empty()) {
        tree = file.tree.clone();
        unknown_keys(file, &mut tree, &shape, "", &shape, &mut problems);
        relative_to_plan(&mut tree, sources);
    }
    let mut entries = sources::environment(sources, &paths, &mut problems);
    entries.extend(sources::flags(sources, &paths, &mut problems));

    let mut layered = Layered::new(&defaults, tree, entries, file.as_ref());
    layered.settle_rivals(&mut problems);
    if layered.merged.tree["target"]["endpoint"] == "aws"
        && let Some(entry) = sources::aws_endpoint(sources)
    {
        layered.add(entry);
    }
    let (plan, bad) = layered.plan(&defaults, &mut problems);
    let prompts =
        prompts(&plan, &layered, &mut problems).and_then(|prompts| datasets(&plan, prompts, &layered, &mut problems));
    for broken in rules::check(&plan, prompts.as_ref()) {
        let is_bad = |wrong: &String| {
            broken.keys.iter().any(|path| {
                path.starts_with(wrong.as_str())
                    || ["[", "."].iter().any(|deeper| wrong.starts_with(&format!("{path}{deeper}")))
            })
        };
        if !bad.iter().any(is_bad) {
            problems.push(Problem::new(layered.strongest(&broken.keys), broken.message).hint(broken.hint));
        }
    }
    match prompts {
        Some(prompts) if problems.is_empty() => {
            let warnings = asked::warnings(&plan, &prompts);
            Ok(Resolved { origins: layered.origins(), plan, prompts, warnings })
        }
        _ => Err(Problems(problems)),
    }
}

/// The weakest layer.
fn defaults(sources: &Sources<'_>) -> Value {
    let mut tree: Value = toml::from_str(include_str!("default.toml"))
        .unwrap_or_else(|error| unreachable!("default.toml is part of this program: {error}"));
    tree["simulator"] = serde_json::to_value(simulator::Model::default())
        .unwrap_or_else(|error| unreachable!("the simulator's defaults are plain data: {error}"));
    if let Some(stem) = sources.plan.and_then(Path::file_stem) {
        tree["name"] = stem.to_string_lossy().into();
    }
    let local = sources.working_dir.join("prompts.json");
    if local.is_file() {
        tree["prompts_file"] = local.to_string_lossy().into();
    }
    tree
}

fn plan_file(path: &Path, problems: &mut Vec<Problem>) -> Option<PlanFile> {
    let shown = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let (file, wrong) = PlanFile::parse(Source { path: shown, text });
            problems.extend(wrong);
            Some(file)
        }
        Err(error) => {
            let hint = (error.kind() == std::io::ErrorKind::NotFound)
                .then_some("without a plan the built-in defaults are the plan: `bedrock-plan run`");
            problems.push(Problem::named(shown, format!("the plan cannot be read: {error}")).hint(hint));
            None
        }
    }
}

/// A prompts file or a data set that a plan names is relative to the plan.
fn relative_to_plan(tree: &mut Value, sources: &Sources<'_>) {
    let Some(plan) = sources.plan else { return };
    let dir = sources.working_dir.join(plan.parent().unwrap_or(Path::new("")));
    let join = |path: &mut Value| {
        if let Value::String(path) = path {
            *path = dir.join(&*path).to_string_lossy().into_owned();
        }
    };
    if let Some(path) = tree.get_mut("prompts_file") {
        join(path);
    }
    let datasets = tree.get_mut("dataset").and_then(Value::as_array_mut);
    datasets.into_iter().flatten().filter_map(|dataset| dataset.get_mut("file")).for_each(join);
}

/// Reports keys that nobody knows, and values where tables belong, and takes them out.
fn unknown_keys(
    file: &PlanFile,
    tree: &mut Value,
    shape: &Value,
    path: &str,
    whole: &Value,
    problems: &mut Vec<Problem>,
) {
    let (Value::Object(map), Value::Object(known)) = (tree, shape) else { return };
    map.retain(|key, value| {
        let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let Some(inner) = known.get(key) else {
            let table = if path.is_empty() { "the top of a plan".to_owned() } else { format!("[{path}]") };
            let at = if path.is_empty() { "at" } else { "in" };
            let hint = elsewhere(key, whole)
                .map(|place| format!("it belongs to {place}"))
                .or_else(|| {
                    nearest(key, known.keys().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
                })
                .unwrap_or_else(|| format!("{table} has {}", names(known.keys())));
            problems.push(Problem::new(file.key(&here), format!("unknown key `{key}` {at} {table}")).hint(Some(hint)));
            return false;
        };
        let is_free = free_table(&here).is_some();
        match (inner.is_object() || is_free, value.is_object()) {
            (true, true) if is_free => true,
            (true, false) => {
                problems.push(Problem::new(file.value(&here), format!("`{key}` is a table: write [{here}]")));
                false
            }
            (false, true) => {
                problems.push(Problem::new(file.key(&here), format!("`{key}` is a value, not a table")));
                false
            }
            _ => {
                unknown_keys(file, value, inner, &here, whole, problems);
                true
            }
        }
    });
}

/// The table in which a misplaced key is known.
fn elsewhere(key: &str, whole: &Value) -> Option<String> {
    let tables = whole.as_object()?;
    if tables.get(key).is_some() {
        return Some("the top of the plan, before the first [table]".into());
    }
    let (table, _) = tables.iter().find(|(_, inner)| inner.get(key).is_some())?;
    Some(format!("[{table}]"))
}

fn names<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    keys.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// The layers with the origin of each value.
struct Layered<'a> {
    said: Vec<Said>,
    origins: Vec<Origin>,
    merged: Merged,
    file: Option<&'a PlanFile>,
}

impl<'a> Layered<'a> {
    fn new(defaults: &Value, tree: Value, entries: Vec<Entry>, file: Option<&'a PlanFile>) -> Self {
        let whole = |value: Value, by| Said { key: String::new(), value, by };
        let origin = |layer| Origin { layer, name: None };
        let mut origins = vec![origin(Layer::Default), origin(Layer::File)];
        let mut said = vec![whole(defaults.clone(), 0)];
        if tree.is_object() {
            said.push(whole(tree, 1));
        }
        for entry in entries {
            said.push(Said { key: entry.key, value: entry.value, by: origins.len() });
            origins.push(entry.origin);
        }
        Self { merged: merge(said.clone()), said, origins, file }
    }

    /// Of rivals, what a later layer says drops the others from earlier ones; two in one layer are a problem.
    fn settle_rivals(&mut self, problems: &mut Vec<Problem>) {
        for rivals in RIVALS {
            let mut settled = false;
            for layer in [Layer::Flag, Layer::Env, Layer::File] {
                let says = |rival: &&&str| self.said.iter().any(|said| self.says(said, layer, rival));
                let said: Vec<&str> = rivals.iter().filter(says).copied().collect();
                let [first, rest @ ..] = &said[..] else { continue };
                for second in rest {
                    let message = format!("`{first}` and `{second}` are both set, and one takes the other's place");
                    let place = self.said_at(layer, second);
                    problems.push(Problem::new(place, message).hint(Some("leave one of them out")));
                }
                if !std::mem::replace(&mut settled, true) {
                    for entry in &mut self.said {
                        rivals.iter().filter(|rival| *rival != first).for_each(|rival| {
                            remove(&mut entry.value, &entry.key, rival);
                        });
                    }
                    self.said.retain(|entry| !entry.value.is_null());
                }
            }
        }
        self.merged = merge(self.said.clone());
    }

    /// Whether a value of a layer says something at a key.
    fn says(&self, said: &Said, layer: Layer, key: &str) -> bool {
        self.origins[said.by].layer == layer
            && (said.key == key || (said.key.is_empty() && get(&said.value, key).is_some()))
    }

    /// Where a layer says something.
    fn said_at(&self, layer: Layer, key: &str) -> Place {
        if let (Layer::File, Some(file)) = (layer, self.file) {
            return file.value(key);
        }
        let by = self.said.iter().find(|said| self.says(said, layer, key)).map_or(0, |said| said.by);
        Place::Name(self.origins[by].name.clone().unwrap_or_else(|| key.to_owned()))
    }

    /// One more value on top.
    fn add(&mut self, entry: Entry) {
        self.said.push(Said { key: entry.key, value: entry.value, by: self.origins.len() });
        self.origins.push(entry.origin);
        self.merged = merge(self.said.clone());
    }

    /// Deserialises; where that fails the error is reported, the default put back, and all tried again.
    /// Returns the keys that were replaced so.
    fn plan(&self, defaults: &Value, problems: &mut Vec<Problem>) -> (Plan, Vec<String>) {
        let mut tree = self.merged.tree.clone();
        let mut bad: Vec<String> = Vec::new();
        loop {
            let error = match serde_path_to_error::deserialize::<_, Plan>(tree.clone()) {
                Ok(plan) => return (plan, bad),
                Err(error) => error,
            };
            let path = error.path().to_string();
            let key = path.split('[').next().unwrap_or_default();
            let key = free_table(key).unwrap_or(key).to_owned();
            // What stands in for an item is no name that a list of choices knows: then the default does.
            let stood_in = bad.iter().filter(|known| **known == path).count();
            assert!(stood_in < 2, "the defaults are valid, but for {path}: {error}");
            if stood_in == 0 {
                let message = describe(&key, &error.into_inner().to_string());
                problems.push(Problem::new(self.place(&path), message));
            }
            // One item of a list is replaced alone, so that what is wrong with the others is found too.
            match (item(&path), get(defaults, &key)) {
                (Some(index), None)
                    if stood_in == 0 && get(&tree, &key).and_then(|list| list.get(0)).is_some_and(Value::is_number) =>
                {
                    tree_item(&mut tree, &key)[index] = stand_in(&Value::Null, bad.len());
                }
                (Some(index), Some(default)) if stood_in == 0 && path.matches('[').count() == 1 => {
                    tree_item(&mut tree, &key)[index] = stand_in(default, bad.len());
                }
                (_, Some(default)) => set(&mut tree, &key, default.clone()),
                // A value of a table in a list is taken out alone, for the same reason.
                (_, None) if remove_from_item(&mut tree, &path) => {}
                (_, None) => remove(&mut tree, "", &key),
            }
            bad.push(path);
        }
    }

    /// Of the nearest thing around it where a key has none: a key may have dots of its own.
    fn origin(&self, key: &str) -> &Origin {
        let mut known = Some(key);
        while let Some(key) = known {
            if let Some(by) = self.merged.by(key) {
                return &self.origins[by];
            }
            known = key.rsplit_once('.').map(|(table, _)| table);
        }
        &self.origins[0]
    }

    /// Where a value was said.
    fn place(&self, path: &str) -> Place {
        let key = path.split('[').next().unwrap_or_default();
        let origin = self.origin(key);
        match (origin.layer, self.file) {
            (Layer::File, Some(file)) => file.value(path),
            _ => Place::Name(origin.name.clone().unwrap_or_else(|| key.to_owned())),
        }
    }

    /// The place of that one of several values which the strongest layer said: it is what was changed last.
    fn strongest(&self, paths: &[String]) -> Place {
        let layer = |path: &&String| self.origin(path.split('[').next().unwrap_or_default()).layer;
        let mut best = &paths[0];
        for path in paths {
            if layer(&path) > layer(&best) {
                best = path;
            }
        }
        self.place(best)
    }

    /// For `show` and the manifest.
    fn origins(&self) -> Origins {
        let described = |key: &String| {
            let mut origin = self.origin(key.split('[').next().unwrap_or_default()).clone();
            if let (Layer::File, Some(file)) = (origin.layer, self.file) {
                origin.name = Some(match file.line(key) {
                    Some(line) => format!("{}:{line}", file.source.path),
                    None => file.source.path.clone(),
                });
            }
            origin
        };
        let mut keys = leaves(&self.merged.tree);
        // The tables of a list have places of their own.
        let lists: Vec<(String, usize)> = keys
            .iter()
            .filter_map(|key| Some((key.clone(), get(&self.merged.tree, key)?.as_array()?)))
            .filter(|(_, list)| list.iter().any(Value::is_object))
            .map(|(key, list)| (key, list.len()))
            .collect();
        keys.extend(lists.iter().flat_map(|(key, n)| (0..*n).map(move |index| format!("{key}[{index}]"))));
        keys.into_iter().map(|key| (key.clone(), described(&key))).collect()
    }
}

/// Serde's message in the words of the setting.
fn describe(key: &str, message: &str) -> String {
    let Some((found, _)) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.split_once(", expected"))
    else {
        return message.to_owned();
    };
    let found = found
        .split_once(' ')
        .filter(|(kind, _)| matches!(*kind, "integer" | "string" | "boolean" | "floating"))
        .map_or(found, |(kind, rest)| if kind == "floating" { rest.trim_start_matches("point ") } else { rest });
    let found = found.trim_matches(['`', '"']);
    match settings::find(key) {
        Some(setting) => format!("`{found}` is not what `{key}` takes: {}", setting.kind.expected()),
        None => format!("`{key}`: {message}"),
    }
}

/// Reads the prompts, or says why not.
fn prompts(plan: &Plan, layered: &Layered<'_>, problems: &mut Vec<Problem>) -> Option<Prompts> {
    let Some(path) = &plan.prompts_file else { return Some(Prompts::shipped()) };
    let shown = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("the prompts file {shown} cannot be read: {error}");
            problems.push(Problem::new(layered.place("prompts_file"), message));
            return None;
        }
    };
    match Prompts::parse(&text, &Files::beside(path)) {
        Ok(prompts) => Some(prompts),
        Err(errors) => {
            for wrong in errors {
                let source = match wrong.file {
                    Some((path, text)) => Source { path, text },
                    None => Source { path: shown.clone(), text: text.clone() },
                };
                let hint = wrong.hint.unwrap_or_else(|| {
                    "a prompts file is {\"NAME\": {\"text\": \"...\", \"description\": \"...\"}}".into()
                });
                problems.push(Problem::new(Place::File(source, wrong.span), wrong.message).hint(Some(hint)));
            }
            None
        }
    }
}

/// Adds the data sets of the plan, or says why not.
fn datasets(plan: &Plan, mut prompts: Prompts, layered: &Layered<'_>, problems: &mut Vec<Problem>) -> Option<Prompts> {
    let before = problems.len();
    for (index, dataset) in plan.dataset.iter().enumerate() {
        let name = &dataset.name;
        let at = |key: &str| layered.place(&format!("dataset[{index}].{key}"));
        if name.trim().is_empty() {
            problems.push(Problem::new(at("name"), "a data set needs a name"));
        } else if prompts.has(name) {
            problems.push(Problem::new(at("name"), format!("a prompt is called `{name}` already")));
        } else if let Err(errors) = prompts.add_dataset(name, &dataset.file) {
            for wrong in errors {
                let place = match wrong.file {
                    Some((path, text)) => Place::File(Source { path, text }, wrong.span),
                    None => at("file"),
                };
                problems.push(Problem::new(place, wrong.message).hint(wrong.hint));
            }
        }
    }
    (problems.len() == before).then_some(prompts)
}

fn get<'v>(tree: &'v Value, key: &str) -> Option<&'v Value> {
    key.split('.').try_fold(tree, |inner, part| inner.get(part))
}

fn set(tree: &mut Value, key: &str, value: Value) {
    *tree_item(tree, key) = value;
}

/// Takes a key out of a value that stands at `at`; what is not there stays so.
fn remove(value: &mut Value, at: &str, key: &str) {
    if at == key {
        *value = Value::Null;
    } else if at.is_empty() {
        let (tables, last) = key.rsplit_once('.').unwrap_or(("", key));
        let table =
            tables.split('.').filter(|part| !part.is_empty()).try_fold(value, |inner, part| inner.get_mut(part));
        if let Some(Value::Object(map)) = table {
            map.remove(last);
        }
    }
}

/// Takes a key out of a table that is an item of a list, at `slo[0].p95`; false where nothing is there.
fn remove_from_item(tree: &mut Value, path: &str) -> bool {
    let Some((list, rest)) = path.split_once('[') else { return false };
    let Some((index, inner)) = rest.split_once("].") else { return false };
    let item = get(tree, list)
        .is_some()
        .then(|| tree_item(tree, list))
        .and_then(|list| list.get_mut(index.parse::<usize>().ok()?));
    let Some(Value::Object(table)) = item else { return false };
    // A key may have a dot of its own: "p99.9". What is deeper goes with all that is around it, where
    // that may be left out.
    let outer = inner.split(['.', '[']).next().unwrap_or_default();
    table.remove(inner).is_some() || ((outer == "when" || !inner.contains('[')) && table.remove(outer).is_some())
}

/// Stands for an item of a list that could not be read: of the type of the default's items, and
/// something that nobody asks for.
fn stand_in(default: &Value, number: usize) -> Value {
    match default.get(0) {
        Some(Value::String(_)) => format!("item {number}").into(),
        _ => (u32::MAX as usize - number).into(),
    }
}

/// The index that a path ends with.
fn item(path: &str) -> Option<usize> {
    path.strip_suffix(']')?.rsplit_once('[')?.1.parse().ok()
}

fn tree_item<'v>(tree: &'v mut Value, key: &str) -> &'v mut Value {
    key.split('.').fold(tree, |inner, part| &mut inner[part])
}

/// The dotted keys of everything that is no table.
fn leaves(tree: &Value) -> Vec<String> {
    fn walk(tree: &Value, path: &str, found: &mut Vec<String>) {
        match tree {
            // A key with dots of its own cannot be found by a dotted path: its table is shown whole.
            Value::Object(map) if map.keys().all(|key| !key.contains('.')) => {
                for (key, value) in map {
                    let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(value, &here, found);
                }
            }
            _ => found.push(path.to_owned()),
        }
    }
    let mut found = Vec::new();
    walk(tree, "", &mut found);
    found
}
