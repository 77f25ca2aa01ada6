//! The files of a plan: the one that was asked for, what it extends, and so on. A parent is weaker than
//! the file that names it. Does not know what is in them, but for what is relative to a file.

use super::file::PlanFile;
use super::problem::{Problem, Source};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The key that names a parent.
pub(super) const EXTENDS: &str = "extends";

/// Reads a plan and its parents, weakest first.
pub(super) fn read(path: &Path, problems: &mut Vec<Problem>) -> Vec<PlanFile> {
    let mut files: Vec<PlanFile> = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next.take() {
        let shown = path.display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                problems.push(cannot_be_read(&shown, &error, files.last()));
                break;
            }
        };
        let (file, wrong) = PlanFile::parse(Source { path: shown, text: text.into() });
        problems.extend(wrong);
        let parent = file.tree.get(EXTENDS).cloned();
        files.push(file);
        match parent {
            None => {}
            Some(Value::String(parent)) => match beside(&path, &parent) {
                found if circle(&files, &found) => problems.push(round(&files, &found)),
                found => next = Some(found),
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
pub(super) fn settle(file: &PlanFile, is_last: bool, tree: &mut Value, working_dir: &Path) {
    let Value::Object(map) = tree else { return };
    map.remove(EXTENDS);
    // What extends a plan is another plan: its name is its own.
    if !is_last {
        map.remove("name");
    }
    let join = |path: &mut Value| {
        if let Value::String(path) = path {
            *path = working_dir.join(beside(Path::new(&file.source.path), path)).to_string_lossy().into_owned();
        }
    };
    if let Some(path) = map.get_mut("prompts_file") {
        join(path);
    }
    let datasets = map.get_mut("dataset").and_then(Value::as_array_mut);
    datasets.into_iter().flatten().filter_map(|dataset| dataset.get_mut("file")).for_each(join);
}

/// A path that a file names, relative to that file.
fn beside(file: &Path, named: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(named)
}

fn cannot_be_read(shown: &str, error: &std::io::Error, child: Option<&PlanFile>) -> Problem {
    if let Some(child) = child {
        let message = format!("the plan that this one extends cannot be read: {shown}: {error}");
        return Problem::new(child.value(EXTENDS), message)
            .hint(Some("a parent is relative to the plan that names it"));
    }
    let hint = (error.kind() == std::io::ErrorKind::NotFound)
        .then_some("without a plan the built-in defaults are the plan: `bedrock-plan run`");
    Problem::named(shown, format!("the plan cannot be read: {error}")).hint(hint)
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
