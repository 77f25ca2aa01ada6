//! `merge`: one results directory of what the shards of a run left in their exchange, and its report.

use super::report::{self, Output};
use super::shards;
use crate::config;
use crate::error::Error;
use crate::exchange::{self, COMMIT_MARKER, CommitMarker, Exchange, MissingShard};
use crate::files::Directory;
use crate::record::dir::{self, JOURNAL, MANIFEST, OnExisting, PLAN};
use crate::record::manifest::Manifest;
use crate::record::merge::{self, MergeError};
use crate::record::owned;
use crate::record::read;
use crate::units::Secrets;
use crate::units::text::{clean, count};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What `merge` is told.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Where the shards met.
    pub(crate) url: String,
    /// The results directory.
    pub(crate) to: PathBuf,
    /// Results that are not in the exchange, on this machine.
    pub(crate) with: Vec<PathBuf>,
    /// Shards may be missing.
    pub(crate) allow_missing: bool,
    /// What an earlier run left there is replaced.
    pub(crate) overwrite: bool,
    /// A session token may be sent over plain http to any host.
    pub(crate) allow_http: bool,
    /// How the files of the report are made.
    pub(crate) output: Output,
}

/// Merges, and reports. Returns the exit code.
pub(crate) fn merge(options: &Options, environment: &BTreeMap<String, String>, secrets: &Secrets) -> Result<u8, Error> {
    let means = options.output.open(environment)?;
    if let Some(error) = means.templates.broken() {
        return Err(Error::Template(error));
    }
    dir::check(&options.to, options.overwrite).map_err(Error::To)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Internal)?;
    let copies = tempfile::Builder::new().prefix("bedrock-plan-").tempdir().map_err(Error::Internal)?;
    let (dirs, whole, untold) = runtime.block_on(gather(options, environment, secrets, copies.path()))?;
    let Some(whole) = whole.filter(|_| untold.is_empty() || options.allow_missing) else {
        return Err(Error::Missing { missing: untold });
    };
    // All that can be wrong with what is there is found before anything is written.
    if let Some((dir, _)) = dirs.iter().find(|(dir, _)| is_same(dir, &options.to)) {
        return Err(Error::IntoItself { dir: dir.clone() });
    }
    let files = owned::files_of_run(&whole);
    let existing = if options.overwrite { OnExisting::Overwrite } else { OnExisting::Refuse };
    dir::check_files(&options.to, &files, existing).map_err(Error::To)?;
    let lines = merge::lines(&dirs, &whole).map_err(Error::Merge)?;
    let mut taken = dir::take_for(&options.to, &files, existing).map_err(Error::To)?;
    let records = lines.write(&dirs, &mut taken)?;
    dir::write(&options.to, Path::new(PLAN), report::plan_text(&options.to, &whole).as_bytes())?;
    // The manifest last: without it a directory holds no run.
    dir::write_manifest(&options.to, &whole)?;
    drop(taken);
    let mut err = std::io::stderr();
    let shards = count(dirs.len(), "shard");
    let _ = writeln!(err, "{records} records of {shards} are in {}", options.to.display());
    for line in untold {
        let _ = writeln!(err, "{line}: every verdict is INCONCLUSIVE");
    }
    report::render(&options.to, &options.to, &whole, means)
}

/// Whether two names are of one directory.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// The results of a shard: where they are, and its manifest.
type Part = (PathBuf, Manifest);

/// The results of all shards, the manifest of all together, and what is known of those that left none, by their index.
async fn gather(
    options: &Options,
    environment: &BTreeMap<String, String>,
    secrets: &Secrets,
    copies: &Path,
) -> Result<(Vec<Part>, Option<Manifest>, Vec<String>), Error> {
    // Nothing of the plan is known yet: a bucket is opened as the environment says.
    let access = shards::Access {
        profile: None,
        allow_http: options.allow_http || config::allow_http(environment)?,
        environment,
        secrets,
    };
    let exchange = shards::open(&options.url, &access, false).await?;
    let marks = exchange::list_commit_markers(&exchange).await.map_err(Error::Barrier)?;
    let differs = |other: &CommitMarker| Some((other.index, marks[0].difference(other)?));
    if let Some((other, what)) = marks.iter().find_map(differs) {
        return Err(Error::OtherShards { one: marks[0].index, other, what });
    }
    let mut parts = Vec::new();
    for mark in &marks {
        let dir = exchange::fetch(&exchange, mark, copies).await.map_err(Error::Barrier)?;
        let manifest = read::manifest(&dir)?;
        parts.push((dir, manifest));
    }
    for dir in &options.with {
        parts.push((dir.clone(), local(dir)?));
    }
    let manifests: Vec<Manifest> = parts.iter().map(|(_, manifest)| manifest.clone()).collect();
    let whole = if manifests.is_empty() { None } else { Some(merge::manifests(manifests).map_err(Error::Merge)?) };
    let missing = match whole.as_ref().and_then(|whole| whole.shards.as_ref()) {
        Some(shards) => shards.missing(),
        None => (0..exchange::expected_shards(&exchange).await.map_err(Error::Barrier)?.unwrap_or(0)).collect(),
    };
    let mut untold = Vec::new();
    for index in missing {
        untold.push(told(&exchange, index).await?);
    }
    if whole.is_none() && untold.is_empty() {
        untold.push(format!("no shard left its results in {}", clean(&options.url)));
    }
    Ok((parts, whole, untold))
}

/// What is known of a shard that left no results.
async fn told(exchange: &Exchange, index: u32) -> Result<String, Error> {
    Ok(match exchange::missing_shard(exchange, index).await.map_err(Error::Barrier)? {
        MissingShard::NeverJoined => format!("shard {index} never came"),
        MissingShard::Interrupted { host } => format!("shard {index} came, on {}, and left no results", clean(&host)),
        MissingShard::Left { reason } => format!("shard {index} went ({}) and left no results", clean(&reason)),
    })
}

/// A shard's results directory on this machine, as it left it or as a kill did.
fn local(dir: &Path) -> Result<Manifest, Error> {
    let manifest = read::manifest(dir)?;
    if manifest.shards.as_ref().is_none_or(|shards| shards.parts.len() != 1) {
        return Err(Error::Merge(MergeError::NotAShard(dir.to_owned())));
    }
    if let Ok(text) = Directory::open(dir).and_then(|dir| dir.read_to_string(COMMIT_MARKER)) {
        let altered = |(name, message): (String, String)| Error::Altered { path: dir.join(name), message };
        // A kill may have cut the mark itself: then there is none.
        if let Ok(mark) = serde_json::from_str::<CommitMarker>(&text) {
            exchange::verify(dir, &mark).map_err(altered)?;
        }
    }
    Ok(manifest)
}

/// What a shard leaves, by name.
pub(super) const FILES: [&str; 3] = [MANIFEST, PLAN, JOURNAL];
