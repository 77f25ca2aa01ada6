//! From layers to a plan: keys are checked per layer before the merge, values after it, and all that
//! is wrong is said at once.

use super::files;
use super::layered::Layered;
use super::problem::{Place, Problem, Problems, Source};
use super::tree::{leaves, set, unknown_keys};
use super::{Resolved, Sources, rules, sources};
use crate::plan::Plan;
use crate::prompts::Prompts;
use crate::simulator;
use serde_json::Value;
use std::path::Path;

/// Keys that have no default.
const OPTIONAL: [&str; 26] = [
    "extends",
    "description",
    "prompts_file",
    "target.region",
    "target.profile",
    "matrix.apis",
    "matrix.arrival_rates",
    "matrix.profiles",
    "matrix.max_tokens",
    "matrix.regions",
    "matrix.exclude",
    "matrix.zip",
    "matrix.add",
    "load.seed",
    "load.requests",
    "load.min_samples",
    "load.max_duration",
    "report.percentiles",
    "goodput.ttft",
    "goodput.tpot",
    "goodput.e2e",
    "profile",
    "override",
    "prices.rows",
    "quota.tokens_per_minute",
    "quota.requests_per_minute",
];

pub(super) fn read(sources: &Sources<'_>) -> Result<Resolved, Problems> {
    let mut problems = Vec::new();
    let defaults = defaults(sources);
    let mut shape = defaults.clone();
    for key in OPTIONAL {
        set(&mut shape, key, Value::Null);
    }
    // A parent is a file's business: neither a variable nor a flag names one.
    let paths: Vec<String> = leaves(&shape).into_iter().filter(|path| path != files::EXTENDS).collect();

    let files = sources.plan.map_or_else(Vec::new, |path| files::read(path, &mut problems));
    let mut trees = Vec::new();
    // What stands in a file with syntax errors is guesswork: it is said that it cannot be read, and no more.
    let readable = problems.is_empty();
    for (index, file) in files.iter().enumerate().filter(|_| readable) {
        let mut tree = file.tree.clone();
        unknown_keys(file, &mut tree, &shape, "", &shape, &mut problems);
        files::settle(file, index + 1 == files.len(), &mut tree, sources.working_dir);
        trees.push(tree);
    }
    let mut entries = sources::environment(sources, &paths, &mut problems);
    entries.extend(sources::flags(sources, &paths, &mut problems));

    let mut layered = Layered::new(&defaults, &files, trees, entries);
    layered.settle_rivals(&mut problems);
    if layered.merged.tree["target"]["endpoint"] == "aws"
        && let Some(entry) = sources::aws_endpoint(sources)
    {
        layered.add(entry);
    }
    let (plan, bad) = layered.plan(&defaults, &mut problems);
    let prompts = prompts(&plan, &layered, &mut problems);
    for broken in rules::check(&plan, prompts.as_ref()) {
        let is_bad = |wrong: &String| {
            broken.keys.iter().any(|path| path.starts_with(wrong.as_str()) || wrong.starts_with(&format!("{path}[")))
        };
        if !bad.iter().any(is_bad) {
            problems.push(Problem::new(layered.strongest(&broken.keys), broken.message).hint(broken.hint));
        }
    }
    match prompts {
        Some(prompts) if problems.is_empty() => Ok(Resolved { origins: layered.origins(), plan, prompts }),
        _ => Err(Problems(problems)),
    }
}

/// What holds where nobody says anything.
pub(super) fn built_in() -> Value {
    let mut tree: Value = toml::from_str(include_str!("default.toml"))
        .unwrap_or_else(|error| unreachable!("default.toml is part of this program: {error}"));
    tree["simulator"] = serde_json::to_value(simulator::Model::default())
        .unwrap_or_else(|error| unreachable!("the simulator's defaults are plain data: {error}"));
    tree
}

/// The weakest layer.
fn defaults(sources: &Sources<'_>) -> Value {
    let mut tree = built_in();
    if let Some(stem) = sources.plan.and_then(Path::file_stem) {
        tree["name"] = stem.to_string_lossy().into();
    }
    let local = sources.working_dir.join("prompts.json");
    if local.is_file() {
        tree["prompts_file"] = local.to_string_lossy().into();
    }
    tree
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
    match Prompts::parse(&text) {
        Ok(prompts) => Some(prompts),
        Err(wrong) => {
            let place = Place::File(Source { path: shown, text }, wrong.span.clone());
            problems.push(
                Problem::new(place, wrong.message)
                    .hint(Some("a prompts file is {\"NAME\": {\"text\": \"...\", \"description\": \"...\"}}")),
            );
            None
        }
    }
}
