//! Names, looked up once for all connections that are opened within a few seconds: ten thousand users that
//! begin together would ask ten thousand times.

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

/// An answer serves for so long, a failure too.
const KEPT: Duration = Duration::from_secs(5);
/// No look-up takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// What is known of a name, or asked.
struct Entry {
    asked: Instant,
    answer: LookUp,
    /// Connections that were given the answer.
    served: usize,
}

/// A resolver with a memory. Whoever asks for a name that is being looked up waits for that answer.
#[derive(Clone)]
pub(super) struct Resolver<R> {
    system: R,
    kept: Duration,
    known: Arc<Mutex<HashMap<String, Entry>>>,
}

impl<R> Resolver<R> {
    pub(super) fn new(system: R) -> Self {
        Self { system, kept: KEPT, known: Arc::default() }
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
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of_use = |entry: &Entry| {
            // A look-up that everybody gave up has no answer, and gets none.
            let most = if entry.answer.peek().is_some() { self.kept } else { PATIENCE };
            entry.asked.elapsed() < most
        };
        if known.get(name.as_str()).is_none_or(|entry| !is_of_use(entry)) {
            let asked = self.system.call(name.clone());
            let answer = async move {
                let found = tokio::time::timeout(PATIENCE, asked).await;
                let late =
                    |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs()));
                found.map_err(late).flatten().map(Iterator::collect).map_err(|error| DnsError(Arc::new(error)))
            };
            let entry = Entry { asked: Instant::now(), answer: answer.boxed().shared(), served: 0 };
            known.insert(name.as_str().to_owned(), entry);
        }
        let (answer, nth) = match known.get_mut(name.as_str()) {
            Some(entry) => {
                entry.served += 1;
                (entry.answer.clone(), entry.served - 1)
            }
            None => unreachable!("it was entered above"),
        };
        Box::pin(async move { Ok(turned(answer.await?, nth).into_iter()) })
    }
}

/// The addresses for the nth connection: those of the preferred family take turns, so that a service with several gets
/// connections on all of them.
fn turned(mut addresses: Vec<SocketAddr>, nth: usize) -> Vec<SocketAddr> {
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

    /// Answers when it is let, and counts.
    #[derive(Clone)]
    struct Counting {
        asked: Arc<AtomicUsize>,
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
            self.asked.fetch_add(1, Ordering::Relaxed);
            let this = self.clone();
            Box::pin(async move {
                drop(this.may_answer.acquire().await.unwrap());
                let of = |last| SocketAddr::from(([10, 0, 0, last], 0));
                if this.fails { Err(io::ErrorKind::NotFound.into()) } else { Ok(vec![of(1), of(2)].into_iter()) }
            })
        }
    }

    #[tokio::test]
    async fn connections_that_are_opened_together_look_a_name_up_once() {
        for (fails, kept, expected) in [(false, KEPT, 1), (true, KEPT, 1), (false, Duration::ZERO, 2)] {
            let asked = Arc::new(AtomicUsize::new(0));
            let may_answer = Arc::new(Semaphore::new(0));
            let system = Counting { asked: Arc::clone(&asked), may_answer: Arc::clone(&may_answer), fails };
            let mut resolver = Resolver { kept, ..Resolver::new(system) };
            let name = || "bedrock.example".parse::<Name>().unwrap();
            let mut waiting = JoinSet::new();
            (0..1_000).for_each(|_| drop(waiting.spawn(resolver.call(name()))));
            may_answer.add_permits(1);
            let answers = waiting.join_all().await;
            assert!(answers.iter().all(|answer| answer.is_err() == fails));
            // Later, but not much.
            assert_eq!(resolver.call(name()).await.is_err(), fails);
            assert_eq!(asked.load(Ordering::Relaxed), expected);
        }
    }

    #[test]
    fn the_addresses_of_the_preferred_family_take_turns() {
        let parse = |addresses: &[&str]| addresses.iter().map(|address| address.parse().unwrap()).collect::<Vec<_>>();
        let all = parse(&["10.0.0.1:0", "10.0.0.2:0", "[::1]:0"]);
        assert_eq!(turned(all.clone(), 0), all);
        assert_eq!(turned(all, 3), parse(&["10.0.0.2:0", "10.0.0.1:0", "[::1]:0"]));
        assert_eq!(turned(Vec::new(), 1), Vec::new());
    }
}
