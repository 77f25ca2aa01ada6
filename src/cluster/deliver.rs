//! Delivery of each shard's results to the exchange, and their retrieval. The commit marker is written last: results
//! without one are incomplete.

use super::barrier::{BarrierError, JoinRequest, LeaveNotice, RunFingerprint, leave_notice_key, read};
use super::store::Exchange;
use super::store_error::StoreError;
use crate::files::Directory;
use crate::matrix::Shard;
use crate::record::dir::{JOURNAL, MANIFEST, PLAN};
use crate::units::text::{clean, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Names of the files that a shard delivers.
pub(crate) const DELIVERED_FILES: [&str; 3] = [MANIFEST, PLAN, JOURNAL];

/// File name of the commit marker.
pub(crate) const COMMIT_MARKER: &str = "shard.json";

/// The commit marker of a shard: it is written once all results are in the exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommitMarker {
    /// Index of the shard, from 0.
    pub(crate) index: u32,
    /// Id of the whole run.
    pub(crate) run_id: String,
    #[serde(flatten)]
    pub(crate) fingerprint: RunFingerprint,
    /// SHA-256 of each file.
    pub(crate) files: BTreeMap<String, String>,
}

impl CommitMarker {
    /// Returns a message about the first fact that differs; `None` if both belong to the same run.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let runs = || ("the run", self.run_id.clone(), other.run_id.clone());
        let differing = self.fingerprint.difference(&other.fingerprint).or((self.run_id != other.run_id).then(runs));
        differing.map(|(fact, own, others)| format!("{fact} is {} and {}", clean(&own), clean(&others)))
    }
}

/// State of a shard without results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MissingShard {
    /// It never joined.
    NeverJoined,
    /// It joined and delivered no results.
    Interrupted { host: String },
    /// It left with a notice.
    Left { reason: String },
}

impl MissingShard {
    /// Returns a message about the shard with this index.
    pub(crate) fn message(&self, index: u32) -> String {
        match self {
            Self::NeverJoined => format!("shard {index} never joined"),
            Self::Interrupted { host } => {
                format!("shard {index} joined on {} but delivered no results", clean(host))
            }
            Self::Left { reason } => format!("shard {index} left ({}) and delivered no results", clean(reason)),
        }
    }
}

/// Writes the commit marker into a shard's directory.
///
/// # Errors
/// Fails if a file cannot be read or the marker cannot be written.
fn write_commit_marker(dir: &Directory, files: &[&str], marker: CommitMarker) -> Result<(), StoreError> {
    let mut marker = marker;
    for name in files {
        marker.files.insert((*name).to_owned(), sha256(dir, name)?);
    }
    let mut text = serde_json::to_vec_pretty(&marker).unwrap_or_default();
    text.push(b'\n');
    dir.replace(COMMIT_MARKER, &text)
        .map_err(|source| StoreError::File { path: dir.path().join(COMMIT_MARKER), source })
}

/// Delivers the named files of a directory as a shard's results. `marker` contains everything but the files.
///
/// # Errors
/// Fails if a file cannot be read or the exchange refuses. In that case no commit marker is written.
pub(crate) async fn deliver(
    exchange: &Exchange,
    dir: &Path,
    files: &[&str],
    marker: CommitMarker,
) -> Result<(), StoreError> {
    let dir = Directory::open(dir).map_err(|source| StoreError::File { path: dir.to_owned(), source })?;
    let folder = format!("shards/{}", marker.index);
    write_commit_marker(&dir, files, marker)?;
    for name in files {
        exchange.upload(&format!("{folder}/{name}"), &dir, name).await?;
    }
    exchange.upload(&format!("{folder}/{COMMIT_MARKER}"), &dir, COMMIT_MARKER).await
}

/// Returns the commit markers in the exchange, sorted by shard.
///
/// # Errors
/// Fails if the exchange cannot be read or a marker is invalid.
pub(crate) async fn list_commit_markers(exchange: &Exchange) -> Result<Vec<CommitMarker>, BarrierError> {
    let mut markers: Vec<CommitMarker> = Vec::new();
    for name in exchange.list("shards").await?.iter().filter(|name| name.ends_with(&format!("/{COMMIT_MARKER}"))) {
        let key = format!("shards/{name}");
        let Some(marker) = read::<CommitMarker>(exchange, &key).await? else { continue };
        if !name.starts_with(&format!("{}/", marker.index)) {
            let message = format!("the commit marker belongs to shard {}", marker.index);
            return Err(BarrierError::Malformed { url: exchange.url.clone(), key, message });
        }
        if marker.fingerprint.count > Shard::MAX_COUNT || marker.index >= marker.fingerprint.count {
            let message = format!(
                "invalid shard `{}` of `{}`: expected an index from 0 to {}",
                marker.index,
                marker.fingerprint.count,
                Shard::MAX_COUNT - 1
            );
            return Err(BarrierError::Malformed { url: exchange.url.clone(), key, message });
        }
        markers.push(marker);
    }
    markers.sort_by_key(|marker| marker.index);
    Ok(markers)
}

/// Returns the results of a shard as a local directory: inside the exchange if that is a directory, otherwise a copy
/// below `to`. The files match the hashes of the marker.
///
/// # Errors
/// Fails if the files cannot be fetched or their hashes differ.
pub(crate) async fn fetch(exchange: &Exchange, marker: &CommitMarker, to: &Path) -> Result<PathBuf, BarrierError> {
    let folder = format!("shards/{}", marker.index);
    let dir = if let Some(shared) = exchange.directory() {
        // Opened relative to the handle, so that neither of the two components is a link.
        let opened = shared.subdirectory(Path::new(&folder));
        opened.map_err(|source| StoreError::File { path: shared.path().join(&folder), source })?
    } else {
        let path = to.join(marker.index.to_string());
        let dir = Directory::create(&path).map_err(|source| StoreError::File { path, source })?;
        for name in marker.files.keys().filter(|name| is_plain(name)) {
            exchange.download(&format!("{folder}/{name}"), &dir, name).await?;
        }
        dir
    };
    verify(dir.path(), marker).map_err(|(key, message)| BarrierError::Malformed {
        url: exchange.url.clone(),
        key: format!("{folder}/{key}"),
        message,
    })?;
    Ok(dir.path().to_owned())
}

/// Checks the files of a directory against a marker. An error contains the file name and the message.
pub(crate) fn verify(dir: &Path, marker: &CommitMarker) -> Result<(), (String, String)> {
    let opened = Directory::open(dir).map_err(|error| (".".to_owned(), error.to_string()))?;
    for (name, expected) in &marker.files {
        if !is_plain(name) {
            return Err((name.clone(), "invalid file name".into()));
        }
        match sha256(&opened, name) {
            Ok(found) if found == *expected => {}
            Ok(_) => return Err((name.clone(), "its SHA-256 differs from the commit marker".into())),
            Err(error) => return Err((name.clone(), error.to_string())),
        }
    }
    Ok(())
}

/// Returns the state of a shard without a commit marker.
///
/// # Errors
/// Fails if the exchange cannot be read.
pub(crate) async fn missing_shard(exchange: &Exchange, index: u32) -> Result<MissingShard, BarrierError> {
    if let Some(bytes) = exchange.get(&leave_notice_key(index)).await?
        && let Ok(notice) = serde_json::from_slice::<LeaveNotice>(&bytes)
    {
        return Ok(MissingShard::Left { reason: notice.reason });
    }
    let join_request = exchange.get(&format!("ready/{index}.json")).await?;
    Ok(match join_request.map(|bytes| serde_json::from_slice::<JoinRequest>(&bytes)) {
        Some(Ok(join_request)) => MissingShard::Interrupted { host: join_request.host },
        _ => MissingShard::NeverJoined,
    })
}

/// Returns the expected number of shards according to any join request; `None` if no shard has joined.
///
/// # Errors
/// Fails if the exchange cannot be read.
pub(crate) async fn expected_shards(exchange: &Exchange) -> Result<Option<u32>, BarrierError> {
    for name in exchange.list("ready").await? {
        if let Some(bytes) = exchange.get(&format!("ready/{name}")).await?
            && let Ok(join_request) = serde_json::from_slice::<JoinRequest>(&bytes)
            && join_request.fingerprint.count <= Shard::MAX_COUNT
        {
            return Ok(Some(join_request.fingerprint.count));
        }
    }
    Ok(None)
}

/// Returns whether a name is a plain file name, not a path.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\']) && name != "." && name != ".."
}

fn sha256(dir: &Directory, name: &str) -> Result<String, StoreError> {
    let digest = dir.read(name).and_then(digest);
    digest.map_err(|source| StoreError::File { path: dir.path().join(name), source })
}

/// Returns the SHA-256 in hexadecimal digits.
fn digest(mut file: File) -> io::Result<String> {
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&piece[..length]),
        }
    }
}

/// Returns the SHA-256 of the running program: two builds of the same version may measure differently.
pub(crate) fn program_hash() -> String {
    std::env::current_exe().and_then(File::open).and_then(digest).unwrap_or_default()
}
