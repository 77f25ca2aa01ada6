//! The exchange: a shared directory or a bucket that all shards of a run reach. A key is created once; a second attempt to
//! create it reports that it exists.

use super::http::Connector;
use super::retry::{Backoff, RETRY_TIMEOUT, retry};
use super::store_error::StoreError;
use super::transient;
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

/// Maximum length of a store's message, in characters.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// Maximum size of a key's value, in bytes.
const MAX_KEY_BYTES: u64 = 1 << 27;

/// The most keys below a folder that are listed: a shard leaves some hundred files.
const MAX_KEYS: usize = 1_000_000;

/// An open exchange.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(super) store: Store,
    /// Values masked in error messages.
    secrets: Secrets,
    pub(crate) url: String,
    /// Shortest and longest wait between two polls.
    pub(super) poll_interval: (Duration, Duration),
    /// Time from the decision to the common start. It is longer than the longest wait between two polls plus a poll, so that
    /// every shard receives the decision before the start.
    pub(super) start_delay: Duration,
}

/// The backing store.
#[derive(Debug, Clone)]
pub(super) enum Store {
    /// Each key is a file, readable only by its owner.
    Directory(Directory),
    /// A bucket and the prefix of all keys.
    Bucket { store: Arc<dyn ObjectStore>, prefix: String },
}

impl Store {
    /// Returns the key of a name in a bucket.
    fn key(prefix: &str, name: &str) -> Key {
        if prefix.is_empty() { Key::from(name) } else { Key::from(format!("{prefix}/{name}")) }
    }
}

/// Maximum depth of folders in an exchange.
const MAX_DEPTH: usize = 4;

/// Access settings of a bucket.
#[derive(Debug, Clone, Default)]
pub(crate) struct BucketAccess {
    /// Credentials; `None` uses the store's defaults.
    pub(crate) provider: Option<SharedCredentialsProvider>,
    /// Region; `None` uses the environment.
    pub(crate) region: Option<String>,
    /// S3 endpoint; `None` selects AWS.
    pub(crate) endpoint: Option<HttpUrl>,
    /// The certificates that are trusted, in DER format; none selects the system's.
    pub(crate) certificates: Vec<Vec<u8>>,
}

/// Returns the scheme of a URL in lower case, and the rest.
fn split_scheme(url: &str) -> Option<(String, &str)> {
    url.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest))
}

/// Returns whether a URL names a directory or a bucket. Does not open it.
pub(crate) fn is_address(url: &str) -> bool {
    match split_scheme(url) {
        Some((scheme, rest)) => (scheme == "file" && rest.starts_with('/')) || (scheme == "s3" && !rest.is_empty()),
        None => false,
    }
}

impl Exchange {
    /// Opens `file:///a/directory`, which is created with its parents if `create` is set, or `s3://bucket/prefix`. `access`
    /// applies to buckets; no variable overrides its endpoint.
    ///
    /// # Errors
    /// Fails if the URL is invalid or the directory cannot be opened or created.
    pub(crate) fn open(
        url: &str,
        environment: &BTreeMap<String, String>,
        access: BucketAccess,
        create: bool,
        secrets: &Secrets,
    ) -> Result<Self, StoreError> {
        let invalid = |message: &str| StoreError::Address { url: url.into(), message: message.into() };
        let refused = |source| refused(url, secrets, &source);
        let (scheme, rest) = split_scheme(url).unwrap_or_default();
        if scheme == "file" {
            let path = rest;
            let dir = PathBuf::from(path);
            if !dir.is_absolute() {
                return Err(invalid("a directory needs an absolute path, such as file:///shared/dir"));
            }
            let opened = if create { Directory::create(&dir) } else { Directory::open(&dir) };
            let opened = opened.map_err(|source| StoreError::File { path: dir, source })?;
            return Ok(Self {
                store: Store::Directory(opened),
                secrets: secrets.clone(),
                url: url.into(),
                poll_interval: (Duration::from_millis(20), Duration::from_millis(200)),
                start_delay: Duration::from_secs(1),
            });
        }
        if scheme != "s3" {
            return Err(invalid("expected file:///shared/dir or s3://bucket/prefix"));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(invalid("the bucket is missing, expected s3://bucket/prefix"));
        }
        let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
        let BucketAccess { provider, region, endpoint, certificates } = access;
        let is_set = |(name, value): &(&String, &String)| name.starts_with("AWS_") && !value.trim().is_empty();
        for (name, value) in environment.iter().filter(is_set) {
            match name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                // The endpoint is already resolved, by the rules of AWS.
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
        // A local server may have no certificate; requests to AWS always use https.
        builder = builder.with_allow_http(endpoint.as_ref().is_some_and(HttpUrl::is_plain_http));
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint.as_str());
        }
        // A provider that is already installed is equally good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        builder = builder.with_http_connector(Connector { certificates, is_loopback, secrets: secrets.clone() });
        let store = builder.with_retry(request_retries()).build().map_err(refused)?;
        Ok(Self {
            store: Store::Bucket { store: Arc::new(store), prefix: prefix.trim_matches('/').into() },
            secrets: secrets.clone(),
            url: url.into(),
            poll_interval: (Duration::from_millis(250), Duration::from_secs(if is_aws { 3 } else { 1 })),
            start_delay: Duration::from_secs(if is_aws { 5 } else { 2 }),
        })
    }

    /// Returns whether a URL names a bucket, which needs credentials.
    pub(crate) fn is_bucket(url: &str) -> bool {
        split_scheme(url).is_some_and(|(scheme, _)| scheme == "s3")
    }

    /// Returns the directory, if the exchange is one.
    pub(super) fn directory(&self) -> Option<&Directory> {
        match &self.store {
            Store::Directory(dir) => Some(dir),
            Store::Bucket { .. } => None,
        }
    }

    /// Returns the back-off between polls.
    pub(super) fn poll_backoff(&self) -> Backoff {
        Backoff::new(self.poll_interval.0, self.poll_interval.1)
    }

    fn refused(&self, source: &object_store::Error) -> StoreError {
        refused(&self.url, &self.secrets, source)
    }

    /// Runs a file operation on a thread that may block.
    async fn run_blocking<T: Send + 'static>(
        dir: &Directory,
        name: &str,
        work: impl FnOnce(&Directory, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (dir, name, path) = (dir.clone(), name.to_owned(), dir.path().join(name));
        let done = tokio::task::spawn_blocking(move || work(&dir, &name)).await;
        done.map_err(io::Error::other).flatten().map_err(|source| StoreError::File { path, source })
    }

    /// Creates a key. Returns false if it exists; its value is kept and may come from an earlier attempt.
    ///
    /// # Errors
    /// Fails if the exchange refuses or keeps failing.
    pub(super) async fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, StoreError> {
        self.create_within(RETRY_TIMEOUT, name, bytes).await
    }

    /// Creates a key like [`Exchange::create`], with another timeout for retries.
    pub(super) async fn create_within(
        &self,
        timeout: Duration,
        name: &str,
        bytes: Vec<u8>,
    ) -> Result<bool, StoreError> {
        let bytes = Bytes::from(bytes);
        retry(&self.url, timeout, || self.create_once(name, bytes.clone())).await
    }

    /// Creates a key like [`Exchange::create`], with one attempt.
    pub(super) async fn create_once(&self, name: &str, bytes: Bytes) -> Result<bool, StoreError> {
        let (store, prefix) = match &self.store {
            Store::Directory(dir) => {
                return Self::run_blocking(dir, name, move |dir, name| dir.create_whole(name, &bytes)).await;
            }
            Store::Bucket { store, prefix } => (store, prefix),
        };
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match store.put_opts(&Store::key(prefix, name), PutPayload::from(bytes), options).await {
            Ok(_) => Ok(true),
            // After a conflict (409) of two concurrent attempts, one of them has created the key.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(source) => Err(self.refused(&source)),
        }
    }

    /// Writes a key, replacing its value, with one attempt.
    ///
    /// # Errors
    /// Fails if the exchange refuses.
    pub(super) async fn replace(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        match &self.store {
            Store::Directory(dir) => Self::run_blocking(dir, name, move |dir, name| dir.replace(name, &bytes)).await,
            Store::Bucket { store, prefix } => {
                let put = store.put(&Store::key(prefix, name), PutPayload::from(bytes)).await;
                put.map(drop).map_err(|source| self.refused(&source))
            }
        }
    }

    /// Returns the value of a key, or `None` if it does not exist.
    ///
    /// # Errors
    /// Fails if the exchange refuses or keeps failing.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        retry(&self.url, RETRY_TIMEOUT, || self.get_once(name)).await
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
                return Self::run_blocking(dir, name, read).await;
            }
            Store::Bucket { store, prefix } => (store, prefix),
        };
        let read = async {
            let found = store.get(&Store::key(prefix, name)).await?;
            if found.meta.size > MAX_KEY_BYTES {
                let why = format!("`{name}` has {} bytes: expected at most {MAX_KEY_BYTES}", found.meta.size);
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

    /// Returns the names below a folder, relative to it.
    ///
    /// # Errors
    /// Fails if the exchange refuses or keeps failing.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        retry(&self.url, RETRY_TIMEOUT, || self.list_once(folder)).await
    }

    /// Lists like [`Exchange::list`], with one attempt.
    pub(super) async fn list_once(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let (store, prefix) = match &self.store {
            Store::Directory(dir) => return Self::run_blocking(dir, folder, list_files).await,
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

    /// Copies a file of any size from a directory to the exchange.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if the exchange refuses or keeps failing.
    pub(super) async fn upload(&self, name: &str, from: &Directory, file: &str) -> Result<(), StoreError> {
        retry(&self.url, RETRY_TIMEOUT, || self.upload_once(name, from, file)).await
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
                return Self::run_blocking(dir, name, copy).await;
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

    /// Copies the value of a key in a bucket to a new file in a directory.
    ///
    /// # Errors
    /// Fails if the exchange refuses, keeps failing or is a directory, or if the file cannot be written.
    pub(super) async fn download(&self, name: &str, to: &Directory, file: &str) -> Result<(), StoreError> {
        let path = to.path().join(file);
        let created = to.create_new(file).map_err(|source| StoreError::File { path: path.clone(), source })?;
        retry(&self.url, RETRY_TIMEOUT, || self.download_once(name, &created, &path)).await
    }

    async fn download_once(&self, name: &str, created: &File, path: &Path) -> Result<(), StoreError> {
        let at = |source| StoreError::File { path: path.to_owned(), source };
        let Store::Bucket { store, prefix } = &self.store else { return Err(at(io::ErrorKind::Unsupported.into())) };
        let found = store.get(&Store::key(prefix, name)).await.map_err(|source| self.refused(&source))?;
        let mut stream = found.into_stream();
        // Discard the partial result of an earlier attempt.
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
    let message = secrets.redact(&source.to_string(), MAX_MESSAGE_CHARS);
    StoreError::Refused { url: url.into(), message, is_transient: is_transient(source) }
}

/// Returns whether a retry may succeed. Every named kind of error is a definite answer.
pub(super) fn is_transient(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. } | object_store::Error::JoinError { .. })
        && transient::is_transient(error)
}

/// Returns the retry settings of one HTTP request within an attempt; [`retry()`] limits and reports the attempts.
fn request_retries() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: 3, retry_timeout: Duration::from_secs(15) }
}

/// Returns the files below a folder, relative to it; none if there is no such folder.
fn list_files(dir: &Directory, folder: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = match dir.subdirectory(Path::new(folder)) {
        Ok(below) => vec![(below, String::new(), 1)],
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    while let Some((dir, prefix, depth)) = open.pop() {
        found.extend(dir.files()?.iter().filter(|name| !is_temporary(name)).map(|name| format!("{prefix}{name}")));
        for name in dir.directories()?.iter().filter(|_| depth < MAX_DEPTH) {
            open.push((dir.subdirectory(Path::new(name))?, format!("{prefix}{name}/"), depth + 1));
        }
    }
    Ok(found)
}

/// The SDK's credentials of this process, for the store.
#[derive(Debug)]
struct Provider(SharedCredentialsProvider);

#[async_trait]
impl CredentialProvider for Provider {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = self.0.provide_credentials().await;
        let found = found.map_err(|error| {
            // The error itself contains only its kind.
            let message = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            object_store::Error::Generic { store: "S3", source: message.into() }
        })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().into(),
            secret_key: found.secret_access_key().into(),
            token: found.session_token().map(str::to_owned),
        }))
    }
}
