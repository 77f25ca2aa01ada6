//! The files of a plan: the one that was asked for, what it extends, and so on. A parent is weaker than
//! the file that names it. Does not know what is in them, but for what is relative to a file.

use super::Sources;
use super::file::PlanFile;
use super::paths::expand_home;
use super::problem::{Problem, Source};
use crate::units::{similarity, text_file};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The key that names a parent.
pub(super) const EXTENDS: &str = "extends";

/// Reads a plan and its parents, weakest first.
pub(super) fn read(path: &Path, environment: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Vec<PlanFile> {
    let mut files: Vec<PlanFile> = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next.take() {
        let shown = path.display().to_string();
        let text = match text_file::read(&path) {
            Ok(text) => text,
            Err(error) => {
                problems.push(cannot_be_read(&shown, &error, files.last()));
                break;
            }
        };
        let (file, wrong) = PlanFile::parse(Source { path: shown, text: text.into() });
        let is_empty = files.is_empty() && wrong.is_empty() && file.tree.as_object().is_some_and(Map::is_empty);
        if is_empty {
            let hint = near(&path).unwrap_or_else(|| "a plan that keeps every default contains `schema = 1`".into());
            problems.push(Problem::named(&file.source.path, "the plan is empty").hint(Some(hint)));
        }
        problems.extend(wrong);
        let parent = file.tree.get(EXTENDS).cloned();
        files.push(file);
        match parent {
            None => {}
            Some(Value::String(parent)) => match beside(&path, &parent, environment) {
                Ok(found) if circle(&files, &found) => problems.push(round(&files, &found)),
                Ok(found) => next = Some(found),
                Err(message) => problems.push(Problem::new(files[files.len() - 1].value(EXTENDS), message)),
            },
            Some(other) => {
                let place = files[files.len() - 1].value(EXTENDS);
                let message = format!("`{EXTENDS}` is {other}, and names one plan file");
                problems.push(Problem::new(place, message).hint(Some("write extends = \"base.toml\"")));
            }
        }
    }
    files.reverse();
    files
}

/// Takes out what holds for one file only, and resolves what is relative to it.
pub(super) fn settle(
    file: &PlanFile,
    is_last: bool,
    tree: &mut Value,
    sources: &Sources<'_>,
    problems: &mut Vec<Problem>,
) {
    let Value::Object(map) = tree else { return };
    map.remove(EXTENDS);
    // What extends a plan is another plan: its name is its own.
    if !is_last {
        map.remove("name");
    }
    let mut join = |path: &mut Value, at: &str| {
        let Value::String(path) = path else { return };
        match beside(Path::new(&file.source.path), path, sources.environment) {
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

/// A path that a file names, relative to that file.
fn beside(file: &Path, named: &str, environment: &BTreeMap<String, String>) -> Result<PathBuf, String> {
    Ok(file.parent().unwrap_or(Path::new("")).join(&*expand_home(named, environment)?))
}

fn cannot_be_read(shown: &str, error: &std::io::Error, child: Option<&PlanFile>) -> Problem {
    if let Some(child) = child {
        let message = format!("the plan that this one extends cannot be read: {shown}: {error}");
        return Problem::new(child.value(EXTENDS), message)
            .hint(Some("a parent is relative to the plan that names it"));
    }
    let hint = near(Path::new(shown)).filter(|_| error.kind() == std::io::ErrorKind::NotFound);
    Problem::named(shown, format!("the plan cannot be read: {error}")).hint(hint)
}

/// How many plans a hint lists.
const LISTED: usize = 5;

/// The plans beside a path and in `plans/`, those with a similar name first.
fn near(path: &Path) -> Option<String> {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let parent = path.parent().unwrap_or(Path::new(""));
    let is_plan = |found: &PathBuf| {
        let is_toml = found.extension().is_some_and(|end| end == "toml");
        // The manifests of Rust projects are no plans.
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
    let mut listed: Vec<String> = plans.iter().take(LISTED).map(|plan| plan.display().to_string()).collect();
    if plans.len() > LISTED {
        listed.push(format!("{} more", plans.len() - LISTED));
    }
    (!listed.is_empty()).then(|| format!("plans near it: {}", listed.join(", ")))
}

fn same(file: &PlanFile, path: &Path) -> bool {
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    canonical(Path::new(&file.source.path)) == canonical(path)
}

fn circle(files: &[PlanFile], next: &Path) -> bool {
    files.iter().any(|file| same(file, next))
}

/// The circle that a file closes.
fn round(files: &[PlanFile], next: &Path) -> Problem {
    let around = files.iter().skip_while(|file| !same(file, next)).map(|file| file.source.path.clone());
    let names: Vec<String> = around.chain([next.display().to_string()]).collect();
    let message = format!("plans extend each other in a circle: {}", names.join(" -> "));
    Problem::new(files[files.len() - 1].value(EXTENDS), message).hint(Some("take one of these `extends` out"))
}
