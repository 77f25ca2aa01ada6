//! The executor's barrier between shards: a common start of each cell run, and the question whether all shards have their
//! samples.

use super::barrier::Member;
use super::retry::RETRY_TIMEOUT;
use super::store_error::StoreError;
use crate::executor::port::Barrier;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long the load waits for the answer whether all shards have their samples. A second later the question is
/// repeated.
const ENOUGH_TIMEOUT: Duration = Duration::from_secs(2);

/// The barrier before each cell run, as the executor sees it.
pub(crate) struct CellRunBarrier {
    member: Member,
    run_id: String,
    /// Place of the last cell run for which the other shards know that this one has its samples.
    announced: AtomicUsize,
    /// Time since which the exchange has failed while a load was waiting for it.
    failing_since: Mutex<Option<Instant>>,
}

impl CellRunBarrier {
    /// Creates the barrier of a shard that has joined the run `run_id`.
    pub(crate) fn new(member: Member, run_id: String) -> Self {
        Self { member, run_id, announced: AtomicUsize::new(usize::MAX), failing_since: Mutex::default() }
    }

    async fn have_all_enough_samples(&self, place: usize) -> bool {
        let is_announced = self.announced.load(Ordering::Relaxed) == place;
        let answer = tokio::time::timeout(ENOUGH_TIMEOUT, self.member.announce_samples(place, is_announced)).await;
        let mut failing_since = self.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(Ok(have_all)) => {
                self.announced.store(place, Ordering::Relaxed);
                *failing_since = None;
                have_all
            }
            // An exchange that fails permanently, or for long, must not extend a cell.
            Ok(Err(error)) if !StoreError::is_transient(&error) => true,
            _ => failing_since.get_or_insert_with(Instant::now).elapsed() >= RETRY_TIMEOUT,
        }
    }
}

impl Barrier for CellRunBarrier {
    fn wait(&self, place: usize) -> Pin<Box<dyn Future<Output = Result<SystemTime, String>> + Send + '_>> {
        Box::pin(
            async move { self.member.wait_for_cell_run(place, &self.run_id).await.map_err(|error| error.to_string()) },
        )
    }

    fn all_have_enough(&self, place: usize) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(self.have_all_enough_samples(place))
    }
}
