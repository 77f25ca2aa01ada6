//! What each shard leaves in the exchange, and how it is got from there. The mark of a shard is written last:
//! what has none was cut off.

use super::barrier::{Farewell, Hello, Kind, MeetError, farewell_of, read};
use super::store::{Exchange, StoreError};
use crate::files::Directory;
use crate::matrix::Shard;
use crate::units::text::{clean, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The commit mark of a shard.
pub(crate) const MARK: &str = "shard.json";

/// What a shard says of its results when all of them are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// From 0.
    pub(crate) index: u32,
    /// Of the whole run.
    pub(crate) run_id: String,
    /// What it shares with the others.
    #[serde(flatten)]
    pub(crate) kind: Kind,
    /// SHA-256 of each file.
    pub(crate) files: BTreeMap<String, String>,
}

impl Mark {
    /// The first thing in which two are not of one run, with both values; nothing where they are.
    pub(crate) fn differs(&self, other: &Self) -> Option<String> {
        let runs = || ("the run", self.run_id.clone(), other.run_id.clone());
        let differing = self.kind.differs(&other.kind).or((self.run_id != other.run_id).then(runs));
        differing.map(|(what, own, others)| format!("{what} is {} and {}", clean(&own), clean(&others)))
    }
}

/// What is known of a shard without results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nobody ever saw it.
    NeverCame,
    /// It came, and was cut off.
    CutOff {
        /// Where it ran.
        host: String,
    },
    /// It said that it went.
    Went {
        /// Why.
        reason: String,
    },
}

/// Writes the mark of a shard's directory beside its files.
///
/// # Errors
/// When a file cannot be read or the mark cannot be written.
fn mark(dir: &Directory, files: &[&str], mark: Mark) -> Result<(), StoreError> {
    let mut mark = mark;
    for name in files {
        mark.files.insert((*name).to_owned(), sha256(dir, name)?);
    }
    let mut text = serde_json::to_vec_pretty(&mark).unwrap_or_default();
    text.push(b'\n');
    dir.replace(MARK, &text).map_err(|source| StoreError::File { path: dir.path().join(MARK), source })
}

/// Delivers the named files of a directory as a shard's results. The mark without `files` says whose they are.
///
/// # Errors
/// When a file cannot be read, or the exchange refuses: then no mark is there.
pub(crate) async fn send(exchange: &Exchange, dir: &Path, files: &[&str], whose: Mark) -> Result<(), StoreError> {
    let dir = Directory::open(dir).map_err(|source| StoreError::File { path: dir.to_owned(), source })?;
    let folder = format!("shards/{}", whose.index);
    mark(&dir, files, whose)?;
    for name in files {
        exchange.upload(&format!("{folder}/{name}"), &dir, name).await?;
    }
    exchange.upload(&format!("{folder}/{MARK}"), &dir, MARK).await
}

/// The marks of the shards that left results.
///
/// # Errors
/// When the exchange cannot be read, or a mark is none.
pub(crate) async fn held(exchange: &Exchange) -> Result<Vec<Mark>, MeetError> {
    let mut marks: Vec<Mark> = Vec::new();
    for name in exchange.list("shards").await?.iter().filter(|name| name.ends_with(&format!("/{MARK}"))) {
        let key = format!("shards/{name}");
        let Some(mark) = read::<Mark>(exchange, &key).await? else { continue };
        if !name.starts_with(&format!("{}/", mark.index)) {
            let message = format!("it is the mark of shard {}", mark.index);
            return Err(MeetError::Malformed { url: exchange.url.clone(), key, message });
        }
        if mark.kind.count > Shard::MAX_COUNT || mark.index >= mark.kind.count {
            let message = format!(
                "shard `{}` of `{}` cannot be: expected 0 to {}",
                mark.index,
                mark.kind.count,
                Shard::MAX_COUNT - 1
            );
            return Err(MeetError::Malformed { url: exchange.url.clone(), key, message });
        }
        marks.push(mark);
    }
    marks.sort_by_key(|mark| mark.index);
    Ok(marks)
}

/// The results of a shard as a directory of this machine: where they are, if the exchange is one, else copied below
/// `to`. Their hashes are those of the mark.
///
/// # Errors
/// When they cannot be got, or are not what the shard left.
pub(crate) async fn fetch(exchange: &Exchange, mark: &Mark, to: &Path) -> Result<PathBuf, MeetError> {
    let folder = format!("shards/{}", mark.index);
    let dir = if let Some(shared) = exchange.directory() {
        // Opened below the handle, so that neither of its two components is a link.
        let opened = shared.subdirectory(Path::new(&folder));
        opened.map_err(|source| StoreError::File { path: shared.path().join(&folder), source })?
    } else {
        let path = to.join(mark.index.to_string());
        let dir = Directory::create(&path).map_err(|source| StoreError::File { path, source })?;
        for name in mark.files.keys().filter(|name| is_plain(name)) {
            exchange.download(&format!("{folder}/{name}"), &dir, name).await?;
        }
        dir
    };
    verify(dir.path(), mark).map_err(|(key, message)| MeetError::Malformed {
        url: exchange.url.clone(),
        key: format!("{folder}/{key}"),
        message,
    })?;
    Ok(dir.path().to_owned())
}

/// Whether the files beside a mark are those that it speaks of; else which is not, and why.
pub(crate) fn verify(dir: &Path, mark: &Mark) -> Result<(), (String, String)> {
    let opened = Directory::open(dir).map_err(|error| (".".to_owned(), error.to_string()))?;
    for (name, expected) in &mark.files {
        if !is_plain(name) {
            return Err((name.clone(), "no name of a file".into()));
        }
        match sha256(&opened, name) {
            Ok(found) if found == *expected => {}
            Ok(_) => return Err((name.clone(), "it is not what the shard left (SHA-256)".into())),
            Err(error) => return Err((name.clone(), error.to_string())),
        }
    }
    Ok(())
}

/// What is known of a shard that has no mark.
///
/// # Errors
/// When the exchange cannot be read.
pub(crate) async fn left(exchange: &Exchange, index: u32) -> Result<Left, MeetError> {
    if let Some(bytes) = exchange.get(&farewell_of(index)).await?
        && let Ok(farewell) = serde_json::from_slice::<Farewell>(&bytes)
    {
        return Ok(Left::Went { reason: farewell.reason });
    }
    let hello = exchange.get(&format!("ready/{index}.json")).await?;
    Ok(match hello.map(|bytes| serde_json::from_slice::<Hello>(&bytes)) {
        Some(Ok(hello)) => Left::CutOff { host: hello.host },
        _ => Left::NeverCame,
    })
}

/// How many shards there were to be, as any that came said; nothing where none came.
///
/// # Errors
/// When the exchange cannot be read.
pub(crate) async fn expected(exchange: &Exchange) -> Result<Option<u32>, MeetError> {
    for name in exchange.list("ready").await? {
        if let Some(bytes) = exchange.get(&format!("ready/{name}")).await?
            && let Ok(hello) = serde_json::from_slice::<Hello>(&bytes)
            && hello.kind.count <= Shard::MAX_COUNT
        {
            return Ok(Some(hello.kind.count));
        }
    }
    Ok(None)
}

/// No path that leads elsewhere.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\']) && name != "." && name != ".."
}

fn sha256(dir: &Directory, name: &str) -> Result<String, StoreError> {
    let digest = dir.read(name).and_then(digest);
    digest.map_err(|source| StoreError::File { path: dir.path().join(name), source })
}

/// SHA-256 in hexadecimal digits.
fn digest(mut file: File) -> io::Result<String> {
    let (mut hasher, mut piece) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&piece[..length]),
        }
    }
}

/// SHA-256 of the program that runs: two builds of one version may measure differently.
pub(crate) fn build() -> String {
    std::env::current_exe().and_then(File::open).and_then(digest).unwrap_or_default()
}
