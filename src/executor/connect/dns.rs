//! DNS look-ups with a cache of a few seconds: ten thousand users that start together would otherwise cause ten thousand
//! look-ups.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use hyper_util::client::legacy::connect::dns::Name;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tower_service::Service;

/// Time for which a result is cached, failures included.
const CACHE_TTL: Duration = Duration::from_secs(5);
/// Maximum time of a look-up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// A look-up that failed.
#[derive(Debug, Clone)]
pub(super) struct DnsError(Arc<io::Error>);

impl fmt::Display for DnsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl StdError for DnsError {}

type LookUp = Shared<BoxFuture<'static, Result<Vec<SocketAddr>, DnsError>>>;

/// A cached or pending look-up.
struct Entry {
    started: Instant,
    answer: LookUp,
    /// Number of connections that used the result.
    served: usize,
}

/// A caching resolver. Concurrent look-ups of a name wait for one result.
#[derive(Clone)]
pub(super) struct Resolver<R> {
    system: R,
    ttl: Duration,
    cache: Arc<Mutex<HashMap<String, Entry>>>,
}

impl<R> Resolver<R> {
    pub(super) fn new(system: R) -> Self {
        Self { system, ttl: CACHE_TTL, cache: Arc::default() }
    }
}

impl<R> fmt::Debug for Resolver<R> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Resolver")
    }
}

impl<R> Service<Name> for Resolver<R>
where
    R: Service<Name, Error = io::Error, Future: Send + 'static, Response: Iterator<Item = SocketAddr>>,
{
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = DnsError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DnsError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        self.system.poll_ready(cx).map_err(|error| DnsError(Arc::new(error)))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let is_valid = |entry: &Entry| {
            // A look-up that all callers have cancelled never gets a result.
            let max_age = if entry.answer.peek().is_some() { self.ttl } else { LOOKUP_TIMEOUT };
            entry.started.elapsed() < max_age
        };
        if cache.get(name.as_str()).is_none_or(|entry| !is_valid(entry)) {
            let look_up = self.system.call(name.clone());
            let answer = async move {
                let found = tokio::time::timeout(LOOKUP_TIMEOUT, look_up).await;
                let late = |_| {
                    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs()))
                };
                found.map_err(late).flatten().map(Iterator::collect).map_err(|error| DnsError(Arc::new(error)))
            };
            let entry = Entry { started: Instant::now(), answer: answer.boxed().shared(), served: 0 };
            cache.insert(name.as_str().to_owned(), entry);
        }
        let (answer, nth) = match cache.get_mut(name.as_str()) {
            Some(entry) => {
                entry.served += 1;
                (entry.answer.clone(), entry.served - 1)
            }
            None => unreachable!("the entry was inserted above"),
        };
        Box::pin(async move { Ok(rotated(answer.await?, nth).into_iter()) })
    }
}

/// Returns the addresses for the nth connection. Addresses of the preferred family rotate, so that connections are
/// distributed over all of them.
fn rotated(mut addresses: Vec<SocketAddr>, nth: usize) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else { return addresses };
    let alike = addresses.iter().take_while(|address| address.is_ipv6() == first).count();
    addresses[..alike].rotate_left(nth % alike);
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;
    use tokio::task::JoinSet;

    /// A resolver that waits for permission and counts its look-ups.
    #[derive(Clone)]
    struct Counting {
        look_ups: Arc<AtomicUsize>,
        may_answer: Arc<Semaphore>,
        fails: bool,
    }

    impl Service<Name> for Counting {
        type Response = std::vec::IntoIter<SocketAddr>;
        type Error = io::Error;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Name) -> Self::Future {
            self.look_ups.fetch_add(1, Ordering::Relaxed);
            let this = self.clone();
            Box::pin(async move {
                drop(this.may_answer.acquire().await.unwrap());
                let address = |last| SocketAddr::from(([10, 0, 0, last], 0));
                if this.fails {
                    Err(io::ErrorKind::NotFound.into())
                } else {
                    Ok(vec![address(1), address(2)].into_iter())
                }
            })
        }
    }

    #[tokio::test]
    async fn concurrent_connections_share_one_look_up() {
        for (fails, ttl, expected) in [(false, CACHE_TTL, 1), (true, CACHE_TTL, 1), (false, Duration::ZERO, 2)] {
            let look_ups = Arc::new(AtomicUsize::new(0));
            let may_answer = Arc::new(Semaphore::new(0));
            let system = Counting { look_ups: Arc::clone(&look_ups), may_answer: Arc::clone(&may_answer), fails };
            let mut resolver = Resolver { ttl, ..Resolver::new(system) };
            let name = || "bedrock.example".parse::<Name>().unwrap();
            let mut waiting = JoinSet::new();
            (0..1_000).for_each(|_| drop(waiting.spawn(resolver.call(name()))));
            may_answer.add_permits(1);
            let answers = waiting.join_all().await;
            assert!(answers.iter().all(|answer| answer.is_err() == fails));
            // A little later.
            assert_eq!(resolver.call(name()).await.is_err(), fails);
            assert_eq!(look_ups.load(Ordering::Relaxed), expected);
        }
    }

    #[test]
    fn addresses_of_the_preferred_family_rotate() {
        let parse = |addresses: &[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect::<Vec<_>>();
        let all = parse(&["10.0.0.1:0", "10.0.0.2:0", "[::1]:0"]);
        assert_eq!(rotated(all.clone(), 0), all);
        assert_eq!(rotated(all, 3), parse(&["10.0.0.2:0", "10.0.0.1:0", "[::1]:0"]));
        assert_eq!(rotated(Vec::new(), 1), Vec::new());
    }
}
