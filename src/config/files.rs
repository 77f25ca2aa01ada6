//! The files of a plan: the given one and the chain of plans that it extends. A file overrides its parent. Knows nothing
//! about their content except for relative paths.

use super::Sources;
use super::file::PlanFile;
use super::paths::expand_home;
use super::problem::{Problem, Source};
use crate::units::{similarity, text_file};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The key that names the parent.
pub(super) const EXTENDS: &str = "extends";

/// Reads a plan and its parents, lowest precedence first.
pub(super) fn read(path: &Path, environment: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Vec<PlanFile> {
    let mut files: Vec<PlanFile> = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next.take() {
        let shown = path.display().to_string();
        let text = match text_file::read(&path) {
            Ok(text) => text,
            Err(error) => {
                problems.push(unreadable_plan(&shown, &error, files.last()));
                break;
            }
        };
        let (file, wrong) = PlanFile::parse(Source { path: shown, text: text.into() });
        let is_empty = files.is_empty() && wrong.is_empty() && file.tree.as_object().is_some_and(Map::is_empty);
        if is_empty {
            let hint = nearby_plans(&path).unwrap_or_else(|| "write `schema = 1` for a plan with all defaults".into());
            problems.push(Problem::named(&file.source.path, "the plan is empty").hint(Some(hint)));
        }
        problems.extend(wrong);
        let parent = file.tree.get(EXTENDS).cloned();
        files.push(file);
        match parent {
            None => {}
            Some(Value::String(parent)) => match resolve_path(&path, &parent, environment) {
                Ok(found) if is_cycle(&files, &found) => problems.push(cycle_problem(&files, &found)),
                Ok(found) => next = Some(found),
                Err(message) => problems.push(Problem::new(files[files.len() - 1].value(EXTENDS), message)),
            },
            Some(other) => {
                let place = files[files.len() - 1].value(EXTENDS);
                let message = format!("invalid `{EXTENDS}` `{other}`: expected the path of a plan");
                problems.push(Problem::new(place, message).hint(Some("write extends = \"base.toml\"")));
            }
        }
    }
    files.reverse();
    files
}

/// Removes the keys that are not inherited, and resolves relative paths.
pub(super) fn resolve(
    file: &PlanFile,
    is_last: bool,
    tree: &mut Value,
    sources: &Sources<'_>,
    problems: &mut Vec<Problem>,
) {
    let Value::Object(map) = tree else { return };
    map.remove(EXTENDS);
    // The name is not inherited.
    if !is_last {
        map.remove("name");
    }
    let mut join = |path: &mut Value, at: &str| {
        let Value::String(path) = path else { return };
        match resolve_path(Path::new(&file.source.path), path, sources.environment) {
            Ok(found) => *path = sources.working_dir.join(found).to_string_lossy().into_owned(),
            Err(message) => problems.push(Problem::new(file.value(at), message)),
        }
    };
    if let Some(path) = map.get_mut("prompts_file") {
        join(path, "prompts_file");
    }
    let datasets = map.get_mut("dataset").and_then(Value::as_array_mut);
    for (index, dataset) in datasets.into_iter().flatten().enumerate() {
        if let Some(path) = dataset.get_mut("file") {
            join(path, &format!("dataset[{index}].file"));
        }
    }
}

/// Resolves a path relative to the file that contains it.
fn resolve_path(file: &Path, named: &str, environment: &BTreeMap<String, String>) -> Result<PathBuf, String> {
    Ok(file.parent().unwrap_or(Path::new("")).join(&*expand_home(named, environment)?))
}

fn unreadable_plan(shown: &str, error: &std::io::Error, child: Option<&PlanFile>) -> Problem {
    if let Some(child) = child {
        let message = format!("cannot read the extended plan {shown}: {error}");
        return Problem::new(child.value(EXTENDS), message).hint(Some("write a path relative to this plan"));
    }
    let hint = nearby_plans(Path::new(shown)).filter(|_| error.kind() == std::io::ErrorKind::NotFound);
    Problem::named(shown, format!("cannot read the plan: {error}")).hint(hint)
}

/// Maximum number of plans in a hint.
const MAX_LISTED: usize = 5;

/// Returns a hint with the plans in the directory of a path and in `plans/`, similar names first.
fn nearby_plans(path: &Path) -> Option<String> {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let parent = path.parent().unwrap_or(Path::new(""));
    let is_plan = |found: &PathBuf| {
        let is_toml = found.extension().is_some_and(|end| end == "toml");
        // Manifests of Rust projects are not plans.
        is_toml && found != path && found.file_name().is_some_and(|name| name != "Cargo.toml") && found.is_file()
    };
    let mut plans: Vec<PathBuf> = Vec::new();
    for dir in [parent.to_owned(), parent.join("plans"), PathBuf::from("plans")] {
        let read_from = if dir.as_os_str().is_empty() { Path::new(".") } else { &dir };
        for entry in std::fs::read_dir(read_from).into_iter().flatten().flatten() {
            plans.push(dir.join(entry.file_name()));
        }
    }
    plans.retain(is_plan);
    plans.sort();
    plans.dedup();
    let wanted = stem(path);
    plans.sort_by(|a, b| similarity(&stem(b), &wanted).total_cmp(&similarity(&stem(a), &wanted)));
    let mut listed: Vec<String> = plans.iter().take(MAX_LISTED).map(|plan| plan.display().to_string()).collect();
    if plans.len() > MAX_LISTED {
        listed.push(format!("{} more", plans.len() - MAX_LISTED));
    }
    (!listed.is_empty()).then(|| format!("existing plans: {}", listed.join(", ")))
}

fn is_same_file(file: &PlanFile, path: &Path) -> bool {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    canonical(Path::new(&file.source.path)) == canonical(path)
}

fn is_cycle(files: &[PlanFile], next: &Path) -> bool {
    files.iter().any(|file| is_same_file(file, next))
}

/// Returns the problem of a file that closes a cycle.
fn cycle_problem(files: &[PlanFile], next: &Path) -> Problem {
    let cycle = files.iter().skip_while(|file| !is_same_file(file, next)).map(|file| file.source.path.clone());
    let names: Vec<String> = cycle.chain([next.display().to_string()]).collect();
    let message = format!("plans extend each other in a cycle: {}", names.join(" -> "));
    Problem::new(files[files.len() - 1].value(EXTENDS), message).hint(Some("remove one of these `extends`"))
}
