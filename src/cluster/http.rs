//! HTTP for a bucket: replies are bounded, redirects are not followed, and a file of certificates, if given, replaces
//! those of the system.

use crate::units::Secrets;
use async_trait::async_trait;
use http_body_util::{BodyExt, Limited};
use hyper::header::{CONTENT_LENGTH, LOCATION};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};
use std::time::Duration;

/// Maximum size of a reply that is not the content of a key, in bytes: a page of a list with 1,000 long names takes 2 MiB.
const LARGEST_REPLY: u64 = 8 << 20;

/// Maximum size of the body of an error (a status other than 2xx), in bytes.
const LARGEST_ERROR: u64 = 1 << 20;

/// Maximum length of a quoted redirect target, in characters.
const LONGEST_LOCATION: usize = 200;

/// The defaults of `object_store`.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the connections of a bucket.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    /// Trusted certificates in DER format; if empty, those of the system.
    pub(super) certificates: Vec<Vec<u8>>,
    /// Whether the server is this machine, which is never reached through a proxy.
    pub(super) is_loopback: bool,
    /// Masked in errors.
    pub(super) secrets: Secrets,
}

/// Part of the error for a reply that exceeds its bound. Such a request is not retried: the reply would be the same.
pub(super) const TOO_LONG: &str = "the reply is longer than";

/// A reply that is refused.
#[derive(Debug, thiserror::Error)]
enum ReplyError {
    #[error("{TOO_LONG} {0} bytes")]
    TooLong(u64),
    #[error("status code: {status}; the redirect to `{location}` is not followed")]
    Redirect { status: u16, location: String },
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let generic = |source: reqwest::Error| object_store::Error::Generic { store: "S3", source: source.into() };
        let is_plain = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .https_only(!is_plain);
        if self.is_loopback {
            builder = builder.no_proxy();
        }
        if !self.certificates.is_empty() {
            let certificates: Result<Vec<_>, _> =
                self.certificates.iter().map(|der| reqwest::Certificate::from_der(der)).collect();
            builder = builder.tls_certs_only(certificates.map_err(generic)?);
        }
        let client = builder.build().map_err(generic)?;
        Ok(HttpClient::new(Bounded { client: HttpClient::new(client), secrets: self.secrets.clone() }))
    }
}

/// A client whose replies are bounded.
#[derive(Debug)]
struct Bounded {
    client: HttpClient,
    secrets: Secrets,
}

#[async_trait]
impl HttpService for Bounded {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_content = request.method() == hyper::Method::GET
            && !request.uri().query().unwrap_or_default().split('&').any(|part| part.starts_with("list-type="));
        let response = self.client.execute(request).await?;
        let status = response.status();
        if let Some(location) = response.headers().get(LOCATION).filter(|_| status.is_redirection()) {
            // Masked before it is cut: the mask does not recognise part of a secret.
            let location = self.secrets.redact(&String::from_utf8_lossy(location.as_bytes()), LONGEST_LOCATION);
            let error = ReplyError::Redirect { status: status.as_u16(), location };
            return Err(HttpError::new(HttpErrorKind::Unknown, error));
        }
        // The content of a key is written to the disk, or its length was checked before: the announced length is the bound.
        let announced = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let largest = match announced {
            _ if !status.is_success() => LARGEST_ERROR,
            Some(length) if is_content => length,
            _ => LARGEST_REPLY,
        };
        Ok(response.map(|body| {
            let limited = Limited::new(body, usize::try_from(largest).unwrap_or(usize::MAX));
            HttpResponseBody::new(limited.map_err(move |error| match error.downcast::<HttpError>() {
                Ok(error) => *error,
                Err(_) => HttpError::new(HttpErrorKind::Decode, ReplyError::TooLong(largest)),
            }))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BucketAccess, Exchange};
    use crate::units::Secrets;
    use crate::units::url::HttpUrl;
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Starts a server that sends a head and then `bytes` bytes, in chunks, on each connection. Returns a bucket on it and
    /// the number of connections.
    async fn bucket(head: &'static str, bytes: usize) -> (Exchange, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut head_of_request = Vec::new();
                    while !head_of_request.ends_with(b"\r\n\r\n") {
                        head_of_request.push(stream.read_u8().await?);
                    }
                    let head = format!("HTTP/1.1 {head}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n");
                    stream.write_all(head.as_bytes()).await?;
                    let chunk = format!("10000\r\n{}\r\n", " ".repeat(1 << 16));
                    for _ in 0..bytes >> 16 {
                        stream.write_all(chunk.as_bytes()).await?;
                    }
                    stream.write_all(b"0\r\n\r\n").await
                });
            }
        });
        let provider = Credentials::new("key", "secret", None, None, "test");
        let access = BucketAccess {
            provider: Some(SharedCredentialsProvider::new(provider)),
            endpoint: Some(HttpUrl::parse(&url).unwrap()),
            region: Some("us-east-1".into()),
            ..BucketAccess::default()
        };
        let opened = Exchange::open("s3://bucket/run", &BTreeMap::new(), access, true, &Secrets::default());
        (opened.unwrap(), connections)
    }

    #[tokio::test]
    async fn list_and_error_replies_are_bounded() {
        for (head, bound) in [("200 OK", "longer than 8388608 bytes"), ("403 Forbidden", "longer than 1048576 bytes")] {
            let (exchange, connections) = bucket(head, 32 << 20).await;
            let error = exchange.list("shards").await.unwrap_err().to_string();
            assert!(error.contains(bound), "{error}");
            assert_eq!(connections.load(Ordering::Relaxed), 1, "the same reply would come again");
        }
    }

    #[tokio::test]
    async fn content_of_a_key_longer_than_announced_is_refused() {
        let (exchange, _) =
            bucket("200 OK\r\ncontent-length: 65536\r\nlast-modified: Thu, 26 Nov 2026 00:00:00 GMT", 32 << 20).await;
        let error = exchange.get("start.json").await.unwrap_err().to_string();
        assert!(error.contains("longer than 65536 bytes"), "{error}");
    }

    #[tokio::test]
    async fn redirect_of_a_bucket_is_reported_and_not_followed() {
        let (exchange, connections) =
            bucket("307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/elsewhere?token=abcdefghijkl", 0).await;
        let error = exchange.list("shards").await.unwrap_err().to_string();
        assert!(
            error.contains("the redirect to `http://127.0.0.1:1/elsewhere?token=[redacted]` is not followed"),
            "{error}"
        );
        assert_eq!(connections.load(Ordering::Relaxed), 1);
    }
}
