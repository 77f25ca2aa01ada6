//! Turns layers into a plan: keys are checked per layer before the merge, values after it. All errors are reported
//! together.

use super::aws_profile::Profiles;
use super::files;
use super::layers::LayerStack;
use super::paths::expand_home;
use super::problem::{Place, Problem, Problems, Source};
use super::sources::Entry;
use super::tree::{leaves, remove_unknown_keys, set};
use super::{Resolved, Sources, aws_endpoint, aws_profile, defaults, keys, names, requests, rules, sources};
use crate::plan::{Endpoint, Layer, Origin, Plan};
use crate::prompts::{Files, Prompts};
use crate::units::text_file;
use serde_json::Value;
use std::cell::LazyCell;
use std::sync::Arc;

pub(super) fn read(sources: &Sources<'_>) -> Result<Resolved, Problems> {
    let mut problems = Vec::new();
    let defaults = defaults::read(sources);
    let mut shape = defaults.clone();
    for key in keys::optional() {
        set(&mut shape, key, Value::Null);
    }
    // Only a file has a parent: neither a variable nor a flag sets one.
    let paths: Vec<String> = leaves(&shape).into_iter().filter(|path| path != files::EXTENDS).collect();

    let files = sources.plan.map_or_else(Vec::new, |path| files::read(path, sources.environment, &mut problems));
    let mut trees = Vec::new();
    // The keys of a file with syntax errors are unreliable: only the syntax errors are reported.
    let is_readable = problems.is_empty();
    for (index, file) in files.iter().enumerate().filter(|_| is_readable) {
        let mut tree = file.tree.clone();
        remove_unknown_keys(file, &mut tree, &shape, "", &shape, &mut problems);
        files::resolve(file, index + 1 == files.len(), &mut tree, sources, &mut problems);
        trees.push(tree);
    }
    let mut entries = sources::environment(sources, &paths, &mut problems);
    entries.extend(sources::flags(sources, &paths, &mut problems));
    let allow_http = sources::allow_http(sources.environment).unwrap_or_else(|problem| {
        problems.push(problem);
        false
    });

    let mut layers = LayerStack::new(&defaults, &files, trees, entries);
    layers.resolve_exclusive_keys(&mut problems);
    let profile = layers.merged.tree["target"]["profile"].as_str().map(str::to_owned);
    let profiles = LazyCell::new(|| aws_profile::load(sources.environment, profile.as_deref()));
    let mut warnings = aws_endpoint(sources, || &profiles, &mut layers, &mut problems);
    let (plan, replaced) = layers.plan(&defaults, &mut problems);
    if plan.target.endpoint != Endpoint::Simulated {
        let set_by = match layers.place(ENDPOINT) {
            Place::Name(name) => format!("`{name}`"),
            Place::File(..) => "the plan".into(),
        };
        let url = match &plan.target.endpoint {
            Endpoint::Url(url) => Some((url, set_by.as_str())),
            _ => None,
        };
        problems.extend(aws_profile::check_variants(sources.environment, &profiles, url));
    }
    let prompts =
        prompts(&plan, &layers, &mut problems).and_then(|prompts| datasets(&plan, prompts, &layers, &mut problems));
    if let Err(message) = expand_home(&plan.results_dir, sources.environment) {
        problems.push(Problem::new(layers.place("results_dir"), message));
    }
    for violation in rules::check(&plan, prompts.as_ref(), sources.max_cells) {
        let is_affected = |wrong: &String| {
            violation.keys.iter().any(|path| {
                path.starts_with(wrong.as_str())
                    || ["[", "."].iter().any(|deeper| wrong.starts_with(&format!("{path}{deeper}")))
            })
        };
        if !replaced.iter().any(is_affected) {
            problems.push(Problem::new(layers.last_set_place(&violation.keys), violation.message).hint(violation.hint));
        }
    }
    match prompts {
        Some(prompts) if problems.is_empty() => {
            let allow_http = allow_http || sources.flags.iter().any(|(flag, _)| flag == "allow-http");
            let mut resolved = Resolved { origins: layers.origins(), plan, prompts, warnings: Vec::new(), allow_http };
            warnings.extend(untrusted_endpoint(&resolved));
            warnings.extend(names::warnings(&resolved.plan));
            warnings.extend(requests::warnings(&resolved.plan, &resolved.prompts));
            resolved.warnings = warnings;
            Ok(resolved)
        }
        _ => Err(Problems(problems)),
    }
}

/// Adds the endpoint that AWS's own configuration sets: variables replace that of a plan, the profile only the default.
/// They never replace `simulated`: such a plan sends nothing to other machines, and the variables may be set in every shell
/// of a team. Returns warnings.
fn aws_endpoint<'p>(
    sources: &Sources<'_>,
    profiles: impl FnOnce() -> &'p Profiles,
    layers: &mut LayerStack<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let target = &layers.merged.tree["target"];
    let layer = layers.layer(ENDPOINT);
    if layer > Layer::File || target["endpoint"] == "simulated" {
        return Vec::new();
    }
    let found = match aws_endpoint::read(aws_endpoint::BEDROCK_RUNTIME, sources.environment, profiles) {
        Ok(found) => found,
        Err(problem) => {
            problems.push(problem);
            return Vec::new();
        }
    };
    let warnings: Vec<String> = found.warning.into_iter().collect();
    let mut add = |layer, configured: aws_endpoint::Configured| {
        let origin = Origin { layer, name: Some(configured.name) };
        layers.add(Entry { key: ENDPOINT.into(), value: configured.url.into(), origin });
    };
    match (found.environment, found.profile) {
        (Some(configured), _) => add(Layer::Env, configured),
        (None, Some(configured)) if layer == Layer::Default => add(Layer::Profile, configured),
        _ => {}
    }
    warnings
}

/// Returns a warning about an endpoint that only a plan sets: `run` sends no credentials to it.
fn untrusted_endpoint(resolved: &Resolved) -> Option<String> {
    match &resolved.plan.target.endpoint {
        Endpoint::Url(url) if !resolved.is_endpoint_trusted() && !url.is_bedrock() && !url.is_loopback() => {
            Some(format!(
                "`{url}` is set by the plan alone and is not a host of Amazon Bedrock: no AWS credentials are sent to it; allow them with --endpoint-url {url}"
            ))
        }
        _ => None,
    }
}

const ENDPOINT: &str = "target.endpoint";

/// Reads the prompts, or reports why they cannot be read.
fn prompts(plan: &Plan, layers: &LayerStack<'_>, problems: &mut Vec<Problem>) -> Option<Prompts> {
    let Some(path) = &plan.prompts_file else { return Some(Prompts::shipped()) };
    let shown = path.display().to_string();
    let text = match text_file::read(path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read the prompts file {shown}: {error}");
            problems.push(Problem::new(layers.place("prompts_file"), message));
            return None;
        }
    };
    match Prompts::parse(&text, &Files::beside(path)) {
        Ok(prompts) => Some(prompts),
        Err(errors) => {
            let text: Arc<str> = text.into();
            for error in errors {
                let source = match error.file {
                    Some((path, text)) => Source { path, text: text.into() },
                    None => Source { path: shown.clone(), text: Arc::clone(&text) },
                };
                let hint = error
                    .hint
                    .unwrap_or_else(|| "write {\"NAME\": {\"text\": \"...\", \"description\": \"...\"}}".into());
                problems.push(Problem::new(Place::File(source, error.span), error.message).hint(Some(hint)));
            }
            None
        }
    }
}

/// Adds the data sets of the plan, or reports why they cannot be read.
fn datasets(
    plan: &Plan,
    mut prompts: Prompts,
    layers: &LayerStack<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Prompts> {
    let before = problems.len();
    for (index, dataset) in plan.dataset.iter().enumerate() {
        let name = &dataset.name;
        let at = |key: &str| layers.place(&format!("dataset[{index}].{key}"));
        if name.trim().is_empty() {
            problems.push(Problem::new(at("name"), "a data set needs a name"));
        } else if prompts.contains(name) {
            problems.push(Problem::new(at("name"), format!("a prompt already has the name `{name}`")));
        } else if let Err(errors) = prompts.add_dataset(name, &dataset.file) {
            for error in errors {
                let place = match error.file {
                    Some((path, text)) => Place::File(Source { path, text: text.into() }, error.span),
                    None => at("file"),
                };
                problems.push(Problem::new(place, error.message).hint(error.hint));
            }
        }
    }
    (problems.len() == before).then_some(prompts)
}
