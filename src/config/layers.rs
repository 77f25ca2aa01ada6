//! The layers of a plan with the origin of each value: which of two rivals holds, where a value was
//! said, and the plan that all of them give together. Does not know what the values mean.

use super::file::PlanFile;
use super::keys::{EXCLUSIVE_KEYS, free_table, is_exclusive};
use super::merge::{Merged, Said, merge};
use super::problem::{Place, Problem};
use super::settings;
use super::sources::Entry;
use super::tree::{get, item, leaves, remove, remove_from_item, set, stand_in, tree_item};
use crate::matrix::AXES;
use crate::plan::{Layer, Origin, Origins, Plan};
use serde_json::Value;

/// The layers with the origin of each value.
pub(super) struct Layered<'a> {
    said: Vec<Said>,
    origins: Vec<Origin>,
    pub(super) merged: Merged,
    /// Weakest first; the origin after the default's is that of the first.
    files: &'a [PlanFile],
}

/// That somebody says one of several rivals.
struct Statement<'k> {
    level: usize,
    by: usize,
    /// Which of them.
    key: &'k str,
    /// Where it stands: the key, or a list of a zip.
    path: String,
}

/// Who says which axes go together: the keys of the axes, and where each list stands.
type Zip = (usize, Vec<(String, String)>);

impl<'a> Layered<'a> {
    /// The layers, weakest first; a tree for each file.
    pub(super) fn new(defaults: &Value, files: &'a [PlanFile], trees: Vec<Value>, entries: Vec<Entry>) -> Self {
        let whole = |value: Value, by| Said { key: String::new(), value, by };
        let origin = |layer| Origin { layer, name: None };
        let mut origins = vec![origin(Layer::Default)];
        let mut said = vec![whole(defaults.clone(), 0)];
        origins.extend(files.iter().map(|_| origin(Layer::File)));
        said.extend(trees.into_iter().enumerate().map(|(index, tree)| whole(tree, index + 1)));
        for entry in entries {
            said.push(Said { key: entry.key, value: entry.value, by: origins.len() });
            origins.push(entry.origin);
        }
        Self { merged: merge(said.clone()), said, origins, files }
    }

    /// Of rivals, what a later layer says drops the others from earlier ones; two in one layer are a problem.
    pub(super) fn resolve_exclusive_keys(&mut self, problems: &mut Vec<Problem>) {
        let zip = self.zip();
        for group in EXCLUSIVE_KEYS {
            self.resolve_group(group, zip.as_ref(), problems);
        }
        for axis in AXES {
            let key = format!("matrix.{}", axis.key);
            if !is_exclusive(&key) {
                self.resolve_group(&[&key], zip.as_ref(), problems);
            }
        }
        self.merged = merge(self.said.clone());
    }

    /// The axes that go together.
    fn zip(&self) -> Option<Zip> {
        let said = self.said.iter().rev().find(|said| said_at(said, "matrix.zip").is_some())?;
        let groups = said_at(said, "matrix.zip").and_then(Value::as_array)?;
        let keys = groups.iter().enumerate().flat_map(|(index, group)| {
            let keys = group.as_object().into_iter().flatten().map(|(key, _)| key);
            keys.map(move |key| (format!("matrix.{key}"), format!("matrix.zip[{index}].{key}")))
        });
        Some((said.by, keys.collect()))
    }

    fn resolve_group(&mut self, group: &[&str], zip: Option<&Zip>, problems: &mut Vec<Problem>) {
        let mut statements: Vec<Statement<'_>> = Vec::new();
        for said in self.said.iter().filter(|said| said.by > 0) {
            let of = group.iter().filter(|name| said_at(said, name).is_some());
            statements.extend(of.map(|key| Statement {
                level: self.level(said.by),
                by: said.by,
                key,
                path: (*key).to_owned(),
            }));
        }
        let zipped = zip.into_iter().flat_map(|(by, keys)| keys.iter().map(move |(key, path)| (*by, key, path)));
        for (by, key, path) in zipped {
            if let Some(name) = group.iter().find(|name| *name == key) {
                statements.push(Statement { level: self.level(by), by, key: name, path: path.clone() });
            }
        }
        self.leave_ambient(&mut statements);
        let Some(top) = statements.iter().map(|statement| statement.level).max() else { return };
        let mut told = statements.iter().filter(|statement| statement.level == top);
        let Some(first) = told.next() else { return };
        for second in told.filter(|second| second.path != first.path) {
            let message =
                format!("`{}` and `{}` are both set, and one takes the other's place", first.path, second.path);
            let place = self.place_by(second.by, &second.path);
            problems.push(Problem::new(place, message).hint(Some("leave one of them out")));
        }
        let in_zip = |statement: &&Statement<'_>| statement.path.starts_with("matrix.zip");
        if let Some(below) = statements.iter().find(|statement| in_zip(statement) && statement.level < top) {
            let message = format!(
                "`{}` cannot be set alone: `{}` goes together with other axes in [[matrix.zip]]",
                first.key,
                below.key.trim_start_matches("matrix.")
            );
            let hint = if self.origins[first.by].layer == Layer::File {
                "say [[matrix.zip]] anew here; `zip = []` in [matrix] drops what was extended"
            } else {
                "`--only` picks some of the cells"
            };
            problems.push(Problem::new(self.place_by(first.by, &first.path), message).hint(Some(hint)));
            return;
        }
        let kept = (!in_zip(&first)).then_some(first.key);
        for said in &mut self.said {
            group.iter().filter(|name| Some(**name) != kept).for_each(|name| {
                remove(&mut said.value, &said.key, name);
            });
        }
        self.said.retain(|said| !said.value.is_null());
    }

    /// AWS's own variables stand in the environment of every job: they say nothing against an axis that a
    /// plan has.
    fn leave_ambient(&mut self, statements: &mut Vec<Statement<'_>>) {
        let ambient = |by: usize| self.origins[by].name.as_deref().is_some_and(|name| name.starts_with("AWS_"));
        if statements.iter().any(|said| !ambient(said.by) && said.key.starts_with("matrix.")) {
            let left: Vec<usize> = statements.iter().map(|said| said.by).filter(|by| ambient(*by)).collect();
            statements.retain(|said| !left.contains(&said.by));
            self.said.retain(|said| !left.contains(&said.by));
        }
    }

    /// How strong an origin is; files count each for itself.
    fn level(&self, by: usize) -> usize {
        match self.origins[by].layer {
            Layer::Default | Layer::File => by,
            // Added after the merge, and above the defaults only.
            Layer::Profile => 0,
            Layer::Env => self.files.len() + 1,
            Layer::Flag => self.files.len() + 2,
        }
    }

    /// Where an origin says something.
    fn place_by(&self, by: usize, path: &str) -> Place {
        if let (Layer::File, Some(file)) = (self.origins[by].layer, self.file(by)) {
            return file.value(path);
        }
        let key = path.split('[').next().unwrap_or_default();
        Place::Name(self.origins[by].name.clone().unwrap_or_else(|| key.to_owned()))
    }

    /// The file of an origin.
    fn file(&self, by: usize) -> Option<&'a PlanFile> {
        self.files.get(by.checked_sub(1)?)
    }

    /// One more value on top.
    pub(super) fn add(&mut self, entry: Entry) {
        self.said.push(Said { key: entry.key, value: entry.value, by: self.origins.len() });
        self.origins.push(entry.origin);
        self.merged = merge(self.said.clone());
    }

    /// The layer that sets a key.
    pub(super) fn layer(&self, key: &str) -> Layer {
        self.origins[self.by(key)].layer
    }

    /// Deserialises; where that fails the error is reported, the default put back, and all tried again.
    /// Returns the keys that were replaced so.
    pub(super) fn plan(&self, defaults: &Value, problems: &mut Vec<Problem>) -> (Plan, Vec<String>) {
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

    /// Who said what holds at a path: of the nearest thing around it where it has none, since a key may have
    /// dots of its own.
    fn by(&self, path: &str) -> usize {
        let mut known = path.split('[').next();
        while let Some(key) = known {
            if let Some(by) = self.merged.by(key) {
                return by;
            }
            known = key.rsplit_once('.').map(|(table, _)| table);
        }
        0
    }

    /// Where a value was said.
    pub(super) fn place(&self, path: &str) -> Place {
        self.place_by(self.by(path), path)
    }

    /// The place of that one of several values which the strongest layer said: it is what was changed last.
    pub(super) fn strongest(&self, paths: &[String]) -> Place {
        let level = |path: &str| self.level(self.by(path));
        let mut best = &paths[0];
        for path in paths {
            if level(path) > level(best) {
                best = path;
            }
        }
        self.place(best)
    }

    /// For `show` and the manifest: of each value, and of each table in a list of them.
    pub(super) fn origins(&self) -> Origins {
        let described = |path: &str| {
            let by = self.by(path);
            let mut origin = self.origins[by].clone();
            if let (Layer::File, Some(file)) = (origin.layer, self.file(by)) {
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
                origins.insert(path.clone(), described(&path));
            }
            let origin = described(&key);
            origins.insert(key, origin);
        }
        origins
    }
}

/// What an origin says at a key.
fn said_at<'v>(said: &'v Said, key: &str) -> Option<&'v Value> {
    if said.key.is_empty() { get(&said.value, key) } else { (said.key == key).then_some(&said.value) }
}

/// Serde's message in the words of the setting.
pub(super) fn describe(key: &str, message: &str) -> String {
    let Some((found, _)) = message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.split_once(", expected"))
    else {
        return message.to_owned();
    };
    // Serde names the Rust type of a table.
    if message.contains(", expected struct ") || message.contains(", expected a map") {
        return format!("`{key}` contains {found}; it takes tables: {{ key = value, ... }}");
    }
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
