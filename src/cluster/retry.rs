//! Back-off between polls of an exchange, and retries after failures.

use super::http::TOO_LONG;
use super::store::StoreError;
use crate::units::duration;
use aws_credential_types::provider::error::CredentialsError;
use std::error::Error as StdError;
use std::io;
use std::time::{Duration, Instant};

/// Time for which failing operations on an exchange are retried. A restart of a file server or throttling of a bucket
/// takes less.
pub(crate) const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Minimum number of attempts, however long each takes.
const MIN_ATTEMPTS: u32 = 3;

/// Waits that grow by half up to a maximum. Each is shortened randomly, so that shards do not poll at the same time.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// Restarts with the shortest wait.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    /// Waits, at most until `until`.
    pub(super) async fn wait(&mut self, until: Instant) {
        let due = Instant::now() + self.next_wait();
        tokio::time::sleep_until(due.min(until).into()).await;
    }

    fn next_wait(&mut self) -> Duration {
        let full = self.next;
        self.next = full.mul_f64(1.5).min(self.longest);
        full.mul_f64(rand::random_range(0.8..=1.0))
    }
}

/// Retries `attempt` until it succeeds, fails permanently, or has failed for longer than `timeout`.
///
/// # Errors
/// Returns the permanent failure, or the last transient one with the number of attempts.
pub(super) async fn retry<T, F>(url: &str, timeout: Duration, mut attempt: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut failing_since = None;
    let mut failures = 0;
    loop {
        let error = match attempt().await {
            Ok(found) => {
                if failures > 0 {
                    tracing::warn!("exchange {url} is available again after {failures} failed attempts");
                }
                return Ok(found);
            }
            Err(error) => error,
        };
        if !error.is_transient() {
            return Err(error);
        }
        let since = *failing_since.get_or_insert_with(Instant::now);
        failures += 1;
        if failures == 1 {
            tracing::warn!("exchange {url} failed, retrying for up to {}: {error}", duration::format(timeout));
        }
        if failures >= MIN_ATTEMPTS && since.elapsed() >= timeout {
            return Err(StoreError::Unreachable { attempts: failures, message: error.to_string() });
        }
        let until = if failures < MIN_ATTEMPTS { Instant::now() + timeout } else { since + timeout };
        backoff.wait(until).await;
    }
}

/// Returns whether a failure is transient: a network that is down, a server that is overloaded or restarted, a stale
/// handle of a network file system. Permanent failures are missing permissions or credentials, a missing bucket, a file in
/// place of a directory, and requests that S3 rejects as invalid.
pub(super) fn is_transient(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<CredentialsError>() {
            return !matches!(
                error,
                CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_)
            );
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            if is_permanent(error.kind()) || is_link(error) {
                return false;
            }
            let Some(inner) = error.get_ref() else { return true };
            cause = Some(inner);
            continue;
        }
        cause = error.source();
    }
    // The store's error type for rejected requests is private; its text contains the status.
    let text = error.to_string();
    let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3)?.parse::<u16>().ok());
    match status {
        Some(400) => text.contains("RequestTimeout"),
        Some(408 | 429) => true,
        Some(status) => status >= 500,
        None => !text.contains("redirect without LOCATION") && !text.contains(TOO_LONG),
    }
}

/// Returns whether the error is a symbolic link in place of a file. The kind of this error is not stable.
fn is_link(error: &io::Error) -> bool {
    /// `ELOOP`.
    const LOOP: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };
    cfg!(unix) && error.raw_os_error() == Some(LOOP)
}

fn is_permanent(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::NotFound
            | Kind::PermissionDenied
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::ReadOnlyFilesystem
            | Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::FileTooLarge
            | Kind::InvalidFilename
            | Kind::InvalidInput
            | Kind::Unsupported
    )
}

#[cfg(test)]
mod tests {
    use super::super::store::is_transient;
    use super::*;

    fn generic(source: impl Into<Box<dyn StdError + Send + Sync>>) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: source.into() }
    }

    #[test]
    fn transient_and_permanent_failures_are_distinguished() {
        /// `ESTALE`, `EIO`, `EACCES` and `ELOOP` as Linux numbers them.
        const STALE: i32 = 116;
        const IO: i32 = 5;
        const ACCESS: i32 = 13;
        const LOOP: i32 = 40;
        let status = |text: &str| generic(format!("Server returned non-2xx status code: {text}"));
        let transient = [
            generic(io::Error::from_raw_os_error(STALE)),
            generic(io::Error::from_raw_os_error(IO)),
            generic(io::Error::from(io::ErrorKind::ConnectionReset)),
            generic(io::Error::from(generic(io::Error::from_raw_os_error(STALE)))),
            status("503 Service Unavailable: <Code>SlowDown</Code>"),
            status("429 Too Many Requests"),
            status("400 Bad Request: <Code>RequestTimeout</Code>"),
            generic(CredentialsError::provider_timed_out(Duration::from_secs(1))),
            generic("error decoding response body"),
        ];
        for error in transient {
            assert!(is_transient(&error), "{error}");
        }
        let path = || "start.json".to_owned();
        let permanent = [
            generic(io::Error::from_raw_os_error(ACCESS)),
            generic(io::Error::from(io::ErrorKind::NotADirectory)),
            generic(io::Error::from_raw_os_error(LOOP)),
            generic(io::Error::from(generic(io::Error::from_raw_os_error(ACCESS)))),
            status("400 Bad Request: <Code>ExpiredToken</Code>"),
            status("301 Moved Permanently"),
            generic("Received redirect without LOCATION, this normally indicates an incorrectly configured region"),
            generic(CredentialsError::not_loaded("no providers in chain")),
            object_store::Error::PermissionDenied { path: path(), source: "403 Forbidden".into() },
            object_store::Error::NotFound { path: path(), source: "404 NoSuchBucket".into() },
            generic(io::Error::from(object_store::Error::NotFound { path: path(), source: "404".into() })),
        ];
        for error in permanent {
            assert!(!is_transient(&error), "{error}");
        }
    }

    #[tokio::test]
    async fn transient_failures_of_a_directory_are_retried() {
        let attempt = |kinds: Vec<io::ErrorKind>| {
            let mut kinds = kinds.into_iter();
            let mut attempts = 0;
            async move {
                let found = retry("file:///x", Duration::from_millis(1), || {
                    attempts += 1;
                    let failure = kinds.next().map(io::Error::from);
                    let path = "x".into();
                    std::future::ready(failure.map_or(Ok(7), |source| Err(StoreError::File { path, source })))
                });
                let found = found.await.map_err(|error| error.to_string());
                (found, attempts)
            }
        };
        let stale = io::ErrorKind::StaleNetworkFileHandle;
        assert_eq!(attempt(vec![stale; 2]).await, (Ok(7), 3));
        let (found, attempts) = attempt(vec![stale; 20]).await;
        assert!((MIN_ATTEMPTS..20).contains(&attempts), "{attempts}");
        assert!(found.unwrap_err().ends_with(&format!("(after {attempts} attempts)")));
        assert_eq!(attempt(vec![io::ErrorKind::PermissionDenied]).await.1, 1);
    }

    #[test]
    fn waits_grow_to_the_maximum_and_can_be_reset() {
        let longest = Duration::from_secs(3);
        let mut backoff = Backoff::new(Duration::from_millis(250), longest);
        let mut full = Duration::from_millis(250);
        for _ in 0..20 {
            let wait = backoff.next_wait();
            assert!(wait <= full && wait >= full.mul_f64(0.8), "{wait:?} {full:?}");
            full = full.mul_f64(1.5).min(longest);
        }
        assert_eq!(backoff.next, longest);
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(250));
    }
}
