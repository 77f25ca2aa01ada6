//! A place that all machines of a run reach: a shared directory or a bucket. Keys are created once; whoever
//! comes second is told so.

use crate::units::Secrets;
use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{CredentialProvider, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::collections::BTreeMap;
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

/// An open exchange.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    /// What is masked in its errors.
    secrets: Secrets,
    /// As it was given.
    pub(crate) url: String,
    /// Where it is on this machine, if it is a directory.
    pub(crate) dir: Option<PathBuf>,
    /// How often it may be asked.
    pub(super) poll: Duration,
    /// How long before a common start it must be said.
    pub(super) lead: Duration,
}

impl Exchange {
    /// Opens `file:///a/directory`, which is made with its parents if wanted, or `s3://bucket/prefix`. The provider and the
    /// region are those of a bucket.
    ///
    /// # Errors
    /// When it is no such address, or its directory cannot be made.
    pub(crate) fn open(
        url: &str,
        environment: &BTreeMap<String, String>,
        provider: Option<SharedCredentialsProvider>,
        region: Option<String>,
        make: bool,
        secrets: &Secrets,
    ) -> Result<Self, StoreError> {
        let wrong = |why: &str| StoreError::Address { url: url.into(), why: why.into() };
        let refused = |source| refused(url, secrets, &source);
        if let Some(path) = url.strip_prefix("file://") {
            let dir = PathBuf::from(path);
            if !dir.is_absolute() {
                return Err(wrong("a directory is named by its absolute path, file:///shared/dir"));
            }
            let there = if make { std::fs::create_dir_all(&dir) } else { std::fs::metadata(&dir).map(drop) };
            there.map_err(|source| StoreError::File { path: dir.clone(), source })?;
            let store = LocalFileSystem::new_with_prefix(&dir).map_err(refused)?;
            return Ok(Self {
                store: Arc::new(store),
                prefix: String::new(),
                secrets: secrets.clone(),
                url: url.into(),
                dir: Some(dir),
                poll: Duration::from_millis(20),
                lead: Duration::from_secs(1),
            });
        }
        let Some((bucket, prefix)) = url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))
        else {
            return Err(wrong("file:///shared/dir or s3://bucket/prefix is one"));
        };
        if bucket.is_empty() {
            return Err(wrong("it names no bucket"));
        }
        let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
        for (name, value) in environment.iter().filter(|(name, _)| name.starts_with("AWS_")) {
            if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
                builder = builder.with_config(key, value);
            }
        }
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        if let Some(provider) = provider {
            builder = builder.with_credentials(Arc::new(Provider(provider)));
        }
        // A server on this machine or in this network has no certificate; AWS is never asked without one.
        let is_plain = |name: &str| environment.get(name).is_some_and(|url| url.starts_with("http://"));
        if is_plain("AWS_ENDPOINT_URL_S3") || is_plain("AWS_ENDPOINT_URL") {
            builder = builder.with_allow_http(true);
        }
        let is_aws = !environment.contains_key("AWS_ENDPOINT_URL_S3") && !environment.contains_key("AWS_ENDPOINT_URL");
        // Whatever was installed before is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store = builder.build().map_err(refused)?;
        Ok(Self {
            store: Arc::new(store),
            prefix: prefix.trim_matches('/').into(),
            secrets: secrets.clone(),
            url: url.into(),
            dir: None,
            poll: Duration::from_millis(250),
            lead: if is_aws { Duration::from_secs(5) } else { Duration::from_secs(2) },
        })
    }

    /// Whether an address is a bucket's, which needs credentials.
    pub(crate) fn is_bucket(url: &str) -> bool {
        url.starts_with("s3://")
    }

    fn key(&self, name: &str) -> Key {
        if self.prefix.is_empty() { Key::from(name) } else { Key::from(format!("{}/{name}", self.prefix)) }
    }

    fn refused(&self, source: object_store::Error) -> StoreError {
        refused(&self.url, &self.secrets, &source)
    }

    /// Creates a key; says whether it did. Where it is there already, what is there stays.
    ///
    /// # Errors
    /// When the exchange refuses.
    pub(super) async fn create(&self, name: &str, bytes: Vec<u8>) -> Result<bool, StoreError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.key(name), PutPayload::from(bytes), options).await {
            Ok(_) => Ok(true),
            // A conflict (409) of two who create it at one moment has no other end: one of them did.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(source) => Err(self.refused(source)),
        }
    }

    /// Writes a key, whatever was under it.
    ///
    /// # Errors
    /// When the exchange refuses.
    pub(super) async fn replace(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let put = self.store.put(&self.key(name), PutPayload::from(bytes)).await;
        put.map(drop).map_err(|source| self.refused(source))
    }

    /// What is under a key; nothing where there is no such key.
    ///
    /// # Errors
    /// When the exchange refuses.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        let read = async { self.store.get(&self.key(name)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.refused(source)),
        }
    }

    /// The names below a folder, without it.
    ///
    /// # Errors
    /// When the exchange refuses.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let folder = self.key(folder);
        let found: Vec<_> =
            self.store.list(Some(&folder)).try_collect().await.map_err(|source| self.refused(source))?;
        let name = |location: &Key| {
            let parts = location.prefix_match(&folder)?;
            Some(parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/"))
        };
        Ok(found.iter().filter_map(|meta| name(&meta.location)).collect())
    }

    /// Copies a file there, whatever its size.
    ///
    /// # Errors
    /// When the file cannot be read, or the exchange refuses.
    pub(super) async fn upload(&self, name: &str, path: &Path) -> Result<(), StoreError> {
        let at = |source| StoreError::File { path: path.to_owned(), source };
        let mut file = tokio::fs::File::open(path).await.map_err(at)?;
        let mut writer = BufWriter::new(Arc::clone(&self.store), self.key(name));
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
            let refused = object_store::Error::Generic { store: "exchange", source: Box::new(source) };
            self.refused(refused)
        })
    }

    /// Copies what is under a key into a file.
    ///
    /// # Errors
    /// When the exchange refuses, or the file cannot be written.
    pub(super) async fn download(&self, name: &str, path: &Path) -> Result<(), StoreError> {
        let at = |source| StoreError::File { path: path.to_owned(), source };
        let found = self.store.get(&self.key(name)).await.map_err(|source| self.refused(source))?;
        let mut stream = found.into_stream();
        let mut file = tokio::fs::File::create(path).await.map_err(at)?;
        while let Some(piece) = stream.try_next().await.map_err(|source| self.refused(source))? {
            file.write_all(&piece).await.map_err(at)?;
        }
        file.flush().await.map_err(at)
    }
}

fn refused(url: &str, secrets: &Secrets, source: &object_store::Error) -> StoreError {
    StoreError::Refused { url: url.into(), message: secrets.redact(&source.to_string(), LONGEST_MESSAGE) }
}

/// The credentials of whoever runs this, as the SDK finds them: profiles and SSO too.
#[derive(Debug)]
struct Provider(SharedCredentialsProvider);

#[async_trait]
impl CredentialProvider for Provider {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let found = self.0.provide_credentials().await;
        let found = found.map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().into(),
            secret_key: found.secret_access_key().into(),
            token: found.session_token().map(str::to_owned),
        }))
    }
}
