//! A place that all machines of a run reach: a shared directory or a bucket. Keys are created once; whoever
//! comes second is told so.

use super::http::Connector;
use super::retry::{self, Backoff, PATIENCE, retry};
use crate::files::{Directory, is_temporary};
use crate::units::Secrets;
use crate::units::url::HttpUrl;
use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::buffered::BufWriter;
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, ClientConfigKey, CredentialProvider, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    RetryConfig,
};
use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The longest message of a store that is kept, in characters.
const LONGEST_MESSAGE: usize = 1_000;

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// No address of a place that this tool knows.
    #[error("{url} is no exchange: {why}")]
    Address {
        /// As given.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// It refuses, or cannot be reached.
    #[error("the exchange {url} cannot be used: {message}")]
    Refused {
        /// As given.
        url: String,
        /// The reason, with secrets masked: a store repeats what it was sent.
        message: String,
        /// Whether it may work again by itself.
        is_transient: bool,
    },
    /// It kept failing.
    #[error("{message} (after {attempts} attempts)")]
    Unreachable {
        /// Number of attempts.
        attempts: u32,
        /// How the last one failed.
        message: String,
    },
    /// A file on this machine.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The longest text that shards leave for each other, bytes.
const MAX_KEY_BYTES: u64 = 1 << 27;

/// The most keys below a folder that are listed: a shard leaves some hundred files.
const MAX_KEYS: usize = 1_000_000;

impl StoreError {
    /// Whether the same operation may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused { is_transient, .. } => *is_transient,
            Self::File { source, .. } => retry::is_transient(source),
            Self::Address { .. } | Self::Unreachable { .. } => false,
        }
    }
}

/// An open exchange.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(super) store: Store,
    /// What is masked in its errors.
    secrets: Secrets,
    /// As it was given.
    pub(crate) url: String,
    /// The shortest and the longest wait between two polls.
    pub(super) polls: (Duration, Duration),
    /// Time from the decision to the common start. It is longer than the longest wait between two polls and the poll
    /// itself: every shard knows of the start before it.
    pub(super) lead: Duration,
}

/// What holds the keys.
#[derive(Debug, Clone)]
pub(super) enum Store {
    /// Each key is a file. Its owner alone can read it.
    Directory(Directory),
    /// A bucket, with what every key begins with.
    Bucket { store: Arc<dyn ObjectStore>, prefix: String },
}

impl Store {
    /// The key of a name in a bucket.
    fn key(prefix: &str, name: &str) -> Key {
        if prefix.is_empty() { Key::from(name) } else { Key::from(format!("{prefix}/{name}")) }
    }
}

/// Folders of an exchange are nested no deeper.
const DEEPEST: usize = 4;

/// How a bucket is reached.
#[derive(Debug, Clone, Default)]
pub(crate) struct BucketAccess {
    /// Who signs; nothing leaves it to the store.
    pub(crate) provider: Option<SharedCredentialsProvider>,
    /// Where the bucket is; nothing leaves it to the environment.
    pub(crate) region: Option<String>,
    /// The server that holds it; nothing selects AWS's.
    pub(crate) endpoint: Option<HttpUrl>,
    /// The certificates that are trusted, in DER format; none selects the system's.
    pub(crate) certificates: Vec<Vec<u8>>,
}

/// The scheme of an address in lower case, and what follows.
fn split(url: &str) -> Option<(String, &str)> {
    url.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest))
}

/// Whether an address is that of a directory or of a bucket, without opening it.
pub(crate) fn is_address(url: &str) -> bool {
    match split(url) {
        Some((scheme, rest)) => (scheme == "file" && rest.starts_with('/')) || (scheme == "s3" && !rest.is_empty()),
        None => false,
    }
}

impl Exchange {
    /// Opens `file:///a/directory`, which is made with its parents if wanted, or `s3://bucket/prefix`. `access` is that of
    /// a bucket; no variable selects another endpoint.
    ///
    /// # Errors
    /// When it is no such address, or its directory cannot be made.
    pub(crate) fn open(
        url: &str,
        environment: &BTreeMap<String, String>,
        access: BucketAccess,
        make: bool,
        secrets: &Secrets,
    ) -> Result<Self, StoreError> {
        let wrong = |why: &str| StoreError::Address { url: url.into(), why: why.into() };
        let refused = |source| refused(url, secrets, &source);
        let (scheme, rest) = split(url).unwrap_or_default();
        if scheme == "file" {
            let path = rest;
            let dir = PathBuf::from(path);
            if !dir.is_absolute() {
                return Err(wrong("a directory is named by its absolute path, file:///shared/dir"));
            }
            let opened = if make { Directory::create(&dir) } else { Directory::open(&dir) };
            let opened = opened.map_err(|source| StoreError::File { path: dir, source })?;
            return Ok(Self {
                store: Store::Directory(opened),
                secrets: secrets.clone(),
                url: url.into(),
                polls: (Duration::from_millis(20), Duration::from_millis(200)),
                lead: Duration::from_secs(1),
            });
        }
        if scheme != "s3" {
            return Err(wrong("file:///shared/dir or s3://bucket/prefix is one"));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(wrong("it names no bucket"));
        }
        let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
        let BucketAccess { provider, region, endpoint, certificates } = access;
        let is_set = |(name, value): &(&String, &String)| name.starts_with("AWS_") && !value.trim().is_empty();
        for (name, value) in environment.iter().filter(is_set) {
            match name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                // Where requests go is resolved already, by the rules of AWS.
                Ok(
                    AmazonS3ConfigKey::Endpoint
                    | AmazonS3ConfigKey::S3Endpoint
                    | AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp),
                )
                | Err(_) => {}
                Ok(key) => builder = builder.with_config(key, value),
            }
        }
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        if let Some(provider) = provider {
            builder = builder.with_credentials(Arc::new(Provider(provider)));
        }
        let is_aws = endpoint.as_ref().is_none_or(HttpUrl::is_aws);
        let is_loopback = endpoint.as_ref().is_some_and(HttpUrl::is_loopback);
        // A server on this machine or in this network has no certificate; AWS is never asked without one.
        builder = builder.with_allow_http(endpoint.as_ref().is_some_and(HttpUrl::is_plain_http));
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint.as_str());
        }
        // Whatever was installed before is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        builder = builder.with_http_connector(Connector { certificates, is_loopback, secrets: secrets.clone() });
        let store = builder.with_retry(request_retries()).build().map_err(refused)?;
        Ok(Self {
            store: Store::Bucket { store: Arc::new(store), prefix: prefix.trim_matches('/').into() },
            secrets: secrets.clone(),
            url: url.into(),
            polls: (Duration::from_millis(250), Duration::from_secs(if is_aws { 3 } else { 1 })),
            lead: Duration::from_secs(if is_aws { 5 } else { 2 }),
        })
    }

    /// Whether an address is a bucket's, which needs credentials.
    pub(crate) fn is_bucket(url: &str) -> bool {
        split(url).is_some_and(|(scheme, _)| scheme == "s3")
    }

    /// The directory on this machine, if it is one.
    pub(super) fn directory(&self) -> Option<&Directory> {
        match &self.store {
            Store::Directory(dir) => Some(dir),
            Store::Bucket { .. } => None,
        }
    }

    /// Waits between polls while nothing changes.
    pub(super) fn poll(&self) -> Backoff {
        Backoff::new(self.polls.0, self.polls.1)
    }

    fn refused(&self, source: &object_store::Error) -> StoreError {
        refused(&self.url, &self.secrets, source)
    }

    /// Works on a file of a directory, on a thread that may block.
    async fn on<T: Send + 'static>(
        dir: &Directory,
        name: &str,
        work: impl FnOnce(&Directory, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (dir, name, path) = (dir.clone(), name.to_owned(), dir.path().join(name));
        let done = tokio::task::spawn_blocking(move || work(&dir, &name)).await;
        done.map_err(io::Error::other).flatten().map_err(|source| StoreError::File { path, source })
    }

    /// Creates a key; returns whether it did. If the key exists, its content stays: it may be what an earlier attempt
    /// wrote.
    ///
    /// # Errors
    /// When the exchange refuses, or keeps failing.
    pub(super) async fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, StoreError> {
        self.create_within(PATIENCE, name, bytes).await
    }

    /// As [`Exchange::create`], with a bound of the caller's.
    pub(super) async fn create_within(
        &self,
        patience: Duration,
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<bool, StoreError> {
        let bytes = Bytes::from(bytes);
        retry(&self.url, patience, || self.create_once(name, bytes.clone())).await
    }

    /// As [`Exchange::create`], with one attempt.
    pub(super) async fn create_once(&self, name: &str, bytes: Bytes) -> Result<bool, StoreError> {
        let (store, prefix) = match &self.store {
            Store::Directory(dir) => return Self::on(dir, name, move |dir, name| dir.create_whole(name, &bytes)).await,
            Store::Bucket { store, prefix } => (store, prefix),
        };
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match store.put_opts(&Store::key(prefix, name), PutPayload::from(bytes), options).await {
            Ok(_) => Ok(true),
            // A conflict (409) of two who create it at one moment has no other end: one of them did.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(source) => Err(self.refused(&source)),
        }
    }

    /// Writes a key, whatever was under it, with one attempt.
    ///
    /// # Errors
    /// When the exchange refuses.
    pub(super) async fn replace(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        match &self.store {
            Store::Directory(dir) => Self::on(dir, name, move |dir, name| dir.replace(name, &bytes)).await,
            Store::Bucket { store, prefix } => {
                let put = store.put(&Store::key(prefix, name), PutPayload::from(bytes)).await;
                put.map(drop).map_err(|source| self.refused(&source))
            }
        }
    }

    /// What is under a key; nothing where there is no such key.
    ///
    /// # Errors
    /// When the exchange refuses, or keeps failing.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        retry(&self.url, PATIENCE, || self.get_once(name)).await
    }

    async fn get_once(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let (store, prefix) = match &self.store {
            Store::Directory(dir) => {
                let read = |dir: &Directory, name: &str| {
                    let mut bytes = Vec::new();
                    match dir.read(name).and_then(|file| file.take(MAX_KEY_BYTES + 1).read_to_end(&mut bytes)) {
                        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                        Ok(length) if length as u64 > MAX_KEY_BYTES => Err(io::ErrorKind::FileTooLarge.into()),
                        read => read.map(|_| Some(Bytes::from(bytes))),
                    }
                };
                return Self::on(dir, name, read).await;
            }
            Store::Bucket { store, prefix } => (store, prefix),
        };
        let read = async {
            let found = store.get(&Store::key(prefix, name)).await?;
            if found.meta.size > MAX_KEY_BYTES {
                let why = format!("`{name}` has {} bytes: expected {MAX_KEY_BYTES} at most", found.meta.size);
                return Err(object_store::Error::NotSupported { source: why.into() });
            }
            found.bytes().await
        };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.refused(&source)),
        }
    }

    /// The names below a folder, without it.
    ///
    /// # Errors
    /// When the exchange refuses, or keeps failing.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        retry(&self.url, PATIENCE, || self.list_once(folder)).await
    }

    /// As [`Exchange::list`], with one attempt.
    pub(super) async fn list_once(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let (store, prefix) = match &self.store {
            Store::Directory(dir) => return Self::on(dir, folder, list).await,
            Store::Bucket { store, prefix } => (store, prefix),
        };
        let folder = Store::key(prefix, folder);
        let mut found = Vec::new();
        let mut listed = store.list(Some(&folder));
        while let Some(meta) = listed.try_next().await.map_err(|source| self.refused(&source))? {
            if found.len() >= MAX_KEYS {
                let why = format!("`{folder}` contains more than {MAX_KEYS} keys");
                return Err(self.refused(&object_store::Error::NotSupported { source: why.into() }));
            }
            found.push(meta);
        }
        let name = |location: &Key| {
            let parts = location.prefix_match(&folder)?;
            Some(parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
        };
        Ok(found.iter().filter_map(|meta| name(&meta.location)).collect())
    }

    /// Copies a file of a directory there, whatever its size.
    ///
    /// # Errors
    /// When the file cannot be read, or the exchange refuses or keeps failing.
    pub(super) async fn upload(&self, name: &str, from: &Directory, file: &str) -> Result<(), StoreError> {
        retry(&self.url, PATIENCE, || self.upload_once(name, from, file)).await
    }

    async fn upload_once(&self, name: &str, from: &Directory, file: &str) -> Result<(), StoreError> {
        let path = from.path().join(file);
        let at = |source| StoreError::File { path: path.clone(), source };
        let mut source = from.read(file).map_err(at)?;
        let (store, prefix) = match &self.store {
            Store::Directory(dir) => {
                let copy = move |dir: &Directory, name: &str| {
                    dir.replace_with(Path::new(name), |to| io::copy(&mut source, to).map(drop))
                };
                return Self::on(dir, name, copy).await;
            }
            Store::Bucket { store, prefix } => (store, prefix),
        };
        let mut file = tokio::fs::File::from_std(source);
        let mut writer = BufWriter::new(Arc::clone(store), Store::key(prefix, name));
        let mut piece = vec![0; 1 << 20];
        let sent = async {
            loop {
                let length = file.read(&mut piece).await?;
                if length == 0 {
                    break;
                }
                writer.write_all(&piece[..length]).await?;
            }
            writer.shutdown().await
        };
        sent.await.map_err(|source| {
            let generic = |source| object_store::Error::Generic { store: "exchange", source: Box::new(source) };
            // The writer wraps the store's own error.
            self.refused(&source.downcast::<object_store::Error>().unwrap_or_else(generic))
        })
    }

    /// Copies what is under a key of a bucket into a new file of a directory.
    ///
    /// # Errors
    /// When the exchange refuses, keeps failing or is a directory itself, or the file cannot be written.
    pub(super) async fn download(&self, name: &str, to: &Directory, file: &str) -> Result<(), StoreError> {
        let path = to.path().join(file);
        let created = to.create_new(file).map_err(|source| StoreError::File { path: path.clone(), source })?;
        retry(&self.url, PATIENCE, || self.download_once(name, &created, &path)).await
    }

    async fn download_once(&self, name: &str, created: &File, path: &Path) -> Result<(), StoreError> {
        let at = |source| StoreError::File { path: path.to_owned(), source };
        let Store::Bucket { store, prefix } = &self.store else { return Err(at(io::ErrorKind::Unsupported.into())) };
        let found = store.get(&Store::key(prefix, name)).await.map_err(|source| self.refused(&source))?;
        let mut stream = found.into_stream();
        // What an earlier attempt wrote is a part.
        let emptied = created.set_len(0).and_then(|()| created.try_clone());
        let emptied = emptied.and_then(|mut file| file.rewind().map(|()| file));
        let mut file = tokio::fs::File::from_std(emptied.map_err(at)?);
        while let Some(piece) = stream.try_next().await.map_err(|source| self.refused(&source))? {
            file.write_all(&piece).await.map_err(at)?;
        }
        file.flush().await.map_err(at)
    }
}

fn refused(url: &str, secrets: &Secrets, source: &object_store::Error) -> StoreError {
    let message = secrets.redact(&source.to_string(), LONGEST_MESSAGE);
    StoreError::Refused { url: url.into(), message, is_transient: is_transient(source) }
}

/// Whether a bucket may serve the same request later; every named kind of error is an answer.
pub(super) fn is_transient(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. } | object_store::Error::JoinError { .. })
        && retry::is_transient(error)
}

/// Retries of one HTTP request within an attempt; [`retry()`] bounds and reports the attempts.
fn request_retries() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: 3, retry_timeout: Duration::from_secs(15) }
}

/// The files below a folder, relative to it; none if there is no such folder.
fn list(dir: &Directory, folder: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = match dir.subdirectory(Path::new(folder)) {
        Ok(below) => vec![(below, String::new(), 1)],
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    while let Some((dir, prefix, depth)) = open.pop() {
        found.extend(dir.files()?.iter().filter(|name| !is_temporary(name)).map(|name| format!("{prefix}{name}")));
        for name in dir.directories()?.iter().filter(|_| depth < DEEPEST) {
            open.push((dir.subdirectory(Path::new(name))?, format!("{prefix}{name}/"), depth + 1));
        }
    }
    Ok(found)
}

/// The credentials of whoever runs this, as the SDK finds them: profiles and SSO too.
#[derive(Debug)]
struct Provider(SharedCredentialsProvider);

#[async_trait]
impl CredentialProvider for Provider {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = self.0.provide_credentials().await;
        let found = found.map_err(|error| {
            // The error itself names only its kind.
            let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            object_store::Error::Generic { store: "S3", source: why.into() }
        })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().into(),
            secret_key: found.secret_access_key().into(),
            token: found.session_token().map(str::to_owned),
        }))
    }
}
