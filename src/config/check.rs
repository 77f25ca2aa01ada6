//! From layers to a plan: keys are checked per layer before the merge, values after it, and all that
//! is wrong is said at once.

use super::files;
use super::layers::Layered;
use super::paths::expand_home;
use super::problem::{Place, Problem, Problems, Source};
use super::sources::Entry;
use super::tree::{leaves, set, unknown_keys};
use super::{Resolved, Sources, aws_endpoint, aws_profile, defaults, keys, names, requests, rules, sources};
use crate::plan::{Endpoint, Layer, Origin, Plan};
use crate::prompts::{Files, Prompts};
use crate::units::text_file;
use serde_json::Value;
use std::sync::Arc;

pub(super) fn read(sources: &Sources<'_>) -> Result<Resolved, Problems> {
    let mut problems = Vec::new();
    let defaults = defaults::read(sources);
    let mut shape = defaults.clone();
    for key in keys::optional() {
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
    let allow_http = sources::allow_http(sources.environment).unwrap_or_else(|problem| {
        problems.push(problem);
        false
    });

    let mut layered = Layered::new(&defaults, &files, trees, entries);
    layered.resolve_exclusive_keys(&mut problems);
    let mut notes = aws_endpoint(sources, &mut layered, &mut problems);
    let (plan, bad) = layered.plan(&defaults, &mut problems);
    if plan.target.endpoint != Endpoint::Simulated {
        let set_by = match layered.place(ENDPOINT) {
            Place::Name(name) => format!("`{name}`"),
            Place::File(..) => "the plan".into(),
        };
        let url = match &plan.target.endpoint {
            Endpoint::Url(url) => Some((url, set_by.as_str())),
            _ => None,
        };
        let profile = plan.target.profile.as_deref();
        problems.extend(aws_profile::check_variants(sources.environment, profile, url));
    }
    let prompts =
        prompts(&plan, &layered, &mut problems).and_then(|prompts| datasets(&plan, prompts, &layered, &mut problems));
    if let Err(message) = expand_home(&plan.results_dir, sources.environment) {
        problems.push(Problem::new(layered.place("results_dir"), message));
    }
    for violation in rules::check(&plan, prompts.as_ref(), sources.max_cells) {
        let is_bad = |wrong: &String| {
            violation.keys.iter().any(|path| {
                path.starts_with(wrong.as_str())
                    || ["[", "."].iter().any(|deeper| wrong.starts_with(&format!("{path}{deeper}")))
            })
        };
        if !bad.iter().any(is_bad) {
            problems.push(Problem::new(layered.strongest(&violation.keys), violation.message).hint(violation.hint));
        }
    }
    match prompts {
        Some(prompts) if problems.is_empty() => {
            let allow_http = allow_http || sources.flags.iter().any(|(flag, _)| flag == "allow-http");
            let mut resolved = Resolved { origins: layered.origins(), plan, prompts, warnings: Vec::new(), allow_http };
            notes.extend(untrusted_endpoint(&resolved));
            notes.extend(names::warnings(&resolved.plan));
            notes.extend(requests::warnings(&resolved.plan, &resolved.prompts));
            resolved.warnings = notes;
            Ok(resolved)
        }
        _ => Err(Problems(problems)),
    }
}

/// Adds the endpoint that AWS's own configuration sets: variables replace that of a plan, the profile only the default.
/// A plan that is `simulated` stays so: it promises that nothing leaves this machine, and every shell of a team may
/// set these variables. Returns warnings.
fn aws_endpoint(sources: &Sources<'_>, layered: &mut Layered<'_>, problems: &mut Vec<Problem>) -> Vec<String> {
    let target = &layered.merged.tree["target"];
    let layer = layered.layer(ENDPOINT);
    if layer > Layer::File || target["endpoint"] == "simulated" {
        return Vec::new();
    }
    let profile = target["profile"].as_str();
    let found = match aws_endpoint::read(aws_endpoint::BEDROCK_RUNTIME, sources.environment, profile) {
        Ok(found) => found,
        Err(problem) => {
            problems.push(problem);
            return Vec::new();
        }
    };
    let warnings: Vec<String> = found.warning.into_iter().collect();
    let mut add = |layer, configured: aws_endpoint::Configured| {
        let origin = Origin { layer, name: Some(configured.name) };
        layered.add(Entry { key: ENDPOINT.into(), value: configured.url.into(), origin });
    };
    match (found.environment, found.profile) {
        (Some(configured), _) => add(Layer::Env, configured),
        (None, Some(configured)) if layer == Layer::Default => add(Layer::Profile, configured),
        _ => {}
    }
    warnings
}

/// A warning about an endpoint that only a plan sets: `run` sends no credentials there.
fn untrusted_endpoint(resolved: &Resolved) -> Option<String> {
    match &resolved.plan.target.endpoint {
        Endpoint::Url(url) if !resolved.is_endpoint_trusted() && !url.is_bedrock() && !url.is_loopback() => {
            Some(format!(
                "`{url}` is set by the plan alone and is not a host of Amazon Bedrock: no AWS credentials are sent there; --endpoint-url {url} allows it"
            ))
        }
        _ => None,
    }
}

const ENDPOINT: &str = "target.endpoint";

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
        } else if prompts.contains(name) {
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
