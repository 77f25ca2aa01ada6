//! `merge`: combines the results that the shards of a run left in their exchange into one results directory, and
//! renders its report.

use super::render::{self, Output};
use super::shards;
use crate::cluster::{self, COMMIT_MARKER, CommitMarker};
use crate::config;
use crate::error::Error;
use crate::files::Directory;
use crate::record::acquire;
use crate::record::dir::{self, OnExisting, PLAN};
use crate::record::manifest::Manifest;
use crate::record::merge::{self, MergeError};
use crate::record::owned;
use crate::record::read;
use crate::units::Secrets;
use crate::units::text::{clean, count};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Options of `merge`.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// URL of the exchange.
    pub(crate) url: String,
    /// Results directory of the merged run.
    pub(crate) to: PathBuf,
    /// Results directories of shards on this machine that are not in the exchange.
    pub(crate) with: Vec<PathBuf>,
    /// Whether to merge although shards are missing.
    pub(crate) allow_missing: bool,
    /// Whether to replace the results of an earlier run in `to`.
    pub(crate) overwrite: bool,
    /// Whether a session token may be sent over plain HTTP to any host.
    pub(crate) allow_http: bool,
    /// Options of the report's files.
    pub(crate) output: Output,
}

/// Merges the shards and renders the report. Returns the exit code.
///
/// # Errors
/// If shards are missing and `allow_missing` is not set, if the parts do not belong to one run, or if a file cannot be
/// read or written. Everything that can be wrong with the inputs is checked before the first write.
pub(crate) fn merge(options: &Options, environment: &BTreeMap<String, String>, secrets: &Secrets) -> Result<u8, Error> {
    let context = options.output.open(environment)?;
    if let Some(error) = context.templates.broken() {
        return Err(Error::Template(error));
    }
    acquire::check(&options.to, options.overwrite).map_err(Error::TargetDir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Internal)?;
    let download_dir = tempfile::Builder::new().prefix("bedrock-plan-").tempdir().map_err(Error::Internal)?;
    let (dirs, merged, missing_messages) =
        runtime.block_on(gather(options, environment, secrets, download_dir.path()))?;
    let Some(merged) = merged.filter(|_| missing_messages.is_empty() || options.allow_missing) else {
        return Err(Error::MissingShards { missing: missing_messages });
    };
    // Find everything that can be wrong with the inputs before the first write.
    if let Some((dir, _)) = dirs.iter().find(|(dir, _)| is_same(dir, &options.to)) {
        return Err(Error::MergeIntoInput { dir: dir.clone() });
    }
    let files = owned::files_of_run(&merged);
    let existing = if options.overwrite { OnExisting::Overwrite } else { OnExisting::Refuse };
    acquire::check_files(&options.to, &files, existing).map_err(Error::TargetDir)?;
    let lines = merge::lines(&dirs, &merged).map_err(Error::Merge)?;
    let mut taken = acquire::take_for(&options.to, &files, existing).map_err(Error::TargetDir)?;
    let records = lines.write(&dirs, &mut taken)?;
    dir::write(&options.to, Path::new(PLAN), render::plan_text(&options.to, &merged).as_bytes())?;
    // Write the manifest last: a directory without it holds no run.
    dir::write_manifest(&options.to, &merged)?;
    drop(taken);
    let mut err = std::io::stderr();
    let shards = count(dirs.len(), "shard");
    let _ = writeln!(err, "{records} records of {shards} are in {}", options.to.display());
    for line in missing_messages {
        let _ = writeln!(err, "{line}: every verdict is INCONCLUSIVE");
    }
    render::render(&options.to, &options.to, &merged, context)
}

/// Returns whether two paths name the same directory.
fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Results of a shard: the directory and its manifest.
type ShardResults = (PathBuf, Manifest);

/// Returns the results of all shards, the merged manifest, and one message per shard that left no results, in the order
/// of the shard indices.
async fn gather(
    options: &Options,
    environment: &BTreeMap<String, String>,
    secrets: &Secrets,
    download_dir: &Path,
) -> Result<(Vec<ShardResults>, Option<Manifest>, Vec<String>), Error> {
    // The plan is not known yet, so the environment alone selects how a bucket is opened.
    let access = shards::Access {
        profile: None,
        allow_http: options.allow_http || config::allow_http(environment)?,
        environment,
        secrets,
    };
    let exchange = shards::open(&options.url, &access, false).await?;
    let markers = cluster::list_commit_markers(&exchange).await.map_err(Error::Barrier)?;
    let differs = |other: &CommitMarker| Some((other.index, markers[0].difference(other)?));
    if let Some((other, difference)) = markers.iter().find_map(differs) {
        return Err(Error::DifferentRuns { first: markers[0].index, other, difference });
    }
    let mut parts = Vec::new();
    for marker in &markers {
        let dir = cluster::fetch(&exchange, marker, download_dir).await.map_err(Error::Barrier)?;
        let manifest = read::manifest(&dir)?;
        parts.push((dir, manifest));
    }
    for dir in &options.with {
        parts.push((dir.clone(), local(dir)?));
    }
    let manifests: Vec<Manifest> = parts.iter().map(|(_, manifest)| manifest.clone()).collect();
    let merged = if manifests.is_empty() { None } else { Some(merge::manifests(manifests).map_err(Error::Merge)?) };
    let missing = match merged.as_ref().and_then(|merged| merged.shards.as_ref()) {
        Some(shards) => shards.missing(),
        None => (0..cluster::expected_shards(&exchange).await.map_err(Error::Barrier)?.unwrap_or(0)).collect(),
    };
    let mut missing_messages = Vec::new();
    for index in missing {
        let missing = cluster::missing_shard(&exchange, index).await.map_err(Error::Barrier)?;
        missing_messages.push(missing.message(index));
    }
    if merged.is_none() && missing_messages.is_empty() {
        missing_messages.push(format!("no shard delivered its results to {}", clean(&options.url)));
    }
    Ok((parts, merged, missing_messages))
}

/// Reads the manifest of a shard's results directory on this machine, which may be complete or may have been cut off by
/// a kill.
///
/// # Errors
/// If the directory is not that of a shard, or a file differs from its commit marker.
fn local(dir: &Path) -> Result<Manifest, Error> {
    let manifest = read::manifest(dir)?;
    if manifest.shards.as_ref().is_none_or(|shards| shards.parts.len() != 1) {
        return Err(Error::Merge(MergeError::NotAShard(dir.to_owned())));
    }
    if let Ok(text) = Directory::open(dir).and_then(|dir| dir.read_to_string(COMMIT_MARKER)) {
        let altered = |(name, message): (String, String)| Error::Altered { path: dir.join(name), message };
        // A kill may have truncated the commit marker itself. Such a marker is ignored.
        if let Ok(marker) = serde_json::from_str::<CommitMarker>(&text) {
            cluster::verify(dir, &marker).map_err(altered)?;
        }
    }
    Ok(manifest)
}
