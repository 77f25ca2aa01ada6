//! The layers of a plan with the origin of each value: precedence of mutually exclusive keys, the place that sets a value,
//! and the merged plan. Knows nothing about the meaning of values.

use super::file::PlanFile;
use super::keys::{EXCLUSIVE_KEYS, free_table, is_exclusive};
use super::merge::{LayerValue, Merged, merge};
use super::problem::{Place, Problem};
use super::settings;
use super::sources::Entry;
use super::tree::{entry_mut, get, leaves, placeholder, remove, remove_from_item, set, trailing_index};
use crate::matrix::AXES;
use crate::plan::{Layer, Origin, Origins, Plan};
use serde_json::Value;

/// The layers with the origin of each value.
pub(super) struct LayerStack<'a> {
    values: Vec<LayerValue>,
    origins: Vec<Origin>,
    pub(super) merged: Merged,
    /// Lowest precedence first; the origin of a file is its index plus one.
    files: &'a [PlanFile],
}

/// A layer that sets one of several mutually exclusive keys.
struct Assignment<'k> {
    precedence: usize,
    /// Index of its origin.
    origin: usize,
    key: &'k str,
    /// The key, or a list of a zip.
    path: String,
}

/// Index of the origin that sets `matrix.zip`, and the key and the path of each zipped axis.
type Zip = (usize, Vec<(String, String)>);

impl<'a> LayerStack<'a> {
    /// Stacks the layers, lowest precedence first, with one tree per file.
    pub(super) fn new(defaults: &Value, files: &'a [PlanFile], trees: Vec<Value>, entries: Vec<Entry>) -> Self {
        let whole = |value: Value, origin| LayerValue { key: String::new(), value, origin };
        let origin = |layer| Origin { layer, name: None };
        let mut origins = vec![origin(Layer::Default)];
        let mut values = vec![whole(defaults.clone(), 0)];
        origins.extend(files.iter().map(|_| origin(Layer::File)));
        values.extend(trees.into_iter().enumerate().map(|(index, tree)| whole(tree, index + 1)));
        for entry in entries {
            values.push(LayerValue { key: entry.key, value: entry.value, origin: origins.len() });
            origins.push(entry.origin);
        }
        Self { merged: merge(values.clone()), values, origins, files }
    }

    /// Removes keys that a mutually exclusive key of a higher layer overrides; two of a group in one layer are a problem.
    pub(super) fn resolve_exclusive_keys(&mut self, problems: &mut Vec<Problem>) {
        let zip = self.zipped_axes();
        for group in EXCLUSIVE_KEYS {
            self.resolve_group(group, zip.as_ref(), problems);
        }
        for axis in AXES {
            let key = format!("matrix.{}", axis.key);
            if !is_exclusive(&key) {
                self.resolve_group(&[&key], zip.as_ref(), problems);
            }
        }
        self.merged = merge(self.values.clone());
    }

    /// Returns the zipped axes.
    fn zipped_axes(&self) -> Option<Zip> {
        let value = self.values.iter().rev().find(|value| value_at(value, "matrix.zip").is_some())?;
        let groups = value_at(value, "matrix.zip").and_then(Value::as_array)?;
        let keys = groups.iter().enumerate().flat_map(|(index, group)| {
            let keys = group.as_object().into_iter().flatten().map(|(key, _)| key);
            keys.map(move |key| (format!("matrix.{key}"), format!("matrix.zip[{index}].{key}")))
        });
        Some((value.origin, keys.collect()))
    }

    fn resolve_group(&mut self, group: &[&str], zip: Option<&Zip>, problems: &mut Vec<Problem>) {
        let mut assignments: Vec<Assignment<'_>> = Vec::new();
        for value in self.values.iter().filter(|value| value.origin > 0) {
            let set_keys = group.iter().filter(|name| value_at(value, name).is_some());
            assignments.extend(set_keys.map(|key| Assignment {
                precedence: self.precedence(value.origin),
                origin: value.origin,
                key,
                path: (*key).to_owned(),
            }));
        }
        let zipped =
            zip.into_iter().flat_map(|(origin, keys)| keys.iter().map(move |(key, path)| (*origin, key, path)));
        for (origin, key, path) in zipped {
            if let Some(name) = group.iter().find(|name| *name == key) {
                assignments.push(Assignment {
                    precedence: self.precedence(origin),
                    origin,
                    key: name,
                    path: path.clone(),
                });
            }
        }
        self.drop_ambient(&mut assignments);
        let Some(top) = assignments.iter().map(|assignment| assignment.precedence).max() else { return };
        let mut strongest = assignments.iter().filter(|assignment| assignment.precedence == top);
        let Some(first) = strongest.next() else { return };
        for second in strongest.filter(|second| second.path != first.path) {
            let message = format!("`{}` and `{}` are mutually exclusive", first.path, second.path);
            let place = self.place_in(second.origin, &second.path);
            problems.push(Problem::new(place, message).hint(Some("remove one of them")));
        }
        let in_zip = |assignment: &&Assignment<'_>| assignment.path.starts_with("matrix.zip");
        if let Some(below) = assignments.iter().find(|assignment| in_zip(assignment) && assignment.precedence < top) {
            let message = format!(
                "`{}` cannot be set alone: [[matrix.zip]] zips `{}` with other axes",
                first.key,
                below.key.trim_start_matches("matrix.")
            );
            let hint = if self.origins[first.origin].layer == Layer::File {
                "set [[matrix.zip]] again here, or remove the inherited one with `zip = []` in [matrix]"
            } else {
                "use --only to select cells"
            };
            problems.push(Problem::new(self.place_in(first.origin, &first.path), message).hint(Some(hint)));
            return;
        }
        let kept = (!in_zip(&first)).then_some(first.key);
        for value in &mut self.values {
            group.iter().filter(|name| Some(**name) != kept).for_each(|name| {
                remove(&mut value.value, &value.key, name);
            });
        }
        self.values.retain(|value| !value.value.is_null());
    }

    /// Ignores variables of AWS where a plan sets the axis: many environments set them for every job.
    fn drop_ambient(&mut self, assignments: &mut Vec<Assignment<'_>>) {
        let is_ambient =
            |origin: usize| self.origins[origin].name.as_deref().is_some_and(|name| name.starts_with("AWS_"));
        if assignments.iter().any(|value| !is_ambient(value.origin) && value.key.starts_with("matrix.")) {
            let ambient: Vec<usize> =
                assignments.iter().map(|value| value.origin).filter(|origin| is_ambient(*origin)).collect();
            assignments.retain(|value| !ambient.contains(&value.origin));
            self.values.retain(|value| !ambient.contains(&value.origin));
        }
    }

    /// Returns the precedence of an origin; each file has its own.
    fn precedence(&self, origin: usize) -> usize {
        match self.origins[origin].layer {
            Layer::Default | Layer::File => origin,
            // Added after the merge, overrides the defaults only.
            Layer::Profile => 0,
            Layer::Env => self.files.len() + 1,
            Layer::Flag => self.files.len() + 2,
        }
    }

    /// Returns the place where an origin sets a path.
    fn place_in(&self, origin: usize, path: &str) -> Place {
        if let (Layer::File, Some(file)) = (self.origins[origin].layer, self.file(origin)) {
            return file.value(path);
        }
        let key = path.split('[').next().unwrap_or_default();
        Place::Name(self.origins[origin].name.clone().unwrap_or_else(|| key.to_owned()))
    }

    /// Returns the file of an origin.
    fn file(&self, origin: usize) -> Option<&'a PlanFile> {
        self.files.get(origin.checked_sub(1)?)
    }

    /// Adds a value with the highest precedence.
    pub(super) fn add(&mut self, entry: Entry) {
        self.values.push(LayerValue { key: entry.key, value: entry.value, origin: self.origins.len() });
        self.origins.push(entry.origin);
        self.merged = merge(self.values.clone());
    }

    /// Returns the layer that sets a key.
    pub(super) fn layer(&self, key: &str) -> Layer {
        self.origins[self.origin_index(key)].layer
    }

    /// Deserialises the plan. Each value that fails is reported and replaced by its default, until the rest succeeds.
    /// Returns the plan and the paths of replaced values.
    pub(super) fn plan(&self, defaults: &Value, problems: &mut Vec<Problem>) -> (Plan, Vec<String>) {
        let mut tree = self.merged.tree.clone();
        let mut replaced: Vec<String> = Vec::new();
        loop {
            let error = match serde_path_to_error::deserialize::<_, Plan>(tree.clone()) {
                Ok(plan) => return (plan, replaced),
                Err(error) => error,
            };
            let path = error.path().to_string();
            let key = path.split('[').next().unwrap_or_default();
            let key = free_table(key).unwrap_or(key).to_owned();
            // A placeholder for an item is not among the choices of an enum: the second attempt takes the default.
            let attempts = replaced.iter().filter(|known| **known == path).count();
            assert!(attempts < 2, "the defaults are valid, except {path}: {error}");
            if attempts == 0 {
                let message = describe_type_error(&key, &error.into_inner().to_string());
                problems.push(Problem::new(self.place(&path), message));
            }
            // Only the item of a list is replaced, so that errors in other items are found, too.
            match (trailing_index(&path), get(defaults, &key)) {
                (Some(index), None)
                    if attempts == 0 && get(&tree, &key).and_then(|list| list.get(0)).is_some_and(Value::is_number) =>
                {
                    entry_mut(&mut tree, &key)[index] = placeholder(&Value::Null, replaced.len());
                }
                (Some(index), Some(default)) if attempts == 0 && path.matches('[').count() == 1 => {
                    entry_mut(&mut tree, &key)[index] = placeholder(default, replaced.len());
                }
                (_, Some(default)) => set(&mut tree, &key, default.clone()),
                // Only the value is removed from a table in a list, for the same reason.
                (_, None) if remove_from_item(&mut tree, &path) => {}
                (_, None) => remove(&mut tree, "", &key),
            }
            replaced.push(path);
        }
    }

    /// Returns the index of the origin that sets a path, or the nearest enclosing one: a key may contain dots.
    fn origin_index(&self, path: &str) -> usize {
        let mut next = path.split('[').next();
        while let Some(key) = next {
            if let Some(origin) = self.merged.origin_index(key) {
                return origin;
            }
            next = key.rsplit_once('.').map(|(table, _)| table);
        }
        0
    }

    /// Returns the place that sets a value.
    pub(super) fn place(&self, path: &str) -> Place {
        self.place_in(self.origin_index(path), path)
    }

    /// Returns the place of the value that the layer with the highest precedence sets: it was probably changed last.
    pub(super) fn last_set_place(&self, paths: &[String]) -> Place {
        let precedence = |path: &str| self.precedence(self.origin_index(path));
        let mut highest = &paths[0];
        for path in paths {
            if precedence(path) > precedence(highest) {
                highest = path;
            }
        }
        self.place(highest)
    }

    /// Returns the origin of each value and of each table in a list, for `show` and the manifest.
    pub(super) fn origins(&self) -> Origins {
        let describe = |path: &str| {
            let index = self.origin_index(path);
            let mut origin = self.origins[index].clone();
            if let (Layer::File, Some(file)) = (origin.layer, self.file(index)) {
                origin.name = Some(match file.line(path) {
                    Some(line) => format!("{}:{line}", file.source.path),
                    None => file.source.path.clone(),
                });
            }
            origin
        };
        let mut origins = Origins::new();
        for key in leaves(&self.merged.tree) {
            let items = get(&self.merged.tree, &key).and_then(Value::as_array).into_iter().flatten().enumerate();
            for (index, _) in items.filter(|(_, item)| item.is_object()) {
                let path = format!("{key}[{index}]");
                origins.insert(path.clone(), describe(&path));
            }
            let origin = describe(&key);
            origins.insert(key, origin);
        }
        origins
    }
}

/// Returns the value that a layer sets at a key.
fn value_at<'v>(value: &'v LayerValue, key: &str) -> Option<&'v Value> {
    if value.key.is_empty() { get(&value.value, key) } else { (value.key == key).then_some(&value.value) }
}

/// Returns the message of serde in terms of the setting.
pub(super) fn describe_type_error(key: &str, message: &str) -> String {
    let Some((found, _)) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.split_once(", expected"))
    else {
        return message.to_owned();
    };
    // Serde reports the Rust type of a table.
    if message.contains(", expected struct ") || message.contains(", expected a map") {
        return format!("`{key}` contains {found}: expected a table {{ key = value, ... }}");
    }
    let found = found
        .split_once(' ')
        .filter(|(kind, _)| matches!(*kind, "integer" | "string" | "boolean" | "floating"))
        .map_or(found, |(kind, rest)| if kind == "floating" { rest.trim_start_matches("point ") } else { rest });
    let found = found.trim_matches(['`', '"']);
    match settings::find(key) {
        Some(setting) => format!("invalid `{key}` `{found}`: expected {}", setting.kind.expected()),
        None => format!("`{key}`: {message}"),
    }
}
