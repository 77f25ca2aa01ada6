//! From layers to a plan: keys are checked per layer before the merge, values after it, and all that
//! is wrong is said at once.

use super::files;
use super::layered::Layered;
use super::paths::expand_home;
use super::problem::{Place, Problem, Problems, Source};
use super::tree::{leaves, set, unknown_keys};
use super::{Resolved, Sources, asked, names, rules, sources};
use crate::plan::Plan;
use crate::prompts::{Files, Prompts};
use crate::simulator;
use crate::units::text_file;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Keys that have no default.
const OPTIONAL: [&str; 39] = [
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
    "request.system",
    "request.stop_sequences",
    "request.performance",
    "request.additional_fields",
    "request.request_metadata",
    "run.allow_unknown",
    "report.percentiles",
    "goodput.ttft",
    "goodput.tpot",
    "goodput.e2e",
    "profile",
    "override",
    "mix",
    "dataset",
    "prices.rows",
    "quota.tokens_per_minute",
    "quota.requests_per_minute",
    "quota.burndown",
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

pub(super) fn read(sources: &Sources<'_>) -> Result<Resolved, Problems> {
    let mut problems = Vec::new();
    let defaults = defaults(sources);
    let mut shape = defaults.clone();
    for key in OPTIONAL {
        set(&mut shape, key, Value::Null);
    }
    // A parent is a file's business: neither a variable nor a flag names one.
    let paths: Vec<String> = leaves(&shape).into_iter().filter(|path| path != files::EXTENDS).collect();

    let files = sources.plan.map_or_else(Vec::new, |path| files::read(path, sources.environment, &mut problems));
    let mut trees = Vec::new();
    // What stands in a file with syntax errors is guesswork: it is said that it cannot be read, and no more.
    let readable = problems.is_empty();
    for (index, file) in files.iter().enumerate().filter(|_| readable) {
        let mut tree = file.tree.clone();
        unknown_keys(file, &mut tree, &shape, "", &shape, &mut problems);
        files::settle(file, index + 1 == files.len(), &mut tree, sources, &mut problems);
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
    let prompts =
        prompts(&plan, &layered, &mut problems).and_then(|prompts| datasets(&plan, prompts, &layered, &mut problems));
    if let Err(message) = expand_home(&plan.results_dir, sources.environment) {
        problems.push(Problem::new(layered.place("results_dir"), message));
    }
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
            let warnings = [names::warnings(&plan), asked::warnings(&plan, &prompts)].concat();
            Ok(Resolved { origins: layered.origins(), plan, prompts, warnings })
        }
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
    let text = match text_file::read(path) {
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
            let text: Arc<str> = text.into();
            for wrong in errors {
                let source = match wrong.file {
                    Some((path, text)) => Source { path, text: text.into() },
                    None => Source { path: shown.clone(), text: Arc::clone(&text) },
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
                    Some((path, text)) => Place::File(Source { path, text: text.into() }, wrong.span),
                    None => at("file"),
                };
                problems.push(Problem::new(place, wrong.message).hint(wrong.hint));
            }
        }
    }
    (problems.len() == before).then_some(prompts)
}
