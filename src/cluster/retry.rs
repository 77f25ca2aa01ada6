//! Back-off between polls of an exchange, and retries after failures.

use super::store_error::StoreError;
use crate::units::duration;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

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
