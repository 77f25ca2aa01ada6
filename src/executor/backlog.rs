//! The bound of the recorder's queue, in bytes: while it is full no request starts, so that a slow disk
//! cannot fill the memory with records that a kill would lose. Knows nothing of what is queued.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// At which the queue is full: some 100,000 records.
const LIMIT: usize = 64 << 20;

/// How many bytes wait for the recorder.
#[derive(Debug)]
pub(crate) struct Backlog {
    limit: usize,
    bytes: AtomicUsize,
    taken: AtomicU64,
    room: Notify,
}

impl Default for Backlog {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl Backlog {
    /// A queue that is full at `limit` bytes. What is queued while it is full is still taken: requests in flight end.
    pub(crate) fn with_limit(limit: usize) -> Self {
        Self { limit, bytes: AtomicUsize::new(0), taken: AtomicU64::new(0), room: Notify::new() }
    }

    /// Something of so many bytes is queued.
    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Something of so many bytes is written.
    pub(crate) fn remove(&self, bytes: usize) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before >= self.limit && before - bytes < self.limit {
            self.room.notify_waiters();
        }
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A number that grows with each thing that is written.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether starts must wait.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() >= self.limit
    }

    /// Waits until it is not full.
    pub(crate) async fn has_room(&self) {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            // Before the look, so that room which is made between the two is not missed.
            room.as_mut().enable();
            if !self.is_full() {
                return;
            }
            room.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn starts_wait_until_the_queue_is_below_its_limit() {
        let backlog = Arc::new(Backlog::with_limit(10));
        backlog.has_room().await;
        (0..3).for_each(|_| backlog.add(5));
        assert!(backlog.is_full());
        let waiting = tokio::spawn({
            let backlog = Arc::clone(&backlog);
            async move { backlog.has_room().await }
        });
        tokio::task::yield_now().await;
        backlog.remove(5);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "10 of 10 bytes wait");
        backlog.remove(5);
        waiting.await.unwrap();
        assert_eq!((backlog.bytes(), backlog.taken()), (5, 2));
    }
}
